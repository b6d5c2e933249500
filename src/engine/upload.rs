//! The part of a request body that the host did not read: it comes from the
//! client itself, piece by piece, and goes on to the backend as that takes it.
//!
//! The beginning is gathered before a backend is asked, so that a short body
//! holds no backend while it comes and can be sent again; of a longer one, one
//! buffer is in memory at a time.

use std::sync::Arc;
use std::time::Duration;

use super::Now;
use super::cause::Cause;
use super::drive::Action;
use super::exchange::{Client, Exchange, Order, Phase};
use super::host::{ClientKey, Fate, Received};
use super::network::Network;
use super::worker::Worker;
use crate::http::body::{BodyDecoder, BodyLength, Relayed, Style};
use crate::http::chunked::{self, BadChunk, CHUNK_END, LAST_CHUNK};
use crate::http::forward::{self, Framing, RequestEnd};

/// How long a client that has its answer may be silent before it is closed.
const LINGER: Duration = Duration::from_secs(2);

/// How long it may go on sending in all.
const LINGER_AT_MOST_MS: u64 = 30_000;

/// The interim response that a client waits for (RFC 9110 15.2.1).
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is still to come of a request's body, and what is to be done with it.
#[derive(Debug)]
pub struct Upload {
    rest: Rest,
    /// Content that came before a backend was chosen.
    gathered: Vec<u8>,
    /// Bytes that were sent are not here any more: the request cannot be repeated.
    pub let_go: bool,
    /// The backend takes no more of it.
    refused: bool,
    /// The client was told that what it sent so far has arrived.
    acknowledged: bool,
    /// One byte more is read than the body has. What a TLS layer has decrypted
    /// of the next request already is told by nobody later.
    pub looks_behind: bool,
}

#[derive(Debug)]
enum Rest {
    /// The whole body is here.
    Nothing,
    /// So many bytes in all, and where the rest of them ends.
    Length(u64, BodyDecoder),
    /// Chunks.
    Chunks(BodyDecoder),
}

impl Upload {
    /// Nothing is left with the client.
    pub fn nothing() -> Self {
        Upload {
            rest: Rest::Nothing,
            gathered: Vec::new(),
            let_go: false,
            refused: false,
            acknowledged: false,
            looks_behind: false,
        }
    }

    /// A body of `length` bytes that begins with `begun`; at least one byte of it is to come.
    pub fn of_length(length: u64, begun: &[u8]) -> Self {
        let left = length.saturating_sub(begun.len() as u64);
        let decoder = BodyDecoder::new(BodyLength::Length(left), Style::Unwrapped);
        Upload { rest: Rest::Length(length, decoder), gathered: begun.to_vec(), ..Upload::nothing() }
    }

    /// A body in chunks whose content begins with `begun`.
    pub fn of_chunks(decoder: BodyDecoder, begun: Vec<u8>) -> Self {
        Upload { rest: Rest::Chunks(decoder), gathered: begun, ..Upload::nothing() }
    }

    /// Whether nothing of it is left with the client.
    pub fn is_over(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    /// Whether the rest of it is to go to the backend.
    pub fn is_wanted(&self) -> bool {
        !self.is_over() && !self.refused
    }

    /// Most bytes to read next without taking what belongs to the next request.
    fn wants(&self, room: usize) -> usize {
        match &self.rest {
            Rest::Nothing => 0,
            Rest::Length(_, BodyDecoder::Length(left)) => {
                let left = usize::try_from(*left).unwrap_or(usize::MAX).min(room);
                left.saturating_add(usize::from(self.looks_behind))
            }
            Rest::Length(..) | Rest::Chunks(_) => room,
        }
    }

    /// Takes bytes from the client, and leaves the content at the front of `bytes`.
    fn take(&mut self, bytes: &mut [u8]) -> Result<Relayed, BadChunk> {
        let (Rest::Length(_, decoder) | Rest::Chunks(decoder)) = &mut self.rest else {
            return BodyDecoder::Done.relay(bytes);
        };
        let relayed = decoder.relay(bytes)?;
        if relayed.done {
            self.rest = Rest::Nothing;
        }
        Ok(relayed)
    }
}

impl Order {
    /// Ends the request's head: how the body is framed is known by now. What
    /// was gathered of it goes behind.
    fn seal(&mut self) {
        let gathered = std::mem::take(&mut self.upload.gathered);
        let framing = match &self.upload.rest {
            Rest::Nothing => Framing::Length(gathered.len() as u64),
            Rest::Length(length, _) => Framing::Length(*length),
            Rest::Chunks(_) => Framing::Chunked,
        };
        let end = RequestEnd {
            framing,
            keep_alive: self.route.settings.keep_alive,
            upgrade: None,
            takes_trailers: self.takes_trailers,
        };
        forward::request_end(&mut self.request, &end);
        if framing == Framing::Chunked {
            self.push_chunk(&gathered);
        } else {
            self.request.extend_from_slice(&gathered);
        }
    }

