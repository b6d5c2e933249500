//! Whether a request that failed may be asked again, and where: one table,
//! without side effects. `attempts.rs` says what goes in and does what comes out.

use crate::config::{RetryCause, RetryOn};

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no connection.
    NoConnection,
    /// The connection was lost before a byte of the answer.
    Lost,
    /// The backend did not take the request, or did not begin to answer, in time.
    TooSlow,
    /// What came is no proper answer, or broke off inside its head.
    Invalid,
    /// An answer with this status.
    Status(u16),
    /// Something inside an answer that had begun.
    InAnswer,
}

/// Over which connection it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// One that was opened for this attempt.
    Fresh,
    /// One out of the pool.
    Pooled,
}

/// What it does to ask the request a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeating {
    /// Nothing: it is idempotent (RFC 9110 9.2.2), or was declared to be.
    Harmless,
    /// It may be carried out twice.
    Harmful,
    /// It can't be done: a part of the request is not here any more, or the client
    /// has got a part of an answer.
    Impossible,
}

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// What went wrong.
    pub trouble: Trouble,
    /// Over which connection.
    pub connection: Connection,
    /// Some byte of the request may have reached the backend.
    pub sent: bool,
    /// What repeating it does.
    pub repeating: Repeating,
}

/// What is left for a further attempt.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Some backend was not asked yet.
    pub others: bool,
    /// What `RetryCount` still allows.
    pub count: u32,
    /// `RetryTimeOut` is not over.
    pub time: bool,
    /// `RetryBudget` has room.
    pub budget: bool,
}

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same backend over a new connection: the pooled one was stale.
    SameBackend,
    /// Another backend that was not asked yet.
    OtherBackend(Price),
    /// Tell the client.
    GiveUp(Because),
}

/// What a further attempt takes out of `RetryCount` and `RetryBudget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Price {
    /// Nothing: no backend has more work by it than without it.
    Free,
    /// One of each.
    One,
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// `RetryOn` does not name what went wrong.
    NotAsked,
    /// It might be carried out twice, or cannot be asked again.
    Unrepeatable,
    /// All backends were asked.
    NobodyLeft,
    /// `RetryCount` is used up.
    Count,
    /// `RetryTimeOut` is over.
    Time,
    /// `RetryBudget` is used up.
    Budget,
}

