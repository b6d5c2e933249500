//! How long things took: counts in buckets whose width grows with the value, so that a few kilobytes
//! tell percentiles from a microsecond to an hour with the same relative error.
//!
//! Up to [`EXACT`] microseconds each value has a bucket of its own; beyond, each doubling is cut into
//! [`PER_OCTAVE`] buckets of equal width. A percentile is told as the middle of its bucket: it is at most
//! [`ERROR`] of the true value off. Whoever records owns the histogram; it is never locked and never grows.

use super::counters::Counter;

/// Buckets for each doubling of the value.
pub const PER_OCTAVE: usize = 8;
/// Values below this are told exactly, in microseconds.
pub const EXACT: u64 = PER_OCTAVE as u64;
/// How far off a percentile may be, as a part of it: half of the width of a bucket.
pub const ERROR: f64 = 1.0 / (2 * PER_OCTAVE) as f64;
/// The largest value with a bucket for its own size, in microseconds (71 minutes): of longer ones the
/// number is known, and the longest.
pub const LARGEST: u64 = u32::MAX as u64;
/// How many buckets there are.
pub const BUCKETS: usize = (LARGEST.ilog2() - OCTAVE_BITS + 2) as usize * PER_OCTAVE;

/// The bits of [`PER_OCTAVE`].
const OCTAVE_BITS: u32 = PER_OCTAVE.ilog2();

/// Durations, as one thread records them while others may read.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum: Counter,
    max: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: std::array::from_fn(|_| Counter::default()),
            sum: Counter::default(),
            max: Counter::default(),
        }
    }
}

impl Histogram {
    /// Something took so many microseconds. For the one thread that owns this.
    pub fn record(&self, us: u64) {
        self.buckets[bucket_of(us)].add(1);
        self.sum.add(us);
        self.max.raise(us);
    }
}

/// Histograms put together, at one moment.
#[derive(Clone, Debug)]
pub struct Distribution {
    buckets: [u64; BUCKETS],
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution { buckets: [0; BUCKETS], count: 0, sum: 0, max: 0 }
    }
}

impl Distribution {
    /// Takes in what was recorded there so far.
    pub fn add(&mut self, histogram: &Histogram) {
        let max = histogram.max.get();
        if max == 0 && histogram.buckets[0].get() == 0 {
            return;
        }
        // Nothing was recorded above the longest, but for what is being recorded right now.
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets[..=bucket_of(max)]) {
            let count = bucket.get();
            *sum += count;
            self.count += count;
        }
        self.sum += histogram.sum.get();
        self.max = self.max.max(max);
    }

    /// How many durations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum
    }

    /// The longest, in microseconds, exactly.
    pub fn max_us(&self) -> u64 {
        self.max
    }

    /// The duration in microseconds that `percent` of all do not exceed, by nearest rank; none if
    /// there are none. It is at most [`ERROR`] off, unless it is longer than [`LARGEST`].
    pub fn percentile_us(&self, percent: u64) -> Option<u64> {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            seen += u128::from(count);
            if seen >= rank {
                let middle = if bucket == BUCKETS - 1 { self.max } else { middle_of(bucket) };
                return Some(middle.min(self.max));
            }
        }
        None
    }

    /// How many durations are not longer than each of these bounds in microseconds, which grow; as far
    /// as buckets tell: a bucket counts when all of it is.
    pub fn up_to(&self, bounds: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
        let (mut bucket, mut count) = (0, 0);
        bounds.map(move |us| {
            while bucket < BUCKETS && last_of(bucket) <= us {
                count += self.buckets[bucket];
                bucket += 1;
            }
            count
        })
    }
}

/// The bucket of a value.
fn bucket_of(us: u64) -> usize {
    let us = us.min(LARGEST);
    if us < EXACT {
        return us as usize;
    }
    let octave = us.ilog2();
    let within = (us >> (octave - OCTAVE_BITS)) as usize % PER_OCTAVE;
    (octave - OCTAVE_BITS + 1) as usize * PER_OCTAVE + within
}

