//! Names for requests: 128 bits, as 32 hexadecimal digits.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::line::hexadecimal;
use crate::balancer::draw;

/// Where the names of a process come from.
#[derive(Debug, Default)]
pub struct IdSource {
    seed: [u64; 2],
    workers: AtomicU64,
}

/// Makes the names of one worker.
#[derive(Debug)]
pub struct Ids {
    seed: [u64; 2],
    next: u64,
}

/// A worker has so many names before they could be those of another.
const EACH: u32 = 48;

impl IdSource {
    /// A source of a process with these random numbers.
    pub fn new(seed: [u64; 2]) -> Self {
        IdSource { seed, workers: AtomicU64::new(0) }
    }

    /// What the next worker makes its names of.
    pub fn join(&self) -> Ids {
        Ids { seed: self.seed, next: self.workers.fetch_add(1, Relaxed) << EACH }
    }
}

impl Ids {
    /// Puts the next name in place of what is there. No two of a process are equal: each half is the
    /// image of another number under a map that has an inverse.
    pub fn write(&mut self, out: &mut String) {
        self.next = self.next.wrapping_add(1);
        out.clear();
        for seed in self.seed {
            hexadecimal(out, draw(seed, self.next));
        }
    }
}

/// Whether a name that somebody else gave is fit for headers and logs: 1 to 128 visible characters.
pub fn is_sane(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_names_are_equal_across_workers_and_processes() {
        let mut seen = HashSet::new();
        for process in 0..3 {
            let source = IdSource::new([process, !process]);
            for _ in 0..4 {
                let mut ids = source.join();
                for _ in 0..1000 {
                    let mut id = String::from("before");
                    ids.write(&mut id);
                    assert!(id.len() == 32 && is_sane(id.as_bytes()), "{id}");
                    assert!(seen.insert(id));
                }
            }
        }
    }

    #[test]
    fn only_short_and_visible_names_are_sane() {
        assert!(is_sane(b"a") && is_sane(&[b'~'; 128]));
        for id in [&b""[..], &[b'a'; 129], b"a b", b"a\tb", b"\xc3\xa9", b"a\x7f"] {
            assert!(!is_sane(id), "{id:?}");
        }
    }
}
