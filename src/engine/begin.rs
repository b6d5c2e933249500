//! A request becomes an exchange: it is parsed, refused or answered here, or made into the order
//! that a backend gets.

use std::borrow::Cow;
use std::sync::Arc;

use super::Now;
use super::attempts::{Attempts, is_repeatable};
use super::cause::Cause;
use super::exchange::{Client, Exchange, Order, Phase, Upgrade};
use super::host::{ClientKey, RequestParts};
use super::naming::Naming;
use super::network::Network;
use super::queue::Queueing;
use super::record::Record;
use super::shared::Route;
use super::status_page::{self, Answer};
use super::upload::{CONTINUE, Upload};
use super::worker::Worker;
use crate::http::Version;
use crate::http::body::{BodyDecoder, BodyLength, Style};
use crate::http::forward::{self, Forwarding, Framing, RequestEnd};
use crate::http::reply::Reply;
use crate::http::request::{self, Refusal};
use crate::stats::events::Short;

impl<N: Network> Worker<N> {
    /// Takes a request along `route`. Drive the worker afterwards.
    pub fn begin(&mut self, route: &Arc<Route>, parts: &RequestParts<'_>, now: Now) -> ClientKey {
        let mut record = self.records.open(route, parts);
        let mut room = request::storage();
        let request = match request::parse(parts.head, &mut room) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(parts, refusal, record, now),
        };
        if let Some(record) = &mut record {
            record.read(&self.shared, &request, parts);
        }
        if forward::is_loop(&request, &route.rules) {
            return self.begin_loop(parts, &request, record, now);
        }
        if request.max_forwards == Some(0) {
            return self.begin_last_hop(parts, &request, record, now);
        }
        let body = match body_of(&request, parts) {
            Ok(body) => body,
            Err(refusal) => return self.refuse(parts, refusal, record, now),
        };
        // Whatever stands further behind are requests that the host is about to
        // lose: after a close the client knows to send them again.
        let in_step = match &body {
            Body::None => parts.behind.is_empty() || parts.keeps_rest,
            Body::Here { taken, awaited, .. } => {
                *taken == parts.behind.len() && (*awaited || !parts.keeps_rest)
            }
            // A host that goes on with what it has would take it for a request.
            Body::Begun(_) => !parts.keeps_rest,
        };
        let settings = &route.settings;
        let upgrade = match (&body, request.upgrade) {
            (Body::None, Some(protocol)) if settings.upgrade.allows(protocol) => {
                Some(Upgrade { protocol: protocol.to_owned(), early: parts.behind.to_vec() })
            }
            _ => None,
        };

        let mut text = self.take_buffer();
        let says = Forwarding {
            client: parts.client,
            source: parts.source,
            secure: parts.secure,
            // The backend is not chosen yet; any of them answers to its own name at most.
            authority: self.shared.endpoints[route.endpoints[0]].authority(),
            rules: &route.rules,
            request_id: record.as_ref().and_then(|record| record.named()),
        };
        let host_at = forward::request_head(&mut text, &request, &says);
        let naming = Naming::new(&request, &says, host_at);
        let end = |framing| RequestEnd {
            framing,
            keep_alive: settings.keep_alive,
            upgrade: upgrade.as_ref().map(|upgrade| upgrade.protocol.as_str()),
            takes_trailers: request.takes_trailers,
        };
        let mut phase = Phase::Picking;
        let mut upload = Upload::nothing();
        match body {
            Body::None => forward::request_end(&mut text, &end(Framing::None)),
            Body::Here { content, .. } => {
                forward::request_end(&mut text, &end(Framing::Length(content.len() as u64)));
                text.extend_from_slice(&content);
            }
            Body::Begun(begun) => {
                phase = Phase::Gathering;
                upload = begun;
                upload.looks_behind = parts.secure;
            }
        }

