//! What is counted for each backend of each route.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one backend. They only grow.
///
/// Each stands on cache lines of its own: workers that use different backends
/// do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BackendCounters {
    requests: AtomicU64,
    classes: [AtomicU64; 5],
    failures: AtomicU64,
    retries: AtomicU64,
    opened: AtomicU64,
    reused: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl BackendCounters {
    /// A request is handed to this backend (each attempt counts).
    pub fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A final response head came, with this status.
    pub fn response(&self, status: u16) {
        if let Some(class) = self.classes.get(usize::from(status / 100).wrapping_sub(1)) {
            class.fetch_add(1, Relaxed);
        }
    }

    /// An attempt failed: no connection, no proper answer, or not in time.
    pub fn failure(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// A request is handed to this backend that another attempt has failed.
    pub fn retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// A connection to it is open now.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// A request goes out over a connection that was kept.
    pub fn reused(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    /// Bytes moved: `sent` to the backend, `received` from it.
    pub fn bytes(&self, sent: u64, received: u64) {
        self.sent.fetch_add(sent, Relaxed);
        self.received.fetch_add(received, Relaxed);
    }

    /// Requests handed to this backend.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Responses by hundreds: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub fn classes(&self) -> [u64; 5] {
        [0, 1, 2, 3, 4].map(|i: usize| self.classes[i].load(Relaxed))
    }

    /// Failed attempts.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Requests handed to this backend after an attempt that failed.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Connections opened, and requests that went out over one that was kept.
    pub fn connections(&self) -> (u64, u64) {
        (self.opened.load(Relaxed), self.reused.load(Relaxed))
    }

    /// Bytes sent to and received from the backend.
    pub fn traffic(&self) -> (u64, u64) {
        (self.sent.load(Relaxed), self.received.load(Relaxed))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_fall_into_their_hundreds() {
        let counters = BackendCounters::default();
        for status in [200, 204, 301, 404, 599, 600, 99, 0] {
            counters.response(status);
        }
        assert_eq!(counters.classes(), [0, 2, 1, 1, 1]);
    }
}
