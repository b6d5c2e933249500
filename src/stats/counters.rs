//! What is counted. Of what each request does, every worker has counters of its own (see [`super::tally`]);
//! what happens rarely is counted in one place for all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::histogram::Histogram;
use super::seconds::Seconds;

/// A number that one thread alone changes, while others may read it: no change is ever lost, and none
/// costs more than one of an ordinary variable.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. For the one thread that owns it.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Makes it this, if it is less. For the one thread that owns it.
    pub fn raise(&self, to: u64) {
        if self.0.load(Relaxed) < to {
            self.0.store(to, Relaxed);
        }
    }

    /// What it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts of one backend of one route.
///
/// The alignment keeps it off the cache lines of all others (two lines: processors fetch pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BackendCounters {
    pub(super) requests: Counter,
    pub(super) classes: [Counter; 5],
    pub(super) failures: Counter,
    pub(super) retries: Counter,
    pub(super) opened: Counter,
    pub(super) reused: Counter,
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) connect: Histogram,
    pub(super) first_byte: Histogram,
    pub(super) total: Histogram,
    pub(super) seconds: Seconds,
}

impl BackendCounters {
    /// A request is handed to this backend (each attempt counts), in this second.
    pub fn request(&self, second: u64) {
        self.requests.add(1);
        self.seconds.count(second);
    }

    /// A final response head came, with this status.
    pub fn response(&self, status: u16) {
        if let Some(class) = self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            class.add(1);
        }
    }

    /// An attempt failed: no connection, no proper answer, or not in time.
    pub fn failure(&self) {
        self.failures.add(1);
    }

    /// A request is handed to this backend that another attempt has failed.
    pub fn retry(&self) {
        self.retries.add(1);
    }

    /// A connection to it is open now; it took so many microseconds.
    pub fn opened(&self, us: u64) {
        self.opened.add(1);
        self.connect.record(us);
    }

    /// A request goes out over a connection that was kept.
    pub fn reused(&self) {
        self.reused.add(1);
    }

    /// Its answer began so many microseconds after it could be asked.
    pub fn first_byte(&self, us: u64) {
        self.first_byte.record(us);
    }

    /// A request was served with its whole answer, so many microseconds after it came.
    pub fn served(&self, us: u64) {
        self.total.record(us);
    }

    /// Bytes moved: `sent` to the backend, `received` from it.
    pub fn bytes(&self, sent: u64, received: u64) {
        self.sent.add(sent);
        self.received.add(received);
    }
}

/// What one worker counts of one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RequestCounters {
    pub(super) requests: Counter,
    pub(super) seconds: Seconds,
}

impl RequestCounters {
    /// A request came for this route, in this second.
    pub fn request(&self, second: u64) {
        self.requests.add(1);
        self.seconds.count(second);
    }
}

/// Counters of a route as a whole, of what happens rarely. They only grow.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCounters {
    retries_denied: AtomicU64,
    poisoned: AtomicU64,
    queued: AtomicU64,
    queue_full: AtomicU64,
    queue_timed_out: AtomicU64,
}

impl RouteCounters {
    /// A request was not asked again for want of budget.
    pub fn retry_denied(&self) {
        self.retries_denied.fetch_add(1, Relaxed);
    }

    /// A failure was the fault of the request.
    pub fn poisoned(&self) {
        self.poisoned.fetch_add(1, Relaxed);
    }

    /// A request begins to wait for a backend with room.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// A request found no room to wait.
    pub fn queue_full(&self) {
        self.queue_full.fetch_add(1, Relaxed);
    }

    /// A request has waited for as long as it may.
    pub fn queue_timed_out(&self) {
        self.queue_timed_out.fetch_add(1, Relaxed);
    }

    /// Requests that waited, that found no room to wait, and that waited in vain.
    pub fn queueing(&self) -> (u64, u64, u64) {
        (self.queued.load(Relaxed), self.queue_full.load(Relaxed), self.queue_timed_out.load(Relaxed))
    }

    /// Requests that were not asked again for want of budget.
    pub fn retries_denied(&self) -> u64 {
        self.retries_denied.load(Relaxed)
    }

    /// Failures that were the fault of the request.
    pub fn times_poisoned(&self) -> u64 {
        self.poisoned.load(Relaxed)
    }
}
