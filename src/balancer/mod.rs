//! Who gets the request.
//!
//! Owns the backends' shared state (weight, requests in flight, health) and the algorithms that
//! choose among them. May not touch sockets, addresses, the clock (`now_ms` is an argument:
//! monotonic milliseconds since the process's own epoch), HTTP, or any other module of the crate:
//! a backend is an index here, and the caller connects.
//!
//! Choosing and health know nothing of each other: an algorithm sees which backends are eligible
//! and how busy they are, never why; `health.rs` flips one backend and never chooses. `cluster.rs`
//! joins the two and is the file to read next.

mod backend;
mod backoff;
mod cluster;
mod connection_numbers;
mod first_alive;
mod health;
mod least_connections;
mod locking_round_robin;
mod naive;
mod queue;
mod round_robin;
mod sequence;
mod slow_start;
mod source_hash;
mod tried;

pub use backend::{Backend, InFlight};
pub use backoff::{Backoff, draw};
pub use cluster::{Cluster, Foresight, Outlook, Pick, Plan};
pub use connection_numbers::ConnectionNumbers;
pub use health::{
    FORCED_TRIAL_INTERVAL_MS, Flip, HealthPolicy, HealthSnapshot, HealthState, LastResort, Probed,
};
pub use queue::{Caller, Waiting};
pub use tried::Tried;

use first_alive::FirstAlive;
use least_connections::LeastConnections;
use locking_round_robin::LockingRoundRobin;
use naive::Naive;
use round_robin::RoundRobin;
use slow_start::Spared;
use source_hash::SourceHash;

/// How a cluster chooses among its eligible backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// By the number of the client's connection: the first open connection goes to the first
    /// server of the list, the second to the second, and so on.
    Naive,
    /// The first eligible server of the list.
    FirstAlive,
    /// In turn, without a lock: a race only makes the sharing slightly unfair.
    RoundRobin,
    /// In turn, exact under any number of threads: a lock around the choice.
    LockingRoundRobin,
    /// The fewest requests in flight for its weight.
    LeastConnections,
    /// By the client's address: one client, one server, as long as that is eligible.
    SourceHash,
}

impl Algorithm {
    /// All of them, in the order of the documentation.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Naive,
        Algorithm::FirstAlive,
        Algorithm::RoundRobin,
        Algorithm::LockingRoundRobin,
        Algorithm::LeastConnections,
        Algorithm::SourceHash,
    ];
}

/// What a request brings to the choice.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The client connection's number, from [`ConnectionNumbers`]. Used by [`Algorithm::Naive`].
    pub connection: u32,
    /// The bytes of the client's address, without its port. Used by [`Algorithm::SourceHash`].
    pub source: &'a [u8],
    /// The backends that this request has already been sent to in vain.
    pub tried: &'a Tried,
    /// The request may go out twice: it can be risked on a backend that is on trial.
    pub repeatable: bool,
    /// It cannot wait: a backup is asked before it is refused.
    pub overflow: bool,
    /// Milliseconds since the process's own epoch.
    pub now_ms: u64,
}

/// One algorithm: chooses among eligible backends, knows no health.
trait Balancer {
    /// An eligible backend, or `None` if none of the list is eligible.
    fn choose(&self, ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize>;

    /// What [`choose`](Balancer::choose) would give. Moves nothing: `moved` is by how much others
    /// that were foreseen before would have moved the cursor, where there is one.
    fn foresee(&self, ask: &Ask<'_>, candidates: &impl Candidates, _moved: &mut usize) -> Option<usize> {
        self.choose(ask, candidates)
    }

    /// What the choice begins from at this moment.
    fn reason(&self, ask: &Ask<'_>) -> Reason;
}

/// What an algorithm's choice begins from; it goes on from there to the next that is eligible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client's connection number leads to this place of the list.
    Connection {
        /// The number.
        number: u32,
        /// The place, from 0.
        place: usize,
        /// The length of the list.
        of: usize,
    },
    /// The list is tried from its beginning.
    First,
    /// It is the turn of this place of the sequence.
    Turn {
        /// The place, from 0.
        place: usize,
        /// The length of the sequence.
        of: usize,
    },
    /// The fewest requests in flight for its weight; among equals this place comes first.
    LeastBusy {
        /// The place, from 0.
        place: usize,
        /// How many there are.
        of: usize,
    },
    /// The hash of the client's address leads to this place of the list.
    AddressHash {
        /// The hash.
        hash: u64,
        /// The place, from 0.
        place: usize,
        /// The length of the list.
        of: usize,
    },
}

/// What an algorithm may see of the backends.
trait Candidates {
    /// May this request go to that backend?
    fn eligible(&self, index: usize) -> bool;
    /// Requests that the backend is working on.
    fn in_flight(&self, index: usize) -> u32;
}

/// Every algorithm, so that a choice costs a `match` rather than a virtual call.
#[derive(Debug)]
enum AnyBalancer {
    Naive(Naive),
    FirstAlive(FirstAlive),
    RoundRobin(RoundRobin),
    LockingRoundRobin(LockingRoundRobin),
    LeastConnections(LeastConnections),
    SourceHash(SourceHash),
}

impl AnyBalancer {
    /// `list` holds backend indices in the order of the configuration; repetition is weight.
    fn new(algorithm: Algorithm, list: &[usize]) -> AnyBalancer {
        match algorithm {
            Algorithm::Naive => AnyBalancer::Naive(Naive::new(list)),
            Algorithm::FirstAlive => AnyBalancer::FirstAlive(FirstAlive::new(list)),
            Algorithm::RoundRobin => AnyBalancer::RoundRobin(RoundRobin::new(list)),
            Algorithm::LockingRoundRobin => AnyBalancer::LockingRoundRobin(LockingRoundRobin::new(list)),
            Algorithm::LeastConnections => AnyBalancer::LeastConnections(LeastConnections::new(list)),
            Algorithm::SourceHash => AnyBalancer::SourceHash(SourceHash::new(list)),
        }
    }
}

impl Balancer for AnyBalancer {
    fn choose(&self, ask: &Ask<'_>, candidates: &impl Candidates) -> Option<usize> {
        match self {
            AnyBalancer::Naive(it) => it.choose(ask, candidates),
            AnyBalancer::FirstAlive(it) => it.choose(ask, candidates),
            AnyBalancer::RoundRobin(it) => it.choose(ask, candidates),
            AnyBalancer::LockingRoundRobin(it) => it.choose(ask, candidates),
            AnyBalancer::LeastConnections(it) => it.choose(ask, candidates),
            AnyBalancer::SourceHash(it) => it.choose(ask, candidates),
        }
    }