/// The rule. First row that fits; a row goes on only if `RetryOn` names its cause and
/// `RetryTimeOut` is not over.
///
/// | what went wrong | cause | goes on if | to |
/// | --- | --- | --- | --- |
/// | inside an answer | none | never | |
/// | no connection, or a fresh one lost before a byte was sent | `connect` | always | another, free |
/// | a pooled one lost | `stale` | nothing was sent, or repeating is harmless | the same afresh, free |
/// | a fresh one lost | `reset` | repeating is harmless | another, at a price |
/// | too slow | `timeout` | nothing was sent, or repeating is harmless | another, at a price |
/// | no answer | `invalid` | as above | another, at a price |
/// | an answer | its status | as above | another, at a price |
///
/// At a price: somebody else is left, and so are `RetryCount` and `RetryBudget`. What
/// cannot be repeated never goes on.
pub fn next(failed: &Failed, on: &RetryOn, left: &Left) -> Next {
    let (cause, next) = match (failed.trouble, failed.connection) {
        (Trouble::InAnswer, _) => return Next::GiveUp(Because::Unrepeatable),
        (Trouble::NoConnection, _) => (RetryCause::Connect, Next::OtherBackend(Price::Free)),
        (Trouble::Lost, Connection::Pooled) => (RetryCause::Stale, Next::SameBackend),
        (Trouble::Lost, Connection::Fresh) if !failed.sent => {
            (RetryCause::Connect, Next::OtherBackend(Price::Free))
        }
        (Trouble::Lost, Connection::Fresh) => (RetryCause::Reset, Next::OtherBackend(Price::One)),
        (Trouble::TooSlow, _) => (RetryCause::TimeOut, Next::OtherBackend(Price::One)),
        (Trouble::Invalid, _) => (RetryCause::Invalid, Next::OtherBackend(Price::One)),
        (Trouble::Status(status), _) => (RetryCause::Status(status), Next::OtherBackend(Price::One)),
    };
    let unrepeatable = match failed.repeating {
        Repeating::Harmless => false,
        Repeating::Harmful => failed.sent,
        Repeating::Impossible => true,
    };
    let costs = next == Next::OtherBackend(Price::One);
    let because = match () {
        () if !on.has(cause) => Because::NotAsked,
        () if unrepeatable => Because::Unrepeatable,
        () if costs && !left.others => Because::NobodyLeft,
        () if costs && left.count == 0 => Because::Count,
        () if !left.time => Because::Time,
        () if costs && !left.budget => Because::Budget,
        () => return next,
    };
    Next::GiveUp(because)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Because::*;
    use Connection::*;
    use Next::*;
    use Price::*;
    use Repeating::*;
    use Trouble::*;

    const PLENTY: Left = Left { others: true, count: 2, time: true, budget: true };

    fn all() -> RetryOn {
        let causes = [
            RetryCause::Connect,
            RetryCause::Stale,
            RetryCause::Reset,
            RetryCause::TimeOut,
            RetryCause::Invalid,
        ];
        RetryOn::new(causes.into_iter().chain(RetryCause::STATUSES.map(RetryCause::Status)))
    }

    fn failed(trouble: Trouble, connection: Connection, sent: bool, repeating: Repeating) -> Failed {
        Failed { trouble, connection, sent, repeating }
    }

    /// Every failed attempt that there can be.
    fn every() -> Vec<Failed> {
        let mut every = Vec::new();
        for trouble in [NoConnection, Lost, TooSlow, Invalid, Status(503), InAnswer] {
            for connection in [Fresh, Pooled] {
                for sent in [false, true] {
                    for repeating in [Harmless, Harmful, Impossible] {
                        every.push(failed(trouble, connection, sent, repeating));
                    }
                }
            }
        }
        every
    }

    #[test]
    fn the_table_with_everything_asked_for_and_left_c3_c4_c9() {
        let (same, free, one) = (SameBackend, OtherBackend(Free), OtherBackend(One));
        let no = GiveUp(Unrepeatable);
        // For (not sent, sent), each (harmless, harmful, impossible).
        let table = [
            (NoConnection, Fresh, [free, free, no], [free, no, no]),
            (NoConnection, Pooled, [free, free, no], [free, no, no]),
            (Lost, Fresh, [free, free, no], [one, no, no]),
            (Lost, Pooled, [same, same, no], [same, no, no]),
            (TooSlow, Fresh, [one, one, no], [one, no, no]),
            (TooSlow, Pooled, [one, one, no], [one, no, no]),
            (Invalid, Fresh, [one, one, no], [one, no, no]),
            (Invalid, Pooled, [one, one, no], [one, no, no]),
            (Status(503), Fresh, [one, one, no], [one, no, no]),
            (Status(503), Pooled, [one, one, no], [one, no, no]),
            (InAnswer, Fresh, [no, no, no], [no, no, no]),
            (InAnswer, Pooled, [no, no, no], [no, no, no]),
        ];
        let mut cells = 0;
        for (trouble, connection, unsent, sent) in table {
            for (was_sent, row) in [(false, unsent), (true, sent)] {
                for (repeating, expected) in [Harmless, Harmful, Impossible].into_iter().zip(row) {
                    let failed = failed(trouble, connection, was_sent, repeating);
                    assert_eq!(next(&failed, &all(), &PLENTY), expected, "{failed:?}");
                    cells += 1;
                }
            }
        }
        assert_eq!(cells, every().len());
    }

    #[test]
    fn the_defaults_know_nothing_of_time_outs_nonsense_and_statuses_c7() {
        for failed in every() {
            let by_default = next(&failed, &RetryOn::default(), &PLENTY);
            match failed.trouble {
                NoConnection | Lost | InAnswer => assert_eq!(by_default, next(&failed, &all(), &PLENTY)),
                TooSlow | Invalid | Status(_) => assert_eq!(by_default, GiveUp(NotAsked), "{failed:?}"),
            }
        }
    }

    #[test]
    fn each_cause_stands_for_itself_alone() {
        let cases = [
            (RetryCause::Connect, failed(NoConnection, Fresh, false, Harmless)),
            (RetryCause::Connect, failed(Lost, Fresh, false, Harmful)),
            (RetryCause::Stale, failed(Lost, Pooled, true, Harmless)),
            (RetryCause::Reset, failed(Lost, Fresh, true, Harmless)),
            (RetryCause::TimeOut, failed(TooSlow, Fresh, true, Harmless)),
            (RetryCause::Invalid, failed(Invalid, Fresh, true, Harmless)),
            (RetryCause::Status(502), failed(Status(502), Fresh, true, Harmless)),
        ];
        for (cause, failed) in cases {
            let alone = RetryOn::new([cause]);
            assert!(!matches!(next(&failed, &alone, &PLENTY), GiveUp(_)), "{cause}");
            for (other, _) in cases.iter().filter(|(other, _)| *other != cause) {
                assert_eq!(next(&failed, &RetryOn::new([*other]), &PLENTY), GiveUp(NotAsked), "{other}");
            }
        }
        let unlisted = failed(Status(404), Fresh, true, Harmless);
        assert_eq!(next(&unlisted, &all(), &PLENTY), GiveUp(NotAsked));
        for failed in every().iter().filter(|failed| failed.trouble != InAnswer) {
            assert_eq!(next(failed, &RetryOn::new([]), &PLENTY), GiveUp(NotAsked));
        }
    }

    #[test]
    fn what_is_left_of_each() {
        for failed in every() {
            let with = |left: Left| next(&failed, &all(), &left);
            let best = with(PLENTY);
            let costs = best == OtherBackend(One);
            let unless_free = |because| if costs { GiveUp(because) } else { best };
            assert_eq!(with(Left { others: false, ..PLENTY }), unless_free(NobodyLeft), "{failed:?}");
            assert_eq!(with(Left { count: 0, ..PLENTY }), unless_free(Count), "{failed:?}");
            assert_eq!(with(Left { budget: false, ..PLENTY }), unless_free(Budget), "{failed:?}");
            let late = if let GiveUp(_) = best { best } else { GiveUp(Time) };
            assert_eq!(with(Left { time: false, ..PLENTY }), late, "{failed:?}");
        }
    }

    #[test]
    fn the_budget_is_asked_last() {
        // So that what is denied by it would have been done otherwise.
        for failed in every() {
            for left in [
                Left { others: false, budget: false, ..PLENTY },
                Left { count: 0, budget: false, ..PLENTY },
                Left { time: false, budget: false, ..PLENTY },
            ] {
                assert_ne!(next(&failed, &all(), &left), GiveUp(Budget));
            }
        }
    }
}
