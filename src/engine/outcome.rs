//! Attempts and exchanges that end before their time: who is blamed, whether
//! another backend is asked, what the client is told.

use std::sync::Arc;

use super::Now;
use super::exchange::{Attempt, Exchange, Phase};
use super::failure::{Attempted, Failure, Next};
use super::host::{ClientKey, Fate};
use super::shared::Route;
use super::worker::Worker;
use crate::balancer::Flip;

/// The status in the log for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;

impl Worker {
    /// The attempt came to nothing: asks again, or tells the client.
    pub(super) fn fail(&mut self, key: ClientKey, failure: Failure, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Picking);
        let (attempt, sent, relaying) = match phase {
            Phase::Connecting(attempt) => (attempt, false, false),
            Phase::Asking { attempt, head } => {
                drop(head);
                let sent = attempt.written > 0;
                (attempt, sent, false)
            }
            Phase::Relaying { attempt, .. } => (attempt, true, true),
            other @ (Phase::Gathering
            | Phase::Picking
            | Phase::Tunnel { .. }
            | Phase::Flushing(_)
            | Phase::Lingering { .. }) => {
                exchange.phase = other;
                return;
            }
        };
        let upstream = self.upstreams.remove(attempt.upstream);
        let Some(order) = exchange.order.as_mut() else { return };
        let route = Arc::clone(&order.route);
        let Attempt { backend, reused, trial, in_flight, interims, .. } = attempt;
        drop(in_flight);
        // What is not here any more, or was answered in part, cannot be asked again.
        let sent = sent || order.upload.let_go || interims > 0;
        let repeatable = order.idempotent && !order.upload.let_go && interims == 0;
        if relaying {
            // The head is out: all that is left is to let the client see the cut.
            exchange.phase = Phase::Flushing(Fate::Abort);
            exchange.deadline_ms = None;
            self.judge(&route, backend, trial, reused, &failure, now);
            self.queue(key);
            return;
        }
        exchange.status = failure.status();
        let attempted = Attempted { reused, sent, idempotent: repeatable, retries_left: order.retries_left };
        let next = failure.next(attempted);
        if next == Next::OtherBackend && sent {
            order.retries_left -= 1;
        }
        self.judge(&route, backend, trial, reused, &failure, now);
        if let Some(upstream) = upstream.filter(|_| reused && !failure.blames_backend(true)) {
            self.lost_in_use(&upstream, now);
        }
        match next {
            Next::SameBackend => {
                if !self.attempt(key, backend, trial, false, now) {
                    self.queue(key);
                }
            }
            Next::OtherBackend => {}
            Next::GiveUp => {
                let (status, why) = (failure.status(), failure.to_string());
                self.reply_error(key, status, &why, None, now);
            }
        }
        self.queue(key);
    }

    /// The client is gone for good, as its own socket tells.
    pub(super) fn client_left(&mut self, key: ClientKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
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
        if let Some(order) = order {
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
        route: &Route,
        backend: usize,
        trial: bool,
        reused: bool,
        failure: &Failure,
        now: Now,
    ) {
        let label = self.shared.endpoints[route.endpoints[backend]].label();
        if !failure.blames_backend(reused) {
            if trial {
                route.cluster.abandon_trial(backend);
            }
            if matches!(failure, Failure::Local(_)) {
                log::warn!("backend {label}: {failure}");
            }
            return;
        }
        route.counters[backend].failure();
        if let Some(flip) = route.cluster.record_failure(backend, trial, now.ms) {
            log::warn!("backend {label}: {failure}");
            self.tell(route, backend, flip);
        }
    }

    /// Counts a whole answer in a backend's favour.
    pub(super) fn praise(&mut self, route: &Route, backend: usize, now: Now) {
        if let Some(flip) = route.cluster.record_success(backend, now.ms) {
            self.tell(route, backend, flip);
        }
    }

    /// Tells the operator that a backend went or came back.
    fn tell(&self, route: &Route, backend: usize, flip: Flip) {
        let label = self.shared.endpoints[route.endpoints[backend]].label();
        match flip {
            Flip::WentOffline { .. } => log::warn!(
                "backend {label} is offline for {} s (entry of line {})",
                route.settings.offline_timeout.as_secs_f32(),
                route.line
            ),
            Flip::CameBack => log::info!("backend {label} is back online (entry of line {})", route.line),
        }
    }
}
