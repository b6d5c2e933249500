//! The way of an answer: its head is parsed and rewritten, its body followed
//! to its end, piece by piece as the client takes it.

use std::sync::Arc;

use super::Now;
use super::cause::Cause;
use super::drive::{Action, Outgoing};
use super::exchange::{Exchange, Phase};
use super::failure::Failure;
use super::host::{ClientKey, Fate};
use super::network::Network;
use super::serve::Asked;
use super::splice::Spliced;
use super::tunnel::Ends;
use super::worker::{READ_MAX, Worker};
use crate::http::Version;
use crate::http::body::{BodyDecoder, BodyLength, Style};
use crate::http::chunked::{self, CHUNK_END, LAST_CHUNK};
use crate::http::forward::{self, Answering, Own};
use crate::http::response::{self, BadResponse, KeepAlive, Parsed, SWITCHING_PROTOCOLS};
use crate::http::trailers;

/// What a chunk takes beside its content, at most.
const CHUNK_FRAME: usize = 32;
/// Interim responses to one request; a backend that sends more is not coming to the point.
const MAX_INTERIMS: u32 = 64;

impl<N: Network> Worker<N> {
    /// Reads once, and looks for the response's head in what has come so far.
    pub(super) fn read_head(&mut self, key: ClientKey, now: Now) -> Result<Asked, Failure> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Asked::Wait) };
        let (Phase::Asking { attempt, head }, Some(order)) = (&mut exchange.phase, &exchange.order) else {
            return Ok(Asked::Wait);
        };
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return Ok(Asked::Wait) };
        if !upstream.readable {
            return Ok(Asked::Wait);
        }
        let settings = &order.route.settings;
        // Room is left for what came before, so that all of it fits the buffer.
        let limit =
            settings.buffer_size.max(settings.max_response_header).min(self.scratch.len() - CHUNK_END.len());
        let begun = head.len();
        let room = limit.saturating_sub(begun);
        if room == 0 {
            return Err(BadResponse::TooLarge.into());
        }
        let n = match upstream.read(&mut self.scratch[begun..begun + room]) {
            Ok(Some(0)) if begun == 0 => return Err(Failure::Closed),
            Ok(Some(0)) => return Err(Failure::ClosedInHead),
            Ok(Some(n)) => n,
            Ok(None) => return Ok(Asked::Wait),
            Err(error) if begun == 0 => return Err(Failure::Reset(error)),
            Err(_) => return Err(Failure::ClosedInHead),
        };
        let more = upstream.readable;
        let counters = self.tally.backend(order.route.row(attempt.backend));
        counters.bytes(0, n as u64);
        if let Some(us) = exchange.times.first_byte(now) {
            counters.first_byte(us);
        }
        if let Some(record) = &mut exchange.record {
            record.moved(0, n as u64);
        }
        self.scratch[..begun].copy_from_slice(head);
        let asked = self.take_head(key, begun + n, now)?;
        if asked.is_none() {
            if more {
                // In a later step, so that a backend that never comes to the point
                // keeps nobody else waiting.
                self.queue(key);
            } else {
                self.acknowledge(key);
            }
        }
        Ok(asked.unwrap_or(Asked::Wait))
    }

    /// Looks for response heads in the first `filled` bytes of the read buffer;
    /// `None` when more must be read and nothing is to be told to the client.
    pub(super) fn take_head(
        &mut self,
        key: ClientKey,
        filled: usize,
        now: Now,
    ) -> Result<Option<Asked>, Failure> {
        self.date.refresh(now);
        let mut text = self.take_buffer();
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Some(Asked::Wait)) };
        let may_keep_alive = exchange.may_keep_alive();
        let Exchange { phase, order: Some(order), client, record, times, .. } = exchange else {
            return Ok(Some(Asked::Wait));
        };
        let Phase::Asking { attempt, head } = phase else { return Ok(Some(Asked::Wait)) };

        let longest = order.route.settings.max_response_header;
        let authority = self.shared.endpoints[order.route.endpoints[attempt.backend]].authority();
        if let Some(record) = record {
            // Not always the last that was asked: an answer may have been kept back.
            record.hears(attempt.backend);
        }
        let id = record.as_ref().map_or("", |record| record.id());
        let mut from = 0;
        let (length, found) = loop {
            let mut room = response::storage();
            response::settle_version(&mut self.scratch[from..filled]);
            match response::parse(&self.scratch[from..filled], &mut room, client.to_head)? {
                Parsed::Partial if filled - from >= longest => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Partial => {
                    head.clear();
                    head.extend_from_slice(&self.scratch[from..filled]);
                    if text.is_empty() {
                        self.recycle(text);
                        return Ok(None);
                    }
                    // Early hints are worth nothing later.
                    exchange.head_bytes += text.len();
                    return Ok(Some(Asked::Head(self.send(key, text, 0, &[], false))));
                }
                Parsed::Complete { length, .. } if length > longest => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Complete { response, length } if response.is_interim() => {
                    from += length;
                    attempt.interims += 1;
                    if attempt.interims > MAX_INTERIMS {
                        return Err(BadResponse::TooManyInterim.into());
                    }
                    // A 100 answers an expectation that was ours to answer.
                    if response.status != 100 && client.version == Version::Http11 {
                        let rewriting = order.rewriting(authority, id);
                        let own = Own::default();
                        forward::interim_head(&mut text, &response, false, rewriting.as_ref(), own);
                    }
                }
                Parsed::Complete { response, length } if response.status == SWITCHING_PROTOCOLS => {
                    let asked = order.upgrade.as_ref();
                    let whole = attempt.written == order.request.len();
                    if !(whole && asked.is_some_and(|upgrade| response.switches_to(&upgrade.protocol))) {
                        return Err(BadResponse::Unasked101.into());
                    }
                    let rewriting = order.rewriting(authority, id);
                    let own =
                        self.records.fields_for(record.as_deref(), &self.shared, response.status, times, now);
                    forward::interim_head(&mut text, &response, true, rewriting.as_ref(), own);
                    break (from + length, Found::Switch);
                }
                Parsed::Complete { response, .. } if order.declines(response.status, attempt, now) => {
                    break (0, Found::Declined(response.status));
                }
                Parsed::Complete { response, length } => {
                    // A client of HTTP/1.0 sees the end of what has no length
                    // by the close alone.
                    let by_close = matches!(response.body, BodyLength::UntilClose | BodyLength::Chunked);
                    let delimited = !(by_close && client.version == Version::Http10);
                    let keep_alive = may_keep_alive && delimited;
                    let own =
                        self.records.fields_for(record.as_deref(), &self.shared, response.status, times, now);
                    let says = Answering {
                        version: client.version,
                        keep_alive,
                        date: self.date.text(),
                        trailers: order.takes_trailers && response.body == BodyLength::Chunked,
                        own,
                    };
                    let rewriting = order.rewriting(authority, id);
                    forward::response_head(&mut text, &response, &says, rewriting.as_ref());
                    let answer = Answer {
                        status: response.status,
                        body: response.body,
                        backend_keeps: response.keeps_alive(),
                        announced: response.keep_alive,
                        fate: if keep_alive { Fate::KeepAlive } else { Fate::Close },
                    };
                    break (from + length, Found::Answer(answer));
                }
            }
        };
        let action = match found {
            Found::Declined(status) => {
                self.recycle(text);
                self.keep_back(key, status, filled, now);
                return Ok(Some(Asked::Changed));
            }
            Found::Switch => self.begin_tunnel(key, text, length, filled, now),
            Found::Answer(answer) => self.begin_answer(key, text, &answer, length, filled, now)?,
        };
        Ok(Some(action.map_or(Asked::Wait, Asked::Head)))
    }

    /// The head of an answer is in `text`; its body begins at `length` in the read buffer.
    fn begin_answer(
        &mut self,
        key: ClientKey,
        mut text: Vec<u8>,
        answer: &Answer,
        length: usize,
        filled: usize,
        now: Now,
    ) -> Result<Option<Action>, Failure> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(None) };
        let Exchange { phase, order: Some(order), client, .. } = exchange else { return Ok(None) };
        let Phase::Asking { attempt, .. } = phase else { return Ok(None) };
        let style = match (client.version, order.takes_trailers) {
            (Version::Http10, _) => Style::Unwrapped,
            (Version::Http11, false) => Style::Plain,
            (Version::Http11, true) => Style::WithTrailers(Vec::new()),
        };
        let mut body = BodyDecoder::new(answer.body, style);
        let relayed = body.relay(&mut self.scratch[length..filled])?;
        // The body goes out from the front of the buffer.
        self.scratch.copy_within(length..length + relayed.keep, 0);
        exchange.head_bytes += text.len();
        let sent = match client.version {
            Version::Http11 if body.ends_at_close() => wrap(&mut text, &mut self.scratch, relayed.keep),
            _ => relayed.keep,
        };

        let route = Arc::clone(&order.route);
        let is_failure = route.blames_for_status(answer.status);
        let reusable = answer.backend_keeps && !relayed.surplus && route.settings.keep_alive;
        let fate = answer.fate;
        exchange.status = answer.status;
        exchange.cause = Cause::Ok;
        let (backend, trial) = (attempt.backend, attempt.trial);
        let mut more = false;
        if let Some(upstream) = self.upstreams.get_mut(attempt.upstream) {
            upstream.window.announce(answer.announced);
            more = upstream.readable && !relayed.done;
        }
        let mut request = Vec::new();
        if attempt.written == order.request.len() {
            if is_failure || !relayed.done {
                order.keep_name();
            }
            // What is still to come of the body will need less room.
            request = std::mem::take(&mut order.request);
            attempt.written = 0;
        }
        if let Phase::Asking { attempt, .. } = std::mem::replace(&mut exchange.phase, Phase::Picking) {
            exchange.phase = Phase::Relaying { attempt, body, reusable, fate };
        }
        self.tally.backend(route.row(backend)).response(answer.status);
        if is_failure {
            self.judge_status(key, &route, backend, trial, answer.status, now);
        } else if trial {
            // Not later: a long answer would keep the backend on trial.
            self.praise(key, &route, backend, now);
        }
        self.recycle(request);
        self.accept(key, now);
        if relayed.done || relayed.surplus {
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, route.settings.read_timeout, now);
        }
        let tail = trailers::without(&relayed.tail, |name| route.rules.response.names(name));
        Ok(Some(self.send(key, text, sent, &tail, more)))
    }

    /// The backend has switched protocols: from here on, bytes are just bytes.
    fn begin_tunnel(
        &mut self,
        key: ClientKey,
        text: Vec<u8>,
        length: usize,
        filled: usize,
        now: Now,
    ) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        let Exchange { phase, order: Some(order), client, .. } = exchange else { return None };
        client.keep_alive = false;
        order.request.clear();
        if let Some(upgrade) = order.upgrade.take() {
            order.request.extend_from_slice(&upgrade.early);
        }
        let Phase::Asking { mut attempt, .. } = std::mem::replace(phase, Phase::Picking) else { return None };
        attempt.written = 0;
        let (backend, trial) = (attempt.backend, attempt.trial);
        *phase = Phase::Tunnel { attempt, ends: Ends::default() };
        exchange.status = SWITCHING_PROTOCOLS;
        exchange.cause = Cause::Ok;
        exchange.head_bytes += text.len();
        let route = Arc::clone(&order.route);
        self.tally.backend(route.row(backend)).response(SWITCHING_PROTOCOLS);
        if trial {
            self.praise(key, &route, backend, now);
        }
        self.accept(key, now);
        self.set_deadline(key, route.settings.tunnel_timeout, now);
        let body = filled - length;
        self.scratch.copy_within(length..filled, 0);
        Some(self.send(key, text, body, &[], false))
    }

    /// Sends `first`, then `body` bytes of the read buffer, then `tail`. `more` is there already.
    fn send(&mut self, key: ClientKey, mut first: Vec<u8>, body: usize, tail: &[u8], more: bool) -> Action {
        if tail.is_empty() {
            let buffer = std::mem::take(&mut self.scratch);
            return Action::Send { client: key, bytes: Outgoing { first, from: 0, buffer, body, more } };
        }
        // Rare enough for a copy.
        first.extend_from_slice(&self.scratch[..body]);
        first.extend_from_slice(tail);
        Action::send(key, first)
    }

    /// Reads the next piece of the body.
    pub(super) fn relay(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let action = match self.splice(key, now) {
            Spliced::No => self.copy(key, now),
            Spliced::Nothing => None,
            Spliced::Cut => {
                self.fail(key, Failure::Truncated, now);
                None
            }
            Spliced::Some(action) => Some(action),
        };
        if action.is_none() {
            self.acknowledge(key);
        }
        action
    }

    /// A part of an answer has come, and the rest is waited for.
    fn acknowledge(&mut self, key: ClientKey) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let (Phase::Asking { attempt, .. } | Phase::Relaying { attempt, .. }) = &exchange.phase else {
            return;
        };
        if let Some(upstream) = self.upstreams.get_mut(attempt.upstream) {
            upstream.acknowledge();
        }
    }

    fn copy(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        let timeout = exchange.read_timeout();
        let Exchange {
            phase: Phase::Relaying { attempt, body, reusable, .. },
            order: Some(order),
            client,
            pending,
            room,
            record,
            ..
        } = exchange
        else {
            return None;
        };
        let wrapped = body.ends_at_close() && client.version == Version::Http11;
        let upstream = self.upstreams.get_mut(attempt.upstream)?;
        if !upstream.readable {
            return None;
        }
        // What the client has room for is not left here, however much it is.
        let takes = room.saturating_sub(CHUNK_FRAME).min(READ_MAX);
        let limit = order.route.settings.buffer_size.max(takes).min(self.scratch.len() - CHUNK_END.len());
        let n = match upstream.read(&mut self.scratch[..limit]) {
            Ok(None) => return None,
            Ok(Some(0)) if body.ends_at_close() && !upstream.reset => {
                if wrapped {
                    pending.extend_from_slice(LAST_CHUNK);
                }
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
        let more = upstream.readable;
        let relayed = match body.relay(&mut self.scratch[..n]) {
            Ok(relayed) => relayed,
            Err(error) => {
                self.fail(key, error.into(), now);
                return None;
            }
        };
        *reusable &= !relayed.surplus;
        let tail = trailers::without(&relayed.tail, |name| order.route.rules.response.names(name));
        self.tally.backend(order.route.row(attempt.backend)).bytes(0, n as u64);
        if let Some(record) = record {
            record.moved(0, n as u64);
        }
        if relayed.done {
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, timeout, now);
        }
        if relayed.keep == 0 && tail.is_empty() {
            self.queue(key);
            return None;
        }
        let mut first = Vec::new();
        let mut sent = relayed.keep;
        if wrapped {
            first = self.take_buffer();
            sent = wrap(&mut first, &mut self.scratch, relayed.keep);
        }
        Some(self.send(key, first, sent, &tail, more && !relayed.done))
    }

    /// The response is complete: the upstream goes to the pool or is closed.
    pub(super) fn finish_upstream(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let fate = match &exchange.phase {
            Phase::Relaying { fate, .. } => *fate,
            _ => return,
        };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Flushing(fate));
        exchange.deadline_ms = None;
        let Phase::Relaying { attempt, reusable, .. } = phase else { return };
        let Some(order) = &mut exchange.order else { return };
        order.answered_by = Some(attempt.backend);
        let whole = order.upload.is_over() && attempt.written == order.request.len();
        let route = Arc::clone(&order.route);
        if !attempt.trial && !route.blames_for_status(exchange.status) {
            self.praise(key, &route, attempt.backend, now);
        }
        let Some(upstream) = self.upstreams.get(attempt.upstream) else { return };
        if reusable && whole && !upstream.closed {
            self.park(attempt.upstream, &route, now);
        } else {
            self.upstreams.remove(attempt.upstream);
        }
    }
}

/// A head that ends the waiting for one.
enum Found {
    /// The answer begins.
    Answer(Answer),
    /// The protocol changes.
    Switch,
    /// An answer with this status, for which another backend is asked.
    Declined(u16),
}

/// What an answer's head says.
struct Answer {
    status: u16,
    body: BodyLength,
    /// The backend lets its connection be used again.
    backend_keeps: bool,
    /// For how long, as it says.
    announced: KeepAlive,
    /// What becomes of the client's connection when all is well.
    fate: Fate,
}

/// Makes a chunk of the first `length` bytes of the buffer: its size goes
/// behind `first`, its end into the buffer. Gives the bytes of the buffer to
/// send.
fn wrap(first: &mut Vec<u8>, buffer: &mut [u8], length: usize) -> usize {
    if length == 0 {
        return 0;
    }
    chunked::write_size(first, length);
    let end = length + CHUNK_END.len();
    buffer[length..end].copy_from_slice(CHUNK_END);
    end
}
