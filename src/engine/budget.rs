//! How many requests may be sent again: a part of all requests of the last
//! seconds. So a farm in trouble does not get a multiple of its load on top.
//! Shared by all workers, without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds that are looked back upon, the present one included.
const WINDOW: usize = 10;

/// The requests and repetitions of one route.
///
/// Each second has a word of its own: `second | requests | repetitions`. A word whose
/// second is not the expected one is an old one and counts as empty. Counts stop at
/// their largest value.
#[derive(Debug)]
pub struct Budget {
    /// Repetitions in percent of requests; 0 is no limit.
    percent: u64,
    /// Repetitions in a window that are always allowed. They may come at once: when a backend
    /// dies, all the requests that it had do so.
    floor: u64,
    seconds: [AtomicU64; WINDOW],
}

impl Budget {
    /// A budget of `percent` of the requests, and of `min` for each second of the window whatever
    /// they are.
    /// With 0 percent there is no limit.
    pub fn new(percent: u32, min: u32) -> Self {
        Budget { percent: percent.into(), floor: u64::from(min) * WINDOW as u64, seconds: Default::default() }
    }

    /// A request came, at `now_ms` milliseconds.
    pub fn request(&self, now_ms: u64) {
        if self.percent == 0 {
            return;
        }
        let second = now_ms / 1000;
        let add = |word| Some(Count::of(word, second).with_request().word(second));
        let _ = self.slot(second).fetch_update(Relaxed, Relaxed, add);
    }

    /// Takes one repetition at `now_ms` milliseconds; false if there is none left.
    #[must_use]
    pub fn take(&self, now_ms: u64) -> bool {
        if self.percent == 0 {
            return true;
        }
        let second = now_ms / 1000;
        let before = self.before(second);
        let add = |word| {
            let count = Count::of(word, second);
            let requests = before.requests + count.requests;
            let taken = before.repetitions + count.repetitions;
            let room = taken < self.floor || (taken + 1) * 100 <= requests * self.percent;
            room.then(|| count.with_repetition().word(second))
        };
        self.slot(second).fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    /// What there was in the window before this second.
    fn before(&self, second: u64) -> Count {
        let mut sum = Count::default();
        for second in second.saturating_sub(WINDOW as u64 - 1)..second {
            let count = Count::of(self.slot(second).load(Relaxed), second);
            sum.requests += count.requests;
            sum.repetitions += count.repetitions;
        }
        sum
    }

    fn slot(&self, second: u64) -> &AtomicU64 {
        &self.seconds[second as usize % WINDOW]
    }
}

/// Bits of each of the two counts; the rest is the second.
const BITS: u32 = 20;
const MASK: u64 = (1 << BITS) - 1;
/// Of a second these bits are kept: half a year.
const SECOND: u64 = (1 << (64 - 2 * BITS)) - 1;

/// Requests and repetitions in a span of time.
#[derive(Clone, Copy, Default)]
struct Count {
    requests: u64,
    repetitions: u64,
}

impl Count {
    fn of(word: u64, second: u64) -> Self {
        if word >> (2 * BITS) == stamp(second) {
            Count { requests: word >> BITS & MASK, repetitions: word & MASK }
        } else {
            Count::default()
        }
    }

    fn word(self, second: u64) -> u64 {
        stamp(second) << (2 * BITS) | self.requests << BITS | self.repetitions
    }

    fn with_request(self) -> Self {
        Count { requests: (self.requests + 1).min(MASK), ..self }
    }

    fn with_repetition(self) -> Self {
        Count { repetitions: (self.repetitions + 1).min(MASK), ..self }
    }
}

fn stamp(second: u64) -> u64 {
    second & SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &Budget, now_ms: u64) -> usize {
        (0..1000).take_while(|_| budget.take(now_ms)).count()
    }

    fn requests(budget: &Budget, now_ms: u64, count: usize) {
        (0..count).for_each(|_| budget.request(now_ms));
    }

    #[test]
    fn a_part_of_the_requests_and_no_more() {
        let budget = Budget::new(20, 0);
        assert_eq!(taken(&budget, 500), 0);
        requests(&budget, 500, 4);
        assert_eq!(taken(&budget, 500), 0);
        requests(&budget, 500, 96);
        assert_eq!(taken(&budget, 500), 20);
        requests(&budget, 900, 5);
        assert_eq!(taken(&budget, 900), 1);
    }

    #[test]
    fn some_for_each_second_whatever_happens() {
        let budget = Budget::new(20, 3);
        assert_eq!(taken(&budget, 500), 30);
        assert_eq!(taken(&budget, 9_999), 0);
        for second in 10..40 {
            (0..3).for_each(|_| assert!(budget.take(second * 1000)));
        }
        assert_eq!(taken(&budget, 39_999), 0);
        assert_eq!(taken(&Budget::new(20, 0), 0), 0);
    }

    #[test]
    fn the_larger_of_the_two_counts() {
        let budget = Budget::new(20, 3);
        requests(&budget, 0, 140);
        assert_eq!(taken(&budget, 0), 30);
        requests(&budget, 0, 60);
        assert_eq!(taken(&budget, 0), 10);
    }

    #[test]
    fn the_window_slides() {
        let budget = Budget::new(10, 0);
        requests(&budget, 0, 100);
        assert_eq!(taken(&budget, 9_999), 10);
        // They were taken in second 9, and so are there until second 18.
        requests(&budget, 10_000, 100);
        assert_eq!(taken(&budget, 10_000), 0);
        assert_eq!(taken(&budget, 18_999), 0);
        assert_eq!(taken(&budget, 19_000), 10);
        assert_eq!(taken(&budget, 20_000), 0);
        // A slot of a second long ago does not count.
        assert_eq!(taken(&budget, 1_000_000), 0);
    }

    #[test]
    fn no_limit() {
        let budget = Budget::new(0, 0);
        assert_eq!(taken(&budget, 0), 1000);
    }

    #[test]
    fn counts_do_not_run_over() {
        let full = Count { requests: MASK, repetitions: MASK };
        let word = full.with_request().with_repetition().word(7);
        let count = Count::of(word, 7);
        assert_eq!((count.requests, count.repetitions), (MASK, MASK));
        assert_eq!(Count::of(word, 8).requests, 0);
        // No multiplication above does either.
        assert!((MASK * WINDOW as u64).checked_mul(100).is_some());
    }

    #[test]
    fn many_workers_take_no_more_than_one_would() {
        let budget = Budget::new(20, 3);
        requests(&budget, 0, 1000);
        let sum: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8).map(|_| scope.spawn(|| taken(&budget, 0))).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(sum, 200);
    }
}
