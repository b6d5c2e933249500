//! The backends behind one route and the algorithm that chooses among them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::backend::Role;
use super::queue::{Caller, Queue, Waiting};
use super::sequence::weigh;
use super::slow_start::{Spared, WHOLE};
use super::{
    Algorithm, AnyBalancer, Ask, Backend, Backoff, Balancer, CacheLine, Candidates, Flip, HealthPolicy,
    InFlight, LastResort, Probed, Tried, draw,
};

/// Backends, their health and the algorithm. Shared by all workers; never locks except in
/// [`Algorithm::LockingRoundRobin`] and where requests wait, and never allocates once it is made
/// but for those.
#[derive(Debug)]
pub struct Cluster {
    primary: Tier,
    backup: Tier,
    backends: Box<[Backend]>,
    policy: HealthPolicy,
    /// Has any backend a limit?
    is_limited: bool,
    /// How many backends are offline: 0 spares a pick all questions about health. It follows the
    /// flips by a moment, in which a request may reach a backend that has just gone offline.
    offline: CacheLine<AtomicUsize>,
    /// When the last of the backends that start slowly will have its full share, in milliseconds
    /// since the process's own epoch.
    slow_until_ms: AtomicU64,
    pub(super) queue: Queue,
}

/// Backends that are chosen from together, and how.
#[derive(Debug)]
struct Tier {
    balancer: AnyBalancer,
    /// The distinct backends of the list, in its order: those that can be picked.
    members: Box<[usize]>,
    /// The millisecond in which nobody's trial was found to be due, and one more; 0 if that is not
    /// known. While one of many is offline, not each pick has to look at all of them.
    looked_ms: CacheLine<AtomicU64>,
}

/// Who belongs to a cluster. Backends are named by index, in the order of the configuration;
/// repetition is weight. An index that is not below `backends` is ignored, and a backend that no
/// list names is never picked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan<'a> {
    /// The backends that share the requests.
    pub primary: &'a [usize],
    /// Those that stand in for them.
    pub backup: &'a [usize],
    /// How many backends there are.
    pub backends: usize,
    /// Most requests at a time for each backend, 0 for any number; those that it does not reach
    /// have no limit.
    pub limits: &'a [u32],
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To this backend, if [`Cluster::begin`] finds room there: pick again if not.
    Backend {
        /// Which one.
        index: usize,
        /// The backend is offline and this request tries it: report the end by
        /// [`Cluster::record_success`], [`Cluster::record_failure`] with `trial`, or
        /// [`Cluster::abandon_trial`].
        trial: bool,
    },
    /// Nowhere for the moment: the backends not yet tried have as many requests as they take.
    Full,
    /// Nowhere: the backends not yet tried are offline, and each has just had a trial.
    NoneEligible {
        /// Milliseconds until the earliest next trial, at least 1; never more than
        /// [`FORCED_TRIAL_INTERVAL_MS`](super::FORCED_TRIAL_INTERVAL_MS) where trials are forced,
        /// and than some seconds elsewhere, since probes may bring a backend back earlier.
        retry_after_ms: u64,
    },
    /// Nowhere: this request has been sent to all of them (or there are none).
    AllTried,
}

impl Cluster {
    /// A cluster of these backends, all online.
    #[must_use]
    pub fn new(algorithm: Algorithm, plan: &Plan<'_>, policy: HealthPolicy) -> Cluster {
        let known = |list: &[usize]| -> Vec<usize> {
            list.iter().copied().filter(|&index| index < plan.backends).collect()
        };
        let limit = |index: usize| NonZeroU32::new(plan.limits.get(index).copied().unwrap_or(0));
        let mut roles: Vec<Role> =
            (0..plan.backends).map(|index| Role { limit: limit(index), ..Role::default() }).collect();
        let primary = known(plan.primary);
        for member in weigh(&primary) {
            roles[member.index].weight = member.weight;
        }
        // Nobody stands in for itself.
        let mut backup = known(plan.backup);
        backup.retain(|&index| roles[index].weight == 0);
        for member in weigh(&backup) {
            roles[member.index].weight = member.weight;
            roles[member.index].backup = true;
        }
        Cluster {
            primary: Tier::new(algorithm, &primary),
            backup: Tier::new(algorithm, &backup),
            is_limited: roles.iter().any(|role| role.limit.is_some()),
            backends: roles.into_iter().zip(0..).map(|(role, nth)| backend(role, nth, policy)).collect(),
            policy,
            offline: CacheLine::default(),
            slow_until_ms: AtomicU64::new(0),
            queue: Queue::default(),
        }
    }

