//! How many requests each of the last seconds has brought.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds that are remembered, that under way included.
const PLACES: usize = 64;
/// Whole seconds that are told of.
pub const TOLD: usize = 60;
/// Seconds over which a rate is the mean.
pub const RATE_OVER: usize = 10;

/// A ring of seconds. One thread counts, others may read: each place holds the second that it stands
/// for and its count in one word, so that an old count is never taken for a new one.
#[derive(Debug)]
pub struct Seconds([AtomicU64; PLACES]);

impl Default for Seconds {
    fn default() -> Self {
        Seconds(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Seconds {
    /// Something happened in the second `at` (monotonic). For the one thread that owns this.
    pub fn count(&self, at: u64) {
        let place = &self.0[at as usize % PLACES];
        let (stamp, word) = (u64::from(stamp_of(at)) << 32, place.load(Relaxed));
        let count = if word >> 32 == stamp >> 32 { (word as u32).saturating_add(1) } else { 1 };
        place.store(stamp | u64::from(count), Relaxed);
    }

    fn at(&self, at: u64) -> u32 {
        let word = self.0[at as usize % PLACES].load(Relaxed);
        if word >> 32 == u64::from(stamp_of(at)) { word as u32 } else { 0 }
    }
}

/// Never 0, which stands in places that nobody has written to.
fn stamp_of(at: u64) -> u32 {
    (at as u32) | 1 << 31
}

/// Rings put together, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History([u32; TOLD]);

impl Default for History {
    fn default() -> Self {
        History([0; TOLD])
    }
}

impl History {
    /// Takes in what a ring tells of the whole seconds before `now` (monotonic seconds).
    pub fn add(&mut self, seconds: &Seconds, now: u64) {
        for (count, back) in self.0.iter_mut().zip((1..=TOLD as u64).rev()) {
            if let Some(at) = now.checked_sub(back) {
                *count = count.saturating_add(seconds.at(at));
            }
        }
    }

    /// The counts, the latest whole second last.
    pub fn counts(&self) -> &[u32; TOLD] {
        &self.0
    }

    /// The mean of the latest seconds, for each second.
    pub fn rate(&self) -> f64 {
        let latest = &self.0[TOLD - RATE_OVER..];
        latest.iter().map(|&count| f64::from(count)).sum::<f64>() / RATE_OVER as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(seconds: &[&Seconds], now: u64) -> Vec<u32> {
        let mut history = History::default();
        seconds.iter().for_each(|seconds| history.add(seconds, now));
        history.counts().to_vec()
    }

    #[test]
    fn each_second_has_its_count_and_the_one_under_way_is_not_told() {
        let seconds = Seconds::default();
        for at in [100, 100, 102, 103] {
            seconds.count(at);
        }
        assert_eq!(history(&[&seconds], 103)[TOLD - 4..], [0, 2, 0, 1]);
        assert_eq!(history(&[&seconds], 104)[TOLD - 4..], [2, 0, 1, 1]);
        assert_eq!(history(&[&seconds, &seconds], 104)[TOLD - 2..], [2, 2]);
    }

    #[test]
    fn what_is_old_is_forgotten_even_where_nobody_has_counted_since() {
        let seconds = Seconds::default();
        seconds.count(0);
        seconds.count(5);
        assert_eq!(history(&[&seconds], 60)[0], 1);
        for now in [66, 64 + 6, 10_000, PLACES as u64 * 1000 + 6] {
            assert_eq!(history(&[&seconds], now), [0; TOLD], "{now}");
        }
        seconds.count(5 + PLACES as u64);
        assert_eq!(history(&[&seconds], 70)[TOLD - 1], 1);
    }

    #[test]
    fn a_rate_is_the_mean_of_ten_seconds() {
        let seconds = Seconds::default();
        (90..100).for_each(|at| seconds.count(at));
        (0..5).for_each(|_| seconds.count(99));
        let mut history = History::default();
        history.add(&seconds, 100);
        assert!((history.rate() - 1.5).abs() < 1e-9);
    }

    #[test]
    fn the_first_seconds_have_nothing_before_them() {
        let seconds = Seconds::default();
        seconds.count(0);
        assert_eq!(history(&[&seconds], 0), [0; TOLD]);
        assert_eq!(history(&[&seconds], 1)[TOLD - 1], 1);
    }
}
