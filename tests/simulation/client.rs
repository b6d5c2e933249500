//! Clients: what they send and when they stop; and their sockets, as the host and a
//! worker's poll see them.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use monkey_proxy_reverse::engine::ClientKey;
use monkey_proxy_reverse::engine::network::Event;
use monkey_proxy_reverse::engine::token::Source;

use super::asks::Ask;
use super::messages::{content, in_chunks};
use super::settings::Theme;
use super::world::{Happening, Spark, World};

/// One connection of a client.
#[derive(Debug)]
pub struct Client {
    pub worker: usize,
    pub source: [u8; 4],
    pub is_secure: bool,
    /// What was read of it too much can be given back.
    pub takes_back: bool,
    /// What came from it and nobody has read.
    pub inbound: VecDeque<u8>,
    is_ended: bool,
    pub is_broken: bool,
    /// It was told that nothing more comes.
    pub was_told_end: bool,
    /// Bytes that fit in before it reads.
    pub room: usize,
    pub unread: usize,
    pub wants_room: bool,
    /// How it reads.
    pace: Pace,
    reading_is_due: bool,
    watched: Option<ClientKey>,
    pub serving: Option<Serving>,
    /// The host has closed it.
    pub is_closed: bool,
    /// Its requests, by number, and how many of them the host has begun.
    pub asks: Vec<usize>,
    pub begun: usize,
    pub number: Option<u32>,
    acts: VecDeque<(u64, Act)>,
    is_acting: bool,
    pub looking_is_due: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// Not known while the request begins.
    pub key: Option<ClientKey>,
    pub id: usize,
}

#[derive(Debug)]
enum Act {
    Say(Vec<u8>),
    /// Waits until it has all of the answer to a request.
    Await(usize),
    /// Waits until it may send the body of a request.
    AwaitContinue(usize),
    Leave,
    /// Does nothing any more.
    Freeze,
}

#[derive(Clone, Copy, Debug)]
enum Pace {
    Quick,
    /// Some bytes at a time.
    Slow,
    /// Once in a while not at all.
    Moody,
    /// Never.
    Never,
}

impl Client {
    /// What the poll tells of it at this moment.
    pub fn event(&self) -> Option<Event> {
        let over = self.is_broken;
        let hangs_up = self.was_told_end && self.is_ended;
        let event = Event {
            source: Source::Client(self.watched?),
            readable: over || self.is_ended || !self.inbound.is_empty(),
            writable: over || self.room > 0,
            read_closed: over || self.is_ended,
            write_closed: over || hangs_up,
            error: over,
        };
        (event.readable || event.writable).then_some(event)
    }

    /// Whether it has ended its side, or all of it.
    pub fn has_left(&self) -> bool {
        self.is_ended || self.is_broken
    }

    pub fn is_at_end(&self) -> bool {
        self.is_ended
    }
}

impl World {
    /// Makes a client with all its requests.
    pub fn add_client(&mut self) {
        let calm = self.settings.calm;
        let client = self.clients.len();
        let worker = self.dice.below(self.desks.len() as u64) as usize;
        let is_secure = self.dice.chance(20);
        let takes_back = self.dice.chance(50);
        let mut acts = VecDeque::new();
        let mut asks = Vec::new();
        let pipelines = self.dice.chance(25);
        let most = if self.settings.theme == Theme::Pool { 12 } else { 4 };
        for nth in 0..self.dice.size(1, most) {
            let id = self.asks.len();
            let expects = self.draw_ask(client, worker);
            asks.push(id);
            let before =
                if nth == 0 { self.dice.below(if calm { 50 } else { 1500 }) } else { self.wait_ms() };
            let ask = &self.asks[id];
            let (mut head, body) = (ask.head.clone(), ask.body.clone());
            if expects {
                acts.push_back((before, Act::Say(head)));
                acts.push_back((0, Act::AwaitContinue(id)));
                self.say(body, 0, &mut acts);
            } else {
                head.extend_from_slice(&body);
                self.say(head, before, &mut acts);
            }
            if !pipelines {
                acts.push_back((0, Act::Await(id)));
            }
        }
        for &id in &asks {
            acts.push_back((0, Act::Await(id)));
        }
        acts.push_back((self.wait_ms(), Act::Leave));
        let pace = match self.dice.below(if calm { 14 } else { 20 }) {
            0..10 => Pace::Quick,
            10..14 => Pace::Slow,
            14..19 => Pace::Moody,
            _ => Pace::Never,
        };
        let room = self.dice.one_of(&[100, 1000, 5000, 200_000]);
        self.clients.push(Client {
            worker,
            source: [192, 0, 2, self.dice.below(5) as u8],
            is_secure,
            takes_back,
            inbound: VecDeque::new(),
            is_ended: false,
            is_broken: false,
            was_told_end: false,
            room,
            unread: 0,
            wants_room: false,
            pace,
            reading_is_due: false,
            watched: None,
            serving: None,
            is_closed: false,
            asks,
            begun: 0,
            number: None,
            acts,
            is_acting: false,
            looking_is_due: false,
        });
        self.go_on(client);
        if !calm && self.dice.chance(30) {
            let at = self.dice.below(4000);
            self.after(at, Happening::ClientAborts(client));
        }
    }