/// The least value of a bucket.
fn first_of(bucket: usize) -> u64 {
    let (octave, within) = (bucket / PER_OCTAVE, bucket % PER_OCTAVE);
    match octave {
        0 => within as u64,
        octave => ((PER_OCTAVE + within) as u64) << (octave - 1),
    }
}

/// The greatest value of a bucket.
fn last_of(bucket: usize) -> u64 {
    first_of(bucket + 1) - 1
}

fn middle_of(bucket: usize) -> u64 {
    let (first, next) = (first_of(bucket), first_of(bucket + 1));
    first + (next - first) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(values: &[u64]) -> Distribution {
        let histogram = Histogram::default();
        values.iter().for_each(|&us| histogram.record(us));
        let mut distribution = Distribution::default();
        distribution.add(&histogram);
        distribution
    }

    fn at_most(all: &Distribution, us: u64) -> u64 {
        all.up_to([us].into_iter()).next().unwrap()
    }

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        assert_eq!(BUCKETS, 240);
        for bucket in 0..BUCKETS {
            assert_eq!(bucket_of(first_of(bucket)), bucket);
            assert_eq!(bucket_of(last_of(bucket)), bucket);
            assert_eq!(bucket_of(middle_of(bucket)), bucket);
        }
        assert_eq!((first_of(0), last_of(BUCKETS - 1)), (0, LARGEST));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        let empty = recorded(&[]);
        assert_eq!((empty.count(), empty.percentile_us(50), empty.max_us()), (0, None, 0));
    }

    #[test]
    fn zeros_are_counted_too() {
        let zeros = recorded(&[0, 0]);
        assert_eq!((zeros.count(), zeros.percentile_us(99), at_most(&zeros, 0)), (2, Some(0), 2));
    }

    #[test]
    fn what_took_longer_than_the_largest_is_told_as_the_longest() {
        let day = 86_400_000_000;
        let long = recorded(&[1000, day]);
        assert_eq!((long.percentile_us(99), long.max_us()), (Some(day), day));
        assert_eq!(at_most(&long, LARGEST - 1), 1);
    }

    #[test]
    fn histograms_of_several_threads_are_one_distribution() {
        let [one, two] = [Histogram::default(), Histogram::default()];
        (1..=50).for_each(|us| one.record(us));
        (51..=100).for_each(|us| two.record(us));
        let mut both = Distribution::default();
        both.add(&one);
        both.add(&two);
        assert_eq!((both.count(), both.sum_us(), both.max_us()), (100, 5050, 100));
        assert_eq!(both.percentile_us(100), Some(100));
    }

    /// Durations of all sizes alike, with a few beyond the largest.
    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let one = (0..64u32, any::<u64>()).prop_map(|(bits, any)| any >> (63 - bits.min(33)));
        prop::collection::vec(one, 1..300)
    }

    proptest! {
        #[test]
        fn a_percentile_is_never_further_off_than_it_says(mut values in durations(), percent in 1..=100u64) {
            let distribution = recorded(&values);
            values.sort_unstable();
            let rank = (values.len() as u64 * percent).div_ceil(100) as usize;
            let exact = values[rank - 1];
            let told = distribution.percentile_us(percent).unwrap();
            prop_assert_eq!(distribution.max_us(), *values.last().unwrap());
            if exact <= LARGEST && told <= LARGEST {
                let off = told.abs_diff(exact) as f64;
                prop_assert!(off <= exact as f64 * ERROR, "{told} for {exact}");
            } else {
                prop_assert_eq!(told, distribution.max_us());
            }
        }

        #[test]
        fn what_is_at_most_a_bound_is_counted_right_up_to_a_bucket(values in durations(), bound in any::<u32>()) {
            let bound = u64::from(bound);
            let counted = at_most(&recorded(&values), bound);
            let below = |us: f64| values.iter().filter(|&&value| (value as f64) <= us).count() as u64;
            prop_assert!(counted <= below(bound as f64));
            prop_assert!(counted >= below(bound as f64 * (1.0 - 2.0 * ERROR) - 1.0));
        }
    }
}
