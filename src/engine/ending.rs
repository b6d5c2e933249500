//! The end of the server: what is under way is finished, and no client is told
//! that its connection is kept. Whoever ends the server asks, and looks; the
//! workers go on as ever and tell how much they have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Now;
use super::cause::Cause;
use super::exchange::Phase;
use super::host::{ClientKey, RequestParts};
use super::network::{Network, Wake};
use super::shared::Route;
use super::worker::Worker;

/// Whether the server ends, and who still has to finish something.
#[derive(Debug, Default)]
pub struct Ending {
    asked: AtomicBool,
    refused: AtomicBool,
    workers: Mutex<Vec<Arc<Remains>>>,
}

/// How many exchanges are under way; tunnels do not count, since they may never end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnderWay {
    /// Begun before the end was asked for.
    pub older: usize,
    /// Begun since then.
    pub later: usize,
}

/// What one worker has to finish.
#[derive(Debug)]
pub(super) struct Remains {
    waker: Arc<dyn Wake>,
    /// [`UNKNOWN`] until the worker has heard of the end.
    older: AtomicUsize,
    later: AtomicUsize,
}

const UNKNOWN: usize = usize::MAX;

impl Ending {
    /// The server is going to end: from now on no client's connection is kept.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Requests that still come are not taken along any more.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::SeqCst);
    }

    /// Whether a request that comes now is to be refused.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// What is under way in all workers; `None` while one of them has not heard
    /// of the end. Neither waits nor allocates: it may be called in the handler
    /// of a signal.
    pub fn under_way(&self) -> Option<UnderWay> {
        let workers = self.workers.try_lock()?;
        let mut all = Some(UnderWay::default());
        for worker in workers.iter() {
            let older = worker.older.load(Ordering::SeqCst);
            let later = worker.later.load(Ordering::SeqCst);
            if older == UNKNOWN {
                // Should it fail, the next look tries again.
                let _ = worker.waker.wake();
                all = None;
            }
            all = all.map(|all| UnderWay { older: all.older + older, later: all.later + later });
        }
        all
    }

    /// Makes all workers come round, and tells how many there are; `None` if that
    /// is not to be found out now. As [`Ending::under_way`], it never waits.
    pub fn call_all(&self) -> Option<usize> {
        let workers = self.workers.try_lock()?;
        for worker in workers.iter() {
            let _ = worker.waker.wake();
        }
        Some(workers.len())
    }

    /// A worker begins.
    pub(super) fn join(&self, waker: Arc<dyn Wake>) -> Place {
        let remains =
            Arc::new(Remains { waker, older: AtomicUsize::new(UNKNOWN), later: AtomicUsize::new(0) });
        self.workers.lock().push(Arc::clone(&remains));
        Place(remains)
    }
}

/// A worker's own place in [`Ending`]; without it the worker has nothing left to do.
#[derive(Debug)]
pub(super) struct Place(Arc<Remains>);

impl Place {
    fn tell(&self, left: UnderWay) {
        self.0.later.store(left.later, Ordering::SeqCst);
        self.0.older.store(left.older, Ordering::SeqCst);
    }

    /// The worker is not going to finish anything any more.
    pub(super) fn leave(&self) {
        self.tell(UnderWay::default());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<N: Network> Worker<N> {
    /// Turns a request away, since the server is about to end. Drive the worker afterwards.
    pub fn begin_farewell(&mut self, route: &Arc<Route>, parts: &RequestParts<'_>, now: Now) -> ClientKey {
        let record = self.records.open(route, parts);
        self.turn_away(parts, record, (503, "the server is about to end", Cause::ServerEnds), now)
    }

    /// Tells how much is under way, if the server is going to end.
    pub(super) fn tell_what_is_left(&mut self) {
        if !self.shared.ending.is_asked() {
            return;
        }
        let mut left = UnderWay::default();
        for exchange in self.exchanges.values_mut() {
            exchange.client.keep_alive = false;
            match (&exchange.phase, exchange.is_late) {
                (Phase::Tunnel { .. }, _) => {}
                (_, false) => left.older += 1,
                (_, true) => left.later += 1,
            }
        }
        self.ending.tell(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token, Waker};

    fn waker(poll: &Poll) -> Arc<dyn Wake> {
        Arc::new(Waker::new(poll.registry(), Token(0)).unwrap())
    }

    #[test]
    fn a_worker_that_has_not_heard_of_the_end_is_waited_for_and_one_that_is_gone_is_not() {
        let ending = Ending::default();
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        assert_eq!(ending.under_way(), Some(UnderWay::default()));
        let [first, second] = [0, 1].map(|i| ending.join(waker(&polls[i])));
        ending.ask();
        assert_eq!(ending.under_way(), None);
        first.tell(UnderWay { older: 2, later: 1 });
        assert_eq!(ending.under_way(), None);
        second.tell(UnderWay { older: 1, later: 0 });
        assert_eq!(ending.under_way(), Some(UnderWay { older: 3, later: 1 }));
        drop(first);
        assert_eq!(ending.under_way(), Some(UnderWay { older: 1, later: 0 }));
    }
}
