//! Where the randomness of a run comes from: its seed, and nothing else.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, which is more than 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn size(&mut self, least: usize, most: usize) -> usize {
        self.between(least as u64, most as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// One of these, each as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, of: &[(u64, T)]) -> T {
        let mut left = self.below(of.iter().map(|(weight, _)| weight).sum());
        for &(weight, value) in of {
            if left < weight {
                return value;
            }
            left -= weight;
        }
        unreachable!("the weights are summed up")
    }

    /// Milliseconds between two steps of somebody: mostly few, at times very many.
    pub fn pause(&mut self, patience: u64) -> u64 {
        match self.below(40) {
            0 => self.between(1, patience * 2),
            1..4 => self.between(1, patience / 3 + 1),
            4..15 => self.between(1, 30),
            _ => self.below(3),
        }
    }
}
