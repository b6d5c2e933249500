//! Moves an exchange from phase to phase: picks a backend, connects, asks.
//! Everything here runs with the worker borrowed; what the host must do comes
//! out as an [`Action`].
//!
//! Read next: [`super::relay`] (the answer), [`super::outcome`] (when it goes
//! wrong).

use std::io;
use std::sync::Arc;

use super::Now;
use super::cause::Cause;
use super::choice::Choice;
use super::drive::{Action, Outgoing};
use super::exchange::{Attempt, Phase};
use super::failure::Failure;
use super::host::{ClientKey, Fate};
use super::network::Network;
use super::noting::short_id;
use super::queue::Queueing;
use super::upstream::Upstream;
use super::window::{Limits, Window};
use super::worker::Worker;
use crate::balancer::InFlight;

impl<N: Network> Worker<N> {
    /// Does what can be done for an exchange without the host.
    pub(super) fn step(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        loop {
            let exchange = self.exchanges.get_mut(key)?;
            if exchange.has_pending() {
                if !exchange.client.ready {
                    // What the client itself sends must not wait for that.
                    return match exchange.phase {
                        Phase::Tunnel { .. } => self.tunnel(key, now),
                        _ => self.pump(key, now),
                    };
                }
                let first = std::mem::take(&mut exchange.pending);
                let from = std::mem::take(&mut exchange.pending_from);
                let bytes = Outgoing { first, from, buffer: Box::default(), body: 0, more: false };
                return Some(Action::Send { client: key, bytes });
            }
            let go_on = match &exchange.phase {
                Phase::Gathering => match self.gather(key) {
                    Ok(()) => true,
                    Err(action) => return action,
                },
                Phase::Picking => match self.pick(key, now) {
                    Asked::Wait => return None,
                    Asked::Changed => true,
                    Asked::Head(action) => return Some(action),
                },
                Phase::Connecting(_) => self.connect(key, now),
                Phase::Asking { .. } => match self.ask(key, now) {
                    Asked::Wait => return self.pump(key, now),
                    Asked::Changed => true,
                    Asked::Head(action) => return Some(action),
                },
                Phase::Relaying { .. } => {
                    let action = self.relay(key, now);
                    return if action.is_some() { action } else { self.pump(key, now) };
                }
                Phase::Tunnel { .. } => return self.tunnel(key, now),
                Phase::Flushing(Fate::Close) if exchange.client.unread || !exchange.has_whole_request() => {
                    return self.linger(key, now);
                }
                Phase::Flushing(fate) => {
                    let fate = *fate;
                    return self.end(key, fate, now);
                }
                Phase::Lingering { .. } => return self.drain(key),
            };
            if !go_on {
                return None;
            }
        }
    }

    /// Chooses a backend and gets a connection to it; or answers that there is none,
    /// with what a backend has said before if there is that.
    fn pick(&mut self, key: ClientKey, now: Now) -> Asked {
        if let Some(asked) = self.pass_on_kept(key, false, now) {
            return asked;
        }
        loop {
            let Some(exchange) = self.exchanges.get_mut(key) else { return Asked::Wait };
            let Some(order) = exchange.order.as_mut() else { return Asked::Wait };
            let suspect = order.attempts.is_suspect();
            if let Some(record) = exchange.record.as_mut().filter(|record| record.wants_outlooks()) {
                record.note_outlooks(order.foresee(now).outlooks);
            }
            let (place, trial) = match order.choose(now) {
                Choice::Place { place, trial } => (place, trial),
                Choice::Wait => return Asked::Wait,
                Choice::MayWait => {
                    self.join_queue(key, now);
                    continue;
                }
                Choice::Nobody { why, cause, retry_after } => {
                    order.queueing = Queueing::No;
                    if exchange.status == 0 {
                        exchange.cause = cause;
                    }
                    // The last failure says more than "nobody is left".
                    let (status, why, retry_after) = match exchange.status {
                        0 => (503, why, Some(retry_after)),
                        status => (status, "no backend could be reached", (status == 503).then_some(1)),
                    };
                    if let Some(asked) = self.pass_on_kept(key, true, now) {
                        return asked;
                    }
                    self.reply_error(key, status, why, retry_after, now);
                    return Asked::Changed;
                }
            };
            order.queueing = Queueing::No;
            order.tried.insert(place.index());
            if self.attempt(key, place, trial, !trial && !suspect, now) {
                return Asked::Changed;
            }
        }
    }

