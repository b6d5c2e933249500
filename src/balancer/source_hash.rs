//! `Source-Hash`: the client's address chooses the server.

use super::{Ask, Balancer, Candidates, Reason, draw, walk};

/// A hash of the client's address names a place in the list, repetitions included, so weights
/// count. The same for every worker and after every start. When that server is not eligible its
/// clients go to the next distinct one, and come back when it does; nobody else moves.
#[derive(Debug)]
pub(super) struct SourceHash {
    list: Box<[usize]>,
}

impl SourceHash {
    pub(super) fn new(list: &[usize]) -> SourceHash {
        SourceHash { list: list.into() }
    }
}

impl Balancer for SourceHash {
    fn choose(&self, ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        let places = u64::try_from(self.list.len()).unwrap_or(u64::MAX);
        let place = hash(ask.source).checked_rem(places)?;
        walk(&self.list, usize::try_from(place).unwrap_or(0), candidates)
    }

    fn reason(&self, ask: &Ask<'_>) -> Reason {
        let (hash, of) = (hash(ask.source), self.list.len());
        let place = hash.checked_rem(u64::try_from(of).unwrap_or(u64::MAX)).unwrap_or(0);
        Reason::AddressHash { hash, place: usize::try_from(place).unwrap_or(0), of }
    }
}

/// A number that a client address keeps, and that says nothing about the server it leads to.
pub(super) fn coin(source: &[u8]) -> u64 {
    draw(1, hash(source))
}

/// FNV-1a over the bytes, then a mixing of the bits: addresses differ in their last byte mostly,
/// and FNV alone leaves too much of that in the low bits.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = FNV_OFFSET;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(MIX[0]);
    hash = (hash ^ (hash >> 33)).wrapping_mul(MIX[1]);
    hash ^ (hash >> 33)
}

/// The parameters of 64-bit FNV-1a.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// The multipliers of the 64-bit finalizer of MurmurHash3.
const MIX: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::super::testing::{Fake, letters, plain, without};
    use super::*;

    fn choice(list: &[usize], source: &[u8], fake: &Fake) -> Option<usize> {
        let tried = Tried::new();
        SourceHash::new(list).choose(&Ask { source, ..plain(&tried) }, fake)
    }

    /// For the clients 192.0.2.0, 192.0.2.1 and so on.
    fn choices(list: &[usize], fake: &Fake) -> String {
        letters(16, |n| choice(list, &[192, 0, 2, u8::try_from(n).unwrap()], fake))
    }

    #[test]
    fn is_the_same_after_every_start() {
        // Written down once: a changed hash would send all clients elsewhere after an upgrade.
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash(&[192, 0, 2, 1]), 0x8039_3182_6a22_88ea);
        assert_eq!(choices(&[0, 1, 2], &Fake::default()), "abbabaabbacacccb");
    }

    #[test]
    fn only_clients_of_the_missing_server_move() {
        let all = choices(&[0, 1, 2], &Fake::default());
        assert_eq!(choices(&[0, 1, 2], &without(&[1])), all.replace('b', "c"));
        assert_eq!(choices(&[0, 1, 2], &without(&[2])), all.replace('c', "a"));
        assert_eq!(choices(&[0, 1, 2], &without(&[0, 1])), "c".repeat(16));
        assert_eq!(choices(&[0, 1, 2], &without(&[0, 1, 2])), "-".repeat(16));
        assert_eq!(choices(&[], &Fake::default()), "-".repeat(16));
    }

    #[test]
    fn weights_count() {
        let mut counts = [0_u32; 3];
        for n in 0..10_000_u32 {
            let source = (0x0a00_0000 + n).to_be_bytes();
            counts[choice(&[0, 0, 0, 1, 2], &source, &Fake::default()).unwrap()] += 1;
        }
        for (count, expected) in counts.into_iter().zip([6000, 2000, 2000_u32]) {
            assert!(count.abs_diff(expected) < 200, "{counts:?}");
        }
    }
}
