//! Which number does a new client connection get?

use parking_lot::Mutex;

/// Hands out the lowest free number to each client connection, for [`Algorithm::Naive`]. One for
/// the whole process; its lock is taken only when a client connection opens or closes.
///
/// [`Algorithm::Naive`]: super::Algorithm::Naive
#[derive(Debug, Default)]
pub struct ConnectionNumbers {
    numbers: Mutex<Numbers>,
}

impl ConnectionNumbers {
    /// With every number free.
    #[must_use]
    pub const fn new() -> ConnectionNumbers {
        ConnectionNumbers { numbers: Mutex::new(Numbers { taken: Vec::new(), full: 0 }) }
    }

    /// Takes the lowest free number; the first is 0.
    #[must_use = "a number that is not released stays taken"]
    pub fn take(&self) -> u32 {
        self.numbers.lock().take()
    }

    /// Frees a number. One that is free already stays so.
    pub fn release(&self, number: u32) {
        self.numbers.lock().release(number);
    }
}

/// One bit per number, so that freeing twice cannot hand one out twice.
#[derive(Debug, Default)]
struct Numbers {
    taken: Vec<u64>,
    /// All words before this one are full.
    full: usize,
}

impl Numbers {
    fn take(&mut self) -> u32 {
        while self.taken.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
        if self.full == self.taken.len() {
            self.taken.push(0);
        }
        let word = &mut self.taken[self.full];
        let bit = word.trailing_ones();
        *word |= 1 << bit;
        u32::try_from(self.full).unwrap_or(u32::MAX).saturating_mul(u64::BITS).saturating_add(bit)
    }

    fn release(&mut self, number: u32) {
        let at = usize::try_from(number / u64::BITS).unwrap_or(usize::MAX);
        if let Some(word) = self.taken.get_mut(at) {
            *word &= !(1 << (number % u64::BITS));
            self.full = self.full.min(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn gives_the_lowest_free_number() {
        let numbers = ConnectionNumbers::new();
        assert_eq!((0..200).map(|_| numbers.take()).collect::<Vec<_>>(), Vec::from_iter(0..200));
        for number in [70, 3, 130] {
            numbers.release(number);
        }
        assert_eq!([(); 4].map(|()| numbers.take()), [3, 70, 130, 200]);
    }

    #[test]
    fn releasing_twice_or_in_error_is_harmless() {
        let numbers = ConnectionNumbers::new();
        numbers.release(9);
        numbers.release(u32::MAX);
        assert_eq!(numbers.take(), 0);
        numbers.release(0);
        numbers.release(0);
        assert_eq!([(); 2].map(|()| numbers.take()), [0, 1]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in prop::collection::vec(prop::option::of(0_u32..150), 1..400)) {
            let numbers = ConnectionNumbers::new();
            let mut taken = BTreeSet::new();
            for step in steps {
                if let Some(number) = step {
                    numbers.release(number);
                    taken.remove(&number);
                } else {
                    let lowest = (0..).find(|it| !taken.contains(it)).unwrap();
                    prop_assert_eq!(numbers.take(), lowest);
                    taken.insert(lowest);
                }
            }
        }
    }
}