    fn foresee(&self, ask: &Ask<'_>, candidates: &impl Candidates, moved: &mut usize) -> Option<usize> {
        match self {
            AnyBalancer::Naive(it) => it.foresee(ask, candidates, moved),
            AnyBalancer::FirstAlive(it) => it.foresee(ask, candidates, moved),
            AnyBalancer::RoundRobin(it) => it.foresee(ask, candidates, moved),
            AnyBalancer::LockingRoundRobin(it) => it.foresee(ask, candidates, moved),
            AnyBalancer::LeastConnections(it) => it.foresee(ask, candidates, moved),
            AnyBalancer::SourceHash(it) => it.foresee(ask, candidates, moved),
        }
    }

    fn reason(&self, ask: &Ask<'_>) -> Reason {
        match self {
            AnyBalancer::Naive(it) => it.reason(ask),
            AnyBalancer::FirstAlive(it) => it.reason(ask),
            AnyBalancer::RoundRobin(it) => it.reason(ask),
            AnyBalancer::LockingRoundRobin(it) => it.reason(ask),
            AnyBalancer::LeastConnections(it) => it.reason(ask),
            AnyBalancer::SourceHash(it) => it.reason(ask),
        }
    }
}

impl AnyBalancer {
    /// How requests are picked that a backend is spared while it starts slowly.
    fn slow_start(&self, ask: &Ask<'_>) -> Spared {
        match self {
            // Shares have no meaning there: all or nothing is what it is for.
            AnyBalancer::FirstAlive(_) => Spared::None,
            AnyBalancer::RoundRobin(_)
            | AnyBalancer::LockingRoundRobin(_)
            | AnyBalancer::LeastConnections(_) => Spared::ByTurn,
            AnyBalancer::Naive(_) => Spared::ByClient(draw(0, u64::from(ask.connection))),
            AnyBalancer::SourceHash(_) => Spared::ByClient(source_hash::coin(ask.source)),
        }
    }
}

/// The first eligible backend from `start` on, once around the list. `start` is below its length.
fn walk(list: &[usize], start: usize, candidates: &impl Candidates) -> Option<usize> {
    let (before, from) = list.split_at(start);
    from.iter().chain(before).copied().find(|&index| candidates.eligible(index))
}

/// A value that shares its cache lines with nothing else. 128 bytes, since processors fetch lines
/// in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CacheLine<T>(T);

/// Stand-ins for the tests of the algorithms.
#[cfg(test)]
mod costs;

#[cfg(test)]
mod testing {
    use super::{Ask, Candidates, Tried};

    /// Backends given by hand: the ones not listed are eligible and idle.
    #[derive(Default)]
    pub(super) struct Fake {
        pub(super) ineligible: Vec<usize>,
        pub(super) in_flight: Vec<u32>,
    }

    impl Candidates for Fake {
        fn eligible(&self, index: usize) -> bool {
            !self.ineligible.contains(&index)
        }

        fn in_flight(&self, index: usize) -> u32 {
            self.in_flight.get(index).copied().unwrap_or(0)
        }
    }

    /// All eligible but these.
    pub(super) fn without(ineligible: &[usize]) -> Fake {
        Fake { ineligible: ineligible.to_vec(), in_flight: Vec::new() }
    }

    /// The `count` choices of `choose` as letters: backend 0 is `a`.
    pub(super) fn letters(count: usize, mut choose: impl FnMut(usize) -> Option<usize>) -> String {
        (0..count)
            .map(|n| choose(n).map_or('-', |index| char::from(b'a' + u8::try_from(index).unwrap())))
            .collect()
    }

    /// A request about which nothing is special.
    pub(super) fn plain(tried: &Tried) -> Ask<'_> {
        Ask { connection: 0, source: &[], tried, repeatable: true, overflow: false, now_ms: 0 }
    }
}
