//! Requests that wait until a backend takes one more, and how their worker learns that one does.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Now;
use super::exchange::Exchange;
use super::network::{Network, Wake};
use super::slots::Key;
use super::worker::Worker;
use crate::balancer::{Caller, InFlight, Waiting};

/// Whether a request waits for a backend.
#[derive(Debug)]
pub enum Queueing {
    /// No.
    No,
    /// In the line of its route.
    Waits(Waiting),
    /// No more: it has a place at this backend.
    Called(InFlight),
    /// No more: it has waited for as long as it may, or there was no room to wait.
    Over,
}

/// What other threads have to tell a worker about its requests that wait.
pub struct Mailbox {
    /// `None` once the worker is gone.
    calls: Mutex<Option<Vec<Call>>>,
    waker: Arc<dyn Wake>,
}

/// It is this request's turn, with a place at a backend, or to ask again.
struct Call {
    exchange: Key<Exchange>,
    place: Option<InFlight>,
}

/// One request that waits.
#[derive(Debug)]
struct Waiter {
    exchange: Key<Exchange>,
    mailbox: Arc<Mailbox>,
}

impl Mailbox {
    /// An empty one, of the worker that `waker` wakes.
    pub fn new(waker: Arc<dyn Wake>) -> Self {
        Mailbox { calls: Mutex::new(Some(Vec::new())), waker }
    }

    /// Nobody looks into it any more: places go to somebody else.
    fn close(&self) {
        let calls = self.calls.lock().take();
        drop(calls);
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

impl Caller for Waiter {
    fn call(&self, place: Option<InFlight>) -> Option<InFlight> {
        match &mut *self.mailbox.calls.lock() {
            Some(calls) => calls.push(Call { exchange: self.exchange, place }),
            None => return place,
        }
        if let Err(error) = self.mailbox.waker.wake() {
            log::error!("a worker cannot be woken: {error}");
        }
        None
    }
}

impl<N: Network> Worker<N> {
    /// Puts a request at the end of its line, if there is room.
    pub(super) fn join_queue(&mut self, key: Key<Exchange>, now: Now) {
        let Some(order) = self.exchanges.get_mut(key).and_then(|exchange| exchange.order.as_mut()) else {
            return;
        };
        let waiter = Arc::new(Waiter { exchange: key, mailbox: Arc::clone(&self.mailbox) });
        let capacity = &order.route.settings.capacity;
        // A further attempt is not waited for when it may not begin any more.
        let timeout = order
            .attempts
            .time_left(now)
            .map_or(capacity.queue_timeout, |left| left.min(capacity.queue_timeout));
        match order.route.cluster.wait(capacity.queue_size as usize, &order.tried, waiter) {
            Some(waiting) => {
                order.route.totals.queued();
                order.queueing = Queueing::Waits(waiting);
                self.set_deadline(key, Some(timeout), now);
            }
            None => {
                order.route.totals.queue_full();
                order.queueing = Queueing::Over;
            }
        }
    }

    /// A request has waited for as long as it may: it takes a backup, or an error.
    pub(super) fn queue_timed_out(&mut self, key: Key<Exchange>) {
        let order = self.exchanges.get_mut(key).and_then(|exchange| exchange.order.as_mut());
        if let Some(order) = order.filter(|order| matches!(order.queueing, Queueing::Waits(_))) {
            order.route.totals.queue_timed_out();
            order.queueing = Queueing::Over;
            self.queue(key);
        }
    }

    /// Lets those go on whose turn it is.
    pub(super) fn take_calls(&mut self) {
        let calls = match &mut *self.mailbox.calls.lock() {
            Some(calls) => std::mem::take(calls),
            None => return,
        };
        for Call { exchange: key, place } in calls {
            // Who does not wait any more lets go of the place here, for the next.
            let order = self.exchanges.get_mut(key).and_then(|exchange| exchange.order.as_mut());
            let Some(order) = order.filter(|order| matches!(order.queueing, Queueing::Waits(_))) else {
                continue;
            };
            // Of the line that it stood in before: it has been to this backend since.
            if place.as_ref().is_some_and(|place| order.tried.contains(place.index())) {
                continue;
            }
            if let Some(place) = place {
                order.queueing = Queueing::Called(place);
            }
            self.queue(key);
        }
    }

    /// Gives up all places: nobody works here any more.
    pub(super) fn close_mailbox(&self) {
        self.mailbox.close();
    }
}
