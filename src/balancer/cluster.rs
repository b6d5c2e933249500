//! The backends behind one route and the algorithm that chooses among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sequence::weigh;
use super::{
    Algorithm, AnyBalancer, Ask, Backend, Balancer, CacheLine, Candidates, Flip, HealthPolicy, InFlight,
};

/// Backends, their health and the algorithm. Shared by all workers; never locks except in
/// [`Algorithm::LockingRoundRobin`], and never allocates once it is made.
#[derive(Debug)]
pub struct Cluster {
    balancer: AnyBalancer,
    backends: Box<[Backend]>,
    /// The distinct backends of the list, in its order: those that can be picked.
    members: Box<[usize]>,
    policy: HealthPolicy,
    /// How many backends are offline: 0 spares a pick all questions about health. It follows the
    /// flips by a moment, in which a request may reach a backend that has just gone offline.
    offline: CacheLine<AtomicUsize>,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To this backend.
    Backend {
        /// Which one.
        index: usize,
        /// The backend is offline and this request tries it: report the end by
        /// [`Cluster::record_success`], [`Cluster::record_failure`] with `trial`, or
        /// [`Cluster::abandon_trial`].
        trial: bool,
    },
    /// Nowhere: the backends not yet tried are offline, and each has just had a trial.
    NoneEligible {
        /// Milliseconds until the earliest next trial, at least 1.
        retry_after_ms: u64,
    },
    /// Nowhere: this request has been sent to all of them (or there are none).
    AllTried,
}

impl Cluster {
    /// A cluster of `backends` backends, all online. `list` names them by index in the order of
    /// the configuration; repetition is weight. An index that is not below `backends` is ignored,
    /// and a backend that the list does not name is never picked.
    #[must_use]
    pub fn new(algorithm: Algorithm, list: &[usize], backends: usize, policy: HealthPolicy) -> Cluster {
        let list: Vec<usize> = list.iter().copied().filter(|&index| index < backends).collect();
        let members = weigh(&list);
        let mut weights = vec![0; backends];
        for member in &members {
            weights[member.index] = member.weight;
        }
        Cluster {
            balancer: AnyBalancer::new(algorithm, &list),
            backends: weights.into_iter().map(|weight| Backend::new(weight, policy)).collect(),
            members: members.into_iter().map(|member| member.index).collect(),
            policy,
            offline: CacheLine::default(),
        }
    }

    /// Chooses a backend that the request has not tried.
    ///
    /// In this order: a trial that is due; the algorithm's choice among those online; a forced
    /// trial, at most one per backend and [`FORCED_TRIAL_INTERVAL_MS`].
    ///
    /// [`FORCED_TRIAL_INTERVAL_MS`]: super::FORCED_TRIAL_INTERVAL_MS
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>) -> Pick {
        let all_online = self.offline.0.load(Ordering::Relaxed) == 0;
        if all_online {
            return match self.balancer.choose(ask, &View { cluster: self, ask, all_online }) {
                Some(index) => Pick::Backend { index, trial: false },
                None => Pick::AllTried,
            };
        }
        // A request that must not go out twice is no guinea pig while somebody is well.
        if ask.repeatable
            && let Some(index) = self.claim_due_trial(ask)
        {
            return Pick::Backend { index, trial: true };
        }
        if let Some(index) = self.balancer.choose(ask, &View { cluster: self, ask, all_online }) {
            return Pick::Backend { index, trial: false };
        }
        if let Some(index) = self.claim_due_trial(ask) {
            return Pick::Backend { index, trial: true };
        }
        self.last_resort(ask)
    }

    /// One backend.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Cluster::len), here and wherever an index is given.
    #[must_use]
    pub fn backend(&self, index: usize) -> &Backend {
        &self.backends[index]
    }

    /// The number of backends, picked or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.backends.len()
    }

    /// Has it no backends?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.backends.is_empty()
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn begin(self: &Arc<Self>, index: usize) -> InFlight {
        InFlight::new(Arc::clone(self), index)
    }

    /// A backend answered: it is online and has no failures, whatever was before.
    pub fn record_success(&self, index: usize, now_ms: u64) -> Option<Flip> {
        let flip = self.backend(index).health.record_success(now_ms);
        self.count(flip)
    }

    /// A backend failed a request; `trial` as in the [`Pick`] of that request. A client that left,
    /// or a pooled connection gone stale, is no failure.
    pub fn record_failure(&self, index: usize, trial: bool, now_ms: u64) -> Option<Flip> {
        let flip = self.backend(index).health.record_failure(trial, now_ms, self.policy);
        self.count(flip)
    }

    /// A trial ended without a verdict, for instance because the client left: the next request may
    /// try at once.
    pub fn abandon_trial(&self, index: usize) {
        self.backend(index).health.abandon_trial();
    }

    fn count(&self, flip: Option<Flip>) -> Option<Flip> {
        // Both wrap: a thread may count a return before another has counted the departure.
        match flip {
            Some(Flip::WentOffline { .. }) => self.offline.0.fetch_add(1, Ordering::Relaxed),
            Some(Flip::CameBack) => self.offline.0.fetch_sub(1, Ordering::Relaxed),
            None => return None,
        };
        flip
    }

    fn claim_due_trial(&self, ask: &Ask<'_>) -> Option<usize> {
        self.untried(ask).find(|&index| self.backend(index).health.claim_due_trial(ask.now_ms, self.policy))
    }

    /// No untried backend is online: better a trial out of turn than an error of our own making.
    /// The backend whose latest trial is longest ago goes first.
    fn last_resort(&self, ask: &Ask<'_>) -> Pick {
        // To lose a claim is to see another request get it, so this many rounds are enough.
        for _ in 0..=self.members.len() {
            let mut earliest: Option<(u64, usize)> = None;
            for index in self.untried(ask) {
                let Some(at) = self.backend(index).health.next_trial_at(self.policy) else {
                    // It came back a moment ago.
                    return Pick::Backend { index, trial: false };
                };
                if earliest.is_none_or(|(least, _)| at < least) {
                    earliest = Some((at, index));
                }
            }
            let Some((at, index)) = earliest else { return Pick::AllTried };
            if at > ask.now_ms {
                return Pick::NoneEligible { retry_after_ms: at - ask.now_ms };
            }
            if self.backend(index).health.claim_forced_trial(ask.now_ms, self.policy) {
                return Pick::Backend { index, trial: true };
            }
        }
        Pick::NoneEligible { retry_after_ms: 1 }
    }

    fn untried(&self, ask: &Ask<'_>) -> impl Iterator<Item = usize> {
        self.members.iter().copied().filter(|&index| !ask.tried.contains(index))
    }
}

/// What the algorithm sees: eligible is what is online and not tried.
struct View<'a> {
    cluster: &'a Cluster,
    ask: &'a Ask<'a>,
    all_online: bool,
}

impl Candidates for View<'_> {
    fn eligible(&self, index: usize) -> bool {
        !self.ask.tried.contains(index) && (self.all_online || self.cluster.backends[index].is_online())
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.cluster.backends[index].in_flight()
    }
}

#[cfg(test)]
mod tests;
