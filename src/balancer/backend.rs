//! What all workers share about one backend.

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
    pub(super) policy: HealthPolicy,
    pub(super) health: Health,
    /// While it starts slowly.
    pub(super) turns: Turns,
}

impl Backend {
    pub(super) fn new(weight: u32, policy: HealthPolicy) -> Backend {
        Backend {
            in_flight: AtomicU32::new(0),
            weight,
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

/// One request that a backend is working on, from [`Cluster::begin`] until this is dropped.
#[derive(Debug)]
#[must_use = "the request counts as in flight until this is dropped"]
pub struct InFlight {
    cluster: Arc<Cluster>,
    index: usize,
}

impl InFlight {
    pub(super) fn new(cluster: Arc<Cluster>, index: usize) -> InFlight {
        // Relaxed: a count that orders nothing but itself.
        cluster.backend(index).in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { cluster, index }
    }

    /// The backend that works on it.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.cluster.backend(self.index).in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Algorithm;
    use super::*;

    #[test]
    fn counts_while_the_guard_lives() {
        let cluster = Arc::new(Cluster::new(Algorithm::RoundRobin, &[0, 1], 2, HealthPolicy::OFF));
        let first = cluster.begin(1);
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
        let cluster = Arc::new(Cluster::new(Algorithm::RoundRobin, &[0], 1, HealthPolicy::OFF));
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
