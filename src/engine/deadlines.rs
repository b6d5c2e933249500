//! What the passing of time does: time-outs, the late watch for clients that
//! left, idle connections that grew old.

use std::sync::Arc;

use super::Now;
use super::cause::Cause;
use super::exchange::Phase;
use super::failure::Failure;
use super::host::{ClientKey, Fate};
use super::network::Network;
use super::worker::Worker;

impl<N: Network> Worker<N> {
    /// Time has passed: acts on what is due and arms the timer for the next. An exchange that can
    /// move on does that first; if it gets nowhere, the timer comes again a moment later.
    pub(super) fn on_time(&mut self, now: Now) {
        let due: Vec<ClientKey> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| !exchange.queued && exchange.wake_at_ms().is_some_and(|at| at <= now.ms))
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.exchange_due(key, now);
        }
        self.close_old_idle(now);
        let exchanges = self.exchanges.iter().filter_map(|(_, exchange)| exchange.wake_at_ms());
        if let Some(next) = exchanges.chain(self.next_idle_until(now)).min() {
            self.timer.want(next, now.ms);
        }
    }

    fn exchange_due(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if !exchange.client.watched && exchange.watch_at_ms <= now.ms {
            // Not again if it fails now.
            exchange.watch_at_ms = u64::MAX;
            self.watch_client(key);
        }
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.deadline_ms.is_none_or(|at| at > now.ms) {
            return;
        }
        if exchange.has_pending() && !matches!(exchange.phase, Phase::Tunnel { .. }) {
            // ClientTimeOut: the client takes nothing any more.
            exchange.pending.clear();
            exchange.pending_from = 0;
            let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(Fate::Abort));
            exchange.deadline_ms = None;
            exchange.cause = Cause::ClientTimeOut;
            let route = exchange.order.as_ref().map(|order| Arc::clone(&order.route));
            if let Some(route) = route {
                self.abandon(&route, phase);
            }
            self.queue(key);
            return;
        }
        let failure = match &exchange.phase {
            Phase::Connecting(_) => Failure::ConnectTimeOut,
            Phase::Asking { attempt, .. }
                if exchange.order.as_ref().is_some_and(|order| attempt.written < order.request.len()) =>
            {
                Failure::SendTimeOut
            }
            Phase::Asking { .. } if !exchange.has_whole_request() => {
                self.body_timed_out(key, now);
                return;
            }
            Phase::Gathering => {
                self.body_timed_out(key, now);
                return;
            }
            Phase::Tunnel { .. } => {
                let fate = if exchange.has_pending() { Fate::Abort } else { Fate::Close };
                exchange.cause = Cause::TunnelTimeOut;
                self.cut(key, fate);
                return;
            }
            Phase::Lingering { .. } => {
                exchange.phase = Phase::Flushing(Fate::Close);
                exchange.forget_unread();
                self.queue(key);
                return;
            }
            Phase::Asking { .. } => Failure::HeaderTimeOut,
            Phase::Relaying { .. } if exchange.client.half_closed => {
                self.client_left(key);
                return;
            }
            Phase::Relaying { .. } if exchange.awaits_body() => {
                // Perhaps the backend does so as well: it is not to blame.
                exchange.cause = Cause::BodyTimeOut;
                self.cut(key, Fate::Abort);
                return;
            }
            Phase::Relaying { .. } => Failure::ReadTimeOut,
            Phase::Picking => {
                exchange.deadline_ms = None;
                self.queue_timed_out(key);
                return;
            }
            Phase::Flushing(_) => {
                exchange.deadline_ms = None;
                return;
            }
        };
        self.fail(key, failure, now);
    }
}