    /// Chooses a backend that the request has not tried.
    ///
    /// In this order: a trial that is due; the algorithm's choice among those online, the backups
    /// if none of the others is; with [`LastResort::Try`] also one whose checks alone fail, then
    /// one that takes connections again, then a forced trial, at most one per backend and
    /// [`FORCED_TRIAL_INTERVAL_MS`].
    ///
    /// Where backends are online that have as many requests as they take, it is for the request to
    /// say whether a backup is asked ([`Ask::overflow`]).
    ///
    /// [`FORCED_TRIAL_INTERVAL_MS`]: super::FORCED_TRIAL_INTERVAL_MS
    #[must_use]
    pub fn pick(&self, ask: &Ask<'_>) -> Pick {
        let standing =
            if self.offline.0.load(Ordering::Relaxed) == 0 { Standing::Any } else { Standing::Online };
        let mut is_full = false;
        for tier in [&self.primary, &self.backup] {
            // A request that must not go out twice is no guinea pig while somebody is well.
            if standing != Standing::Any
                && ask.repeatable
                && let Some(index) = self.claim_due_trial(ask, tier)
            {
                return Pick::Backend { index, trial: true };
            }
            if let Some(index) = self.choose_online(tier, ask, standing) {
                return Pick::Backend { index, trial: false };
            }
            // Nobody can take it, so whoever might is full, or was a moment ago.
            let might = |&index: &usize| !ask.tried.contains(index) && self.backends[index].is_online();
            is_full |= self.is_limited && tier.members.iter().any(might);
            if is_full && !ask.overflow {
                return Pick::Full;
            }
        }
        if standing == Standing::Any {
            return if is_full { Pick::Full } else { Pick::AllTried };
        }
        for tier in [&self.primary, &self.backup] {
            if let Some(index) = self.claim_due_trial(ask, tier) {
                return Pick::Backend { index, trial: true };
            }
        }
        let pick = match self.policy.last_resort {
            LastResort::Try => self.last_resort(ask),
            LastResort::Refuse => self.refuse(ask),
        };
        match pick {
            Pick::NoneEligible { .. } | Pick::AllTried if is_full => Pick::Full,
            pick => pick,
        }
    }

    /// Would a request that has tried none be refused at `now_ms`: no backend is online, and no
    /// trial is due?
    #[must_use]
    pub fn is_exhausted(&self, now_ms: u64) -> bool {
        let is_out =
            |backend: &Backend| !backend.is_online() && !backend.health.trial_is_due(now_ms, backend.policy);
        self.offline.0.load(Ordering::Relaxed) > 0
            && self.members().all(|index| is_out(&self.backends[index]))
    }

