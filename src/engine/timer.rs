//! One alarm for all deadlines of a worker.
//!
//! Deadlines are coarse: the alarm is set for the earliest one that anybody
//! asked for; later ones cost nothing until it goes off and the worker looks
//! around for the next. So an ordinary exchange, over long before its
//! deadline, costs no system call here.

use super::network::Alarm;

/// The alarm and what it is set to.
#[derive(Debug)]
pub struct Timer<A> {
    alarm: A,
    armed_for: Option<u64>,
}

impl<A: Alarm> Timer<A> {
    /// A timer that is not armed.
    pub fn new(alarm: A) -> Self {
        Timer { alarm, armed_for: None }
    }

    /// Makes sure that the timer fires at `at_ms` or before.
    pub fn want(&mut self, at_ms: u64, now_ms: u64) {
        if self.armed_for.is_some_and(|armed| armed <= at_ms) {
            return;
        }
        let wait = at_ms.saturating_sub(now_ms).max(1);
        if let Err(error) = self.alarm.set(wait) {
            log::error!("the timer cannot be set: {error}");
            return;
        }
        self.armed_for = Some(at_ms);
    }

    /// The timer fired; it is not armed any more.
    pub fn fired(&mut self) {
        self.armed_for = None;
    }
}
