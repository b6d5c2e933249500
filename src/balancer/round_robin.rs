//! `Round-Robin`: servers in turn, without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::sequence::smooth;
use super::{Ask, Balancer, CacheLine, Candidates, Reason, walk};

/// Every request takes a ticket; the ticket names a slot of the smooth sequence.
///
/// Where the slot's backend is not eligible the request takes another ticket instead of walking
/// on: the turns of a missing server then fall to all others, not to its neighbour alone. Threads
/// that do this at the same time may take each other's turns, which is the slight unfairness that
/// the absence of a lock costs.
#[derive(Debug)]
pub(super) struct RoundRobin {
    sequence: Box<[usize]>,
    cursor: CacheLine<AtomicUsize>,
}

impl RoundRobin {
    pub(super) fn new(list: &[usize]) -> RoundRobin {
        RoundRobin { sequence: smooth(list), cursor: CacheLine::default() }
    }

    /// The slot of the next ticket. The counter may wrap: the round is cut short once, no more.
    fn ticket(&self) -> Option<usize> {
        // Relaxed: the counter orders nothing but itself.
        self.cursor.0.fetch_add(1, Ordering::Relaxed).checked_rem(self.sequence.len())
    }
}

impl Balancer for RoundRobin {
    fn choose(&self, _ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        let mut slot = self.ticket()?;
        for _ in 1..self.sequence.len().min(MAX_TICKETS) {
            if candidates.eligible(self.sequence[slot]) {
                return Some(self.sequence[slot]);
            }
            slot = self.ticket()?;
        }
        walk(&self.sequence, slot, candidates)
    }

    fn foresee(&self, _ask: &Ask<'_>, candidates: &impl Candidates, moved: &mut usize) -> Option<usize> {
        let mut ticket = || {
            let count = self.cursor.0.load(Ordering::Relaxed).wrapping_add(*moved);
            *moved += 1;
            count.checked_rem(self.sequence.len())
        };
        let mut slot = ticket()?;
        for _ in 1..self.sequence.len().min(MAX_TICKETS) {
            if candidates.eligible(self.sequence[slot]) {
                return Some(self.sequence[slot]);
            }
            slot = ticket()?;
        }
        walk(&self.sequence, slot, candidates)
    }

    fn reason(&self, _ask: &Ask<'_>) -> Reason {
        let of = self.sequence.len();
        Reason::Turn { place: self.cursor.0.load(Ordering::Relaxed).checked_rem(of).unwrap_or(0), of }
    }
}

/// Tickets for one request, so that a long list of dead servers doesn't wear out the counter's
/// cache line.
const MAX_TICKETS: usize = 128;

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::super::testing::{Fake, letters, plain, without};
    use super::*;

    fn choices(round_robin: &RoundRobin, count: usize, fake: &Fake) -> String {
        let tried = Tried::new();
        letters(count, |_| round_robin.choose(&plain(&tried), fake))
    }

    #[test]
    fn takes_turns() {
        let all = Fake::default();
        assert_eq!(choices(&RoundRobin::new(&[0, 1, 2]), 7, &all), "abcabca");
        assert_eq!(choices(&RoundRobin::new(&[0, 0, 0, 0, 0, 1, 2]), 14, &all), "aabacaaaabacaa");
        assert_eq!(choices(&RoundRobin::new(&[0, 0, 1, 1]), 4, &all), "abab");
        assert_eq!(choices(&RoundRobin::new(&[]), 2, &all), "--");
    }

    #[test]
    fn survivors_share_evenly() {
        let round_robin = RoundRobin::new(&[0, 1, 2, 3]);
        assert_eq!(choices(&round_robin, 9, &without(&[1])), "acdacdacd");
        assert_eq!(choices(&round_robin, 4, &without(&[0, 1, 2])), "dddd");
        assert_eq!(choices(&round_robin, 2, &without(&[0, 1, 2, 3])), "--");
    }

    #[test]
    fn a_single_survivor_is_found_in_a_list_beyond_the_tickets() {
        let list: Vec<usize> = (0..1000).collect();
        let others: Vec<usize> = (0..1000).filter(|&index| index != 700).collect();
        let round_robin = RoundRobin::new(&list);
        let tried = Tried::new();
        for _ in 0..20 {
            assert_eq!(round_robin.choose(&plain(&tried), &without(&others)), Some(700));
        }
    }

    #[test]
    fn the_counter_may_wrap() {
        let round_robin = RoundRobin::new(&[0, 1, 2]);
        round_robin.cursor.0.store(usize::MAX - 2, Ordering::Relaxed);
        let got = choices(&round_robin, 9, &Fake::default());
        assert_eq!(&got[3..], "abcabc");
    }
}
