//! Connections to backends, as a worker sees them: bytes that take their time, in buffers
//! that get full, over connections that break.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use monkey_proxy_reverse::engine::ClientKey;
use monkey_proxy_reverse::engine::endpoint::Endpoint;
use monkey_proxy_reverse::engine::network::{Alarm, Event, Link, Network, Wake};
use monkey_proxy_reverse::engine::slots::Key;
use monkey_proxy_reverse::engine::token::Source;
use monkey_proxy_reverse::engine::upstream::{Silence, Upstream};

use super::asks::State;
use super::backend::Act;
use super::messages::{Framing, Head, Message};
use super::settings::Theme;
use super::world::{Happening, Spark, World};

/// A turn may come so late, in milliseconds.
const LATE_MS: u64 = 20;

const ECONNREFUSED: i32 = 111;
const ECONNRESET: i32 = 104;
const EMFILE: i32 = 24;
const EPIPE: i32 = 32;

/// One connection to a backend.
#[derive(Debug)]
pub struct Wire {
    pub worker: usize,
    pub backend: usize,
    key: Option<Key<Upstream>>,
    pub stage: Stage,
    /// The worker has closed it.
    pub is_dropped: bool,
    /// Bytes that fit in before the backend reads.
    room: usize,
    wants_room: bool,
    /// Bytes that the backend has not read.
    pub unread: usize,
    /// Where in the stream the backend reads.
    pub read: usize,
    sent: usize,
    /// When the worker read something last, in milliseconds.
    read_ms: u64,
    /// What the worker has not read.
    pub inbound: VecDeque<u8>,
    pub is_ended: bool,
    /// It broke; true until the worker was told.
    broke: bool,
    pub requests: Vec<Sent>,
    /// Requests whose answers are all in `inbound`, or were.
    pub answered: usize,
    /// What the backend is going to do.
    pub acts: VecDeque<(u64, Act)>,
    pub is_acting: bool,
    pub reading_is_due: bool,
    /// Requests that the backend knows what to do about.
    pub planned: usize,
    pub plan: Option<super::backend::Plan>,
    /// The backend reads no more.
    pub is_deaf: bool,
    /// It has sent more than its answer.
    pub is_tainted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Connecting,
    Refused,
    Open,
    /// The backend has closed it altogether.
    Closed,
    /// It was reset.
    Broken,
}

/// A request as it went out, with its place in the stream.
#[derive(Debug)]
pub struct Sent {
    pub id: usize,
    pub message: Message,
    /// Where its head ends.
    pub head_end: Option<usize>,
    /// Where it ends.
    pub end: Option<usize>,
}

impl Wire {
    fn new(worker: usize, backend: usize, room: usize) -> Self {
        Wire {
            worker,
            backend,
            key: None,
            stage: Stage::Connecting,
            is_dropped: false,
            room,
            wants_room: false,
            unread: 0,
            read: 0,
            sent: 0,
            read_ms: 0,
            inbound: VecDeque::new(),
            is_ended: false,
            broke: false,
            requests: Vec::new(),
            answered: 0,
            acts: VecDeque::new(),
            is_acting: false,
            reading_is_due: false,
            planned: 0,
            plan: None,
            is_deaf: false,
            is_tainted: false,
        }
    }

    /// What the poll tells of it at this moment.
    fn event(&self) -> Option<Event> {
        let over = matches!(self.stage, Stage::Refused | Stage::Broken);
        let event = Event {
            source: Source::Upstream(self.key?),
            readable: over || !self.inbound.is_empty() || self.is_ended,
            writable: over || (self.stage != Stage::Connecting && self.room > 0),
            read_closed: over || self.is_ended,
            write_closed: over,
            error: over,
        };
        (event.readable || event.writable).then_some(event)
    }

    /// Whether nothing is to be read.
    fn is_silent(&self) -> bool {
        self.inbound.is_empty() && !self.is_ended && self.stage == Stage::Open
    }
}

