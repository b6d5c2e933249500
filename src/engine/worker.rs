//! One worker thread's exchanges, upstreams and poll, and the events that move
//! them. How an exchange begins is in `begin`; what moves it on in `serve`,
//! `relay`, `outcome` and `deadlines`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use super::date::Date;
use super::drive::{Action, Outgoing};
use super::ending::Place;
use super::exchange::{Exchange, Phase};
use super::host::{ClientKey, End, Fate, Sent};
use super::idle::Lost;
use super::network::{Event, Network, Wake};
use super::pipe::Pipe;
use super::pool::Pool;
use super::queue::Mailbox;
use super::record::{self, Records};
use super::shared::{MatchScratch, Shared, Verdict};
use super::slots::{Key, Slots};
use super::sockets::Sockets;
use super::spare::Spare;
use super::timer::Timer;
use super::token::Source;
use super::upstream::{Upstream, Use};
use super::{Now, probing, resolver};
use crate::http::chunked::CHUNK_END;
use crate::http::forward::Answering;
use crate::http::reply::{self, Reply};
use crate::stats::Tally;

/// A client that leaves politely is looked for once its exchange lasts longer.
pub(super) const WATCH_AFTER_MS: u64 = 500;
/// Most that is read at once for a client that takes it all.
pub(super) const READ_MAX: usize = 128 * 1024;
/// Steps in one turn before the host gets its thread back.
const TURN_STEPS: usize = 48;
/// A piece that is longer than this counts as several steps.
const STEP_BYTES: usize = 16 * 1024;
/// How long a client may take for an answer that belongs to no route.
pub(super) const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The engine of one worker thread.
#[derive(Debug)]
pub struct Worker<N: Network = Sockets> {
    pub(super) shared: Arc<Shared>,
    /// What this worker counts.
    pub(super) tally: Tally,
    /// What it tells of single requests.
    pub(super) records: Records,
    pub(super) network: N,
    waker: Arc<dyn Wake>,
    pub(super) mailbox: Arc<Mailbox>,
    /// Our place among those who have to finish when the server ends.
    pub(super) ending: Place,
    events: Option<N::Events>,
    pub(super) timer: Timer<N::Alarm>,
    pub(super) exchanges: Slots<Exchange>,
    pub(super) upstreams: Slots<Upstream<N::Link>, Upstream>,
    pub(super) pool: Pool,
    /// Exchanges that can move on.
    runnable: VecDeque<Key<Exchange>>,
    /// What is read from backends goes here first.
    pub(super) scratch: Box<[u8]>,
    /// For long bodies; there once it was needed.
    pub(super) pipe: Option<Pipe>,
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
        record::start(shared, clock);
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
            ending: shared.ending.join(Arc::clone(&waker)),
            waker,
            timer,
            exchanges: Slots::new(),
            upstreams: Slots::default(),
            pool: Pool::new(shared.endpoints.len()),
            runnable: VecDeque::new(),
            scratch: vec![0; buffer_size].into_boxed_slice(),
            pipe: None,
            spare: Spare::default(),
            matching: shared.match_scratch(),
            tally: shared.tallies.join(),
            records: Records::new(shared.ids.join()),
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

    /// Makes the poll readable, so that the host calls [`Worker::turn`].
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the worker cannot wake itself: {error}");
        }
    }

    /// Whether no further exchange can begin before one has ended.
    pub fn is_full(&self) -> bool {
        self.exchanges.is_full()
    }

    /// The host lost this client: everything of it is gone when this returns.
    pub fn client_gone(&mut self, client: ClientKey, now: Now) {
        if let Some(mut exchange) = self.exchanges.remove(client) {
            self.unwatch_client(&exchange);
            exchange.note_left();
            self.close_record(&mut exchange, now);
            self.discard(exchange);
            self.tell_what_is_left();
        }
    }

    /// Drops every exchange and every connection.
    pub fn clear(&mut self) {
        self.exchanges = Slots::new();
        self.upstreams = Slots::default();
        self.pool = Pool::new(self.shared.endpoints.len());
        self.close_mailbox();
        self.runnable.clear();
        self.ending.leave();
    }

    /// Takes what the poll has to tell. Drive the worker afterwards.
    pub fn turn(&mut self, now: Now) {
        let Some(mut events) = self.events.take() else { return };
        match self.network.poll(&mut events) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => log::error!("the worker's poll failed: {error}"),
        }
        let (mut lost, mut time_is_up) = (Vec::new(), false);
        for event in N::told(&events) {
            match event.source {
                Source::Waker => self.take_calls(),
                Source::Timer => {
                    self.timer.fired();
                    time_is_up = true;
                }
                Source::Upstream(key) => lost.extend(self.on_upstream(key, &event, now)),
                Source::Client(key) => self.on_client(key, &event, now),
            }
        }
        self.learn(lost, None, now);
        // The thread may have been held up: what came meanwhile came in time.
        if time_is_up {
            self.on_time(now);
        }
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
        self.tell_what_is_left();
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
                    if was_pending && !matches!(exchange.phase, Phase::Flushing(_)) {
                        self.caught_up(client, now);
                    }
                    self.sent_whole(client, total);
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

    /// The client has taken all of a piece of so many bytes: the next one may go.
    pub(super) fn sent_whole(&mut self, client: ClientKey, bytes: usize) {
        self.steps += bytes / STEP_BYTES;
        let Some(exchange) = self.exchanges.get_mut(client) else { return };
        if matches!(exchange.phase, Phase::Flushing(_)) {
            exchange.deadline_ms = None;
            self.queue_first(client);
        } else {
            // At the end: one fast download must not keep everybody waiting.
            self.queue(client);
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
        let own = self.records.fields_of_own(exchange, &self.shared, now);
        let says = Answering { version, keep_alive, date: self.date.text(), trailers: false, own };
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
        let reply =
            Reply { status, content_type: reply::ERROR_TYPE, body: body.as_bytes(), retry_after, fields: "" };
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
    pub(super) fn end(&mut self, key: ClientKey, fate: Fate, now: Now) -> Option<Action> {
        let mut exchange = self.exchanges.remove(key)?;
        self.unwatch_client(&exchange);
        self.close_record(&mut exchange, now);
        let end = End { status: exchange.status, body_bytes: exchange.body_bytes, fate };
        self.recycle(exchange.pending);
        if let Some(mut order) = exchange.order {
            if let Some(backend) = order.answered_by {
                self.tally.backend(order.route.row(backend)).served(exchange.times.total_us(now));
            }
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
            Err(error) => {
                log::error!("a client cannot be watched: {error}{}", self.subject(key).with_entry())
            }
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
