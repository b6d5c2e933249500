//! Moves an exchange from phase to phase: picks, connects, asks, relays,
//! retries, gives up. Everything here runs with the worker borrowed; what the
//! host must do comes out as an [`Action`].

use super::Now;
use super::drive::{Action, Outgoing};
use super::exchange::{Attempt, Exchange, Phase};
use super::failure::{Attempted, Failure, Next};
use super::host::{ClientKey, Fate};
use super::setup::milliseconds;
use super::shared::Route;
use super::slots::Key;
use super::token::Source;
use super::upstream::{Upstream, Use};
use super::worker::Worker;
use crate::balancer::{Ask, Flip, Pick};
use crate::http::body::{BodyDecoder, BodyLength};
use crate::http::forward::{self, Answering};
use crate::http::response::{self, BadResponse, Parsed};
use crate::http::{MAX_RESPONSE_HEAD, Version};

/// A request that must not run twice takes only a connection that was used so
/// recently: the backend is unlikely to be closing it just now.
const UNSAFE_IDLE_MS: u64 = 1000;
/// How long a silent response is kept up for a client that closed its sending side.
const HALF_CLOSED_MS: u64 = 5000;
/// The status in the log for a client that left before its answer.
const CLIENT_LEFT: u16 = 499;

impl Worker {
    /// Does what can be done for an exchange without the host.
    pub(super) fn step(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        loop {
            let exchange = self.exchanges.get_mut(key)?;
            if exchange.has_pending() {
                if !exchange.client.ready {
                    return None;
                }
                let first = std::mem::take(&mut exchange.pending);
                let from = std::mem::take(&mut exchange.pending_from);
                let bytes = Outgoing { first, from, buffer: Box::default(), body: 0 };
                return Some(Action::Send { client: key, bytes });
            }
            let go_on = match &exchange.phase {
                Phase::Picking => {
                    self.pick(key, now);
                    true
                }
                Phase::Connecting(_) => self.connect(key, now),
                Phase::Asking { .. } => match self.ask(key, now) {
                    Asked::Wait => return None,
                    Asked::Changed => true,
                    Asked::Head(action) => return Some(action),
                },
                Phase::Relaying { .. } => return self.relay(key, now),
                Phase::Flushing(fate) => {
                    let fate = *fate;
                    return self.end(key, fate);
                }
            };
            if !go_on {
                return None;
            }
        }
    }

    /// Chooses a backend and gets a connection to it; or answers that there is none.
    fn pick(&mut self, key: ClientKey, now: Now) {
        loop {
            let Some(exchange) = self.exchanges.get_mut(key) else { return };
            let Some(order) = exchange.order.as_mut() else { return };
            let ask = Ask {
                connection: order.connection,
                source: &order.source[..usize::from(order.source_len)],
                tried: &order.tried,
                now_ms: now.ms,
            };
            let (index, trial) = match order.route.cluster.pick(&ask) {
                Pick::Backend { index, trial } => (index, trial),
                Pick::NoneEligible { .. } | Pick::AllTried if exchange.status != 0 => {
                    // The last failure says more than "nobody is left".
                    let status = exchange.status;
                    self.reply_error(key, status, "no backend could be reached", None, now);
                    return;
                }
                Pick::NoneEligible { retry_after_ms } => {
                    let seconds = retry_after_ms.div_ceil(1000).max(1);
                    self.reply_error(key, 503, "no backend is available", Some(seconds), now);
                    return;
                }
                Pick::AllTried => {
                    self.reply_error(key, 503, "no backend is available", Some(1), now);
                    return;
                }
            };
            order.tried.insert(index);
            if self.attempt(key, index, trial, !trial, now) {
                return;
            }
        }
    }

