//! Attempts and exchanges that end before their time: who is blamed, whether
//! another backend is asked, what the client is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Now;
use super::cause::Cause;
use super::exchange::{Attempt, Exchange, Phase};
use super::failure::Failure;
use super::host::{ClientKey, Fate};
use super::network::Network;
use super::noting::short_id;
use super::retry::Next;
use super::shared::Route;
use super::worker::Worker;
use crate::balancer::Flip;

/// The status in the log for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;

impl Exchange {
    /// An attempt has failed.
    pub(super) fn note_failed(&mut self, backend: usize, cause: Cause) {
        self.cause = cause;
        if let Some(record) = &mut self.record {
            record.failed(backend, cause);
        }
    }

    /// The client is gone; if it has all of its answer, it was not too early.
    pub(super) fn note_left(&mut self) {
        let is_served =
            matches!(self.phase, Phase::Flushing(_) | Phase::Lingering { .. } | Phase::Tunnel { .. });
        if !is_served || self.has_pending() {
            self.cause = Cause::ClientLeft;
        }
    }
}

impl<N: Network> Worker<N> {
    /// The attempt came to nothing: asks again, or tells the client.
    pub(super) fn fail(&mut self, key: ClientKey, failure: Failure, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Picking);
        let cause = Cause::of(&failure);
        let (attempt, head_begun, name) = match phase {
            Phase::Connecting(attempt) => (attempt, false, "connecting"),
            Phase::Asking { attempt, head } => (attempt, !head.is_empty(), "asking"),
            Phase::Relaying { attempt, .. } => {
                // The head is out: all that is left is to let the client see the cut.
                exchange.phase = Phase::Flushing(Fate::Abort);
                exchange.deadline_ms = None;
                exchange.cause = cause;
                let window = self.upstreams.remove(attempt.upstream).map(|upstream| upstream.window);
                if let Some(order) = &exchange.order {
                    let id = short_id(exchange.record.as_deref());
                    order.note_failure(&attempt, ("relaying", id), window, &failure, now);
                    let Attempt { backend, reused, trial, .. } = attempt;
                    self.judge(key, backend, trial, reused, &failure, now);
                }
                self.queue(key);
                return;
            }
            other @ (Phase::Gathering
            | Phase::Picking
            | Phase::Tunnel { .. }
            | Phase::Flushing(_)
            | Phase::Lingering { .. }) => {
                exchange.phase = other;
                return;
            }
        };
        exchange.status = failure.status();
        exchange.note_failed(attempt.backend, cause);
        let upstream = self.upstreams.remove(attempt.upstream);
        if let Some(order) = &exchange.order {
            let window = upstream.as_ref().map(|upstream| upstream.window);
            let id = short_id(exchange.record.as_deref());
            order.note_failure(&attempt, (name, id), window, &failure, now);
        }
        if let Some(upstream) = upstream.filter(|_| attempt.reused && !failure.blames_backend(true)) {
            self.lost_in_use(key, &upstream, now);
        }
        match self.review(key, &attempt, head_begun, &failure, now) {
            Next::SameBackend => {
                // If that fails at once, it is back to picking, or told already.
                self.attempt(key, attempt.in_flight, attempt.trial, false, now);
            }
            Next::OtherBackend(_) => {}
            Next::GiveUp(_) => self.give_up(key, &failure, now),
        }
        self.queue(key);
    }

    /// The client is gone for good, as its own socket tells.
    pub(super) fn client_left(&mut self, key: ClientKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.note_left();
        let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(Fate::Close));
        exchange.pending.clear();
        exchange.pending_from = 0;
        exchange.deadline_ms = None;
        // Nobody is there to linger for.
        exchange.forget_unread();
        if exchange.status == 0 {
            exchange.status = CLIENT_LEFT;
        }
        let route = exchange.order.as_ref().map(|order| Arc::clone(&order.route));
        if let Some(route) = route {
            self.abandon(&route, phase);
        }
        self.queue(key);
    }

    /// The client has closed its sending side; most have left altogether then.
    pub(super) fn client_half_closed(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.is_young(now.ms) && !matches!(exchange.phase, Phase::Relaying { .. } | Phase::Flushing(_))
        {
            // It was watched for its body alone. The late watch will come upon this again.
            return self.watch_later(key, now);
        }
        exchange.client.half_closed = true;
        match exchange.phase {
            Phase::Gathering | Phase::Picking | Phase::Connecting(_) | Phase::Asking { .. } => {
                self.client_left(key)
            }
            // An answer that is flowing is delivered; a silent one is not kept up for long.
            Phase::Relaying { .. } if !exchange.has_pending() => {
                let timeout = exchange.read_timeout();
                self.set_deadline(key, timeout, now);
            }
            Phase::Relaying { .. } | Phase::Tunnel { .. } | Phase::Flushing(_) | Phase::Lingering { .. } => {}
        }
    }

    /// Frees what an exchange that ended outside of the ordinary way still holds.
    pub(super) fn discard(&mut self, exchange: Exchange) {
        let Exchange { phase, order, pending, .. } = exchange;
        self.recycle(pending);
        if let Some(mut order) = order {
            self.abandon_kept(&mut order);
            self.abandon(&order.route, phase);
            self.recycle(order.request);
        }
    }

    /// Lets go of an attempt without a verdict on the backend.
    pub(super) fn abandon(&mut self, route: &Route, phase: Phase) {
        let (Phase::Connecting(attempt)
        | Phase::Asking { attempt, .. }
        | Phase::Relaying { attempt, .. }
        | Phase::Tunnel { attempt, .. }) = phase
        else {
            return;
        };
        self.upstreams.remove(attempt.upstream);
        if attempt.trial {
            route.cluster.abandon_trial(attempt.backend);
        }
    }

    /// Counts a failure against a backend, if it is the backend's.
    pub(super) fn judge(
        &mut self,
        key: ClientKey,
        backend: usize,
        trial: bool,
        reused: bool,
        failure: &Failure,
        now: Now,
    ) {
        let Some(order) = self.exchanges.get(key).and_then(|exchange| exchange.order.as_ref()) else {
            return;
        };
        let route = Arc::clone(&order.route);
        let endpoint = &self.shared.endpoints[route.endpoints[backend]];
        let label = &route.labels[backend];
        if !failure.blames_backend(reused) {
            if trial {
                route.cluster.abandon_trial(backend);
            }
            if matches!(failure, Failure::Local(_))
                && let Some(left_out) = endpoint.lacks.say(now.ms)
            {
                log::warn!("backend {label}: {failure}{}{left_out}", self.subject(key).with_entry());
            }
            return;
        }
        if matches!(failure, Failure::Connect(_)) {
            endpoint.learned.stopped(now.ms);
        }
        self.tally.backend(route.row(backend)).failure();
        if !route.blames_for(failure) {
            if trial {
                route.cluster.abandon_trial(backend);
            }
            return;
        }
        if let Some(flip) = route.cluster.record_failure(backend, trial, now.ms) {
            self.tell(key, &route, backend, flip, failure, now);
        }
    }

    /// Counts an answer that the route takes for a failure of the backend, by its status.
    pub(super) fn judge_status(
        &mut self,
        key: ClientKey,
        route: &Route,
        backend: usize,
        trial: bool,
        status: u16,
        now: Now,
    ) {
        if let Some(exchange) = self.exchanges.get(key)
            && let Some(order) = &exchange.order
        {
            order.note_status(backend, short_id(exchange.record.as_deref()), status, now);
        }
        if let Some(flip) = route.cluster.record_failure(backend, trial, now.ms) {
            self.tell(key, route, backend, flip, &format_args!("it answered {status}"), now);
        }
    }

    /// Counts a whole answer in a backend's favour.
    pub(super) fn praise(&mut self, key: ClientKey, route: &Route, backend: usize, now: Now) {
        if let Some(flip) = route.cluster.record_success(backend, now.ms) {
            self.tell(key, route, backend, flip, &"it answered", now);
        }
    }

    /// Tells the operator that a backend went or came back, why, and by which request, and who asks
    /// it from now on.
    fn tell(
        &self,
        key: ClientKey,
        route: &Route,
        backend: usize,
        flip: Flip,
        why: &dyn fmt::Display,
        now: Now,
    ) {
        route.note_flip(backend, flip, now);
        let left_out = match flip {
            // Of checks tells who makes them.
            Flip::BecameUnfit => None,
            Flip::WentOffline { .. } | Flip::CameBack => route.changes[backend].say(now.ms),
        };
        let (label, place, by) = (&route.labels[backend], &route.place, self.subject(key));
        match (flip, left_out) {
            (Flip::WentOffline { until_ms, .. }, Some(left_out)) => {
                let seconds = Duration::from_millis(until_ms.saturating_sub(now.ms)).as_secs_f32();
                log::warn!("backend {label} is offline for {seconds} s: {why} (entry {place}{by}){left_out}");
            }
            (Flip::CameBack, Some(left_out)) => {
                log::info!("backend {label} is back online: {why} (entry {place}{by}){left_out}");
            }
            _ => {}
        }
        if let Flip::WentOffline { .. } = flip {
            self.shared.bell.ring();
        }
    }
}
