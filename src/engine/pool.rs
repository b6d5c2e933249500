//! Which idle upstreams lead where. Holds keys alone: no socket, no clock.

use super::slots::Key;
use super::upstream::Upstream;

/// Idle upstreams by endpoint, the last one parked first out: those at the
/// bottom grow old and are closed when the load is low.
#[derive(Debug)]
pub struct Pool {
    by_endpoint: Vec<Vec<Key<Upstream>>>,
}

impl Pool {
    /// A pool for so many endpoints.
    pub fn new(endpoints: usize) -> Self {
        Pool { by_endpoint: vec![Vec::new(); endpoints] }
    }

    /// Parks an upstream; gives the oldest one back to be closed when there
    /// are more than `limit`.
    pub fn put(&mut self, endpoint: usize, key: Key<Upstream>, limit: usize) -> Option<Key<Upstream>> {
        let idle = &mut self.by_endpoint[endpoint];
        idle.push(key);
        (idle.len() > limit).then(|| idle.remove(0))
    }

    /// The one parked last.
    pub fn take(&mut self, endpoint: usize) -> Option<Key<Upstream>> {
        self.by_endpoint[endpoint].pop()
    }

    /// The one that was parked before all others.
    pub fn oldest(&self, endpoint: usize) -> Option<Key<Upstream>> {
        self.by_endpoint[endpoint].first().copied()
    }

    /// Forgets an upstream.
    pub fn remove(&mut self, endpoint: usize, key: Key<Upstream>) {
        self.by_endpoint[endpoint].retain(|&k| k != key);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Key<Upstream>> {
        self.by_endpoint.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_in_first_out_and_the_oldest_makes_room() {
        let key = Key::from_bits;
        let mut pool = Pool::new(2);
        assert_eq!(pool.put(0, key(1), 2), None);
        assert_eq!(pool.put(0, key(2), 2), None);
        assert_eq!(pool.put(0, key(3), 2), Some(key(1)));
        assert_eq!(pool.iter().collect::<Vec<_>>(), [key(2), key(3)]);
        assert_eq!(pool.oldest(0), Some(key(2)));
        assert_eq!(pool.take(0), Some(key(3)));
        pool.remove(0, key(2));
        assert_eq!((pool.oldest(0), pool.take(0), pool.take(1)), (None, None, None));
        assert_eq!(pool.put(1, key(4), 0), Some(key(4)));
    }
}
