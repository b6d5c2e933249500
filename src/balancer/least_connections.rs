//! `Least-Connections`: the least busy server for its weight.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::sequence::{Member, weigh};
use super::{Ask, Balancer, CacheLine, Candidates, Reason};

/// The lowest ratio of requests in flight to weight. Among equals the cursor decides: the search
/// starts behind the server that was chosen last, so idle servers take turns.
#[derive(Debug)]
pub(super) struct LeastConnections {
    members: Box<[Member]>,
    cursor: CacheLine<AtomicUsize>,
}

impl LeastConnections {
    pub(super) fn new(list: &[usize]) -> LeastConnections {
        LeastConnections { members: weigh(list).into(), cursor: CacheLine::default() }
    }

    /// The least busy eligible backend, and how many steps behind `start` it was found.
    fn search(&self, start: usize, candidates: &impl Candidates) -> Option<(usize, usize)> {
        let (before, from) = self.members.split_at(start);
        let mut best: Option<(usize, Load)> = None;
        for (steps, member) in from.iter().chain(before).enumerate() {
            if !candidates.eligible(member.index) {
                continue;
            }
            let load = Load {
                in_flight: candidates.in_flight(member.index).into(),
                weight: member.weight.into(),
                index: member.index,
            };
            if best.as_ref().is_none_or(|(_, least)| load.is_below(least)) {
                best = Some((steps, load));
            }
        }
        best.map(|(steps, load)| (load.index, steps))
    }
}

impl Balancer for LeastConnections {
    fn choose(&self, _ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        // Relaxed: the cursor orders nothing but itself.
        let mut cursor = self.cursor.0.load(Ordering::Relaxed);
        let mut attempts = MAX_ATTEMPTS;
        loop {
            let start = cursor.checked_rem(self.members.len())?;
            let (index, steps) = self.search(start, candidates)?;
            attempts -= 1;
            let moved = self.cursor.0.compare_exchange(
                cursor,
                cursor.wrapping_add(steps + 1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match moved {
                Err(current) if attempts > 0 => cursor = current,
                _ => return Some(index),
            }
        }
    }

    fn foresee(&self, _ask: &Ask<'_>, candidates: &impl Candidates, moved: &mut usize) -> Option<usize> {
        let cursor = self.cursor.0.load(Ordering::Relaxed).wrapping_add(*moved);
        let (index, steps) = self.search(cursor.checked_rem(self.members.len())?, candidates)?;
        *moved += steps + 1;
        Some(index)
    }

    fn reason(&self, _ask: &Ask<'_>) -> Reason {
        let of = self.members.len();
        Reason::LeastBusy { place: self.cursor.0.load(Ordering::Relaxed).checked_rem(of).unwrap_or(0), of }
    }
}

/// How busy one backend is.
struct Load {
    in_flight: u64,
    weight: u64,
    index: usize,
}

impl Load {
    /// Compares the ratios by multiplying crosswise: exact, and 32 by 32 bits cannot overflow.
    fn is_below(&self, other: &Load) -> bool {
        self.in_flight * other.weight < other.in_flight * self.weight
    }
}

/// Searches for one request. Another thread that moved the cursor has probably just taken the
/// server found here, so looking again spreads a burst; after some it isn't worth it.
const MAX_ATTEMPTS: u32 = 4;

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::super::testing::{Fake, letters, plain, without};
    use super::*;

    /// Chooses `count` times; with `keep` every request stays in flight.
    fn choices(list: &[usize], count: usize, keep: bool, mut fake: Fake) -> String {
        let balancer = LeastConnections::new(list);
        let tried = Tried::new();
        fake.in_flight.resize(8, 0);
        letters(count, |_| {
            let index = balancer.choose(&plain(&tried), &fake)?;
            fake.in_flight[index] += u32::from(keep);
            Some(index)
        })
    }

    fn busy(in_flight: &[u32]) -> Fake {
        Fake { ineligible: Vec::new(), in_flight: in_flight.to_vec() }
    }

    #[test]
    fn takes_the_least_busy() {
        assert_eq!(choices(&[0, 1, 2], 6, true, busy(&[2, 0, 1])), "bcbcab");
        assert_eq!(choices(&[0, 1, 2], 3, false, busy(&[2, 1, 1])), "bcb");
        assert_eq!(choices(&[0], 2, true, busy(&[u32::MAX - 5])), "aa");
        assert_eq!(choices(&[], 2, true, Fake::default()), "--");
    }

    #[test]
    fn idle_ones_take_turns() {
        assert_eq!(choices(&[0, 1, 2], 7, false, Fake::default()), "abcabca");
        // b is busy: its turns don't all fall to c.
        assert_eq!(choices(&[0, 1, 2], 6, false, busy(&[0, 1, 0])), "acacac");
    }

    #[test]
    fn weight_counts() {
        let got = choices(&[0, 0, 0, 1, 2], 10, true, Fake::default());
        assert_eq!(got, "abcaabcaaa");
        let share = |letter| got.chars().filter(|&it| it == letter).count();
        assert_eq!((share('a'), share('b'), share('c')), (6, 2, 2));
    }

    #[test]
    fn passes_over_what_is_not_eligible() {
        assert_eq!(choices(&[0, 1, 2], 4, false, without(&[1])), "acac");
        assert_eq!(choices(&[0, 1, 2], 2, false, without(&[0, 1, 2])), "--");
    }

    #[test]
    fn the_cursor_may_wrap() {
        let balancer = LeastConnections::new(&[0, 1, 2]);
        balancer.cursor.0.store(usize::MAX, Ordering::Relaxed);
        let tried = Tried::new();
        let got = letters(4, |_| balancer.choose(&plain(&tried), &Fake::default()));
        assert_eq!(got, "aabc", "one turn is repeated, once");
    }

    #[test]
    fn ratios_are_compared_exactly_at_the_limits() {
        let load = |in_flight, weight| Load { in_flight, weight, index: 0 };
        let most = u64::from(u32::MAX);
        assert!(load(most - 1, most).is_below(&load(most, most)));
        assert!(!load(most, most).is_below(&load(1, 1)));
        assert!(load(2, 3).is_below(&load(3, 4)));
    }
}