impl World {
    fn connect(&mut self, worker: usize, backend: usize) -> io::Result<usize> {
        let wire = self.wires.len();
        // Whose connect this is can be seen where there is one exchange only.
        let live = self.desks[worker].live.as_slice();
        let (alone, count) = (live.first().copied().filter(|_| live.len() == 1), live.len());
        if self.settings.disabled[backend] {
            self.fail(format!("worker {worker} connects to backend {backend}, which is disabled"));
        }
        if count == 0 {
            self.fail(format!("worker {worker} connects to backend {backend} for nobody"));
        }
        let mood = self.moods[backend];
        if self.dice.chance(mood / 10) {
            self.tally.refused_connects += 1;
            let error = self.dice.one_of(&[ECONNREFUSED, ECONNREFUSED, EMFILE]);
            self.trace(|| format!("worker {worker} cannot connect to backend {backend}: {error}"));
            if let Some(id) = alone {
                self.attempt(id, backend, None, false);
            }
            return Err(io::Error::from_raw_os_error(error));
        }
        let room = match self.settings.theme {
            Theme::Uploads => self.dice.one_of(&[100, 500, 2000]),
            Theme::Anything | Theme::Pool => self.dice.one_of(&[100, 500, 2000, 20_000, 200_000]),
        };
        self.wires.push(Wire::new(worker, backend, room));
        self.desks[worker].wires.push(wire);
        self.trace(|| format!("worker {worker} connects to backend {backend}: wire {wire}"));
        if let Some(id) = alone {
            self.attempt(id, backend, Some(wire), false);
        }
        // Some connects never end.
        if !self.dice.chance(mood / 8) {
            let wait = self.dice.pause(self.settings.pace_ms());
            self.after(wait, Happening::Connected(wire));
        }
        Ok(wire)
    }

    /// A connect comes to an end, one way or the other.
    pub fn connected(&mut self, wire: usize) {
        if self.wires[wire].is_dropped {
            return;
        }
        let (worker, mood) = (self.wires[wire].worker, self.moods[self.wires[wire].backend]);
        let refused = self.dice.chance(mood / 8);
        self.tally.refused_connects += u64::from(refused);
        self.wires[wire].stage = if refused { Stage::Refused } else { Stage::Open };
        self.trace(|| format!("wire {wire} {}", if refused { "is refused" } else { "is open" }));
        self.spark(worker, Spark::Wire(wire));
        if !refused {
            self.begins(wire);
        }
    }

    /// The wire breaks. What the worker has not read may be lost by that, unless the end has
    /// come already, and with it all that was sent before.
    pub fn break_wire(&mut self, wire: usize) {
        self.trace(|| format!("wire {wire} breaks"));
        let loses = self.dice.chance(50);
        let worker = self.wires[wire].worker;
        let of = &mut self.wires[wire];
        if loses && !of.is_ended {
            of.inbound.clear();
        }
        (of.stage, of.broke, of.is_deaf) = (Stage::Broken, !of.is_ended, true);
        self.tally.resets += 1;
        self.spark(worker, Spark::Wire(wire));
    }

    /// Bytes for the worker.
    pub fn arrive(&mut self, wire: usize, bytes: &[u8]) {
        let worker = self.wires[wire].worker;
        self.wires[wire].inbound.extend(bytes);
        self.spark(worker, Spark::Wire(wire));
    }

    /// The backend has read so many bytes.
    pub fn make_room(&mut self, wire: usize, bytes: usize) {
        self.trace(|| format!("wire {wire}: its backend reads {bytes} bytes"));
        let of = &mut self.wires[wire];
        of.unread -= bytes;
        of.read += bytes;
        of.room += bytes;
        if bytes > 0 && std::mem::take(&mut of.wants_room) {
            let worker = of.worker;
            self.spark(worker, Spark::Wire(wire));
        }
    }