    /// Gets a connection to this backend; false if that failed at once.
    fn attempt(&mut self, key: ClientKey, backend: usize, trial: bool, pooled: bool, now: Now) -> bool {
        let Some(order) = self.exchanges.get(key).and_then(|e| e.order.as_ref()) else { return true };
        let route = std::sync::Arc::clone(&order.route);
        let idempotent = order.idempotent;
        let endpoint = route.endpoints[backend];
        let in_flight = route.cluster.begin(backend);
        route.counters[backend].request();
        if pooled && let Some(upstream) = self.take_idle(endpoint, key, idempotent, now) {
            let attempt = Attempt { upstream, backend, reused: true, trial, in_flight };
            self.set_phase(key, Phase::Asking { attempt, written: 0, head: Vec::new() });
            self.set_deadline(key, route.settings.send_timeout, now);
            return true;
        }
        let opened = self.shared.endpoints[endpoint].connect().and_then(|socket| {
            let upstream = self.upstreams.insert(Upstream::new(socket, endpoint, &route, backend, key));
            let registered = match self.upstreams.get_mut(upstream) {
                Some(up) => up.register(self.poll.registry(), Source::Upstream(upstream).into()),
                None => Ok(()),
            };
            registered.map(|()| upstream).inspect_err(|_| {
                self.upstreams.remove(upstream);
            })
        });
        match opened {
            Ok(upstream) => {
                let attempt = Attempt { upstream, backend, reused: false, trial, in_flight };
                self.set_phase(key, Phase::Connecting(attempt));
                self.set_deadline(key, route.settings.connect_timeout, now);
                true
            }
            Err(error) => {
                let failure = Failure::Connect(error);
                self.blame(&route, backend, trial, &failure, now);
                if let Some(exchange) = self.exchanges.get_mut(key) {
                    exchange.status = failure.status();
                }
                false
            }
        }
    }

