//! `First-Alive`: the rest of the list is a spare.

use super::{Ask, Balancer, Candidates, Reason, walk};

/// The first eligible server in the order of the list. Repetition changes nothing.
#[derive(Debug)]
pub(super) struct FirstAlive {
    list: Box<[usize]>,
}

impl FirstAlive {
    pub(super) fn new(list: &[usize]) -> FirstAlive {
        FirstAlive { list: list.into() }
    }
}

impl Balancer for FirstAlive {
    fn choose(&self, _ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        walk(&self.list, 0, candidates)
    }

    fn reason(&self, _ask: &Ask<'_>) -> Reason {
        Reason::First
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tried;
    use super::super::testing::{Fake, letters, plain, without};
    use super::*;

    fn choices(list: &[usize], fake: &Fake) -> String {
        let first_alive = FirstAlive::new(list);
        let tried = Tried::new();
        letters(4, |_| first_alive.choose(&plain(&tried), fake))
    }

    #[test]
    fn takes_the_first_that_is_eligible() {
        assert_eq!(choices(&[0, 1, 2], &Fake::default()), "aaaa");
        assert_eq!(choices(&[2, 1, 0], &Fake::default()), "cccc");
        assert_eq!(choices(&[0, 0, 1, 2], &without(&[0])), "bbbb");
        assert_eq!(choices(&[0, 1, 2], &without(&[0, 1])), "cccc");
        assert_eq!(choices(&[0, 1, 2], &without(&[0, 1, 2])), "----");
        assert_eq!(choices(&[], &Fake::default()), "----");
    }
}
