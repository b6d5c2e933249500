//! The counters of all workers: each has a block of its own, which it alone changes and which shares no
//! cache line with another; whoever wants to know adds them up.

use std::sync::Arc;

use parking_lot::Mutex;

use super::counters::{BackendCounters, RequestCounters};
use super::histogram::Distribution;
use super::seconds::History;

/// The blocks of all workers that there ever were.
#[derive(Debug)]
pub struct Tallies {
    backends: usize,
    routes: usize,
    /// Taken when a worker comes or goes, and to read; never to count.
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    all: Vec<Arc<Block>>,
    /// Those whose workers have ended; the next worker goes on with one of them.
    left: Vec<Arc<Block>>,
}

/// What one worker counts.
#[derive(Debug)]
struct Block {
    backends: Box<[BackendCounters]>,
    routes: Box<[RequestCounters]>,
}

/// A worker's own block. There is one for each block, so that one thread at a time counts.
#[derive(Debug)]
pub struct Tally {
    block: Arc<Block>,
    all: Arc<Tallies>,
}

impl Tallies {
    /// For so many backends and routes in all.
    pub fn new(backends: usize, routes: usize) -> Self {
        Tallies { backends, routes, blocks: Mutex::default() }
    }

    /// The block of a worker that begins.
    pub fn join(self: &Arc<Self>) -> Tally {
        let mut blocks = self.blocks.lock();
        let block = blocks.left.pop().unwrap_or_else(|| {
            let block = Arc::new(Block {
                backends: (0..self.backends).map(|_| BackendCounters::default()).collect(),
                routes: (0..self.routes).map(|_| RequestCounters::default()).collect(),
            });
            blocks.all.push(Arc::clone(&block));
            block
        });
        Tally { block, all: Arc::clone(self) }
    }

    /// What all have counted of one backend up to `second`.
    pub fn backend(&self, row: usize, second: u64) -> BackendTotals {
        let mut sums = BackendTotals::default();
        for block in &self.blocks.lock().all {
            sums.add(&block.backends[row], second);
        }
        sums
    }

    /// What all have counted of one route up to `second`.
    pub fn route(&self, row: usize, second: u64) -> RouteTotals {
        let mut sums = RouteTotals::default();
        for block in &self.blocks.lock().all {
            let counters = &block.routes[row];
            sums.requests += counters.requests.get();
            sums.history.add(&counters.seconds, second);
        }
        sums
    }
}

impl Tally {
    /// The counters of one backend, by its row among those of all routes.
    pub fn backend(&self, row: usize) -> &BackendCounters {
        &self.block.backends[row]
    }

    /// The counters of one route.
    pub fn route(&self, row: usize) -> &RequestCounters {
        &self.block.routes[row]
    }
}

impl Drop for Tally {
    /// What was counted stays counted.
    fn drop(&mut self) {
        self.all.blocks.lock().left.push(Arc::clone(&self.block));
    }
}

/// What all workers have counted of one route.
#[derive(Clone, Debug, Default)]
pub struct RouteTotals {
    /// Requests that came.
    pub requests: u64,
    /// How many in each of the last seconds.
    pub history: History,
}

/// What all workers have counted of one backend.
#[derive(Clone, Debug, Default)]
pub struct BackendTotals {
    /// Requests handed to it.
    pub requests: u64,
    /// Its answers by hundreds: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub classes: [u64; 5],
    /// Failed attempts.
    pub failures: u64,
    /// Requests handed to it after an attempt that failed.
    pub retries: u64,
    /// Connections opened.
    pub opened: u64,
    /// Requests that went out over a connection that was kept.
    pub reused: u64,
    /// Bytes sent to it.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
    /// How long its connections took to open.
    pub connect: Distribution,
    /// How long its answers took to begin.
    pub first_byte: Distribution,
    /// How long its requests took from beginning to end.
    pub total: Distribution,
    /// How many requests it was handed in each of the last seconds.
    pub history: History,
}

impl BackendTotals {
    fn add(&mut self, counters: &BackendCounters, second: u64) {
        self.requests += counters.requests.get();
        for (sum, class) in self.classes.iter_mut().zip(&counters.classes) {
            *sum += class.get();
        }
        self.failures += counters.failures.get();
        self.retries += counters.retries.get();
        self.opened += counters.opened.get();
        self.reused += counters.reused.get();
        self.sent += counters.sent.get();
        self.received += counters.received.get();
        self.connect.add(&counters.connect);
        self.first_byte.add(&counters.first_byte);
        self.total.add(&counters.total);
        self.history.add(&counters.seconds, second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem;
    use std::thread;

    fn tallies(backends: usize) -> Arc<Tallies> {
        Arc::new(Tallies::new(backends, 1))
    }

    #[test]
    fn statuses_fall_into_their_hundreds() {
        let all = tallies(1);
        let tally = all.join();
        for status in [200, 204, 301, 404, 599, 600, 99, 0] {
            tally.backend(0).response(status);
        }
        assert_eq!(all.backend(0, 0).classes, [0, 2, 1, 1, 1]);
    }

    #[test]
    fn many_workers_count_at_once_and_nothing_is_lost() {
        let all = tallies(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                let tally = all.join();
                scope.spawn(move || {
                    for us in 0..10_000 {
                        tally.backend(1).request(7);
                        tally.backend(1).bytes(2, 3);
                        tally.backend(1).served(us);
                        tally.route(0).request(7);
                    }
                });
            }
        });
        let sums = all.backend(1, 8);
        assert_eq!((sums.requests, sums.sent, sums.received), (40_000, 80_000, 120_000));
        assert_eq!((sums.total.count(), sums.total.max_us()), (40_000, 9999));
        assert_eq!(all.route(0, 8).history.counts().last(), Some(&40_000));
        assert_eq!(all.backend(0, 8).requests, 0);
    }

    #[test]
    fn the_numbers_of_a_worker_that_has_ended_stay_and_its_block_is_used_again() {
        let all = tallies(1);
        for _ in 0..3 {
            let (one, two) = (all.join(), all.join());
            one.backend(0).failure();
            two.backend(0).failure();
        }
        assert_eq!(all.backend(0, 0).failures, 6);
        assert_eq!(all.blocks.lock().all.len(), 2);
    }

    #[test]
    fn blocks_of_different_workers_share_no_cache_line() {
        let all = tallies(3);
        let tallies = [all.join(), all.join()];
        let mut lines: Vec<usize> = Vec::new();
        for tally in &tallies {
            let backends = tally.block.backends.as_ptr_range();
            let routes = tally.block.routes.as_ptr_range();
            let ranges =
                [backends.start as usize..backends.end as usize, routes.start as usize..routes.end as usize];
            for range in ranges {
                lines.extend((range.start / 128)..=((range.end - 1) / 128));
            }
        }
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count);
    }

    #[test]
    fn a_backend_costs_each_worker_seven_kilobytes() {
        assert!(mem::size_of::<BackendCounters>() < 7 * 1024, "{}", mem::size_of::<BackendCounters>());
    }
}
