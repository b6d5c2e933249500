//! Which backends has this request been sent to already?

/// A small set of backend indices. Holds the first 128 backends without touching the heap; its
/// size follows the largest index, so it is for indices and not for arbitrary numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    near: u128,
    far: Vec<u64>,
}

impl Tried {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Tried {
        Tried { near: 0, far: Vec::new() }
    }

    /// Adds a backend; adding it again changes nothing.
    pub fn insert(&mut self, index: usize) {
        match index.checked_sub(NEAR) {
            None => self.near |= 1 << index,
            Some(far) => {
                let word = far / FAR_WORD;
                if word >= self.far.len() {
                    self.far.resize(word + 1, 0);
                }
                self.far[word] |= 1 << (far % FAR_WORD);
            }
        }
    }

    /// Has this backend been tried?
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        match index.checked_sub(NEAR) {
            None => self.near >> index & 1 == 1,
            Some(far) => self.far.get(far / FAR_WORD).is_some_and(|word| word >> (far % FAR_WORD) & 1 == 1),
        }
    }

    /// Has none been tried?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.near == 0 && self.far.iter().all(|&word| word == 0)
    }

    /// Forgets all; heap memory, if any, is kept for the next request.
    pub fn clear(&mut self) {
        self.near = 0;
        self.far.fill(0);
    }
}

/// Bits in `near`.
const NEAR: usize = 128;
/// Bits in one element of `far`.
const FAR_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_inserted() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        for index in [0, 63, 64, 127, 128, 191, 192, 1000] {
            assert!(!tried.contains(index));
            tried.insert(index);
            tried.insert(index);
            assert!(tried.contains(index));
            assert!(!tried.contains(index + 1));
            assert!(!tried.is_empty());
        }
        tried.clear();
        assert!(tried.is_empty());
        assert!(!tried.contains(1000));
    }

    #[test]
    fn stays_off_the_heap_up_to_128_backends() {
        let mut tried = Tried::new();
        (0..128).for_each(|index| tried.insert(index));
        assert_eq!(tried.far.capacity(), 0);
        tried.insert(128);
        assert!(tried.far.capacity() > 0);
    }
}
