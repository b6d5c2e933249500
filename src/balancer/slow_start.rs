//! How much may a backend get that has just come back?

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The whole, where shares are counted in thousandths.
pub(super) const WHOLE: u32 = 1000;

/// What a backend begins with.
const FIRST: u32 = 100;

/// Which requests pass a backend over that starts slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spared {
    /// None.
    None,
    /// Every so many of those that would go there, evenly spread.
    ByTurn,
    /// Always those of the same clients, who have this number: they move once, and stay.
    ByClient(u64),
}

/// The share of a backend that has been back for `back_ms` milliseconds, in thousandths of what it
/// will have after `slow_start_ms`.
pub(super) fn share(back_ms: u64, slow_start_ms: u64) -> u32 {
    if back_ms >= slow_start_ms {
        return WHOLE;
    }
    // Below 900, since the quotient is below one.
    let risen = u128::from(back_ms) * u128::from(WHOLE - FIRST) / u128::from(slow_start_ms);
    FIRST + u32::try_from(risen).unwrap_or(WHOLE - FIRST)
}

/// Counts the turns of one backend that starts slowly: of many it takes its share, evenly spread.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU32);

impl Turns {
    /// Is this turn taken by a backend with so many thousandths?
    pub(super) fn take(&self, share: u32) -> bool {
        let credit = |have: u32| have.saturating_add(share);
        let change =
            |have: u32| Some(if credit(have) >= WHOLE { credit(have) - WHOLE } else { credit(have) });
        // Relaxed: a count that orders nothing but itself.
        let before = self.0.fetch_update(Relaxed, Relaxed, change);
        before.is_ok_and(|have| credit(have) >= WHOLE)
    }

    /// Would [`take`](Turns::take) take this turn?
    pub(super) fn would_take(&self, share: u32) -> bool {
        self.0.load(Relaxed).saturating_add(share) >= WHOLE
    }

    /// Begins anew: the first turn is not taken before its time.
    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_rises_from_a_tenth_to_the_whole() {
        let shares = [0, 1, 1000, 2500, 4999, 5000, 6000].map(|back_ms| share(back_ms, 5000));
        assert_eq!(shares, [100, 100, 280, 550, 999, 1000, 1000]);
        assert_eq!(share(0, 0), 1000, "switched off");
        assert_eq!(share(u64::MAX - 1, u64::MAX), 999);
    }

    #[test]
    fn turns_are_spread_evenly() {
        let taken = |share: u32| {
            let turns = Turns::default();
            (0..20).map(|_| if turns.take(share) { 'x' } else { '-' }).collect::<String>()
        };
        assert_eq!(taken(100), "---------x---------x");
        assert_eq!(taken(250), "---x---x---x---x---x");
        assert_eq!(taken(500), "-x-x-x-x-x-x-x-x-x-x");
        assert_eq!(taken(900), "-xxxxxxxxx-xxxxxxxxx");
        assert_eq!(taken(1000), "xxxxxxxxxxxxxxxxxxxx");
    }
}