    fn write(&mut self, wire: usize, bytes: &[u8]) -> io::Result<usize> {
        // What idle connections come to, they come to just now more often than that.
        let often = match self.wires[wire].acts.front() {
            Some((_, Act::Blurt)) => 0,
            Some((_, Act::CloseIdle)) => 30,
            _ => 2,
        };
        if self.dice.chance(often) {
            // It happens just now.
            self.act(wire);
        }
        let of = &mut self.wires[wire];
        match of.stage {
            Stage::Connecting | Stage::Refused => {
                self.fail(format!("wire {wire} is written to, though it is not connected"));
                return Err(io::ErrorKind::NotConnected.into());
            }
            Stage::Broken => {
                // A socket tells once that it was reset, whoever asks first.
                let error = if std::mem::take(&mut of.broke) { ECONNRESET } else { EPIPE };
                return Err(io::Error::from_raw_os_error(error));
            }
            Stage::Open | Stage::Closed => {}
        }
        let begins = of.requests.last().is_none_or(|sent| sent.end.is_some());
        // So that it can be seen whose bytes they are.
        let room = if begins && of.room < 60 { 0 } else { of.room };
        let n = bytes.len().min(room);
        of.room -= n;
        of.wants_room |= n < bytes.len();
        self.trace(|| format!("wire {wire} takes {n} of {} bytes", bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let of = &self.wires[wire];
        let closed = of.stage == Stage::Closed;
        self.follow(wire, &bytes[..n]);
        let of = &mut self.wires[wire];
        if closed {
            self.after(1, Happening::Bounces(wire));
        } else {
            of.unread += n;
            self.backend_reads_soon(wire);
        }
        Ok(n)
    }

    /// Reads along with what goes to a backend.
    fn follow(&mut self, wire: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let of = &mut self.wires[wire];
            if of.requests.last().is_none_or(|sent| sent.end.is_some()) && !self.begin_request(wire, bytes) {
                return;
            }
            let of = &mut self.wires[wire];
            let Some(sent) = of.requests.last_mut() else { return };
            let decide = |_: &Head, framing: Option<Framing>| framing.unwrap_or(Framing::Nothing);
            let taken = match sent.message.feed(bytes, decide) {
                Ok(taken) => taken,
                Err(error) => return self.fail(format!("wire {wire}: no request: {error}")),
            };
            of.sent += taken;
            if sent.head_end.is_none() && sent.message.head.is_some() {
                sent.head_end = Some(of.sent - sent.message.raw_body as usize);
            }
            if sent.message.is_complete {
                sent.end = Some(of.sent);
            }
            let id = sent.id;
            let ask = &self.asks[id];
            let content = &sent.message.content;
            let named = sent.message.head.as_ref().map(|head| head.get("x-id") == Some(&id.to_string()));
            let mut wrong = None;
            if named == Some(false) {
                wrong = Some("the head of another one");
            } else if !ask.content.starts_with(content) {
                wrong = Some("other content than the client sent");
            } else if sent.message.is_complete && content.len() != ask.content.len() {
                wrong = Some("a part of the body looks like all of it");
            } else if sent.message.is_complete && ask.is_malformed {
                wrong = Some("a body looks complete whose chunks are malformed");
            }
            if let Some(wrong) = wrong {
                self.fail(format!("wire {wire}, request {id}: {wrong}"));
            }
            self.delivered(id, wire, taken);
            bytes = &bytes[taken..];
        }
    }

    /// The first bytes of a request; false if they are none.
    fn begin_request(&mut self, wire: usize, bytes: &[u8]) -> bool {
        let mut peek = Message::new();
        let line = bytes.len().min(40);
        let _ = peek.feed(&bytes[..line], |_, _| Framing::Nothing);
        let line = peek.beginning();
        let id = line.split(['?', ' ']).nth(2).and_then(|id| id.parse::<usize>().ok());
        let Some(id) = id.filter(|&id| id < self.asks.len()) else {
            self.fail(format!("wire {wire}: bytes that are no request: {line:?}"));
            return false;
        };
        let of = &self.wires[wire];
        let reused = !of.requests.is_empty();
        if reused {
            self.tally.reused += 1;
            let keeps = self.settings.keep_alive && self.settings.pool_size > 0;
            if of.is_tainted
                || of.answered < of.requests.len()
                || !(of.is_silent() || of.stage == Stage::Closed)
                || !keeps
            {
                let (answered, sent, left) = (of.answered, of.requests.len(), of.inbound.len());
                self.fail(format!(
                    "wire {wire} is used again: {answered} of {sent} answers, {left} bytes left in it, {:?}",
                    self.wires[wire].stage
                ));
            }
        }
        self.trace(|| format!("wire {wire} carries request {id} {}", if reused { "too" } else { "" }));
        let sent = Sent { id, message: Message::new(), head_end: None, end: None };
        self.wires[wire].requests.push(sent);
        let backend = self.wires[wire].backend;
        self.attempt(id, backend, Some(wire), reused);
        true
    }

    fn read(&mut self, wire: usize, buffer: &mut [u8]) -> io::Result<usize> {
        if self.dice.chance(2) {
            self.act(wire);
        }
        let of = &mut self.wires[wire];
        if of.inbound.is_empty() {
            return match (of.stage, of.is_ended) {
                (Stage::Broken, _) if std::mem::take(&mut of.broke) => {
                    Err(io::Error::from_raw_os_error(ECONNRESET))
                }
                (Stage::Broken, _) | (_, true) => Ok(0),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            };
        }
        let n = buffer.len().min(of.inbound.len());
        for (to, from) in buffer.iter_mut().zip(of.inbound.drain(..n)) {
            *to = from;
        }
        of.read_ms = self.now_ms;
        if let Some(id) = of.requests.last().map(|sent| sent.id) {
            self.asks[id].moved_ms = self.now_ms;
        }
        Ok(n)
    }

    fn drop_wire(&mut self, wire: usize) {
        self.trace(|| format!("wire {wire} is closed by us"));
        let of = &mut self.wires[wire];
        let moved_ms = of.requests.last().map_or(0, |sent| self.asks[sent.id].moved_ms);
        let idle_ms = self.now_ms - of.read_ms.max(moved_ms);
        let over = |sent: &Sent| {
            let ask = &self.asks[sent.id];
            ask.state == State::Over && ask.over_ms < self.now_ms
        };
        let is_idle = of.stage == Stage::Open
            && of.read_ms > 0
            && of.answered == of.requests.len()
            && of.requests.last().is_some_and(over)
            && !matches!(of.acts.front(), Some((_, Act::Close)));
        if is_idle && idle_ms > self.settings.pool_idle_ms + LATE_MS {
            self.fail(format!("wire {wire} was idle for {idle_ms} ms"));
        }
        let of = &mut self.wires[wire];
        of.is_dropped = true;
        of.acts.clear();
        of.inbound.clear();
        let worker = of.worker;
        self.desks[worker].wires.retain(|&other| other != wire);
    }

    /// A worker that nothing is going to call has nothing to do.
    pub fn check_work(&mut self, worker: usize) {
        let desk = &self.desks[worker];
        if desk.turn_is_due {
            return;
        }
        let left = |wire: &&usize| {
            let of = &self.wires[**wire];
            let Some(sent) = of.requests.last().filter(|_| !of.inbound.is_empty()) else { return false };
            let ask = &self.asks[sent.id];
            let client = &self.clients[ask.client];
            // Before its head is through, an answer may be kept back and not be read for a
            // while; what comes behind it is looked at when the wire is used again.
            let flows = ask.answer.is_some() && !ask.reader.is_complete;
            ask.state == State::Live && flows && !client.wants_room && !client.has_left()
        };
        if let Some(&wire) = desk.wires.iter().find(left) {
            self.fail(format!("wire {wire} has something for its client, and nobody is going to look"));
        }
    }

    /// What must be true of the connections of a worker between two turns.
    pub fn check_wires(&mut self, worker: usize) {
        let mut idle = vec![0; self.settings.backends];
        let mut unused = 0;
        let mut wrong = None;
        for &wire in &self.desks[worker].wires {
            let of = &self.wires[wire];
            match of.requests.last() {
                None => unused += 1,
                Some(sent) if self.asks[sent.id].state != State::Over => {}
                Some(_) => {
                    idle[of.backend] += 1;
                    let told = !self.desks[worker].pending.contains(&Spark::Wire(wire));
                    if told && (of.is_ended || of.stage == Stage::Broken) {
                        wrong = Some(format!("wire {wire} is kept, though its backend has closed it"));
                    }
                }
            }
        }
        let live = self.desks[worker].live.len();
        let most = if self.settings.keep_alive { self.settings.pool_size } else { 0 };
        if unused > live {
            wrong = Some(format!("{unused} connections for {live} exchanges that nothing was sent over"));
        }
        if idle.iter().any(|&count| count > most) {
            wrong = Some(format!("{idle:?} idle connections, where {most} are allowed"));
        }
        for backend in 0..self.settings.backends {
            let works = |wire: &&usize| {
                let wire = &self.wires[**wire];
                wire.backend == backend && (wire.requests.is_empty() || wire.answered < wire.requests.len())
            };
            let busy = self.desks.iter().flat_map(|desk| &desk.wires).filter(works).count();
            if self.settings.limits[backend].is_some_and(|limit| busy > limit) {
                wrong = Some(format!("backend {backend} works on {busy} requests at once"));
            }
        }
        if let Some(wrong) = wrong {
            self.fail(format!("worker {worker}: {wrong}"));
        }
    }
}

/// The network of one worker.
pub struct Wires {
    pub world: Rc<RefCell<World>>,
    pub worker: usize,
}

/// The worker's end of a wire.
pub struct End {
    world: Rc<RefCell<World>>,
    wire: usize,
}

/// The alarm of a worker.
pub struct Clock {
    world: Rc<RefCell<World>>,
    worker: usize,
}

impl Network for Wires {
    type Link = End;
    type Alarm = Clock;
    type Events = Vec<Event>;

