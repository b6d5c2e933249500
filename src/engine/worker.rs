//! One worker thread's exchanges, upstreams and poll; the entry points of the
//! engine. What moves an exchange on is in `serve`, `relay`, `outcome` and
//! `deadlines`.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::attempts::{Attempts, is_repeatable};
use super::date::Date;
use super::drive::{Action, Outgoing};
use super::exchange::{Client, Exchange, Order, Phase, Upgrade};
use super::host::{ClientKey, End, Fate, RequestParts, Sent};
use super::idle::Lost;
use super::naming::Naming;
use super::network::{Event, Network, Wake};
use super::pool::Pool;
use super::queue::{Mailbox, Queueing};
use super::shared::{MatchScratch, Route, Shared, Verdict};
use super::slots::{Key, Slots};
use super::sockets::Sockets;
use super::spare::Spare;
use super::timer::Timer;
use super::token::Source;
use super::upload::{CONTINUE, Upload};
use super::upstream::{Upstream, Use};
use super::{Now, probing, resolver, status_page};
use crate::http::Version;
use crate::http::body::{BodyDecoder, BodyLength, Style};
use crate::http::chunked::CHUNK_END;
use crate::http::forward::{self, Answering, Forwarding, Framing, RequestEnd};
use crate::http::reply::{self, Reply};
use crate::http::request::{self, Refusal};

/// A client that leaves politely is looked for once its exchange lasts longer.
pub(super) const WATCH_AFTER_MS: u64 = 500;
/// Most that is read at once for a client that takes it all.
pub(super) const READ_MAX: usize = 128 * 1024;
/// Steps in one turn before the host gets its thread back; each moves at most
/// one buffer of bytes.
const TURN_STEPS: usize = 48;
/// How long a client may take for an answer that belongs to no route.
pub(super) const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The engine of one worker thread.
#[derive(Debug)]
pub struct Worker<N: Network = Sockets> {
    pub(super) shared: Arc<Shared>,
    pub(super) network: N,
    waker: Arc<dyn Wake>,
    pub(super) mailbox: Arc<Mailbox>,
    events: Option<N::Events>,
    pub(super) timer: Timer<N::Alarm>,
    pub(super) exchanges: Slots<Exchange>,
    pub(super) upstreams: Slots<Upstream<N::Link>, Upstream>,
    pub(super) pool: Pool,
    /// Exchanges that can move on.
    runnable: VecDeque<Key<Exchange>>,
    /// What is read from backends goes here first.
    pub(super) scratch: Box<[u8]>,
    spare: Spare,
    matching: MatchScratch,
    pub(super) date: Date,
    driving: bool,
    steps: usize,
}

impl Worker<Sockets> {
    /// The engine for the calling thread.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(shared: Arc<Shared>) -> io::Result<Self> {
        Worker::with_network(shared, Sockets::new()?)
    }

    /// Starts what runs beside the workers, and reads `clock` there. Call it once, in the process
    /// that serves.
    pub fn start_helpers(shared: &Arc<Shared>, clock: fn() -> Now) {
        resolver::start(shared);
        probing::start(shared, clock);
    }

    /// The descriptor that the host watches for reading.
    pub fn poll_fd(&self) -> RawFd {
        self.network.as_raw_fd()
    }
}

impl<N: Network> Worker<N> {
    /// The engine for the calling thread, in a world of its own.
    ///
    /// # Errors
    /// When that has no alarm to give.
    pub fn with_network(shared: Arc<Shared>, network: N) -> io::Result<Self> {
        let timer = Timer::new(network.alarm()?);
        let waker = network.waker();
        // Whatever BufferSize says, a whole response head has room.
        let settings = shared.routes.iter().map(|route| &route.settings);
        let largest = settings.map(|s| s.buffer_size.max(s.max_response_header)).fold(READ_MAX, usize::max);
        // Two bytes more, for the end of a chunk behind what was read.
        let buffer_size = largest + CHUNK_END.len();
        Ok(Worker {
            events: Some(network.events()),
            network,
            mailbox: Arc::new(Mailbox::new(Arc::clone(&waker))),
            waker,
            timer,
            exchanges: Slots::new(),
            upstreams: Slots::default(),
            pool: Pool::new(shared.endpoints.len()),
            runnable: VecDeque::new(),
            scratch: vec![0; buffer_size].into_boxed_slice(),
            spare: Spare::default(),
            matching: shared.match_scratch(),
            date: Date::default(),
            driving: false,
            steps: 0,
            shared,
        })
    }

    /// Decides about a decoded path.
    pub fn admit(&mut self, decoded_path: &[u8]) -> Verdict {
        self.shared.admit(decoded_path, &mut self.matching)
    }

