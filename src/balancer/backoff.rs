//! How long is a backend offline, time after time?

/// How the offline time grows while trials fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// By this the time grows with each failed trial; 0 and 1 leave it as it is.
    pub factor: u32,
    /// It does not grow beyond this, in milliseconds. Less than the first time counts as that.
    pub longest_ms: u64,
    /// By up to so many hundredths a time is shortened at random, the first one excepted.
    pub jitter_percent: u32,
    /// Where the randomness comes from: the same seed gives the same times.
    pub seed: u64,
}

impl Backoff {
    /// The same time again and again.
    pub const NONE: Backoff = Backoff { factor: 1, longest_ms: 0, jitter_percent: 0, seed: 0 };

    /// The offline time after `round` failed trials, in milliseconds; `first_ms` is the one after
    /// none.
    pub(super) fn time_ms(&self, first_ms: u64, round: u32, now_ms: u64) -> u64 {
        if round == 0 {
            return first_ms;
        }
        let longest_ms = self.longest_ms.max(first_ms);
        let growth = u64::from(self.factor.max(1)).saturating_pow(round);
        let time_ms = first_ms.saturating_mul(growth).min(longest_ms);
        let most = time_ms / 100 * u64::from(self.jitter_percent.min(100));
        time_ms - draw(self.seed, now_ms) % most.saturating_add(1)
    }
}

/// A number that looks random, made of two: the finalizer of SplitMix64. The same numbers give the
/// same result after every start.
#[must_use]
pub fn draw(seed: u64, nonce: u64) -> u64 {
    let mut bits = seed.wrapping_add(nonce.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOUBLING: Backoff = Backoff { factor: 2, longest_ms: 300_000, jitter_percent: 0, seed: 1 };

    #[test]
    fn grows_up_to_the_longest() {
        let times = |backoff: Backoff| [0, 1, 2, 3, 4, 63].map(|round| backoff.time_ms(60_000, round, 7));
        assert_eq!(times(DOUBLING), [60_000, 120_000, 240_000, 300_000, 300_000, 300_000]);
        assert_eq!(times(Backoff { factor: 1, ..DOUBLING }), [60_000; 6]);
        assert_eq!(times(Backoff { factor: 0, ..DOUBLING }), [60_000; 6]);
        assert_eq!(times(Backoff { longest_ms: 30_000, ..DOUBLING }), [60_000; 6], "no less than the first");
        assert_eq!(times(Backoff::NONE), [60_000; 6]);
    }

    #[test]
    fn jitter_shortens_all_but_the_first() {
        let jittery = Backoff { jitter_percent: 10, ..DOUBLING };
        assert_eq!(jittery.time_ms(60_000, 0, 99), 60_000);
        let times: Vec<u64> = (0..1000).map(|now_ms| jittery.time_ms(60_000, 3, now_ms)).collect();
        assert!(times.iter().all(|time_ms| (270_000..=300_000).contains(time_ms)));
        assert!(times.iter().any(|&time_ms| time_ms < 273_000));
        assert!(times.iter().any(|&time_ms| time_ms > 297_000));
        let again: Vec<u64> = (0..1000).map(|now_ms| jittery.time_ms(60_000, 3, now_ms)).collect();
        assert_eq!(times, again, "the same seed, the same times");
        assert_ne!(times[0], Backoff { seed: 2, ..jittery }.time_ms(60_000, 3, 0));
    }

    #[test]
    fn nothing_overflows() {
        let most = Backoff { factor: u32::MAX, longest_ms: u64::MAX, jitter_percent: u32::MAX, seed: 0 };
        assert!(most.time_ms(u64::MAX, u32::MAX, u64::MAX) > 0);
        assert_eq!(Backoff { jitter_percent: 0, ..most }.time_ms(2, u32::MAX, 0), u64::MAX);
        assert_eq!(Backoff { jitter_percent: 10, ..DOUBLING }.time_ms(1, 1, 0), 2);
    }
}