    /// Gets a connection to the backend where the request has a place; false if that failed
    /// at once and the next one is to be asked.
    pub(super) fn attempt(
        &mut self,
        key: ClientKey,
        in_flight: InFlight,
        trial: bool,
        pooled: bool,
        now: Now,
    ) -> bool {
        let Some(exchange) = self.exchanges.get_mut(key) else { return true };
        let Some(order) = exchange.order.as_mut() else { return true };
        exchange.times.attempt(now);
        let backend = in_flight.index();
        if let Some(record) = &mut exchange.record {
            record.attempt(backend);
        }
        let route = Arc::clone(&order.route);
        let idempotent = order.idempotent;
        let endpoint = route.endpoints[backend];
        order.address_to(self.shared.endpoints[endpoint].authority());
        let counters = self.tally.backend(route.row(backend));
        counters.request(now.ms / 1000);
        if order.attempts.begin(route.settings.retries.timeout, now) {
            counters.retry();
        }
        if trial {
            order.note_trial(backend, short_id(exchange.record.as_deref()), now);
        }
        if pooled && let Some(upstream) = self.take_idle(endpoint, key, &route, idempotent, now) {
            self.tally.backend(route.row(backend)).reused();
            let attempt =
                Attempt { upstream, backend, reused: true, trial, written: 0, interims: 0, in_flight };
            if let Some(exchange) = self.exchanges.get_mut(key) {
                exchange.times.connected(now);
                exchange.phase = Phase::Asking { attempt, head: Vec::new() };
            }
            self.set_deadline(key, route.settings.send_timeout, now);
            return true;
        }
        let opened = self.network.connect(&self.shared.endpoints[endpoint]).and_then(|link| {
            let to = (endpoint, &self.shared.endpoints[endpoint]);
            let (window, limits) = (Window::opened(now.ms), Limits::of(&route.settings));
            if self.upstreams.is_full() {
                return Err(io::Error::other("this worker has as many connections as its keys can name"));
            }
            let upstream = self.upstreams.insert(Upstream::new(link, to, key, window, limits));
            let registered = match self.upstreams.get_mut(upstream) {
                Some(up) => self.network.watch(&mut up.link, upstream),
                None => Ok(()),
            };
            registered.map(|()| upstream).inspect_err(|_| {
                self.upstreams.remove(upstream);
            })
        });
        match opened {
            Ok(upstream) => {
                let attempt =
                    Attempt { upstream, backend, reused: false, trial, written: 0, interims: 0, in_flight };
                self.set_phase(key, Phase::Connecting(attempt));
                self.set_deadline(key, route.settings.connect_timeout, now);
                true
            }
            Err(error) => {
                let failure = Failure::of_connect(error);
                if let Some(exchange) = self.exchanges.get(key)
                    && let Some(order) = &exchange.order
                {
                    let id = short_id(exchange.record.as_deref());
                    order.note_no_connection(backend, id, &failure, now);
                }
                self.judge(key, backend, trial, false, &failure, now);
                let Some(exchange) = self.exchanges.get_mut(key) else { return true };
                exchange.status = failure.status();
                exchange.note_failed(backend, Cause::of(&failure));
                let goes_on = exchange.order.as_mut().is_some_and(|order| order.goes_on_unconnected(now));
                if !goes_on {
                    self.give_up(key, &failure, now);
                }
                !goes_on
            }
        }
    }

    /// Sees whether the connect came to an end; true when the phase changed.
    fn connect(&mut self, key: ClientKey, now: Now) -> bool {
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        let Phase::Connecting(attempt) = &exchange.phase else { return false };
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return false };
        if !upstream.writable {
            return false;
        }
        match upstream.connected() {
            Ok(None) => {
                upstream.writable = false;
                false
            }
            Ok(Some(())) => {
                let timeout = exchange.order.as_ref().and_then(|order| order.route.settings.send_timeout);
                if let Phase::Connecting(attempt) = std::mem::replace(&mut exchange.phase, Phase::Picking) {
                    if let Some(order) = &exchange.order {
                        let us = exchange.times.connected(now);
                        self.tally.backend(order.route.row(attempt.backend)).opened(us);
                    }
                    exchange.phase = Phase::Asking { attempt, head: Vec::new() };
                }
                self.set_deadline(key, timeout, now);
                true
            }
            Err(error) => {
                self.fail(key, Failure::of_connect(error), now);
                true
            }
        }
    }

    /// Sends the request on and looks for the response's head.
    fn ask(&mut self, key: ClientKey, now: Now) -> Asked {
        match self.send_request(key, now) {
            Ok(()) => {}
            Err(failure) => {
                self.fail(key, failure, now);
                return Asked::Changed;
            }
        }
        match self.read_head(key, now) {
            Ok(asked) => asked,
            Err(failure) => {
                self.fail(key, failure, now);
                Asked::Changed
            }
        }
    }

    fn send_request(&mut self, key: ClientKey, now: Now) -> Result<(), Failure> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(()) };
        let (Phase::Asking { attempt, .. }, Some(order)) = (&mut exchange.phase, &exchange.order) else {
            return Ok(());
        };
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return Ok(()) };
        let before = attempt.written;
        while attempt.written < order.request.len() && upstream.writable {
            match upstream.write(&order.request[attempt.written..]) {
                Ok(n) => attempt.written += n,
                // The backend may have answered before it closed its ear, whether
                // the poll has told of that or not.
                Err(_) if attempt.written > 0 || order.upload.let_go => {
                    upstream.writable = false;
                    upstream.readable = true;
                }
                Err(error) => return Err(Failure::Reset(error)),
            }
        }
        if attempt.written != before {
            let timeout = order.asking_timeout(attempt.written);
            let counters = self.tally.backend(order.route.row(attempt.backend));
            counters.bytes((attempt.written - before) as u64, 0);
            if let Some(record) = &mut exchange.record {
                record.moved((attempt.written - before) as u64, 0);
            }
            self.set_deadline(key, timeout, now);
        }
        Ok(())
    }

    fn set_phase(&mut self, key: ClientKey, phase: Phase) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.phase = phase;
        }
    }
}

/// What became of the attempt to ask.
pub(super) enum Asked {
    /// Nothing to do until something happens.
    Wait,
    /// The exchange is in another phase now.
    Changed,
    /// The response's head is ready for the client.
    Head(Action),
}
