//! Complaints that every request could make, said now and then: a lack that lasts must not fill
//! the operator's disk as well.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How long nothing is said again.
const PAUSE_MS: u64 = 10_000;

/// Lets one of many complaints through. Shared by all workers, without a lock.
#[derive(Debug, Default)]
pub struct Seldom {
    /// When the next may be said; 0 before the first.
    next_ms: AtomicU64,
    /// Complaints that were not said since.
    unsaid: AtomicU64,
}

/// How many complaints were left out; it reads well behind the one that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut(u64);

impl Seldom {
    /// Nothing was said yet.
    pub const fn new() -> Self {
        Seldom { next_ms: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// Whether it is time to say something, at `now_ms` milliseconds; if not, it is counted.
    pub fn say(&self, now_ms: u64) -> Option<LeftOut> {
        let next = self.next_ms.load(Relaxed);
        let due = next == 0 || now_ms >= next;
        let until = now_ms.saturating_add(PAUSE_MS);
        // Of several at the same moment one is said.
        if !due || self.next_ms.compare_exchange(next, until, Relaxed, Relaxed).is_err() {
            self.unsaid.fetch_add(1, Relaxed);
            return None;
        }
        Some(LeftOut(self.unsaid.swap(0, Relaxed)))
    }
}

/// How many changes of one backend are told in [`MINUTE_MS`].
const MOST_CHANGES: u64 = 6;
const MINUTE_MS: u64 = 60_000;

/// Lets some of the changes of one backend through: one that comes and goes all the time must not
/// fill the disk either. Shared by all workers and the prober, without a lock; of several at the
/// same moment one more may be told.
#[derive(Debug, Default)]
pub struct Changes {
    begun_ms: AtomicU64,
    told: AtomicU64,
    unsaid: AtomicU64,
}

impl Changes {
    /// Whether a change is to be told, at `now_ms` milliseconds; if not, it is counted.
    pub fn say(&self, now_ms: u64) -> Option<LeftOut> {
        if now_ms.saturating_sub(self.begun_ms.load(Relaxed)) >= MINUTE_MS {
            self.begun_ms.store(now_ms, Relaxed);
            self.told.store(0, Relaxed);
        }
        if self.told.fetch_add(1, Relaxed) >= MOST_CHANGES {
            self.unsaid.fetch_add(1, Relaxed);
            return None;
        }
        Some(LeftOut(self.unsaid.swap(0, Relaxed)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} times more since this was last said)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_complaint_is_said_and_the_others_are_counted() {
        let seldom = Seldom::new();
        assert_eq!(seldom.say(0).unwrap().to_string(), "");
        for ms in [0, 1, PAUSE_MS - 1] {
            assert_eq!(seldom.say(ms), None);
        }
        let said = seldom.say(PAUSE_MS).unwrap().to_string();
        assert_eq!(said, " (and 3 times more since this was last said)");
        assert_eq!(seldom.say(PAUSE_MS + 1), None);
        assert_eq!(seldom.say(u64::MAX), Some(LeftOut(1)));
    }

    #[test]
    fn a_backend_that_comes_and_goes_filled_the_log() {
        let changes = Changes::default();
        let told = |from: u64| (0..1000).filter(|ms| changes.say(from + ms).is_some()).count();
        assert_eq!((told(5), told(2000)), (6, 0));
        let first = changes.say(70_000).unwrap().to_string();
        assert_eq!(first, " (and 1994 times more since this was last said)");
        assert_eq!(changes.say(70_001), Some(LeftOut(0)));
    }
}