    /// Takes a request along `route`. Drive the worker afterwards.
    pub fn begin(&mut self, route: &Arc<Route>, parts: &RequestParts<'_>, now: Now) -> ClientKey {
        let mut room = request::storage();
        let request = match request::parse(parts.head, &mut room) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(parts, refusal, now),
        };
        if forward::is_loop(&request, &route.rules) {
            return self.begin_error(parts, 508, "the request has been here before", now);
        }
        if request.max_forwards == Some(0) {
            return self.begin_last_hop(parts, &request, now);
        }
        let body = match body_of(&request, parts) {
            Ok(body) => body,
            Err(refusal) => return self.refuse(parts, refusal, now),
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
        let mut exchange = Exchange::new(phase, client, now.ms + WATCH_AFTER_MS);
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
        });
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
            Err(refusal) => return self.refuse(parts, refusal, now),
        };
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let (body, content_type) = status_page::render(&self.shared, page, query, now);
        let client = client(parts, &request, ends_at_head(parts, &request));
        let keep = client.keep_alive;
        let exchange = Exchange::new(Phase::Picking, client, now.ms + WATCH_AFTER_MS);
        let key = self.start(exchange, now);
        let reply = match request.method {
            "GET" | "HEAD" => Reply { status: 200, content_type, body: &body, retry_after: None },
            _ => Reply {
                status: 405,
                content_type: "text/plain",
                body: b"only GET and HEAD\n",
                retry_after: None,
            },
        };
        self.reply(key, &reply, keep, now);
        key
    }

    /// An OPTIONS request that must not go further is answered as by the last
    /// recipient (RFC 9110 7.6.2).
    fn begin_last_hop(
        &mut self,
        parts: &RequestParts<'_>,
        request: &request::Request<'_, '_>,
        now: Now,
    ) -> ClientKey {
        let client = client(parts, request, ends_at_head(parts, request));
        let keep = client.keep_alive;
        let key = self.start(Exchange::new(Phase::Picking, client, now.ms + WATCH_AFTER_MS), now);
        let body = b"this is the last hop that Max-Forwards allows\n";
        let reply = Reply { status: 200, content_type: "text/plain", body, retry_after: None };
        self.reply(key, &reply, keep, now);
        key
    }

    /// Answers with an error. Drive the worker afterwards.
    pub fn begin_error(&mut self, parts: &RequestParts<'_>, status: u16, why: &str, now: Now) -> ClientKey {
        let mut room = request::storage();
        let request = match request::parse(parts.head, &mut room) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(parts, refusal, now),
        };
        let client = client(parts, &request, ends_at_head(parts, &request));
        let key = self.start(Exchange::new(Phase::Picking, client, now.ms + WATCH_AFTER_MS), now);
        self.reply_error(key, status, why, None, now);
        key
    }

    /// Makes the poll readable, so that the host calls [`Worker::turn`].
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the worker cannot wake itself: {error}");
        }
    }

    /// The host lost this client: everything of it is gone when this returns.
    pub fn client_gone(&mut self, client: ClientKey) {
        if let Some(exchange) = self.exchanges.remove(client) {
            self.unwatch_client(&exchange);
            self.discard(exchange);
        }
    }

    /// Drops every exchange and every connection.
    pub fn clear(&mut self) {
        self.exchanges = Slots::new();
        self.upstreams = Slots::default();
        self.pool = Pool::new(self.shared.endpoints.len());
        self.close_mailbox();
        self.runnable.clear();
    }

    /// Takes what the poll has to tell. Drive the worker afterwards.
    pub fn turn(&mut self, now: Now) {
        let Some(mut events) = self.events.take() else { return };
        match self.network.poll(&mut events) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => log::error!("the worker's poll failed: {error}"),
        }
        let mut lost = Vec::new();
        for event in N::told(&events) {
            match event.source {
                Source::Waker => self.take_calls(),
                Source::Timer => {
                    self.timer.fired();
                    self.on_time(now);
                }
                Source::Upstream(key) => lost.extend(self.on_upstream(key, &event, now)),
                Source::Client(key) => self.on_client(key, &event, now),
            }
        }
        self.learn(lost, now);
        self.events = Some(events);
    }

    /// Begins a round of [`super::drive`]; false if one is under way already.
    pub(super) fn enter(&mut self) -> bool {
        if std::mem::replace(&mut self.driving, true) {
            return false;
        }
        self.steps = 0;
        true
    }

    /// Ends a round. What is left to do wakes the poll for the next turn.
    pub(super) fn leave(&mut self) {
        self.driving = false;
        if !self.runnable.is_empty() {
            self.wake();
        }
    }

    /// Moves exchanges on until one needs the host.
    pub(super) fn next_action(&mut self, now: Now) -> Option<Action> {
        while self.steps < TURN_STEPS {
            let key = self.runnable.pop_front()?;
            self.steps += 1;
            if let Some(exchange) = self.exchanges.get_mut(key) {
                exchange.queued = false;
                if let Some(action) = self.step(key, now) {
                    return Some(action);
                }
            }
        }
        None
    }

    /// Takes note of what the client took of `bytes`.
    /// `room` is what it takes for certain beyond that.
    pub(super) fn sent(&mut self, client: ClientKey, bytes: Outgoing, sent: Sent, room: usize, now: Now) {
        let total = bytes.total();
        let Outgoing { first, from, buffer, body, .. } = bytes;
        let was_pending = buffer.is_empty();
        let mut spare = Some(first);
        if let Some(exchange) = self.exchanges.get_mut(client) {
            exchange.room = room;
            match sent {
                Sent::Bytes(n) if n >= total => {
                    exchange.count_sent(total);
                    if matches!(exchange.phase, Phase::Flushing(_)) {
                        exchange.deadline_ms = None;
                        self.queue_first(client);
                    } else {
                        if was_pending {
                            self.caught_up(client, now);
                        }
                        // At the end: one fast download must not keep everybody waiting.
                        self.queue(client);
                    }
                }
                Sent::Bytes(n) => {
                    exchange.count_sent(n);
                    exchange.client.ready = false;
                    let timeout = exchange.client_timeout();
                    let progress = n > 0 || !was_pending || exchange.deadline_ms.is_none();
                    let mut rest = spare.take().unwrap_or_default();
                    let of_first = n.min(rest.len() - from);
                    rest.extend_from_slice(&buffer[n - of_first..body]);
                    exchange.pending = rest;
                    exchange.pending_from = from + of_first;
                    if progress {
                        self.set_deadline(client, timeout, now);
                    }
                    self.watch_client(client);
                }
                Sent::Gone => self.client_left(client),
            }
        }
        if !buffer.is_empty() {
            self.scratch = buffer;
        }
        if let Some(spare) = spare {
            self.recycle(spare);
        }
    }

    /// The client has taken everything: it is the backend's turn again.
    fn caught_up(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let timeout = match (&exchange.phase, &exchange.order) {
            (Phase::Relaying { .. }, _) => exchange.read_timeout(),
            (Phase::Tunnel { .. }, _) => exchange.tunnel_timeout(),
            (Phase::Asking { attempt, .. }, Some(order)) => order.asking_timeout(attempt.written),
            _ => exchange.client_timeout(),
        };
        self.set_deadline(key, timeout, now);
    }

    /// An answer of our own, whole, to be sent at the next step.
    pub(super) fn reply(&mut self, key: ClientKey, reply: &Reply<'_>, keep_alive: bool, now: Now) {
        let mut text = self.take_buffer();
        self.date.refresh(now);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let version = exchange.client.version;
        let says = Answering { version, keep_alive, date: self.date.text(), trailers: false };
        reply::write(&mut text, reply, &says, exchange.client.to_head);
        exchange.head_bytes = text.len() - if exchange.client.to_head { 0 } else { reply.body.len() };
        self.finish_with(key, reply.status, text, keep_alive);
    }

    /// An error of our own.
    pub(super) fn reply_error(
        &mut self,
        key: ClientKey,
        status: u16,
        why: &str,
        retry_after: Option<u64>,
        now: Now,
    ) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let keep_alive = exchange.may_keep_alive();
        let body = reply::error_text(status, why);
        let reply = Reply { status, content_type: reply::ERROR_TYPE, body: body.as_bytes(), retry_after };
        self.reply(key, &reply, keep_alive, now);
    }

    /// Puts an exchange into the queue, at its end.
    pub(super) fn queue(&mut self, key: ClientKey) {
        if let Some(exchange) = self.exchanges.get_mut(key)
            && !std::mem::replace(&mut exchange.queued, true)
        {
            self.runnable.push_back(key);
        }
    }

    /// Puts an exchange into the queue, at its front.
    fn queue_first(&mut self, key: ClientKey) {
        if let Some(exchange) = self.exchanges.get_mut(key)
            && !std::mem::replace(&mut exchange.queued, true)
        {
            self.runnable.push_front(key);
        }
    }

    /// An empty buffer.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.spare.take()
    }

    /// Keeps a buffer for later.
    pub(super) fn recycle(&mut self, buffer: Vec<u8>) {
        self.spare.put(buffer);
    }

    /// Sets the time-out of the present phase.
    pub(super) fn set_deadline(&mut self, key: ClientKey, timeout: Option<Duration>, now: Now) {
        let at = timeout.map(|t| now.ms.saturating_add(super::setup::milliseconds(t)));
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.deadline_ms = at;
        }
        if let Some(at) = at {
            self.timer.want(at, now.ms);
        }
    }

    /// Lets the host end the exchange.
    pub(super) fn end(&mut self, key: ClientKey, fate: Fate) -> Option<Action> {
        let exchange = self.exchanges.remove(key)?;
        self.unwatch_client(&exchange);
        let end = End { status: exchange.status, body_bytes: exchange.body_bytes, fate };
        self.recycle(exchange.pending);
        if let Some(mut order) = exchange.order {
            self.abandon_kept(&mut order);
            self.recycle(order.request);
        }
        Some(Action::End { client: key, end })
    }

    /// Puts the client's socket into our poll: for room to write, and for its FIN.
    ///
    /// Asked again, it asks the poll again: a transport may be full before its
    /// socket is, and then no edge would come by itself.
    pub(super) fn watch_client(&mut self, key: ClientKey) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let client = &exchange.client;
        match self.network.watch_client(client.fd, key, client.watched) {
            Ok(()) => exchange.client.watched = true,
            Err(error) => log::error!("a client cannot be watched: {error}"),
        }
    }

    /// Lets go of the client's socket until the late watch.
    pub(super) fn watch_later(&mut self, key: ClientKey, now: Now) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let at = exchange.watch_at_ms;
        self.unwatch_client(exchange);
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.client.watched = false;
        }
        self.timer.want(at, now.ms);
    }

    fn unwatch_client(&self, exchange: &Exchange) {
        if exchange.client.watched
            && let Err(error) = self.network.unwatch_client(exchange.client.fd)
        {
            log::debug!("a client was not watched: {error}");
        }
    }

    fn start(&mut self, exchange: Exchange, now: Now) -> ClientKey {
        let watch_at = exchange.watch_at_ms;
        let key = self.exchanges.insert(exchange);
        self.timer.want(watch_at, now.ms);
        self.queue(key);
        key
    }

    fn refuse(&mut self, parts: &RequestParts<'_>, refusal: Refusal, now: Now) -> ClientKey {
        let client = Client {
            fd: parts.fd,
            version: Version::Http11,
            to_head: parts.head.starts_with(b"HEAD "),
            keep_alive: false,
            ready: true,
            readable: true,
            unread: true,
            watched: false,
            half_closed: false,
        };
        let key = self.start(Exchange::new(Phase::Picking, client, now.ms + WATCH_AFTER_MS), now);
        self.reply_error(key, refusal.status(), &refusal.to_string(), None, now);
        key
    }

    fn finish_with(&mut self, key: ClientKey, status: u16, text: Vec<u8>, keep_alive: bool) {
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.status = status;
            exchange.pending = text;
            exchange.pending_from = 0;
            exchange.deadline_ms = None;
            exchange.phase = Phase::Flushing(if keep_alive { Fate::KeepAlive } else { Fate::Close });
        }
        self.queue(key);
    }

    fn on_upstream(&mut self, key: Key<Upstream>, event: &Event, now: Now) -> Option<Lost> {
        let upstream = self.upstreams.get_mut(key)?;
        upstream.note(event);
        match upstream.used_by {
            Use::Busy(exchange) => {
                self.queue(exchange);
                None
            }
            Use::Idle { .. } if upstream.readable => self.idle_is_over(key, now),
            Use::Idle { .. } => None,
        }
    }

    fn on_client(&mut self, key: ClientKey, event: &Event, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        // Once it was told of the end, its own end makes a hang-up; what it has
        // sent before that is still to be read.
        let broken = event.error || (event.write_closed && !exchange.was_told_end());
        if broken {
            self.client_left(key);
        } else {
            let reads = exchange.reads_client();
            exchange.client.ready |= event.writable;
            exchange.client.readable |= event.readable || event.read_closed;
            if event.writable || reads {
                self.queue(key);
            }
            // Who reads the client comes upon its end by itself.
            if event.read_closed && !reads {
                self.client_half_closed(key, now);
            }
        }
    }
}

impl<N: Network> Drop for Worker<N> {
    fn drop(&mut self) {
        self.close_mailbox();
    }
}

/// The client's side of a request; `in_step` when it is certain where the
/// next request begins.
fn client(parts: &RequestParts<'_>, request: &request::Request<'_, '_>, in_step: bool) -> Client {
    Client {
        fd: parts.fd,
        version: request.version,
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
