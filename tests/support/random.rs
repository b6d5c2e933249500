//! Numbers that look random and can be had again.

use std::env;

/// A stream of numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// One stream of many: the same for the same two numbers.
    pub fn of(seed: u64, number: u64) -> Random {
        let mut random = Random(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.next();
        random
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// The seed that the environment names (`MPR_SEED`), or this one.
pub fn seed(default: u64) -> u64 {
    env::var("MPR_SEED").ok().map_or(default, |seed| seed.parse().expect("MPR_SEED is a number"))
}

/// For how many seconds a test goes on that could go on for ever: `MPR_SECONDS`, or so many.
pub fn seconds(default: f64) -> std::time::Duration {
    let named = env::var("MPR_SECONDS").ok();
    let seconds = named.map_or(default, |seconds| seconds.parse().expect("MPR_SECONDS is a number"));
    std::time::Duration::from_secs_f64(seconds)
}
