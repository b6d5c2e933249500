//! Which idle upstreams lead where. Holds keys alone: no socket, no clock.

use std::collections::VecDeque;

use super::slots::Key;
use super::upstream::Upstream;
use crate::config::PoolSize;

/// Idle upstreams that `PoolSize auto` keeps of each endpoint however few are needed.
const KEPT: usize = 32;
/// An upstream that was closed for want of room was missed if another one is opened this soon.
const MISSED_WITHIN_MS: u64 = 1000;

/// Idle upstreams by endpoint, the last one parked first out: those at the
/// bottom grow old and are closed when the load is low.
#[derive(Debug)]
pub struct Pool {
    by_endpoint: Vec<Idle>,
}

/// Those of one endpoint.
#[derive(Debug, Default)]
struct Idle {
    keys: VecDeque<Key<Upstream>>,
    /// So many more than [`KEPT`] were needed lately.
    grown: usize,
    /// Upstreams that were closed for want of room within one moment.
    dropped: usize,
    /// That moment.
    dropped_ms: u64,
}

impl Pool {
    /// A pool for so many endpoints.
    pub fn new(endpoints: usize) -> Self {
        Pool { by_endpoint: (0..endpoints).map(|_| Idle::default()).collect() }
    }

    /// Parks an upstream; gives the oldest one back to be closed when there are more than `size`.
    pub fn put(
        &mut self,
        endpoint: usize,
        key: Key<Upstream>,
        size: PoolSize,
        now_ms: u64,
    ) -> Option<Key<Upstream>> {
        let idle = &mut self.by_endpoint[endpoint];
        idle.keys.push_back(key);
        let most = match size {
            PoolSize::Auto => KEPT + idle.grown,
            PoolSize::Most(most) => most,
        };
        if idle.keys.len() <= most {
            return None;
        }
        if size == PoolSize::Auto {
            if now_ms.saturating_sub(idle.dropped_ms) > MISSED_WITHIN_MS {
                idle.dropped = 0;
            }
            idle.dropped += 1;
            idle.dropped_ms = now_ms;
        }
        idle.keys.pop_front()
    }

    /// Puts back what was just taken.
    pub fn put_back(&mut self, endpoint: usize, key: Key<Upstream>) {
        self.by_endpoint[endpoint].keys.push_back(key);
    }

    /// The one parked last.
    pub fn take(&mut self, endpoint: usize, now_ms: u64) -> Option<Key<Upstream>> {
        let idle = &mut self.by_endpoint[endpoint];
        let key = idle.keys.pop_back();
        if key.is_none() && idle.dropped > 0 && now_ms.saturating_sub(idle.dropped_ms) <= MISSED_WITHIN_MS {
            // Had one more been kept, there would be one now.
            idle.dropped -= 1;
            idle.grown += 1;
        }
        key
    }

    /// The one that was parked before all others.
    pub fn oldest(&self, endpoint: usize) -> Option<Key<Upstream>> {
        self.by_endpoint[endpoint].keys.front().copied()
    }

    /// Forgets an upstream.
    pub fn remove(&mut self, endpoint: usize, key: Key<Upstream>) {
        let keys = &mut self.by_endpoint[endpoint].keys;
        // Mostly it is one of the oldest.
        if let Some(place) = keys.iter().position(|&it| it == key) {
            keys.remove(place);
        }
    }

    /// Forgets an upstream for which there was no use for as long as it may wait.
    pub fn expire(&mut self, endpoint: usize, key: Key<Upstream>) {
        self.remove(endpoint, key);
        let idle = &mut self.by_endpoint[endpoint];
        idle.grown = idle.grown.saturating_sub(1);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Key<Upstream>> {
        self.by_endpoint.iter().flat_map(|idle| &idle.keys).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key<Upstream> {
        Key::from_bits(n)
    }

    #[test]
    fn last_in_first_out_and_the_oldest_makes_room() {
        let mut pool = Pool::new(2);
        let two = PoolSize::Most(2);
        assert_eq!(pool.put(0, key(1), two, 0), None);
        assert_eq!(pool.put(0, key(2), two, 0), None);
        assert_eq!(pool.put(0, key(3), two, 0), Some(key(1)));
        assert_eq!(pool.iter().collect::<Vec<_>>(), [key(2), key(3)]);
        assert_eq!(pool.oldest(0), Some(key(2)));
        assert_eq!(pool.take(0, 0), Some(key(3)));
        pool.put_back(0, key(3));
        pool.remove(0, key(3));
        pool.remove(0, key(2));
        assert_eq!((pool.oldest(0), pool.take(0, 0), pool.take(1, 0)), (None, None, None));
        assert_eq!(pool.put(1, key(4), PoolSize::Most(0), 0), Some(key(4)));
    }

    /// Parks so many at once and takes them all out again; how many were kept.
    fn burst(pool: &mut Pool, size: PoolSize, many: usize, now_ms: u64) -> usize {
        for n in 0..many {
            pool.put(0, key(n), size, now_ms);
        }
        let kept = pool.iter().count();
        for _ in 0..many {
            pool.take(0, now_ms);
        }
        kept
    }

    #[test]
    fn a_pool_grows_to_what_is_missed_and_shrinks_with_what_is_not() {
        let mut pool = Pool::new(1);
        assert_eq!(burst(&mut pool, PoolSize::Auto, 20, 0), 20);
        assert_eq!(burst(&mut pool, PoolSize::Auto, 100, 0), KEPT);
        assert_eq!(burst(&mut pool, PoolSize::Auto, 100, 5), 100);
        assert_eq!(burst(&mut pool, PoolSize::Auto, 40, 9), 40);
        for n in 0..100 {
            pool.put(0, key(n), PoolSize::Auto, 10);
        }
        (0..60).for_each(|n| pool.expire(0, key(n)));
        assert_eq!(burst(&mut pool, PoolSize::Auto, 100, 10_000), KEPT + 8);
    }

    #[test]
    fn what_was_closed_long_ago_is_not_missed() {
        let mut pool = Pool::new(1);
        for n in 0..100 {
            pool.put(0, key(n), PoolSize::Auto, 0);
        }
        (0..100).for_each(|_| assert!(pool.take(0, 5000).is_none() || pool.iter().count() < KEPT));
        assert_eq!(burst(&mut pool, PoolSize::Auto, 100, 5000), KEPT);
    }

    #[test]
    fn a_size_that_was_asked_for_is_kept() {
        let mut pool = Pool::new(1);
        assert_eq!(burst(&mut pool, PoolSize::Most(5), 100, 0), 5);
        assert_eq!(burst(&mut pool, PoolSize::Most(5), 100, 1), 5);
    }
}
