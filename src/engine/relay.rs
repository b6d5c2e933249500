//! The way of an answer: its head is parsed and rewritten, its body followed
//! to its end, piece by piece as the client takes it.

use std::sync::Arc;

use super::Now;
use super::drive::{Action, Outgoing};
use super::exchange::{Exchange, Phase};
use super::failure::Failure;
use super::host::{ClientKey, Fate};
use super::serve::Asked;
use super::setup::milliseconds;
use super::upstream::Use;
use super::worker::Worker;
use crate::http::Version;
use crate::http::body::{BodyDecoder, BodyLength};
use crate::http::chunked::{self, CHUNK_END, LAST_CHUNK};
use crate::http::forward::{self, Answering};
use crate::http::response::{self, BadResponse, Parsed};

impl Worker {
    /// Reads once, and looks for the response's head in what has come so far.
    pub(super) fn read_head(&mut self, key: ClientKey, now: Now) -> Result<Asked, Failure> {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Asked::Wait) };
        let (Phase::Asking { attempt, head, .. }, Some(order)) = (&mut exchange.phase, &exchange.order)
        else {
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
        order.route.counters[attempt.backend].bytes(0, n as u64);
        self.scratch[..begun].copy_from_slice(head);
        let asked = self.take_head(key, begun + n, now)?;
        if asked.is_none() && more {
            // In a later step, so that a backend that never comes to the point
            // keeps nobody else waiting.
            self.queue(key);
        }
        Ok(asked.unwrap_or(Asked::Wait))
    }

    /// Looks for a final response head in the first `filled` bytes of the read
    /// buffer; `None` when more must be read.
    fn take_head(&mut self, key: ClientKey, filled: usize, now: Now) -> Result<Option<Asked>, Failure> {
        self.date.refresh(now);
        let mut text = self.take_buffer();
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Some(Asked::Wait)) };
        let Exchange { phase, order: Some(order), client, .. } = exchange else {
            return Ok(Some(Asked::Wait));
        };
        let Phase::Asking { attempt, written, head } = phase else { return Ok(Some(Asked::Wait)) };

        let longest = order.route.settings.max_response_header;
        let authority = self.shared.endpoints[order.route.endpoints[attempt.backend]].authority();
        let mut from = 0;
        let (length, status, length_kind, backend_keeps, keep_alive) = loop {
            let mut room = response::storage();
            match response::parse(&self.scratch[from..filled], &mut room, client.to_head)? {
                Parsed::Partial if filled - from >= longest => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Partial => {
                    head.clear();
                    head.extend_from_slice(&self.scratch[from..filled]);
                    self.recycle(text);
                    return Ok(None);
                }
                Parsed::Complete { response, length } if response.is_interim() => from += length,
                Parsed::Complete { length, .. } if length > longest => {
                    return Err(BadResponse::TooLarge.into());
                }
                Parsed::Complete { response, length } => {
                    // A client of HTTP/1.0 sees the end of what has no length
                    // by the close alone.
                    let by_close = matches!(response.body, BodyLength::UntilClose | BodyLength::Chunked);
                    let delimited = !(by_close && client.version == Version::Http10);
                    let keep_alive = client.keep_alive && delimited;
                    let says = Answering { version: client.version, keep_alive, date: self.date.text() };
                    let rewriting = order.rewriting(authority);
                    forward::response_head(&mut text, &response, &says, rewriting.as_ref());
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
        let head_bytes = text.len();
        let sent = match client.version {
            Version::Http11 if body.ends_at_close() => wrap(&mut text, &mut self.scratch, relayed.keep),
            _ => relayed.keep,
        };

        let route = Arc::clone(&order.route);
        let whole = *written == order.request.len();
        let reusable = backend_keeps && whole && !relayed.surplus && route.settings.keep_alive;
        let fate = if keep_alive { Fate::KeepAlive } else { Fate::Close };
        exchange.status = status;
        exchange.head_bytes = head_bytes;
        let (backend, trial) = (attempt.backend, attempt.trial);
        if let Phase::Asking { attempt, .. } = std::mem::replace(&mut exchange.phase, Phase::Picking) {
            exchange.phase = Phase::Relaying { attempt, body, reusable, fate };
        }
        route.counters[backend].response(status);
        let request = std::mem::take(&mut order.request);
        if trial {
            // Not later: a long answer would keep the backend on trial.
            self.praise(&route, backend, now);
        }
        self.recycle(request);
        if relayed.done || relayed.surplus {
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, route.settings.read_timeout, now);
        }
        let buffer = std::mem::take(&mut self.scratch);
        let bytes = Outgoing { first: text, from: 0, buffer, body: sent };
        Ok(Some(Asked::Head(Action::Send { client: key, bytes })))
    }

    /// Reads the next piece of the body.
    pub(super) fn relay(&mut self, key: ClientKey, now: Now) -> Option<Action> {
        let exchange = self.exchanges.get_mut(key)?;
        let timeout = exchange.read_timeout();
        let Exchange {
            phase: Phase::Relaying { attempt, body, reusable, .. },
            order: Some(order),
            client,
            pending,
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
        let limit = order.route.settings.buffer_size.min(self.scratch.len() - CHUNK_END.len());
        let n = match upstream.read(&mut self.scratch[..limit]) {
            Ok(None) => return None,
            Ok(Some(0)) if body.ends_at_close() => {
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
        let relayed = match body.relay(&mut self.scratch[..n]) {
            Ok(relayed) => relayed,
            Err(error) => {
                self.fail(key, error.into(), now);
                return None;
            }
        };
        *reusable &= !relayed.surplus;
        order.route.counters[attempt.backend].bytes(0, n as u64);
        if relayed.done {
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, timeout, now);
        }
        if relayed.keep == 0 {
            self.queue(key);
            return None;
        }
        let mut first = Vec::new();
        let mut sent = relayed.keep;
        if wrapped {
            first = self.take_buffer();
            sent = wrap(&mut first, &mut self.scratch, relayed.keep);
        }
        let buffer = std::mem::take(&mut self.scratch);
        let bytes = Outgoing { first, from: 0, buffer, body: sent };
        Some(Action::Send { client: key, bytes })
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
        let Some(order) = &exchange.order else { return };
        let route = Arc::clone(&order.route);
        let settings = &route.settings;
        let (limit, idle_timeout) = (settings.pool_size, settings.pool_idle_timeout);
        if !attempt.trial {
            self.praise(&route, attempt.backend, now);
        }
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return };
        if !reusable || upstream.closed || limit == 0 {
            self.upstreams.remove(attempt.upstream);
            return;
        }
        upstream.used_by = Use::Idle { since_ms: now.ms };
        upstream.idle_timeout = idle_timeout;
        let endpoint = upstream.endpoint;
        if let Some(oldest) = self.pool.put(endpoint, attempt.upstream, limit) {
            self.upstreams.remove(oldest);
        }
        if let Some(timeout) = idle_timeout {
            self.timer.want(now.ms.saturating_add(milliseconds(timeout)), now.ms);
        }
    }
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