        let client = client(parts, &request, in_step);
        let mut exchange = Exchange::new(phase, client, now);
        let gathers = !upload.is_over();
        if gathers && request.expects_continue {
            exchange.pending.extend_from_slice(CONTINUE);
            exchange.head_bytes += CONTINUE.len();
        }
        let mut source = [0; 16];
        let source_len = parts.source.len().min(source.len());
        source[..source_len].copy_from_slice(&parts.source[..source_len]);
        exchange.order = Some(Order {
            route: Arc::clone(route),
            request: text,
            upload,
            upgrade,
            takes_trailers: request.takes_trailers,
            naming,
            idempotent: is_repeatable(&request, route),
            source,
            source_len: u8::try_from(source_len).unwrap_or(0),
            connection: parts.connection,
            tried: Default::default(),
            attempts: Attempts::new(route, &request, &self.shared.poison, now),
            queueing: Queueing::No,
            name: Short::default(),
            answered_by: None,
        });
        exchange.record = record;
        self.tally.route(route.index).request(now.ms / 1000);
        route.budget.request(now.ms);
        let key = self.start(exchange, now);
        if gathers {
            self.set_deadline(key, settings.client_timeout, now);
        }
        key
    }

    /// Answers with a statistics page. Drive the worker afterwards.
    pub fn begin_statistics(&mut self, page: usize, parts: &RequestParts<'_>, now: Now) -> ClientKey {
        let mut room = request::storage();
        let request = match request::parse(parts.head, &mut room) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(parts, refusal, None, now),
        };
        let answer = status_page::answer(&self.shared, page, &request, parts, now);
        let client = client(parts, &request, ends_at_head(parts, &request));
        let keep = client.keep_alive;
        let key = self.start(Exchange::new(Phase::Picking, client, now), now);
        let Answer { status, content_type, fields, body } = &answer;
        let reply = Reply { status: *status, content_type, body, retry_after: None, fields };
        self.reply(key, &reply, keep, now);
        key
    }

    /// An OPTIONS request that must not go further is answered as by the last
    /// recipient (RFC 9110 7.6.2).
    fn begin_last_hop(
        &mut self,
        parts: &RequestParts<'_>,
        request: &request::Request<'_, '_>,
        record: Option<Box<Record>>,
        now: Now,
    ) -> ClientKey {
        let client = client(parts, request, ends_at_head(parts, request));
        let keep = client.keep_alive;
        let key = self.start(told(Exchange::new(Phase::Picking, client, now), Cause::LastHop, record), now);
        let body = b"this is the last hop that Max-Forwards allows\n";
        let reply = Reply { status: 200, content_type: "text/plain", body, retry_after: None, fields: "" };
        self.reply(key, &reply, keep, now);
        key
    }

    /// A request that has been here before goes no further.
    fn begin_loop(
        &mut self,
        parts: &RequestParts<'_>,
        request: &request::Request<'_, '_>,
        record: Option<Box<Record>>,
        now: Now,
    ) -> ClientKey {
        let client = client(parts, request, ends_at_head(parts, request));
        let key = self.start(told(Exchange::new(Phase::Picking, client, now), Cause::Loop, record), now);
        self.reply_error(key, 508, "the request has been here before", None, now);
        key
    }

    /// Answers with an error. Drive the worker afterwards.
    pub fn begin_error(&mut self, parts: &RequestParts<'_>, status: u16, why: &str, now: Now) -> ClientKey {
        self.turn_away(parts, None, (status, why, Cause::BadRequest), now)
    }

    /// Answers with an error, which the record of the request tells of, if it has one.
    pub(super) fn turn_away(
        &mut self,
        parts: &RequestParts<'_>,
        mut record: Option<Box<Record>>,
        (status, why, cause): (u16, &str, Cause),
        now: Now,
    ) -> ClientKey {
        let mut room = request::storage();
        let request = match request::parse(parts.head, &mut room) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(parts, refusal, record, now),
        };
        if let Some(record) = &mut record {
            record.read(&self.shared, &request, parts);
        }
        let client = client(parts, &request, ends_at_head(parts, &request));
        let key = self.start(told(Exchange::new(Phase::Picking, client, now), cause, record), now);
        self.reply_error(key, status, why, None, now);
        key
    }

    fn start(&mut self, mut exchange: Exchange, now: Now) -> ClientKey {
        exchange.is_late = self.shared.ending.is_asked();
        let watch_at = exchange.watch_at_ms;
        let key = self.exchanges.insert(exchange);
        self.timer.want(watch_at, now.ms);
        self.queue(key);
        key
    }

    fn refuse(
        &mut self,
        parts: &RequestParts<'_>,
        refusal: Refusal,
        record: Option<Box<Record>>,
        now: Now,
    ) -> ClientKey {
        let client = Client {
            fd: parts.fd,
            version: Version::Http11,
            may_splice: false,
            to_head: parts.head.starts_with(b"HEAD "),
            keep_alive: false,
            ready: true,
            readable: true,
            unread: true,
            watched: false,
            half_closed: false,
        };
        let key = self
            .start(told(Exchange::new(Phase::Picking, client, now), Cause::of_refusal(refusal), record), now);
        self.reply_error(key, refusal.status(), &refusal.to_string(), None, now);
        key
    }
}

