//! In which order do backends of unequal weight take turns?

use std::collections::HashMap;

/// The turns of one round: each backend as often as its weight says, spread as evenly as the
/// weights allow. Weights 5, 1, 1 give a a b a c a a rather than a a a a a b c.
///
/// Weights are divided by their greatest common divisor first, so equal weights give one turn
/// each, in the order of the list.
pub(super) fn smooth(list: &[usize]) -> Box<[usize]> {
    let members = weigh(list);
    let divisor = members.iter().fold(0, |divisor, member| gcd(divisor, member.weight));
    if divisor == 0 {
        return Box::default();
    }
    // In every turn each backend gains its weight; the richest takes the turn and pays for it
    // with the sum of all weights. Of equally rich ones the first in the list is served.
    let weights: Vec<i64> = members.iter().map(|it| i64::from(it.weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut credits = vec![0_i64; members.len()];
    (0..total)
        .map(|_| {
            let mut richest = 0;
            for at in 0..credits.len() {
                credits[at] += weights[at];
                if credits[at] > credits[richest] {
                    richest = at;
                }
            }
            credits[richest] -= total;
            members[richest].index
        })
        .collect()
}

/// The distinct backends of a list in order of first appearance, with their weights.
pub(super) fn weigh(list: &[usize]) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let mut places = HashMap::new();
    for &index in list {
        let place = *places.entry(index).or_insert(members.len());
        match members.get_mut(place) {
            Some(member) => member.weight = member.weight.saturating_add(1),
            None => members.push(Member { index, weight: 1 }),
        }
    }
    members
}

/// One backend of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) index: usize,
    /// How often the list names it; never 0.
    pub(super) weight: u32,
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::super::testing::letters;
    use super::*;
    use proptest::prelude::*;

    fn of_weights(weights: &[usize]) -> Vec<usize> {
        weights.iter().enumerate().flat_map(|(index, &weight)| vec![index; weight]).collect()
    }

    fn round(list: &[usize]) -> String {
        let sequence = smooth(list);
        letters(sequence.len(), |n| Some(sequence[n]))
    }

    #[test]
    fn unequal_weights_are_interleaved() {
        for (weights, expected) in [
            (&[5, 1, 1][..], "aabacaa"),
            (&[3, 1, 1], "abaca"),
            (&[4, 2], "aba"),
            (&[1, 1, 1], "abc"),
            (&[2, 2, 2], "abc"),
            (&[1, 2], "bab"),
            (&[3, 2], "ababa"),
            (&[1, 2, 3], "cbacbc"),
            (&[6, 3, 3], "abca"),
            (&[7], "a"),
            (&[0, 1], "b"),
            (&[], ""),
        ] {
            assert_eq!(round(&of_weights(weights)), expected, "{weights:?}");
        }
    }

    #[test]
    fn order_is_that_of_first_appearance() {
        assert_eq!(round(&[2, 0, 1]), "cab");
        assert_eq!(round(&[2, 0, 2, 0]), "ca");
    }

    proptest! {
        #[test]
        fn every_backend_gets_its_share_and_is_spread(
            weights in prop::collection::vec(1_usize..12, 1..6)
        ) {
            let sequence = smooth(&of_weights(&weights));
            let total: usize = weights.iter().sum();
            prop_assert_eq!(total % sequence.len(), 0);
            for (index, &weight) in weights.iter().enumerate() {
                let turns = sequence.iter().filter(|&&it| it == index).count();
                prop_assert_eq!(turns * total, weight * sequence.len());
            }
            // With a lighter rival to put in between, nobody has a run longer than the weights ask.
            let heaviest = weights.iter().max().copied().unwrap_or(0);
            let others = total - heaviest;
            if others > 0 {
                let longest = sequence.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
                prop_assert!(longest.unwrap_or(0) <= heaviest.div_ceil(others) + 1);
            }
        }
    }
}
