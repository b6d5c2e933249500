//! Upstreams between two requests: parked, taken out again, closed when their
//! time is over; and what is learned from backends that close them first.

use std::time::Duration;

use super::Now;
use super::host::ClientKey;
use super::network::Network;
use super::shared::Route;
use super::slots::Key;
use super::upstream::{Silence, Upstream, Use};
use super::window::{Idleness, Limits};
use super::worker::Worker;
use crate::config::PoolSize;

/// An upstream that its backend has closed while it was kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    endpoint: usize,
    /// When it was parked.
    since_ms: u64,
    /// The idleness that it teaches, if any.
    lesson: Option<u64>,
}

impl<N: Network> Worker<N> {
    /// Puts an upstream whose exchange is over into the pool, or closes it
    /// when the limits of its route allow it no further request.
    pub(super) fn park(&mut self, key: Key<Upstream>, route: &Route, now: Now) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.used_by = Use::Idle { since_ms: now.ms };
        upstream.limits = Limits::of(&route.settings);
        let endpoint = upstream.endpoint;
        let until = self.idle_until(key, now);
        if route.settings.pool_size == PoolSize::Most(0) || until.is_some_and(|until| until <= now.ms) {
            self.upstreams.remove(key);
            return;
        }
        if let Some(oldest) = self.pool.put(endpoint, key, route.settings.pool_size, now.ms) {
            self.upstreams.remove(oldest);
        }
        if let Some(until) = until {
            self.timer.want(until, now.ms);
        }
    }

    /// An idle upstream that is still good, for a request along `route`.
    pub(super) fn take_idle(
        &mut self,
        endpoint: usize,
        key: ClientKey,
        route: &Route,
        idempotent: bool,
        now: Now,
    ) -> Option<Key<Upstream>> {
        let mut lost = Vec::new();
        let found = self.look_for_idle(endpoint, route, idempotent, &mut lost, now);
        if let Some(up) = found.and_then(|found| self.upstreams.get_mut(found)) {
            up.used_by = Use::Busy(key);
            up.writable = true;
        } else {
            self.learn(lost, None, now);
        }
        found
    }

    fn look_for_idle(
        &mut self,
        endpoint: usize,
        route: &Route,
        idempotent: bool,
        lost: &mut Vec<Lost>,
        now: Now,
    ) -> Option<Key<Upstream>> {
        let learned = self.shared.endpoints[endpoint].learned.limit_ms(now.ms);
        let limits = Limits::of(&route.settings);
        loop {
            let key = self.pool.take(endpoint, now.ms)?;
            if self.idle_until(key, now).is_some_and(|until| until <= now.ms) {
                // The timer is late.
                self.upstreams.remove(key);
                continue;
            }
            let Some(up) = self.upstreams.get_mut(key) else { continue };
            let Use::Idle { since_ms } = up.used_by else { continue };
            let idle = Idleness { since_ms, until_ms: now.ms };
            let waited = Duration::from_millis(now.ms.saturating_sub(since_ms));
            let too_risky = !idempotent && waited >= route.settings.pool_unsafe_idle;
            let too_old = up.window.until_ms(since_ms, limits, learned).is_some_and(|until| until <= now.ms);
            if too_risky || too_old {
                // Good for others. Those below have waited longer still.
                self.pool.put_back(endpoint, key);
                return None;
            }
            let silence = up.silence();
            if silence == Silence::Kept {
                up.window.reuse(idle);
                return Some(key);
            }
            if let Some(upstream) = self.upstreams.remove(key)
                && silence == Silence::Closed
            {
                lost.push(self.lose(&upstream, idle));
            }
        }
    }

    /// News of an idle upstream: closed, or bytes that nobody asked for.
    /// Either way it is of no use. Tell [`Worker::learn`] of those lost.
    pub(super) fn idle_is_over(&mut self, key: Key<Upstream>, now: Now) -> Option<Lost> {
        let upstream = self.upstreams.remove(key)?;
        self.pool.remove(upstream.endpoint, key);
        match upstream.used_by {
            Use::Idle { since_ms } if upstream.closed => {
                Some(self.lose(&upstream, Idleness { since_ms, until_ms: now.ms }))
            }
            Use::Idle { .. } | Use::Busy(_) => None,
        }
    }

    /// A pooled upstream broke before an answer came.
    pub(super) fn lost_in_use(&mut self, key: ClientKey, upstream: &Upstream<N::Link>, now: Now) {
        if let Some(idle) = upstream.window.lost_for(now.ms) {
            let lost = self.lose(upstream, idle);
            self.learn(vec![lost], Some(key), now);
        }
    }

    /// Counts an upstream that was closed while it was kept.
    fn lose(&self, upstream: &Upstream<N::Link>, idle: Idleness) -> Lost {
        self.shared.endpoints[upstream.endpoint].count_stale();
        let lesson = upstream.window.lesson(idle, upstream.limits);
        Lost { endpoint: upstream.endpoint, since_ms: idle.since_ms, lesson }
    }

    /// Learns how long backends keep idle connections, from those that they
    /// closed at about the same moment. The request `of` came upon it, if one did.
    pub(super) fn learn(&mut self, mut lost: Vec<Lost>, of: Option<ClientKey>, now: Now) {
        lost.retain(|lost| lost.lesson.is_some());
        lost.sort_unstable_by_key(|lost| (lost.endpoint, lost.since_ms));
        // A backend that stops closes all of them, young and old: the oldest
        // is the one that may have been idle for too long.
        lost.dedup_by_key(|lost| lost.endpoint);
        let mut lower = false;
        for Lost { endpoint, since_ms, lesson } in lost {
            let oldest = self.pool.oldest(endpoint).and_then(|key| self.upstreams.get(key));
            if let Some(Use::Idle { since_ms: oldest }) = oldest.map(|upstream| upstream.used_by)
                && oldest < since_ms
            {
                // It has been idle for longer, and lives.
                continue;
            }
            let endpoint = &self.shared.endpoints[endpoint];
            if let Some(idle_ms) = lesson
                && endpoint.learned.closed_after(idle_ms, now.ms)
            {
                lower = true;
                log::info!(
                    "backend {} closed a connection that was idle for {idle_ms} ms; from now on they are kept for {} ms{}",
                    endpoint.label(),
                    endpoint.learned.limit_ms(now.ms).unwrap_or(idle_ms),
                    self.subject(of).with_entry()
                );
            }
        }
        if lower {
            self.close_old_idle(now);
            if let Some(next) = self.next_idle_until(now) {
                self.timer.want(next, now.ms);
            }
        }
    }

    /// Closes the idle upstreams that have waited long enough.
    pub(super) fn close_old_idle(&mut self, now: Now) {
        let is_old = |key: &Key<Upstream>| self.idle_until(*key, now).is_some_and(|until| until <= now.ms);
        let old: Vec<Key<Upstream>> = self.pool.iter().filter(is_old).collect();
        for key in old {
            if let Some(upstream) = self.upstreams.remove(key) {
                self.pool.expire(upstream.endpoint, key);
            }
        }
    }

    /// When the next idle upstream has waited long enough.
    pub(super) fn next_idle_until(&self, now: Now) -> Option<u64> {
        self.pool.iter().filter_map(|key| self.idle_until(key, now)).min()
    }

    /// When an idle upstream has waited long enough.
    fn idle_until(&self, key: Key<Upstream>, now: Now) -> Option<u64> {
        let upstream = self.upstreams.get(key)?;
        let Use::Idle { since_ms } = upstream.used_by else { return None };
        let learned = self.shared.endpoints[upstream.endpoint].learned.limit_ms(now.ms);
        upstream.window.until_ms(since_ms, upstream.limits, learned)
    }
}