    fn alarm(&self) -> io::Result<Clock> {
        Ok(Clock { world: Rc::clone(&self.world), worker: self.worker })
    }

    fn events(&self) -> Vec<Event> {
        Vec::new()
    }

    fn connect(&self, endpoint: &Endpoint) -> io::Result<End> {
        let last = endpoint.label().trim_start_matches("10.0.0.").trim_end_matches(":80");
        let number: usize = last.parse().unwrap();
        let wire = self.world.borrow_mut().connect(self.worker, number - 1)?;
        Ok(End { world: Rc::clone(&self.world), wire })
    }

    fn watch(&self, link: &mut End, key: Key<Upstream>) -> io::Result<()> {
        self.world.borrow_mut().wires[link.wire].key = Some(key);
        Ok(())
    }

    fn watch_client(&self, socket: RawFd, client: ClientKey, again: bool) -> io::Result<()> {
        self.world.borrow_mut().watch_client(socket, client, again);
        Ok(())
    }

    fn unwatch_client(&self, socket: RawFd) -> io::Result<()> {
        self.world.borrow_mut().unwatch_client(socket);
        Ok(())
    }

    fn poll(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let world = &mut *self.world.borrow_mut();
        let mut pending = std::mem::take(&mut world.desks[self.worker].pending);
        // A poll tells of so many things at once, in any order.
        for at in (1..pending.len()).rev() {
            let other = world.dice.below(at as u64 + 1) as usize;
            pending.swap(at, other);
        }
        if pending.len() > 1 && world.dice.chance(20) {
            let rest = pending.split_off(1);
            world.desks[self.worker].pending = rest;
            world.call(self.worker);
        }
        for spark in pending {
            let other = |source| Event {
                source,
                readable: true,
                writable: false,
                read_closed: false,
                write_closed: false,
                error: false,
            };
            events.extend(match spark {
                Spark::Wire(wire) if world.wires[wire].is_dropped => None,
                Spark::Wire(wire) => world.wires[wire].event(),
                Spark::Client(client) => world.clients[client].event(),
                Spark::Timer => Some(other(Source::Timer)),
                Spark::Waker => Some(other(Source::Waker)),
            });
        }
        Ok(())
    }