    /// An idle upstream that is still good.
    fn take_idle(
        &mut self,
        endpoint: usize,
        key: ClientKey,
        idempotent: bool,
        now: Now,
    ) -> Option<Key<Upstream>> {
        loop {
            let upstream = self.pool.take(endpoint)?;
            let Some(up) = self.upstreams.get_mut(upstream) else { continue };
            if let Use::Idle { since_ms } = up.used_by
                && !idempotent
                && now.ms.saturating_sub(since_ms) >= UNSAFE_IDLE_MS
            {
                // Those below have waited longer still.
                self.pool.put(endpoint, upstream, usize::MAX);
                return None;
            }
            if up.is_quiet() {
                up.used_by = Use::Busy(key);
                up.writable = true;
                return Some(upstream);
            }
            self.upstreams.remove(upstream);
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
                    exchange.phase = Phase::Asking { attempt, written: 0, head: Vec::new() };
                }
                self.set_deadline(key, timeout, now);
                true
            }
            Err(error) => {
                self.fail(key, Failure::Connect(error), now);
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
        let (Phase::Asking { attempt, written, .. }, Some(order)) = (&mut exchange.phase, &exchange.order)
        else {
            return Ok(());
        };
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return Ok(()) };
        let before = *written;
        while *written < order.request.len() && upstream.writable {
            match upstream.write(&order.request[*written..]) {
                Ok(n) => *written += n,
                // The backend may have answered before it closed its ear.
                Err(_) if *written > 0 && upstream.readable => {
                    upstream.writable = false;
                }
                Err(error) => return Err(Failure::Reset(error)),
            }
        }
        if *written != before {
            let settings = &order.route.settings;
            let whole = *written == order.request.len();
            let timeout = if whole { settings.header_timeout } else { settings.send_timeout };
            order.route.counters[attempt.backend].bytes((*written - before) as u64, 0);
            self.set_deadline(key, timeout, now);
        }
        Ok(())
    }

    fn read_head(&mut self, key: ClientKey, now: Now) -> Result<Asked, Failure> {
        loop {
            let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Asked::Wait) };
            let (Phase::Asking { attempt, head, .. }, Some(order)) = (&mut exchange.phase, &exchange.order)
            else {
                return Ok(Asked::Wait);
            };
            let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return Ok(Asked::Wait) };
            if !upstream.readable {
                return Ok(Asked::Wait);
            }
            // Room is left for what came before, so that all of it fits the buffer.
            let limit = order.route.settings.buffer_size.max(MAX_RESPONSE_HEAD).min(self.scratch.len());
            let room = limit.saturating_sub(head.len());
            if room == 0 {
                return Err(BadResponse::TooLarge.into());
            }
            let begun = head.len();
            let n = match upstream.read(&mut self.scratch[begun..begun + room]) {
                Ok(Some(0)) if begun == 0 => return Err(Failure::Closed),
                Ok(Some(0)) => return Err(Failure::ClosedInHead),
                Ok(Some(n)) => n,
                Ok(None) => return Ok(Asked::Wait),
                Err(error) if begun == 0 => return Err(Failure::Reset(error)),
                Err(_) => return Err(Failure::ClosedInHead),
            };
            order.route.counters[attempt.backend].bytes(0, n as u64);
            self.scratch[..begun].copy_from_slice(head);
            if let Some(asked) = self.take_head(key, begun + n, now)? {
                return Ok(asked);
            }
        }
    }

    /// Looks for a final response head in the first `filled` bytes of the read
    /// buffer; `None` when more must be read.
    fn take_head(&mut self, key: ClientKey, filled: usize, now: Now) -> Result<Option<Asked>, Failure> {
        let date = self.date(now).to_owned();
        let mut text = self.take_buffer();
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Some(Asked::Wait)) };
        let Exchange { phase, order: Some(order), client, .. } = exchange else {
            return Ok(Some(Asked::Wait));
        };
        let Phase::Asking { attempt, written, head } = phase else { return Ok(Some(Asked::Wait)) };

        let mut from = 0;
        let (length, status, length_kind, backend_keeps, keep_alive) = loop {
            let mut room = response::storage();
            match response::parse(&self.scratch[from..filled], &mut room, client.to_head)? {
                Parsed::Partial if filled - from >= MAX_RESPONSE_HEAD => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Partial => {
                    head.clear();
                    head.extend_from_slice(&self.scratch[from..filled]);
                    self.recycle(text);
                    return Ok(None);
                }
                Parsed::Complete { response, length } if response.is_interim() => from += length,
                Parsed::Complete { length, .. } if length > MAX_RESPONSE_HEAD => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Complete { response, length } => {
                    let delimited = match (response.body, client.version) {
                        (BodyLength::UntilClose, _) | (BodyLength::Chunked, Version::Http10) => false,
                        (BodyLength::None | BodyLength::Length(_) | BodyLength::Chunked, _) => true,
                    };
                    let keep_alive = client.keep_alive && delimited;
                    let says = Answering { version: client.version, keep_alive, date: &date };
                    forward::response_head(&mut text, &response, &says);
                    break (
                        from + length,
                        response.status,
                        response.body,
                        response.keeps_alive(),
                        keep_alive,
                    );
                }
            }
        };
        let mut body = BodyDecoder::new(length_kind, client.version == Version::Http10);
        let relayed = body.relay(&mut self.scratch[length..filled])?;
        // The body goes out from the front of the buffer.
        self.scratch.copy_within(length..length + relayed.keep, 0);

        let route = std::sync::Arc::clone(&order.route);
        let whole = *written == order.request.len();
        let reusable = backend_keeps && whole && !relayed.surplus && route.settings.keep_alive;
        let fate = if keep_alive { Fate::KeepAlive } else { Fate::Close };
        exchange.status = status;
        exchange.head_bytes = text.len();
        let backend = attempt.backend;
        if let Phase::Asking { attempt, .. } = std::mem::replace(&mut exchange.phase, Phase::Picking) {
            exchange.phase = Phase::Relaying { attempt, body, reusable, fate };
        }
        route.counters[backend].response(status);
        if let Some(flip) = route.cluster.record_success(backend, now.ms) {
            self.tell(&route, backend, flip);
        }
        if relayed.done || relayed.surplus {
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, route.settings.read_timeout, now);
        }
        let buffer = std::mem::take(&mut self.scratch);
        let bytes = Outgoing { first: text, from: 0, buffer, body: relayed.keep };
        Ok(Some(Asked::Head(Action::Send { client: key, bytes })))
    }

    /// Reads the next piece of the body.
    fn relay(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        let half_closed = exchange.client.half_closed;
        let Exchange { phase: Phase::Relaying { attempt, body, reusable, .. }, order: Some(order), .. } =
            exchange
        else {
            return None;
        };
        let upstream = self.upstreams.get_mut(attempt.upstream)?;
        if !upstream.readable {
            return None;
        }
        let limit = order.route.settings.buffer_size.min(self.scratch.len());
        let n = match upstream.read(&mut self.scratch[..limit]) {
            Ok(None) => return None,
            Ok(Some(0)) if body.ends_at_close() => {
                self.finish_upstream(key, now);
                self.queue(key);
                return None;
            }
            Ok(Some(0)) | Err(_) => {
                self.fail(key, Failure::Truncated, now);
                return None;
            }
            Ok(Some(n)) => n,
        };
        let relayed = match body.relay(&mut self.scratch[..n]) {
            Ok(relayed) => relayed,
            Err(error) => {
                self.fail(key, error.into(), now);
                return None;
            }
        };
        *reusable &= !relayed.surplus;
        order.route.counters[attempt.backend].bytes(0, n as u64);
        let timeout = order.route.settings.read_timeout;
        if relayed.done {
            self.finish_upstream(key, now);
        } else if half_closed {
            self.set_deadline(key, Some(std::time::Duration::from_millis(HALF_CLOSED_MS)), now);
        } else {
            self.set_deadline(key, timeout, now);
        }
        if relayed.keep == 0 {
            self.queue(key);
            return None;
        }
        let buffer = std::mem::take(&mut self.scratch);
        let bytes = Outgoing { first: Vec::new(), from: 0, buffer, body: relayed.keep };
        Some(Action::Send { client: key, bytes })
    }

    /// The response is complete: the upstream goes to the pool or is closed.
    fn finish_upstream(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let fate = match &exchange.phase {
            Phase::Relaying { fate, .. } => *fate,
            _ => return,
        };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(fate));
        exchange.deadline_ms = None;
        let Phase::Relaying { attempt, reusable, .. } = phase else { return };
        let Some(order) = &exchange.order else { return };
        let settings = &order.route.settings;
        let (limit, idle_timeout) = (settings.pool_size, settings.pool_idle_timeout);
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return };
        if !reusable || upstream.closed || limit == 0 {
            self.upstreams.remove(attempt.upstream);
            return;
        }
        upstream.used_by = Use::Idle { since_ms: now.ms };
        let endpoint = upstream.endpoint;
        if let Some(oldest) = self.pool.put(endpoint, attempt.upstream, limit) {
            self.upstreams.remove(oldest);
        }
        if let Some(timeout) = idle_timeout {
            self.timer.want(now.ms.saturating_add(milliseconds(timeout)), now.ms);
        }
    }

    /// The attempt came to nothing: asks again, or tells the client.
    pub(super) fn fail(&mut self, key: ClientKey, failure: Failure, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Picking);
        let (attempt, sent, relaying) = match phase {
            Phase::Connecting(attempt) => (attempt, false, false),
            Phase::Asking { attempt, written, head } => {
                drop(head);
                (attempt, written > 0, false)
            }
            Phase::Relaying { attempt, .. } => (attempt, true, true),
            other @ (Phase::Picking | Phase::Flushing(_)) => {
                exchange.phase = other;
                return;
            }
        };
        self.upstreams.remove(attempt.upstream);
        let Some(order) = exchange.order.as_mut() else { return };
        let route = std::sync::Arc::clone(&order.route);
        let Attempt { backend, reused, trial, in_flight, .. } = attempt;
        drop(in_flight);
        if relaying {
            // The head is out: all that is left is to let the client see the cut.
            exchange.phase = Phase::Flushing(Fate::Abort);
            exchange.deadline_ms = None;
            self.blame(&route, backend, trial, &failure, now);
            self.queue(key);
            return;
        }
        exchange.status = failure.status();
        let attempted =
            Attempted { reused, sent, idempotent: order.idempotent, retries_left: order.retries_left };
        let next = failure.next(attempted);
        if next == Next::OtherBackend && sent {
            order.retries_left -= 1;
        }
        if failure.blames_backend(reused) {
            self.blame(&route, backend, trial, &failure, now);
        } else if trial {
            route.cluster.abandon_trial(backend, now.ms);
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
    pub(super) fn client_left(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(Fate::Close));
        exchange.pending.clear();
        exchange.pending_from = 0;
        exchange.deadline_ms = None;
        if exchange.status == 0 {
            exchange.status = CLIENT_LEFT;
        }
        let route = exchange.order.as_ref().map(|order| std::sync::Arc::clone(&order.route));
        if let Some(route) = route {
            self.abandon(&route, phase, now);
        }
        self.queue(key);
    }

    /// The client has closed its sending side; most have left altogether then.
    pub(super) fn client_half_closed(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.client.half_closed = true;
        match exchange.phase {
            Phase::Picking | Phase::Connecting(_) | Phase::Asking { .. } => self.client_left(key, now),
            // An answer that is flowing is delivered; a silent one is not kept up for long.
            Phase::Relaying { .. } => {
                self.set_deadline(key, Some(std::time::Duration::from_millis(HALF_CLOSED_MS)), now);
            }
            Phase::Flushing(_) => {}
        }
    }

    /// Frees what an exchange that ended outside of the ordinary way still holds.
    pub(super) fn discard(&mut self, exchange: Exchange, now: Now) {
        let Exchange { phase, order, pending, .. } = exchange;
        self.recycle(pending);
        if let Some(order) = order {
            self.abandon(&order.route, phase, now);
            self.recycle(order.request);
        }
    }

    /// Time has passed: acts on what is due and arms the timer for the next.
    pub(super) fn on_time(&mut self, now: Now) {
        let due: Vec<ClientKey> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| exchange.wake_at_ms().is_some_and(|at| at <= now.ms))
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.exchange_due(key, now);
        }
        self.close_old_idle(now);
        let exchanges = self.exchanges.iter().filter_map(|(_, exchange)| exchange.wake_at_ms());
        let idle = self.pool.oldest().filter_map(|key| self.idle_until(key));
        if let Some(next) = exchanges.chain(idle).min() {
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
        if exchange.has_pending() {
            // ClientTimeOut: the client takes nothing any more.
            exchange.pending.clear();
            exchange.pending_from = 0;
            let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(Fate::Abort));
            exchange.deadline_ms = None;
            let route = exchange.order.as_ref().map(|order| std::sync::Arc::clone(&order.route));
            if let Some(route) = route {
                self.abandon(&route, phase, now);
            }
            self.queue(key);
            return;
        }
        let failure = match &exchange.phase {
            Phase::Connecting(_) => Failure::ConnectTimeOut,
            Phase::Asking { written, .. }
                if exchange.order.as_ref().is_some_and(|order| *written < order.request.len()) =>
            {
                Failure::SendTimeOut
            }
            Phase::Asking { .. } => Failure::HeaderTimeOut,
            Phase::Relaying { .. } if exchange.client.half_closed => {
                self.client_left(key, now);
                return;
            }
            Phase::Relaying { .. } => Failure::ReadTimeOut,
            Phase::Picking | Phase::Flushing(_) => {
                exchange.deadline_ms = None;
                return;
            }
        };
        self.fail(key, failure, now);
    }

    fn close_old_idle(&mut self, now: Now) {
        loop {
            let old =
                self.pool.oldest().find(|&key| self.idle_until(key).is_some_and(|until| until <= now.ms));
            let Some(key) = old else { return };
            if let Some(upstream) = self.upstreams.remove(key) {
                self.pool.remove(upstream.endpoint, key);
            }
        }
    }

    /// When an idle upstream has waited long enough.
    fn idle_until(&self, key: Key<Upstream>) -> Option<u64> {
        let upstream = self.upstreams.get(key)?;
        let timeout = upstream.idle_timeout()?;
        match upstream.used_by {
            Use::Idle { since_ms } => Some(since_ms.saturating_add(milliseconds(timeout))),
            Use::Busy(_) => None,
        }
    }

    /// Lets go of an attempt without a verdict on the backend.
    fn abandon(&mut self, route: &Route, phase: Phase, now: Now) {
        let (Phase::Connecting(attempt) | Phase::Asking { attempt, .. } | Phase::Relaying { attempt, .. }) =
            phase
        else {
            return;
        };
        self.upstreams.remove(attempt.upstream);
        if attempt.trial {
            route.cluster.abandon_trial(attempt.backend, now.ms);
        }
    }

    /// Counts a failure against a backend.
    fn blame(&mut self, route: &Route, backend: usize, trial: bool, failure: &Failure, now: Now) {
        route.counters[backend].failure();
        let label = self.shared.endpoints[route.endpoints[backend]].label();
        log::debug!("backend {label}: {failure}");
        if let Some(flip) = route.cluster.record_failure(backend, trial, now.ms) {
            log::warn!("backend {label}: {failure}");
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

    fn set_phase(&mut self, key: ClientKey, phase: Phase) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.phase = phase;
        }
    }
}

/// What became of the attempt to ask.
enum Asked {
    /// Nothing to do until something happens.
    Wait,
    /// The exchange is in another phase now.
    Changed,
    /// The response's head is ready for the client.
    Head(Action),
}

impl Upstream {
    /// How long it may wait in the pool.
    fn idle_timeout(&self) -> Option<std::time::Duration> {
        self.route().settings.pool_idle_timeout
    }
}