    /// Since when no backend has been online, if none is: milliseconds since the process's own
    /// epoch.
    #[must_use]
    pub fn none_online_since(&self) -> Option<u64> {
        if self.offline.0.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let since = |index: usize| self.backends[index].health.offline_since();
        self.members().map(since).try_fold(0, |latest, since| since.map(|at_ms| latest.max(at_ms)))
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

    /// Is there a backend that can be picked and that the request has not tried?
    #[must_use]
    pub fn has_others(&self, tried: &Tried) -> bool {
        self.members().any(|index| !tried.contains(index))
    }

    /// Counts a request as in flight until the guard is dropped; `None` if the backend has as many
    /// as it takes.
    pub fn begin(self: &Arc<Self>, index: usize) -> Option<InFlight> {
        InFlight::new(Arc::clone(self), index)
    }

    /// Lets a request wait for a backend that it has not tried, behind at most `most` others. Pick
    /// once more afterwards: a backend may have had room a moment ago, and nobody to give it to.
    pub fn wait(self: &Arc<Self>, most: usize, tried: &Tried, caller: Arc<dyn Caller>) -> Option<Waiting> {
        Waiting::join(Arc::clone(self), most, tried, caller)
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Gives a place at a backend to the first who waits for it; gives it back if nobody does.
    pub(super) fn hand_on(&self, mut place: InFlight) -> Option<InFlight> {
        let index = place.index();
        while let Some(caller) = self.may_be_awaited(index).then(|| self.queue.next_for(index)).flatten() {
            place = caller.call(Some(place))?;
        }
        Some(place)
    }

    /// Does anybody wait for a place at this backend?
    pub(super) fn is_awaited(&self, index: usize) -> bool {
        self.may_be_awaited(index) && self.queue.has_one_for(index)
    }

    /// Those who wait do so for backends that are online, and for a backup only where no other is.
    fn may_be_awaited(&self, index: usize) -> bool {
        let backend = &self.backends[index];
        let is_online = |&index: &usize| self.backends[index].is_online();
        !self.queue.is_empty()
            && backend.is_online()
            && (!backend.is_backup() || !self.primary.members.iter().any(is_online))
    }

    /// A backend answered: it is online, unless its checks fail, and has no failures, whatever was
    /// before.
    pub fn record_success(&self, index: usize, now_ms: u64) -> Option<Flip> {
        let flip = self.backend(index).health.record_success(now_ms);
        self.count(index, flip, now_ms)
    }

    /// A backend failed a request; `trial` as in the [`Pick`] of that request. A client that left,
    /// or a pooled connection gone stale, is no failure.
    pub fn record_failure(&self, index: usize, trial: bool, now_ms: u64) -> Option<Flip> {
        let backend = self.backend(index);
        let flip = backend.health.record_failure(trial, now_ms, backend.policy);
        self.count(index, flip, now_ms)
    }

    /// A trial ended without a verdict, for instance because the client left: the next request may
    /// try at once.
    pub fn abandon_trial(&self, index: usize) {
        self.backend(index).health.abandon_trial();
        self.look_again();
    }

    /// A connection without a request was tried, or a check passed or not. When it was good, the
    /// trial of a backend that failed requests have taken offline is due at once.
    pub fn record_probe(&self, index: usize, probed: Probed) {
        let health = &self.backend(index).health;
        health.note_probe(probed);
        if probed.good {
            health.record_open(probed.at_ms);
            self.look_again();
            self.queue.call_first();
        } else {
            health.record_shut();
        }
    }

    /// Active checks have said often enough in a row whether a backend may have requests.
    pub fn record_fitness(&self, index: usize, fit: bool, now_ms: u64) -> Option<Flip> {
        let flip = self.backend(index).health.record_fitness(fit, now_ms);
        self.look_again();
        self.count(index, flip, now_ms)
    }

    fn count(&self, index: usize, flip: Option<Flip>, now_ms: u64) -> Option<Flip> {
        // Both wrap: a thread may count a return before another has counted the departure.
        match flip? {
            Flip::WentOffline { .. } | Flip::BecameUnfit => self.offline.0.fetch_add(1, Ordering::Relaxed),
            Flip::CameBack => {
                self.backend(index).turns.reset();
                let until_ms = now_ms.saturating_add(self.policy.slow_start_ms);
                self.slow_until_ms.fetch_max(until_ms, Ordering::Relaxed);
                self.offline.0.fetch_sub(1, Ordering::Relaxed)
            }
        };
        self.look_again();
        self.queue.call_all();
        flip
    }

    /// The algorithm's choice among those that stand so, but for what a backend is spared that has
    /// just come back. What it is spared goes to another one, and if there is none to it after all.
    fn choose_online(&self, tier: &Tier, ask: &Ask<'_>, standing: Standing) -> Option<usize> {
        let mut view = View { cluster: self, ask, standing, passed: Tried::new() };
        let first = tier.balancer.choose(ask, &view)?;
        if ask.now_ms >= self.slow_until_ms.load(Ordering::Relaxed) {
            return Some(first);
        }
        let spared = tier.balancer.slow_start(ask);
        if spared == Spared::None {
            return Some(first);
        }
        // Shares count in relation to each other: where all start slowly, nobody is spared.
        let eligible = tier.members.iter().filter(|&&index| view.eligible(index));
        let most = eligible.map(|&index| self.backends[index].share(ask.now_ms)).max().unwrap_or(WHOLE);
        let mut index = first;
        loop {
            let backend = &self.backends[index];
            let share = backend.share(ask.now_ms) * WHOLE / most.max(1);
            let takes = match spared {
                _ if share >= WHOLE => true,
                Spared::None => true,
                Spared::ByTurn => backend.turns.take(share),
                Spared::ByClient(number) => number % u64::from(WHOLE) < u64::from(share),
            };
            if takes {
                return Some(index);
            }
            view.passed.insert(index);
            match tier.balancer.choose(ask, &view) {
                Some(next) => index = next,
                None => return Some(first),
            }
        }
    }

    fn claim_due_trial(&self, ask: &Ask<'_>, tier: &Tier) -> Option<usize> {
        let this_ms = ask.now_ms.saturating_add(1);
        if tier.looked_ms.0.load(Ordering::Relaxed) == this_ms {
            return None;
        }
        let due = |index: &usize| {
            let backend = &self.backends[*index];
            backend.health.trial_is_due(ask.now_ms, backend.policy)
        };
        let claim = |index: &usize| {
            let backend = &self.backends[*index];
            !ask.tried.contains(*index)
                && !backend.is_full()
                && backend.health.claim_due_trial(ask.now_ms, backend.policy)
        };
        let mut due = tier.members.iter().copied().filter(due).peekable();
        if due.peek().is_none() {
            tier.looked_ms.0.store(this_ms, Ordering::Relaxed);
        }
        due.find(claim)
    }

    /// A trial may be due in this millisecond after all.
    fn look_again(&self) {
        for tier in [&self.primary, &self.backup] {
            tier.looked_ms.0.store(0, Ordering::Relaxed);
        }
    }

    /// No untried backend is online: better one whose checks fail, or a trial out of turn, than an
    /// error of our own making. Of those on trial the one whose latest trial is longest ago goes
    /// first.
    fn last_resort(&self, ask: &Ask<'_>) -> Pick {
        for (standing, trial) in [(Standing::MerelyUnfit, false), (Standing::Open, true)] {
            let view = View { cluster: self, ask, standing, passed: Tried::new() };
            for tier in [&self.primary, &self.backup] {
                if let Some(index) = tier.balancer.choose(ask, &view) {
                    return Pick::Backend { index, trial };
                }
            }
        }
        // To lose a claim is to see another request get it, so this many rounds are enough.
        for _ in 0..=self.backends.len() {
            let mut earliest: Option<(u64, usize)> = None;
            for index in self.untried(ask).filter(|&index| !self.backends[index].is_full()) {
                let Some(at) = self.backend(index).health.next_trial_at(self.backends[index].policy) else {
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
            if self.backend(index).health.claim_forced_trial(ask.now_ms, self.backends[index].policy) {
                return Pick::Backend { index, trial: true };
            }
        }
        Pick::NoneEligible { retry_after_ms: 1 }
    }

    /// No untried backend is online, and none is to be tried out of turn.
    fn refuse(&self, ask: &Ask<'_>) -> Pick {
        if self.untried(ask).next().is_none() {
            return Pick::AllTried;
        }
        let takes_it = |index: &usize| self.backends[*index].is_online() && !self.backends[*index].is_full();
        if let Some(index) = self.untried(ask).find(takes_it) {
            // It came back a moment ago.
            return Pick::Backend { index, trial: false };
        }
        let due_at = |index: usize| self.backends[index].health.trial_due_at(self.backends[index].policy);
        let due_ms = self.untried(ask).filter_map(due_at).min().unwrap_or(u64::MAX);
        Pick::NoneEligible { retry_after_ms: due_ms.saturating_sub(ask.now_ms).clamp(1, REFUSED_FOR_MS) }
    }

    /// The backends that can be picked, backups last.
    fn members(&self) -> impl Iterator<Item = usize> {
        self.primary.members.iter().chain(&self.backup.members).copied()
    }

    fn untried(&self, ask: &Ask<'_>) -> impl Iterator<Item = usize> {
        self.members().filter(|&index| !ask.tried.contains(index))
    }
}

impl Tier {
    fn new(algorithm: Algorithm, list: &[usize]) -> Tier {
        Tier {
            balancer: AnyBalancer::new(algorithm, list),
            members: weigh(list).into_iter().map(|member| member.index).collect(),
            looked_ms: CacheLine::default(),
        }
    }
}

/// The longest that a client is asked to wait: probes may bring a backend back before its trial.
const REFUSED_FOR_MS: u64 = 5_000;

/// Each with a seed of its own, so that no two come back at the same moment.
fn backend(role: Role, nth: u64, policy: HealthPolicy) -> Backend {
    let backoff = Backoff { seed: draw(policy.backoff.seed, nth), ..policy.backoff };
    Backend::new(role, HealthPolicy { backoff, ..policy })
}

/// Which backends the algorithm may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// All: none is offline.
    Any,
    /// Those online.
    Online,
    /// Those that are offline for no other reason than that their checks fail.
    MerelyUnfit,
    /// Those that failed requests have taken offline, and that take connections since then.
    Open,
}

/// What the algorithm sees: eligible is what stands so, has room, and was neither tried nor passed
/// over.
struct View<'a> {
    cluster: &'a Cluster,
    ask: &'a Ask<'a>,
    standing: Standing,
    passed: Tried,
}

impl Candidates for View<'_> {
    fn eligible(&self, index: usize) -> bool {
        let backend = &self.cluster.backends[index];
        let is_new = !self.ask.tried.contains(index) && !self.passed.contains(index);
        let has_room = !self.cluster.is_limited || !backend.is_full();
        is_new
            && has_room
            && match self.standing {
                Standing::Any => true,
                Standing::Online => backend.is_online(),
                Standing::MerelyUnfit => backend.health.is_merely_unfit(),
                Standing::Open => backend.health.is_open(),
            }
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.cluster.backends[index].in_flight()
    }
}

mod foresee;

pub use foresee::{Foresight, Outlook};

#[cfg(test)]
mod tests;
