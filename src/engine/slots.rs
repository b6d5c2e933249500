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

/// Generations wrap here, so that they fit into a poll token beside an index.
const GENERATION_MASK: u32 = (1 << 30) - 1;

impl<T> Key<T> {
    /// The place in the table; used again by later entries.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Index and generation in 62 bits.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Key::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        // The masks keep what fits.
        #[allow(clippy::cast_possible_truncation)]
        let (index, generation) = (bits as u32, (bits >> 32) as u32 & GENERATION_MASK);
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
    /// Puts `value` into a free place.
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
        entry.generation = entry.generation.wrapping_add(1) & GENERATION_MASK;
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
