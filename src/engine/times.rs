//! When an exchange has come how far. Statistics and logs tell of it; nothing is decided by it.

use super::Now;

/// No such moment yet.
const NEVER: u64 = u64::MAX;

/// The moments of an exchange, in microseconds of [`Now`]; those of attempts are of the latest one.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    begun_us: u64,
    attempt_us: u64,
    connected_us: u64,
    first_byte_us: u64,
}

impl Times {
    /// Of an exchange that begins now: its request is here.
    pub fn begin(now: Now) -> Self {
        Times { begun_us: now.us, attempt_us: NEVER, connected_us: NEVER, first_byte_us: NEVER }
    }

    /// A backend is asked now: a connection to it is opened.
    pub(super) fn attempt(&mut self, now: Now) {
        (self.attempt_us, self.connected_us, self.first_byte_us) = (now.us, NEVER, NEVER);
    }

    /// The connection is there now; gives the microseconds that took.
    pub(super) fn connected(&mut self, now: Now) -> u64 {
        self.connected_us = now.us;
        now.us.saturating_sub(self.attempt_us)
    }

    /// The backend's answer begins; gives the microseconds that took from the connection on, unless
    /// the answer had begun before.
    pub(super) fn first_byte(&mut self, now: Now) -> Option<u64> {
        (self.first_byte_us == NEVER).then(|| {
            self.first_byte_us = now.us;
            now.us.saturating_sub(self.connected_us)
        })
    }

    /// Microseconds before the latest attempt: in the line, and with other backends.
    pub fn waited_us(&self) -> Option<u64> {
        between(self.begun_us, self.attempt_us)
    }

    /// Microseconds that the connect of the latest attempt took; 0 over a connection that was kept.
    pub fn connect_us(&self) -> Option<u64> {
        between(self.attempt_us, self.connected_us)
    }

    /// Microseconds from the connection of the latest attempt to the first byte of the answer.
    pub fn first_byte_us(&self) -> Option<u64> {
        between(self.connected_us, self.first_byte_us)
    }

    /// Microseconds since the exchange began.
    pub fn total_us(&self, now: Now) -> u64 {
        now.us.saturating_sub(self.begun_us)
    }
}

fn between(from: u64, to: u64) -> Option<u64> {
    (from != NEVER && to != NEVER).then(|| to.saturating_sub(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_an_attempt_are_those_of_the_latest() {
        let at = |us| Now { ms: us / 1000, us, unix: 0 };
        let mut times = Times::begin(at(100));
        assert_eq!((times.waited_us(), times.connect_us(), times.first_byte_us()), (None, None, None));
        times.attempt(at(150));
        assert_eq!(times.connected(at(180)), 30);
        assert_eq!((times.first_byte(at(200)), times.first_byte(at(300))), (Some(20), None));
        assert_eq!(
            (times.waited_us(), times.connect_us(), times.first_byte_us()),
            (Some(50), Some(30), Some(20))
        );
        times.attempt(at(400));
        assert_eq!((times.waited_us(), times.connect_us(), times.first_byte_us()), (Some(300), None, None));
        assert_eq!((times.connected(at(400)), times.first_byte(at(401))), (0, Some(1)));
        assert_eq!(times.total_us(at(500)), 400);
    }
}
