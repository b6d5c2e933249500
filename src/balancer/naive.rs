//! `Naive`: the client connection's number chooses the server.

use super::{Ask, Balancer, Candidates, Reason, walk};

/// Server `connection mod n` of the list as it was written, else the next eligible one. Keeps no
/// state: a client connection stays with its server, and the lowest free connection number fills
/// the first servers first.
#[derive(Debug)]
pub(super) struct Naive {
    list: Box<[usize]>,
}

impl Naive {
    pub(super) fn new(list: &[usize]) -> Naive {
        Naive { list: list.into() }
    }
}

impl Balancer for Naive {
    fn choose(&self, ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        let connection = usize::try_from(ask.connection).unwrap_or(usize::MAX);
        let start = connection.checked_rem(self.list.len())?;
        walk(&self.list, start, candidates)
    }

    fn reason(&self, ask: &Ask<'_>) -> Reason {
        let (number, of) = (ask.connection, self.list.len());
        let connection = usize::try_from(number).unwrap_or(usize::MAX);
        Reason::Connection { number, place: connection.checked_rem(of).unwrap_or(0), of }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Fake, letters, plain, without};
    use super::super::{ConnectionNumbers, Tried};
    use super::*;

    fn choices(list: &[usize], fake: &Fake) -> String {
        let naive = Naive::new(list);
        let tried = Tried::new();
        letters(7, |n| {
            let connection = u32::try_from(n).unwrap();
            naive.choose(&Ask { connection, ..plain(&tried) }, fake)
        })
    }

    #[test]
    fn follows_the_connection_number() {
        assert_eq!(choices(&[0, 1, 2], &Fake::default()), "abcabca");
        assert_eq!(choices(&[0, 0, 1], &Fake::default()), "aabaaba");
    }

    #[test]
    fn walks_on_when_its_own_is_not_eligible() {
        assert_eq!(choices(&[0, 1, 2], &without(&[1])), "accacca");
        assert_eq!(choices(&[0, 0, 1], &without(&[0])), "bbbbbbb");
        assert_eq!(choices(&[0, 1], &without(&[0, 1])), "-------");
        assert_eq!(choices(&[], &Fake::default()), "-------");
    }

    #[test]
    fn a_closed_connection_frees_the_first_server() {
        let numbers = ConnectionNumbers::new();
        let naive = Naive::new(&[0, 1, 2]);
        let tried = Tried::new();
        let server_of = |connection| naive.choose(&Ask { connection, ..plain(&tried) }, &Fake::default());

        let first = numbers.take();
        assert_eq!(server_of(first), Some(0));
        assert_eq!(server_of(numbers.take()), Some(1));
        numbers.release(first);
        assert_eq!(server_of(numbers.take()), Some(0));
    }
}
