//! `Locking-Round-Robin`: servers in turn, exactly.

use parking_lot::Mutex;

use super::sequence::smooth;
use super::{Ask, Balancer, CacheLine, Candidates, Reason};

/// As `Round-Robin`, with a lock around the choice: looking for an eligible server and moving the
/// cursor past it is one step, so no two threads disturb each other's turns. The lock is held for
/// the choice alone, never for a connect.
#[derive(Debug)]
pub(super) struct LockingRoundRobin {
    sequence: Box<[usize]>,
    /// The slot whose turn is next; always below the length of the sequence.
    next: CacheLine<Mutex<usize>>,
}

impl LockingRoundRobin {
    pub(super) fn new(list: &[usize]) -> LockingRoundRobin {
        LockingRoundRobin { sequence: smooth(list), next: CacheLine::default() }
    }
}

impl Balancer for LockingRoundRobin {
    fn choose(&self, _ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        let len = self.sequence.len();
        let mut next = self.next.0.lock();
        for _ in 0..len {
            let index = self.sequence[*next];
            *next = if *next + 1 == len { 0 } else { *next + 1 };
            if candidates.eligible(index) {
                return Some(index);
            }
        }
        None
    }

    fn foresee(&self, _ask: &Ask<'_>, candidates: &impl Candidates, moved: &mut usize) -> Option<usize> {
        let len = self.sequence.len();
        let next = *self.next.0.lock();
        for _ in 0..len {
            let index = self.sequence[(next + *moved) % len];
            *moved += 1;
            if candidates.eligible(index) {
                return Some(index);
            }
        }
        None
    }

    fn reason(&self, _ask: &Ask<'_>) -> Reason {
        Reason::Turn { place: *self.next.0.lock(), of: self.sequence.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::super::testing::{Fake, letters, plain, without};
    use super::*;

    fn choices(balancer: &LockingRoundRobin, count: usize, fake: &Fake) -> String {
        let tried = Tried::new();
        letters(count, |_| balancer.choose(&plain(&tried), fake))
    }

    #[test]
    fn takes_turns() {
        let all = Fake::default();
        assert_eq!(choices(&LockingRoundRobin::new(&[0, 1, 2]), 7, &all), "abcabca");
        let weighted = LockingRoundRobin::new(&[0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(choices(&weighted, 14, &all), "aabacaaaabacaa");
        assert_eq!(choices(&LockingRoundRobin::new(&[]), 2, &all), "--");
    }

    #[test]
    fn survivors_share_evenly() {
        let balancer = LockingRoundRobin::new(&[0, 1, 2, 3]);
        assert_eq!(choices(&balancer, 9, &without(&[1])), "acdacdacd");
        assert_eq!(choices(&balancer, 4, &without(&[0, 1, 2])), "dddd");
        assert_eq!(choices(&balancer, 2, &without(&[0, 1, 2, 3])), "--");
    }
}
