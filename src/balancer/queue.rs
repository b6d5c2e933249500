//! Requests that wait until a backend takes one more.
//!
//! Whoever lets go of a place at a backend hands it to the request that has waited for longest,
//! so nobody is overtaken and nobody looks in vain. The lock is held for a look at the line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::Mutex;

use super::{Cluster, InFlight, Tried};

/// Who waits, as seen from here.
pub trait Caller: fmt::Debug + Send + Sync {
    /// It is this request's turn: it has a place at a backend, or is to ask again. Gives the
    /// place back if nobody is there any more to take it.
    fn call(&self, place: Option<InFlight>) -> Option<InFlight>;
}

/// A place in the line, until this is dropped.
#[derive(Debug)]
#[must_use = "the request waits until this is dropped"]
pub struct Waiting {
    cluster: Arc<Cluster>,
    ticket: u64,
}

impl Waiting {
    /// The end of the line of `cluster`. Ask for a backend once more afterwards: one may have had
    /// room a moment ago, and nobody to give it to.
    pub(super) fn join(
        cluster: Arc<Cluster>,
        most: usize,
        tried: &Tried,
        caller: Arc<dyn Caller>,
    ) -> Option<Waiting> {
        let ticket = cluster.queue.enter(most, tried.clone(), caller)?;
        Some(Waiting { cluster, ticket })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.cluster.queue.leave(self.ticket);
    }
}

/// The line of one cluster.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// How many stand in it; read without the lock.
    len: AtomicUsize,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next_ticket: u64,
    /// In the order of their coming.
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    tried: Tried,
    caller: Arc<dyn Caller>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Does nobody wait? Whoever has just made room sees all who came before they looked for it.
    pub fn is_empty(&self) -> bool {
        // Together with the fence in `enter`: either this sees the one who waits, or that one
        // sees the room.
        fence(Ordering::SeqCst);
        self.len.load(Ordering::Relaxed) == 0
    }

    fn enter(&self, most: usize, tried: Tried, caller: Arc<dyn Caller>) -> Option<u64> {
        let ticket = {
            let mut line = self.line.lock();
            if line.waiters.len() >= most {
                return None;
            }
            let ticket = line.next_ticket;
            line.next_ticket += 1;
            line.waiters.insert(ticket, Waiter { tried, caller });
            self.len.store(line.waiters.len(), Ordering::Relaxed);
            ticket
        };
        fence(Ordering::SeqCst);
        Some(ticket)
    }

    fn leave(&self, ticket: u64) {
        let mut line = self.line.lock();
        let waiter = line.waiters.remove(&ticket);
        self.len.store(line.waiters.len(), Ordering::Relaxed);
        drop(line);
        // Nothing of the caller's ends under the lock.
        drop(waiter);
    }

    /// Takes the first out of the line that may go to this backend.
    pub fn next_for(&self, backend: usize) -> Option<Arc<dyn Caller>> {
        let mut line = self.line.lock();
        let (&ticket, _) = line.waiters.iter().find(|(_, waiter)| !waiter.tried.contains(backend))?;
        let waiter = line.waiters.remove(&ticket)?;
        self.len.store(line.waiters.len(), Ordering::Relaxed);
        Some(waiter.caller)
    }

    /// Is there anybody in the line who may go to this backend?
    pub fn has_one_for(&self, backend: usize) -> bool {
        !self.is_empty() && self.line.lock().waiters.values().any(|waiter| !waiter.tried.contains(backend))
    }

    /// Lets all ask again, who stay in line.
    pub fn call_all(&self) {
        if self.is_empty() {
            return;
        }
        let callers: Vec<Arc<dyn Caller>> =
            self.line.lock().waiters.values().map(|waiter| Arc::clone(&waiter.caller)).collect();
        for caller in callers {
            caller.call(None);
        }
    }

    /// Lets the first ask again, who stays in line.
    pub fn call_first(&self) {
        if self.is_empty() {
            return;
        }
        let first = self.line.lock().waiters.values().next().map(|waiter| Arc::clone(&waiter.caller));
        if let Some(caller) = first {
            caller.call(None);
        }
    }
}