    /// Replaces what was sent by the next piece of the body.
    fn refill(&mut self, content: &[u8], in_chunks: bool) {
        if !self.upload.let_go {
            self.let_go_of_head();
        }
        self.request.clear();
        self.upload.let_go = true;
        if in_chunks {
            self.push_chunk(content);
            if self.upload.is_over() {
                self.request.extend_from_slice(LAST_CHUNK);
            }
        } else {
            self.request.extend_from_slice(content);
        }
    }

    fn push_chunk(&mut self, content: &[u8]) {
        if !content.is_empty() {
            chunked::write_size(&mut self.request, content.len());
            self.request.extend_from_slice(content);
            self.request.extend_from_slice(CHUNK_END);
        }
    }
}

impl<N: Network> Worker<N> {
    /// Gets the beginning of the body; true when a backend may be asked.
    pub(super) fn gather(&mut self, key: ClientKey) -> Result<(), Option<Action>> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Err(None) };
        let Exchange { phase, order: Some(order), client, .. } = exchange else { return Err(None) };
        let most = order.route.settings.buffer_size;
        let room = most.saturating_sub(order.upload.gathered.len());
        if room == 0 || order.upload.is_over() {
            order.seal();
            *phase = Phase::Picking;
            exchange.deadline_ms = None;
            return Ok(());
        }
        if !client.readable {
            return Err(None);
        }
        let limit = order.upload.wants(room);
        Err(self.receive(key, limit))
    }

    /// Sends on what there is of the body; asks the client for more when the
    /// backend has taken it.
    pub(super) fn pump(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        if exchange.has_whole_request() && !matches!(exchange.phase, Phase::Relaying { .. }) {
            return None;
        }
        let Exchange {
            phase: Phase::Asking { attempt, .. } | Phase::Relaying { attempt, .. },
            order: Some(order),
            client,
            record,
            ..
        } = exchange
        else {
            return None;
        };
        if order.upload.refused {
            return None;
        }
        let upstream = self.upstreams.get_mut(attempt.upstream)?;
        let before = attempt.written;
        while attempt.written < order.request.len() && upstream.writable {
            match upstream.write(&order.request[attempt.written..]) {
                Ok(n) => attempt.written += n,
                Err(_) => {
                    // Its answer may be here already, or on its way.
                    order.upload.refused = true;
                    return None;
                }
            }
        }
        let progress = attempt.written - before;
        let readable = client.readable;
        let all_sent = attempt.written == order.request.len();
        let writable = upstream.writable;
        let limit = order.upload.wants(order.route.settings.buffer_size);
        if progress > 0 {
            self.tally.backend(order.route.row(attempt.backend)).bytes(progress as u64, 0);
            if let Some(record) = record {
                record.moved(progress as u64, 0);
            }
            let relaying = matches!(exchange.phase, Phase::Relaying { .. });
            if relaying && !exchange.has_pending() {
                let timeout = exchange.read_timeout();
                self.set_deadline(key, timeout, now);
            }
        }
        if all_sent && writable && readable && limit > 0 { self.receive(key, limit) } else { None }
    }

    /// Lends the read buffer for the client's next bytes.
    pub(super) fn receive(&mut self, key: ClientKey, limit: usize) -> Option<Action> {
        if limit == 0 {
            return None;
        }
        let buffer = std::mem::take(&mut self.scratch);
        let limit = limit.min(buffer.len());
        Some(Action::Receive { client: key, buffer, limit })
    }

    /// Nothing of the body is here, for the first time. A client may hold the rest back until it hears
    /// that the beginning has arrived, which takes the system 40 ms (Nagle's algorithm, RFC 896).
    pub(super) fn begins_to_wait_for_body(&mut self, key: ClientKey) -> bool {
        match self.exchanges.get_mut(key) {
            Some(Exchange {
                phase: Phase::Gathering | Phase::Asking { .. } | Phase::Relaying { .. },
                order: Some(order),
                ..
            }) => !std::mem::replace(&mut order.upload.acknowledged, true),
            _ => false,
        }
    }

    /// Takes what the client has sent; gives back what belongs to its next
    /// request, if the host takes it (`takes_back`).
    pub(super) fn received(
        &mut self,
        key: ClientKey,
        buffer: Box<[u8]>,
        received: Received,
        takes_back: bool,
        now: Now,
    ) -> Vec<u8> {
        self.scratch = buffer;
        let mut behind = Vec::new();
        let Some(exchange) = self.exchanges.get_mut(key) else { return behind };
        match received {
            Received::Nothing => {
                exchange.client.readable = false;
                self.watch_client(key);
            }
            Received::Bytes(n) => {
                behind = self.take_received(key, n, takes_back, now);
                self.queue(key);
            }
            Received::End => {
                exchange.client.readable = false;
                match &mut exchange.phase {
                    Phase::Tunnel { ends, .. } => ends.client = true,
                    Phase::Lingering { .. } => {
                        exchange.phase = Phase::Flushing(Fate::Close);
                        exchange.forget_unread();
                    }
                    _ => self.client_left(key),
                }
                self.queue(key);
            }
            Received::Gone => self.client_left(key),
        }
        behind
    }

    fn take_received(&mut self, key: ClientKey, n: usize, takes_back: bool, now: Now) -> Vec<u8> {
        let mut behind = Vec::new();
        let Some(exchange) = self.exchanges.get_mut(key) else { return behind };
        if let Phase::Lingering { until_ms } = exchange.phase {
            if now.ms < until_ms {
                self.set_deadline(key, Some(LINGER), now);
            } else {
                exchange.phase = Phase::Flushing(Fate::Close);
                exchange.forget_unread();
            }
            return behind;
        }
        let is_full = exchange.has_pending();
        let Exchange { phase, order, client, .. } = exchange;
        let Some(order) = order else { return behind };
        let timeout = match phase {
            Phase::Gathering => {
                let Ok(relayed) = order.upload.take(&mut self.scratch[..n]) else {
                    self.refuse_body(key, now);
                    return behind;
                };
                behind = next_request(client, &self.scratch[relayed.taken..n], takes_back && relayed.plain);
                order.upload.gathered.extend_from_slice(&self.scratch[..relayed.keep]);
                order.route.settings.client_timeout
            }
            Phase::Asking { attempt, .. } | Phase::Relaying { attempt, .. } => {
                let in_chunks = matches!(order.upload.rest, Rest::Chunks(_));
                let Ok(relayed) = order.upload.take(&mut self.scratch[..n]) else {
                    self.refuse_body(key, now);
                    return behind;
                };
                behind = next_request(client, &self.scratch[relayed.taken..n], takes_back && relayed.plain);
                attempt.written = 0;
                order.refill(&self.scratch[..relayed.keep], in_chunks);
                let timeout = order.asking_timeout(0);
                if is_full || order.request.is_empty() || !matches!(phase, Phase::Asking { .. }) {
                    // It is not the backend's taking that is waited for.
                    return behind;
                }
                timeout
            }
            Phase::Tunnel { attempt, .. } => {
                order.request.clear();
                order.request.extend_from_slice(&self.scratch[..n]);
                attempt.written = 0;
                order.route.settings.tunnel_timeout
            }
            Phase::Picking | Phase::Connecting(_) | Phase::Flushing(_) | Phase::Lingering { .. } => {
                return behind;
            }
        };
        self.set_deadline(key, timeout, now);
        behind
    }

    /// The client's chunks are malformed: the backend must not take what it has
    /// for a whole request.
    fn refuse_body(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.client.keep_alive = false;
        exchange.client.unread = true;
        exchange.cause = Cause::BadRequest;
        // Behind a part of something else an answer of our own would be none.
        if matches!(exchange.phase, Phase::Relaying { .. }) || exchange.has_pending() {
            self.cut(key, Fate::Abort);
        } else {
            self.let_go(key);
            self.reply_error(key, 400, "the chunks are malformed", None, now);
        }
    }

    /// The client sends nothing more of its body.
    pub(super) fn body_timed_out(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.client.keep_alive = false;
        exchange.cause = Cause::BodyTimeOut;
        self.let_go(key);
        self.reply_error(key, 408, "the request's body did not come within ClientTimeOut", None, now);
    }

    /// Drops the attempt, if there is one, without a verdict on the backend.
    fn let_go(&mut self, key: ClientKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Picking);
        if let Some(route) = exchange.order.as_ref().map(|order| Arc::clone(&order.route)) {
            self.abandon(&route, phase);
        }
    }

    /// The client has its answer. If it may still be sending, that is read for
    /// a while: a close would make its system discard the answer unread.
    pub(super) fn linger(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        exchange.phase = Phase::Lingering { until_ms: now.ms.saturating_add(LINGER_AT_MOST_MS) };
        // Whatever it was, it is not a request.
        exchange.client.readable = true;
        self.set_deadline(key, Some(LINGER), now);
        self.queue(key);
        Some(Action::FinishSending { client: key })
    }

    /// Reads and forgets.
    pub(super) fn drain(&mut self, key: ClientKey) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        if !exchange.client.readable {
            return None;
        }
        self.receive(key, usize::MAX)
    }
}

/// What came behind a body, to be given back. Where that cannot be, the
/// connection carries no further request.
fn next_request(client: &mut Client, behind: &[u8], takes_back: bool) -> Vec<u8> {
    if behind.is_empty() || takes_back {
        return behind.to_vec();
    }
    client.unread = true;
    client.keep_alive = false;
    Vec::new()
}