/// The same exchange, with what has become of it already.
fn told(mut exchange: Exchange, cause: Cause, record: Option<Box<Record>>) -> Exchange {
    (exchange.cause, exchange.record) = (cause, record);
    exchange
}

/// The client's side of a request; `in_step` when it is certain where the
/// next request begins.
fn client(parts: &RequestParts<'_>, request: &request::Request<'_, '_>, in_step: bool) -> Client {
    Client {
        fd: parts.fd,
        version: request.version,
        may_splice: parts.may_splice,
        to_head: request.method == "HEAD",
        keep_alive: parts.may_keep_alive && !request.connection.close && in_step,
        ready: true,
        readable: true,
        unread: !in_step,
        watched: false,
        half_closed: false,
    }
}

/// Whether a request that is answered without a look at its body has none, and
/// nothing behind it gets lost.
fn ends_at_head(parts: &RequestParts<'_>, request: &request::Request<'_, '_>) -> bool {
    let no_body = request.content_length.is_none_or(|length| length == 0) && !request.chunked;
    no_body && (parts.behind.is_empty() || parts.keeps_rest)
}

/// The body of a request, as far as the host has it.
enum Body<'a> {
    /// There is none.
    None,
    /// All of it.
    Here {
        /// What is forwarded.
        content: Cow<'a, [u8]>,
        /// Bytes that it took behind the head.
        taken: usize,
        /// The host knows of it.
        awaited: bool,
    },
    /// The beginning; the rest comes from the client.
    Begun(Upload),
}

/// Finds the body behind the head, out of its chunks if need be.
fn body_of<'a>(request: &request::Request<'_, '_>, parts: &RequestParts<'a>) -> Result<Body<'a>, Refusal> {
    if request.chunked {
        let awaited = (parts.awaits.chunked)(request.method);
        let mut decoder = BodyDecoder::new(BodyLength::Chunked, Style::Unwrapped);
        let mut content = parts.behind.to_vec();
        let relayed =
            decoder.relay(&mut content).map_err(|_| Refusal::Malformed("the chunks are malformed"))?;
        content.truncate(relayed.keep);
        return match (relayed.done, awaited, parts.rest_is_ours) {
            // Behind chunks that it knows of a host may lose its place: nothing
            // there is kept.
            (true, true, _) => Ok(Body::Here { content: Cow::Owned(content), taken: 0, awaited }),
            (true, false, _) => {
                let taken = if relayed.surplus { 0 } else { parts.behind.len() };
                Ok(Body::Here { content: Cow::Owned(content), taken, awaited })
            }
            (false, false, true) => Ok(Body::Begun(Upload::of_chunks(decoder, content))),
            (false, true, _) => Err(Refusal::Malformed("the body is incomplete")),
            (false, false, false) => Err(Refusal::LengthRequired),
        };
    }
    let Some(length) = request.content_length else { return Ok(Body::None) };
    let awaited = length == 0 || (parts.awaits.length)(request.method);
    let have = usize::try_from(length).ok().and_then(|length| parts.behind.get(..length));
    match have {
        Some(content) => Ok(Body::Here { content: Cow::Borrowed(content), taken: content.len(), awaited }),
        None if awaited => Err(Refusal::Malformed("the body is incomplete")),
        None if parts.rest_is_ours => Ok(Body::Begun(Upload::of_length(length, parts.behind))),
        None => Err(Refusal::NotImplemented("a body is not taken with this method")),
    }
}