    fn told(events: &Vec<Event>) -> impl Iterator<Item = Event> {
        events.iter().copied()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Shout(Arc::clone(&self.world.borrow().desks[self.worker].woken)))
    }
}

/// Wakes a worker.
#[derive(Debug)]
struct Shout(Arc<AtomicBool>);

impl Wake for Shout {
    fn wake(&self) -> io::Result<()> {
        self.0.store(true, Relaxed);
        Ok(())
    }
}

impl Link for End {
    fn connected(&self) -> io::Result<Option<()>> {
        match self.world.borrow().wires[self.wire].stage {
            Stage::Connecting => Ok(None),
            Stage::Refused => Err(io::Error::from_raw_os_error(ECONNREFUSED)),
            Stage::Broken => Err(io::Error::from_raw_os_error(ECONNRESET)),
            Stage::Open | Stage::Closed => Ok(Some(())),
        }
    }

    fn silence(&self) -> Silence {
        let world = &mut *self.world.borrow_mut();
        if world.dice.chance(5) {
            world.act(self.wire);
        }
        let wire = &world.wires[self.wire];
        match wire.stage {
            Stage::Broken => Silence::Closed,
            _ if !wire.inbound.is_empty() => Silence::Broken,
            _ if wire.is_ended => Silence::Closed,
            _ => Silence::Kept,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.world.borrow_mut().read(self.wire, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.world.borrow_mut().write(self.wire, bytes)
    }

    fn finish_sending(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A run that has failed may be in the middle of something.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.drop_wire(self.wire);
        }
    }
}

impl Alarm for Clock {
    fn set(&self, wait_ms: u64) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.desks[self.worker].alarms += 1;
        let number = world.desks[self.worker].alarms;
        world.after(wait_ms, Happening::Alarm(self.worker, number));
        Ok(())
    }
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.worker)
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wire {}", self.wire)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clock of {}", self.worker)
    }
}
