//! One timer descriptor for all deadlines of a worker.
//!
//! Deadlines are coarse: the timer is armed for the earliest one that anybody
//! asked for; later ones cost nothing until it fires and the worker looks
//! around for the next. So an ordinary exchange, over long before its
//! deadline, costs no system call here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The descriptor and what it is set to.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    armed_for: Option<u64>,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        Ok(Timer { fd, armed_for: None })
    }

    /// For the poll.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Makes sure that the timer fires at `at_ms` or before.
    pub fn want(&mut self, at_ms: u64, now_ms: u64) {
        if self.armed_for.is_some_and(|armed| armed <= at_ms) {
            return;
        }
        let wait = at_ms.saturating_sub(now_ms).max(1);
        let value = Timespec {
            tv_sec: i64::try_from(wait / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(wait % 1000).unwrap_or(0) * 1_000_000,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        if let Err(error) = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once) {
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
