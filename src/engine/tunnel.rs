//! A connection that has changed its protocol (RFC 9110 7.8): bytes go to and
//! fro, unread, until both sides have ended. In each direction one buffer is in
//! memory, and nobody is read from while the other side is full.

use std::time::Duration;

use super::Now;
use super::cause::Cause;
use super::drive::{Action, Outgoing};
use super::exchange::{Exchange, Phase};
use super::host::{ClientKey, Fate};
use super::network::Network;
use super::worker::Worker;

/// How long a tunnel may be silent once one side has ended.
const HALF_CLOSED: Duration = Duration::from_secs(30);

/// Which sides have sent everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// The client.
    pub client: bool,
    /// The backend was told of the client's end.
    pub client_told: bool,
    /// The backend.
    pub backend: bool,
    /// The client was told of the backend's end.
    pub backend_told: bool,
}

impl<N: Network> Worker<N> {
    /// Moves bytes in whichever direction can take some.
    pub(super) fn tunnel(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        self.send_to_backend(key, now);
        let exchange = self.exchanges.get_mut(key)?;
        let caught_up = !exchange.has_pending();
        let timeout = exchange.tunnel_timeout();
        let Exchange { phase: Phase::Tunnel { attempt, ends }, order: Some(order), client, record, .. } =
            exchange
        else {
            return None;
        };
        let upstream = self.upstreams.get_mut(attempt.upstream)?;
        if caught_up && ends.backend && !ends.backend_told {
            ends.backend_told = true;
            return Some(Action::FinishSending { client: key });
        }
        if ends.backend_told && ends.client_told {
            self.flush(key, Fate::Close);
            return None;
        }
        if caught_up && upstream.readable && !ends.backend {
            let limit = order.route.settings.buffer_size.min(self.scratch.len());
            match upstream.read(&mut self.scratch[..limit]) {
                Ok(Some(0)) => {
                    ends.backend = true;
                    self.set_deadline(key, timeout, now);
                    self.queue(key);
                    return None;
                }
                Ok(Some(n)) => {
                    self.tally.backend(order.route.row(attempt.backend)).bytes(0, n as u64);
                    if let Some(record) = record {
                        record.moved(0, n as u64);
                    }
                    self.set_deadline(key, timeout, now);
                    let buffer = std::mem::take(&mut self.scratch);
                    let bytes = Outgoing { first: Vec::new(), from: 0, buffer, body: n, more: false };
                    return Some(Action::Send { client: key, bytes });
                }
                Ok(None) => {}
                Err(_) => {
                    exchange.cause = Cause::Cut;
                    self.cut(key, Fate::Abort);
                    return None;
                }
            }
        }
        let limit = order.route.settings.buffer_size;
        let has_room = attempt.written == order.request.len() && upstream.writable;
        if has_room && client.readable && !ends.client { self.receive(key, limit) } else { None }
    }

    /// Sends on what the client has sent, and its end.
    fn send_to_backend(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let timeout = exchange.tunnel_timeout();
        let Exchange { phase: Phase::Tunnel { attempt, ends }, order: Some(order), client, record, .. } =
            exchange
        else {
            return;
        };
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return };
        let before = attempt.written;
        while attempt.written < order.request.len() && upstream.writable {
            match upstream.write(&order.request[attempt.written..]) {
                Ok(n) => attempt.written += n,
                Err(_) => {
                    // It hears no more, but its last words may be here already.
                    (ends.client, ends.client_told, client.unread) = (true, true, true);
                    upstream.readable = true;
                    order.request.clear();
                    attempt.written = 0;
                    return;
                }
            }
        }
        let progress = attempt.written - before;
        self.tally.backend(order.route.row(attempt.backend)).bytes(progress as u64, 0);
        if let Some(record) = record {
            record.moved(progress as u64, 0);
        }
        let told = ends.client && !ends.client_told && attempt.written == order.request.len();
        if told {
            ends.client_told = true;
            upstream.finish_sending();
        }
        if told || progress > 0 {
            self.set_deadline(key, timeout, now);
        }
    }

    /// The host has told the client, or could not, that the backend has ended.
    pub(super) fn finished_sending(&mut self, key: ClientKey, told: bool) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if matches!(exchange.phase, Phase::Tunnel { .. }) {
            if told {
                self.queue(key);
            } else {
                // Nothing but the close can tell it.
                self.cut(key, Fate::Close);
            }
        }
    }

    /// Ends an exchange, whatever is still on its way.
    pub(super) fn cut(&mut self, key: ClientKey, fate: Fate) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.pending.clear();
        exchange.pending_from = 0;
        self.flush(key, fate);
    }

    /// The exchange ends when the client has taken what is left; the upstream is closed.
    pub(super) fn flush(&mut self, key: ClientKey, fate: Fate) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(fate));
        exchange.deadline_ms = None;
        let route = exchange.order.as_ref().map(|order| std::sync::Arc::clone(&order.route));
        if let Some(route) = route {
            self.abandon(&route, phase);
        }
        self.queue(key);
    }
}

impl Exchange {
    /// How long the tunnel may be silent.
    pub fn tunnel_timeout(&self) -> Option<Duration> {
        let configured = self.order.as_ref().and_then(|order| order.route.settings.tunnel_timeout);
        match &self.phase {
            Phase::Tunnel { ends, .. } if ends.client || ends.backend => {
                Some(HALF_CLOSED.min(configured.unwrap_or(HALF_CLOSED)))
            }
            _ => configured,
        }
    }
}
