//! What all workers share about one backend.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Cluster;
use super::health::{Health, HealthPolicy, HealthSnapshot};
use super::slow_start::{self, Turns};

/// One server of a cluster: its weight, its requests in flight, its health. On cache lines of its
/// own, so that workers busy with different backends don't slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct Backend {
    in_flight: AtomicU32,
    weight: u32,
    limit: Option<NonZeroU32>,
    backup: bool,
    pub(super) policy: HealthPolicy,
    pub(super) health: Health,
    /// While it starts slowly.
    pub(super) turns: Turns,
}

impl Backend {
    pub(super) fn new(role: Role, policy: HealthPolicy) -> Backend {
        let Role { weight, limit, backup } = role;
        Backend {
            in_flight: AtomicU32::new(0),
            weight,
            limit,
            backup,
            policy,
            health: Health::default(),
            turns: Turns::default(),
        }
    }

    /// Since when failed requests have kept it offline, if they do: milliseconds since the
    /// process's own epoch.
    #[must_use]
    pub fn failing_since(&self) -> Option<u64> {
        self.health.failing_since()
    }

    /// What it may get at `now_ms` of what the algorithm would give it, in thousandths.
    pub(super) fn share(&self, now_ms: u64) -> u32 {
        match self.health.back_for_ms(now_ms) {
            Some(back_ms) => slow_start::share(back_ms, self.policy.slow_start_ms),
            None => slow_start::WHOLE,
        }
    }

    /// How often the list names it; 0 if it does not, and then it is never picked.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Requests that it is working on.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Most requests that it works on at a time, if there is a limit.
    #[must_use]
    pub fn limit(&self) -> Option<NonZeroU32> {
        self.limit
    }

    /// Does it get requests only while no other backend can take them?
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.backup
    }

    /// Does it work on as many requests as it may?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.in_flight() >= limit.get())
    }

    /// Counts one more request; false if that would be one too many.
    fn enter(&self) -> bool {
        // Relaxed: a count that orders nothing but itself. Who waits is seen by `Queue::is_empty`.
        let Some(limit) = self.limit else {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let one_more = |count: u32| (count < limit.get()).then_some(count + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Does it get requests other than trials?
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.health.is_online()
    }

    /// Its health at `now_ms`, for statistics.
    #[must_use]
    pub fn health(&self, now_ms: u64) -> HealthSnapshot {
        self.health.snapshot(now_ms, self.policy)
    }
}

/// What a backend is to its cluster.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Role {
    pub(super) weight: u32,
    pub(super) limit: Option<NonZeroU32>,
    pub(super) backup: bool,
}

/// One request that a backend is working on, from [`Cluster::begin`] until this is dropped.
#[derive(Debug)]
#[must_use = "the request counts as in flight until this is dropped"]
pub struct InFlight {
    /// `None` once the count is somebody else's affair.
    cluster: Option<Arc<Cluster>>,
    index: usize,
}

impl InFlight {
    /// Counts a request; `None` if the backend has as many as it takes.
    pub(super) fn new(cluster: Arc<Cluster>, index: usize) -> Option<InFlight> {
        cluster.backend(index).enter().then(|| InFlight { cluster: Some(cluster), index })
    }

    /// The backend that works on it.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(cluster) = self.cluster.take() else { return };
        let backend = cluster.backend(self.index);
        if backend.limit.is_none() {
            return backend.leave();
        }
        let mut place = InFlight { cluster: Some(Arc::clone(&cluster)), index: self.index };
        loop {
            match cluster.hand_on(place) {
                // Somebody has it now.
                None => return,
                Some(mut unwanted) => unwanted.cluster = None,
            }
            backend.leave();
            // Somebody may have begun to wait before that.
            if !cluster.is_awaited(self.index) {
                return;
            }
            let Some(again) = InFlight::new(Arc::clone(&cluster), self.index) else { return };
            place = again;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Plan};
    use super::*;

    fn plan(primary: &[usize], backends: usize) -> Plan<'_> {
        Plan { primary, backends, ..Plan::default() }
    }

    #[test]
    fn counts_while_the_guard_lives() {
        let cluster = Arc::new(Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1], 2), HealthPolicy::OFF));
        let first = cluster.begin(1).unwrap();
        let second = cluster.begin(1);
        assert_eq!(first.index(), 1);
        assert_eq!((cluster.backend(0).in_flight(), cluster.backend(1).in_flight()), (0, 2));
        drop(first);
        assert_eq!(cluster.backend(1).in_flight(), 1);
        drop(second);
        assert_eq!(cluster.backend(1).in_flight(), 0);
    }

    #[test]
    fn a_panic_releases_the_guard() {
        let cluster = Arc::new(Cluster::new(Algorithm::RoundRobin, &plan(&[0], 1), HealthPolicy::OFF));
        let shared = Arc::clone(&cluster);
        let thread = std::thread::spawn(move || {
            let _guard = shared.begin(0);
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(thread.join().is_err());
        assert_eq!(cluster.backend(0).in_flight(), 0);
    }

    #[test]
    fn backends_share_no_cache_line() {
        assert_eq!(align_of::<Backend>(), 128);
        assert_eq!(size_of::<Backend>() % 128, 0);
    }
}
