//! Requests that make backends break: known again for a while, so that they do
//! not walk through the whole farm. Shared by all workers, without a lock, in a
//! table of fixed size.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is remembered of a request: its method, host and path, hashed with a key of
/// this process, so that nobody can look for two that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// Places for one fingerprint; when all are taken, the one that ends first makes room.
const WAYS: usize = 4;
/// Fingerprints that are remembered in all.
const SLOTS: usize = 256;

/// The requests that are remembered.
#[derive(Debug)]
pub struct Poison {
    key: RandomState,
    /// The end of the one that is remembered longest, in milliseconds: most of the
    /// time there is none, and this is all that is looked at.
    last_until_ms: AtomicU64,
    slots: [Slot; SLOTS],
}

/// A fingerprint, and until when it counts, in milliseconds. The two are written one after
/// the other: who reads in between may take a time for that of a neighbour, which is as good.
#[derive(Debug, Default)]
struct Slot {
    print: AtomicU64,
    until_ms: AtomicU64,
}

impl Slot {
    fn holds(&self, print: Fingerprint) -> bool {
        self.print.load(Relaxed) == print.0
    }
}

impl Default for Poison {
    fn default() -> Self {
        Poison::new()
    }
}

impl Poison {
    /// Remembers nothing yet; has a key of its own.
    pub fn new() -> Self {
        Poison {
            key: RandomState::new(),
            last_until_ms: AtomicU64::new(0),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }

    /// The fingerprint of a request; `path` is without the query.
    pub fn fingerprint(&self, method: &str, host: Option<&str>, path: &str) -> Fingerprint {
        // Hashed with their lengths: no two triples run into each other.
        Fingerprint(self.key.hash_one((method, host, path)))
    }

    /// Whether this request is remembered at `now_ms`.
    pub fn knows(&self, print: Fingerprint, now_ms: u64) -> bool {
        self.last_until_ms.load(Relaxed) > now_ms
            && self.ways(print).iter().any(|slot| slot.holds(print) && slot.until_ms.load(Relaxed) > now_ms)
    }

    /// Remembers this request until `until_ms`.
    pub fn remember(&self, print: Fingerprint, until_ms: u64) {
        let ways = self.ways(print);
        let known = ways.iter().find(|slot| slot.holds(print));
        let first_to_end = ways.iter().min_by_key(|slot| slot.until_ms.load(Relaxed));
        if let Some(slot) = known.or(first_to_end) {
            slot.until_ms.store(until_ms, Relaxed);
            slot.print.store(print.0, Relaxed);
            self.last_until_ms.fetch_max(until_ms, Relaxed);
        }
    }

    /// Forgets this request: somebody has answered it.
    pub fn forget(&self, print: Fingerprint) {
        for slot in self.ways(print) {
            if slot.holds(print) {
                slot.until_ms.store(0, Relaxed);
            }
        }
    }

    fn ways(&self, print: Fingerprint) -> &[Slot] {
        let set = print.0 as usize % (SLOTS / WAYS);
        &self.slots[set * WAYS..(set + 1) * WAYS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_remembered_for_its_time() {
        let poison = Poison::new();
        let print = poison.fingerprint("GET", Some("h"), "/a");
        assert!(!poison.knows(print, 0));
        poison.remember(print, 100);
        assert!(poison.knows(print, 0) && poison.knows(print, 99));
        assert!(!poison.knows(print, 100));
        poison.remember(print, 300);
        assert!(poison.knows(print, 299));
        poison.forget(print);
        assert!(!poison.knows(print, 200));
    }

    #[test]
    fn method_host_and_path_make_a_request() {
        let poison = Poison::new();
        let print = |method, host, path| poison.fingerprint(method, host, path);
        let all = [
            print("GET", Some("h"), "/a"),
            print("HEAD", Some("h"), "/a"),
            print("GET", Some("i"), "/a"),
            print("GET", None, "/a"),
            print("GET", Some(""), "/a"),
            print("GET", Some("h/"), "a"),
            print("GET", Some("h"), "/b"),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all[index + 1..].iter().all(|other| one != other), "{index}");
        }
        assert_eq!(all[0], print("GET", Some("h"), "/a"));
    }

    #[test]
    fn each_process_has_its_own_key() {
        let prints = [Poison::new(), Poison::new()].map(|poison| poison.fingerprint("GET", None, "/"));
        assert_ne!(prints[0], prints[1]);
    }

    #[test]
    fn the_table_is_bounded_and_the_first_to_end_makes_room() {
        let poison = Poison::new();
        // All of one set.
        let print = |n: usize| Fingerprint((n * (SLOTS / WAYS)) as u64 + 1);
        for n in 0..WAYS {
            poison.remember(print(n), 1000 - n as u64);
        }
        assert!((0..WAYS).all(|n| poison.knows(print(n), 0)));
        poison.remember(print(WAYS), 2000);
        let known: Vec<usize> = (0..=WAYS).filter(|&n| poison.knows(print(n), 0)).collect();
        assert_eq!(known, [0, 1, 2, 4]);
        // Another set is not touched by that.
        let other = Fingerprint(2);
        assert!(!poison.knows(other, 0));
    }

    #[test]
    fn an_empty_place_is_no_request() {
        let poison = Poison::new();
        poison.remember(Fingerprint(64), 1000);
        // Places begin with 0, which is a fingerprint like any other.
        assert!(!poison.knows(Fingerprint(0), 0));
    }

    #[test]
    fn many_workers_remember_and_forget() {
        let poison = Poison::new();
        std::thread::scope(|scope| {
            for worker in 0..4u64 {
                let poison = &poison;
                scope.spawn(move || {
                    for n in 0..10_000u64 {
                        let print = Fingerprint(n * 31 + worker);
                        poison.remember(print, 1 + n % 50);
                        poison.forget(print);
                        assert!(!poison.knows(print, 60));
                    }
                });
            }
        });
        assert!((0..20).all(|n| !poison.knows(Fingerprint(n), 50)));
    }
}