    fn wait_ms(&mut self) -> u64 {
        self.dice.pause(self.settings.pace_ms())
    }

    /// Draws a request; whether it waits before it sends its body.
    fn draw_ask(&mut self, client: usize, worker: usize) -> bool {
        let (calm, uploads) = (self.settings.calm, self.settings.theme == Theme::Uploads);
        let id = self.asks.len();
        let dice = &mut self.dice;
        let method = dice.weighted(&[
            (if uploads { 5 } else { 40 }, "GET"),
            (8, "HEAD"),
            (28, "POST"),
            (if uploads { 30 } else { 10 }, "PUT"),
            (5, "DELETE"),
            (5, "PATCH"),
            (2, "OPTIONS"),
        ]);
        let is_http10 = dice.chance(10);
        let has_key = dice.chance(10);
        let has_body = match method {
            "POST" | "PUT" | "PATCH" => dice.chance(85),
            _ => dice.chance(5),
        };
        let length = match dice.below(8) {
            0 => 0,
            1..5 if !uploads => dice.size(1, 200),
            _ => dice.size(1, 4 * self.settings.buffer.min(4096)),
        };
        let content = if has_body { content(id, usize::MAX >> 8, length) } else { Vec::new() };
        let in_pieces = has_body && !is_http10 && dice.chance(50);
        let is_malformed = in_pieces && !calm && length > 0 && dice.chance(6);
        let expects = has_body && length > 0 && !is_http10 && dice.chance(8);
        let repeatable = matches!(method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS");
        let is_repeatable = repeatable || self.settings.non_idempotent || (has_key && self.settings.has_key);

        let version = if is_http10 { "1.0" } else { "1.1" };
        let mut head =
            format!("{method} /a{}?{id} HTTP/{version}\r\nHost: sim\r\nX-Id: {id}\r\n", dice.below(6));
        if has_key {
            head.push_str("Idempotency-Key: k\r\n");
        }
        if dice.chance(5) {
            head.push_str("Connection: close\r\n");
        }
        if dice.chance(10) && !is_http10 {
            head.push_str("TE: trailers\r\nConnection: TE\r\n");
        }
        if expects {
            head.push_str("Expect: 100-continue\r\n");
        }
        let mut body = content.clone();
        if in_pieces {
            head.push_str("Transfer-Encoding: chunked\r\n");
            let (size, rough) = (dice.size(1, length.max(1)), dice.chance(20));
            body = in_chunks(&content, size, rough);
            if is_malformed {
                let at = body.len() - 5 - if rough { 14 } else { 0 };
                body.splice(at..at, *b"no\r\n");
            }
        } else if has_body {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        let bodies = (body, content);
        let head = head.into_bytes();
        self.asks.push(Ask::new(
            client,
            worker,
            method,
            is_http10,
            head,
            bodies,
            is_malformed,
            is_repeatable,
        ));
        self.asks[id].host_waits = has_body && !expects && self.dice.chance(25);
        expects
    }

    /// Sends bytes in pieces.
    fn say(&mut self, text: Vec<u8>, first: u64, acts: &mut VecDeque<(u64, Act)>) {
        let mut rest = text.as_slice();
        let mut wait = first;
        for _ in 1..self.dice.weighted(&[(10, 1), (4, 2), (2, 4), (1, 10)]) {
            if rest.len() > 1 {
                let (piece, behind) = rest.split_at(self.dice.size(1, rest.len() - 1));
                acts.push_back((wait, Act::Say(piece.to_vec())));
                rest = behind;
                wait = self.wait_ms();
            }
        }
        if !self.settings.calm && self.dice.chance(2) {
            acts.push_back((wait, Act::Freeze));
        }
        acts.push_back((wait, Act::Say(rest.to_vec())));
    }

    fn go_on(&mut self, client: usize) {
        let of = &mut self.clients[client];
        if let Some(&(wait, _)) = of.acts.front()
            && !std::mem::replace(&mut of.is_acting, true)
        {
            self.after(wait, Happening::ClientActs(client));
        }
    }

    pub fn client_acts(&mut self, client: usize) {
        self.clients[client].is_acting = false;
        let of = &mut self.clients[client];
        if of.is_broken || of.is_ended || (of.is_closed && of.unread == 0) {
            of.acts.clear();
            return;
        }
        let waits = match of.acts.front() {
            // It waits until it has read all that there is.
            Some((_, Act::Await(id))) => !self.asks[*id].reader.is_complete || of.unread > 0,
            Some((_, Act::AwaitContinue(id))) => {
                !(self.asks[*id].was_told_to_go_on || self.asks[*id].reader.is_complete) || of.unread > 0
            }
            _ => false,
        };
        if waits && !(of.was_told_end && of.unread == 0) {
            // Whoever lets it read on calls again.
            return;
        }
        match of.acts.pop_front().map(|(_, act)| act) {
            Some(Act::Say(bytes)) => {
                of.inbound.extend(&bytes);
                self.trace(|| format!("client {client} sends {}", super::asks::shown(&bytes)));
                self.client_news(client);
            }
            Some(Act::Leave) => self.leave(client),
            Some(Act::Freeze) => self.clients[client].acts.clear(),
            Some(Act::Await(_) | Act::AwaitContinue(_)) | None => {}
        }
        self.go_on(client);
    }

    /// Ends its side of the connection.
    fn leave(&mut self, client: usize) {
        self.trace(|| format!("client {client} ends its side"));
        self.clients[client].is_ended = true;
        self.client_news(client);
    }

    /// Breaks the connection.
    pub fn break_client(&mut self, client: usize) {
        self.trace(|| format!("client {client} breaks its connection"));
        let of = &mut self.clients[client];
        of.is_broken = true;
        of.acts.clear();
        self.client_news(client);
        if self.dice.chance(60) {
            let wait = self.wait_ms();
            self.after(wait, Happening::HostNotices(client));
        }
    }

    pub fn client_aborts(&mut self, client: usize) {
        if self.clients[client].is_closed || self.clients[client].has_left() {
            return;
        }
        if self.dice.chance(35) {
            self.clients[client].acts.clear();
            self.leave(client);
        } else {
            self.break_client(client);
        }
    }

    /// Something came from a client.
    fn client_news(&mut self, client: usize) {
        let of = &self.clients[client];
        if of.is_closed {
            return;
        }
        let worker = of.worker;
        if of.watched.is_some() {
            self.spark(worker, Spark::Client(client));
        }
        self.look_soon(client);
    }

    /// The host looks for a request soon.
    pub fn look_soon(&mut self, client: usize) {
        let of = &mut self.clients[client];
        if of.serving.is_none() && !std::mem::replace(&mut of.looking_is_due, true) {
            let wait = self.dice.below(2);
            self.after(wait, Happening::HostLooks(client));
        }
    }

    /// Bytes are on their way to a client.
    pub fn client_reads_soon(&mut self, client: usize) {
        let of = &mut self.clients[client];
        if of.unread == 0 || std::mem::replace(&mut of.reading_is_due, true) {
            return;
        }
        let pace = of.pace;
        let wait = match pace {
            Pace::Never => return,
            Pace::Quick => self.dice.below(3),
            Pace::Slow => self.dice.below(60),
            Pace::Moody => self.wait_ms(),
        };
        self.after(wait, Happening::ClientReads(client));
    }

    pub fn client_reads(&mut self, client: usize) {
        let unread = self.clients[client].unread;
        let n = match self.clients[client].pace {
            Pace::Slow => self.dice.size(1, unread.clamp(1, 700)),
            Pace::Moody if self.dice.chance(30) => self.dice.size(1, unread.max(1)),
            _ => unread,
        };
        let of = &mut self.clients[client];
        let n = n.min(unread);
        of.reading_is_due = false;
        of.unread -= n;
        of.room += n;
        let (worker, wants) = (of.worker, std::mem::take(&mut of.wants_room));
        if wants && of.watched.is_some() {
            self.spark(worker, Spark::Client(client));
        } else if wants && of.serving.is_some() && !of.has_left() {
            self.fail(format!("client {client} takes bytes again, and nobody is told"));
        }
        self.client_reads_soon(client);
        if !self.clients[client].is_acting {
            self.go_on(client);
        }
    }

    /// It was told that nothing more comes.
    pub fn tell_end(&mut self, client: usize) {
        self.clients[client].was_told_end = true;
        let wait = self.wait_ms();
        self.after(wait, Happening::ClientActs(client));
    }

    pub fn watch_client(&mut self, fd: RawFd, key: ClientKey, again: bool) {
        let client = fd as usize;
        let of = &mut self.clients[client];
        let was = of.watched.replace(key);
        if was.is_some() != again {
            self.fail(format!("client {client} is watched: again {again}, before {was:?}"));
        }
        let of = &self.clients[client];
        let worker = of.worker;
        if of.event().is_some() {
            self.spark(worker, Spark::Client(client));
        }
    }

    pub fn unwatch_client(&mut self, fd: RawFd) {
        let client = fd as usize;
        if self.clients[client].watched.take().is_none() {
            self.fail(format!("client {client} is not watched, but was to be let go"));
        }
        let worker = self.clients[client].worker;
        self.desks[worker].pending.retain(|&spark| spark != Spark::Client(client));
    }

    pub fn is_watched(&self, client: usize) -> bool {
        self.clients[client].watched.is_some()
    }
}
