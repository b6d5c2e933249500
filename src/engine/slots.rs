//! A table whose keys carry a generation: a key of something that is gone
//! finds nothing, even when its place is taken again.

use std::fmt;
use std::marker::PhantomData;

/// Names an entry of a [`Slots<T>`].
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

/// The table. Its keys are those of `Of`, which is `T` itself in nearly all of them.
#[derive(Debug)]
pub struct Slots<T, Of = T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    of: PhantomData<fn() -> Of>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// How a key is laid into one word: two bits stay free for the kind of a poll token.
const PACKING: Packing = Packing::of(usize::BITS);

/// Entries of one table at most.
const MOST: usize = PACKING.most();

/// How many bits of a word are for what.
#[derive(Clone, Copy, Debug)]
struct Packing {
    index: u32,
    generation: u32,
}

impl Packing {
    /// Where words are short, 262144 places and 4096 generations: a worker has
    /// not nearly as many clients, and no place changes its owner that often
    /// before the events of one batch are through.
    const fn of(word: u32) -> Self {
        let index = if word >= 64 { 32 } else { 18 };
        Packing { index, generation: word - 2 - index }
    }

    const fn most(self) -> usize {
        ((1u64 << self.index) - 1) as usize
    }

    /// Generations wrap here.
    const fn generation_mask(self) -> u32 {
        (1 << self.generation) - 1
    }

    const fn pack(self, index: u32, generation: u32) -> u64 {
        (generation as u64) << self.index | index as u64
    }

    // The masks keep what fits.
    #[allow(clippy::cast_possible_truncation)]
    const fn unpack(self, bits: u64) -> (u32, u32) {
        let index = bits & ((1 << self.index) - 1);
        (index as u32, (bits >> self.index) as u32 & self.generation_mask())
    }
}

impl<T> Key<T> {
    /// The place in the table; used again by later entries.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Index and generation in all bits of a word but its upper two.
    // What was packed for a word fits into one.
    #[allow(clippy::cast_possible_truncation)]
    pub fn to_bits(self) -> usize {
        PACKING.pack(self.index, self.generation) as usize
    }

    /// The inverse of [`Key::to_bits`].
    pub fn from_bits(bits: usize) -> Self {
        let (index, generation) = PACKING.unpack(bits as u64);
        Key { index, generation, of: PhantomData }
    }
}

impl<T> Slots<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<T, Of> Slots<T, Of> {
    /// Whether there is no place left for one more. On a 64-bit processor there always is.
    pub fn is_full(&self) -> bool {
        usize::BITS < 64 && self.len() >= MOST
    }

    /// Puts `value` into a free place. To be asked before: [`Slots::is_full`].
    pub fn insert(&mut self, value: T) -> Key<Of> {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.value = Some(value);
            return Key { index, generation: entry.generation, of: PhantomData };
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push(Entry { generation: 0, value: Some(value) });
        Key { index, generation: 0, of: PhantomData }
    }

    /// The entry of `key`, if it is still the same one.
    pub fn get(&self, key: Key<Of>) -> Option<&T> {
        let entry = self.entries.get(key.index())?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    /// As [`Slots::get`].
    pub fn get_mut(&mut self, key: Key<Of>) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the entry out; its key finds nothing from now on.
    pub fn remove(&mut self, key: Key<Of>) -> Option<T> {
        let entry = self.entries.get_mut(key.index())?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1) & PACKING.generation_mask();
        self.free.push(key.index);
        Some(value)
    }

    /// All entries with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Key<Of>, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let index = u32::try_from(index).ok()?;
            let key = Key { index, generation: entry.generation, of: PhantomData };
            Some((key, entry.value.as_ref()?))
        })
    }

    /// All entries, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().filter_map(|entry| entry.value.as_mut())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T, Of> Default for Slots<T, Of> {
    fn default() -> Self {
        Slots { entries: Vec::new(), free: Vec::new(), of: PhantomData }
    }
}

// By hand: a derive would ask the same of `T`.
impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Key<T> {}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::new();
        let a = slots.insert('a');
        assert_eq!(slots.remove(a), Some('a'));
        let b = slots.insert('b');
        assert_eq!(a.index(), b.index());
        assert_eq!((slots.get(a), slots.get(b)), (None, Some(&'b')));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn keys_of_32_and_of_64_bits_leave_two_for_the_kind() {
        for word in [32, 64] {
            let packing = Packing::of(word);
            let last = (packing.most() as u32, packing.generation_mask());
            for (index, generation) in [(0, 0), (7, 1), (last.0, 0), (0, last.1), last] {
                let bits = packing.pack(index, generation);
                assert!(bits.leading_zeros() >= 64 - word + 2, "{bits:x}");
                assert_eq!(packing.unpack(bits), (index, generation));
                // The kind does not get into the way.
                assert_eq!(packing.unpack(bits | 3 << (word - 2)), (index, generation));
            }
        }
    }

    #[test]
    fn a_place_takes_all_its_generations_in_turn_and_its_keys_stay_words() {
        let mut slots = Slots::new();
        let first = slots.insert(0);
        slots.remove(first);
        // As many as there are at 32 bits, but for the first one.
        for n in 1..4096 {
            let key = slots.insert(n);
            assert_ne!(key, first);
            assert_eq!(slots.get(Key::from_bits(key.to_bits())), Some(&n));
            assert_eq!(slots.get(Key::from_bits(first.to_bits())), None);
            slots.remove(key);
        }
    }

    #[test]
    #[cfg(target_pointer_width = "32")]
    fn a_full_table_says_so_and_takes_more_when_one_has_left() {
        let mut slots = Slots::new();
        let mut last = None;
        while !slots.is_full() {
            last = Some(slots.insert(()));
        }
        let last = last.expect("some were taken");
        assert_eq!(slots.len(), (1 << 18) - 1);
        assert_eq!(Key::from_bits(last.to_bits()), last);
        slots.remove(last);
        assert!(!slots.is_full());
        assert_eq!(slots.insert(()).index(), last.index());
        assert!(slots.is_full());
    }

    proptest! {
        #[test]
        fn keys_survive_the_way_through_bits(steps in prop::collection::vec(any::<bool>(), 1..100)) {
            let mut slots = Slots::new();
            let mut live = Vec::new();
            let mut dead = Vec::new();
            for (i, add) in steps.into_iter().enumerate() {
                if add || live.is_empty() {
                    live.push((slots.insert(i), i));
                } else {
                    let (key, value) = live.swap_remove(i % live.len());
                    prop_assert_eq!(slots.remove(key), Some(value));
                    dead.push(key);
                }
            }
            for (key, value) in &live {
                prop_assert_eq!(slots.get(Key::from_bits(key.to_bits())), Some(value));
            }
            for key in dead {
                prop_assert_eq!(slots.get(Key::from_bits(key.to_bits())), None);
            }
            prop_assert_eq!(slots.iter().count(), live.len());
        }
    }
}
