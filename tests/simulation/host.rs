//! The owner of the clients' connections, as the two families of Monkey are: it finds
//! requests, hands them over, and is called back.

use std::cell::RefCell;
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;

use monkey_proxy_reverse::engine::pipe::Pipe;
use monkey_proxy_reverse::engine::{
    Awaits, ClientKey, End, Fate, Host, Received, RequestParts, Sent, Shared, Verdict, Worker, decoded_path,
    drive,
};

use super::asks::State;
use super::client::Serving;
use super::wire::Wires;
use super::world::World;

const AWAITS_ALL: Awaits = Awaits { length: |_| true, chunked: |_| true };
const AWAITS_NOTHING: Awaits = Awaits { length: |_| false, chunked: |_| false };

/// The host of one worker.
pub struct Owner {
    pub world: Rc<RefCell<World>>,
    pub shared: Arc<Shared>,
    pub worker: Rc<RefCell<Worker<Wires>>>,
    pub number: usize,
}

/// How a request is handed over.
struct Handing {
    id: usize,
    head: Vec<u8>,
    behind: Vec<u8>,
    keeps_rest: bool,
    awaits: Awaits,
    may_keep_alive: bool,
    source: [u8; 4],
    is_secure: bool,
}

impl Owner {
    /// Hands over the next request of a client, if there is a whole head of one.
    pub fn looks(&self, client: usize) {
        let Some(handing) = self.world.borrow_mut().next_request(client) else { return };
        let now = self.world.borrow().now();
        let path = decoded_path(&handing.head).into_owned();
        let verdict = self.worker.borrow_mut().admit(&path);
        let Verdict::Proxy(route) = verdict else {
            return self.world.borrow_mut().fail("a request of ours is not admitted");
        };
        let mut number = 0;
        if route.needs_connection_number() {
            let taken = &mut self.world.borrow_mut().clients[client].number;
            number = *taken.get_or_insert_with(|| self.shared.numbers.take());
        }
        let text = handing.source.map(|byte| byte.to_string()).join(".");
        let parts = RequestParts {
            head: &handing.head,
            behind: &handing.behind,
            keeps_rest: handing.keeps_rest,
            rest_is_ours: true,
            fd: i32::try_from(client).unwrap(),
            client: &text,
            source: &handing.source,
            secure: handing.is_secure,
            may_splice: false,
            may_keep_alive: handing.may_keep_alive,
            awaits: handing.awaits,
            connection: number,
        };
        let key = self.worker.borrow_mut().begin(&route, &parts, now);
        let serving = Serving { key: Some(key), id: handing.id };
        self.world.borrow_mut().clients[client].serving = Some(serving);
        drive(&self.worker, self, now);
    }

    /// The host comes upon a client that is gone.
    pub fn notices(&self, client: usize) {
        let (serving, broken) = {
            let world = self.world.borrow();
            let client = &world.clients[client];
            (client.serving, client.is_broken)
        };
        if let Some(Serving { key: Some(key), id }) = serving.filter(|_| broken) {
            self.lose(client, key, id);
        }
    }

    fn lose(&self, client: usize, key: ClientKey, id: usize) {
        {
            let world = &mut *self.world.borrow_mut();
            world.trace(|| format!("the host has lost client {client} with request {id}"));
            world.tally.gone += 1;
            world.over(id);
            self.close(world, client);
        }
        let now = self.world.borrow().now();
        self.worker.borrow_mut().client_gone(key, now);
        let world = &mut *self.world.borrow_mut();
        if world.is_watched(client) {
            world.fail(format!("client {client} is watched behind its end"));
        }
        let held = world.wires_of(id);
        if held > 0 {
            world.fail(format!("request {id} has {held} connections behind its end"));
        }
    }

    fn close(&self, world: &mut World, client: usize) {
        world.clients[client].is_closed = true;
        if let Some(number) = world.clients[client].number.take() {
            self.shared.numbers.release(number);
        }
    }
}

impl World {
    fn over(&mut self, id: usize) {
        let ask = &mut self.asks[id];
        if ask.state != State::Live {
            self.fail(format!("request {id} ends twice"));
            return;
        }
        (ask.state, ask.over_ms) = (State::Over, self.now_ms);
        let (worker, client) = (ask.worker, ask.client);
        self.desks[worker].live.retain(|&other| other != id);
        self.clients[client].serving = None;
    }

    /// Connections that are open and carry a request, or nothing but what it left.
    fn wires_of(&self, id: usize) -> usize {
        let wires = &self.desks[self.asks[id].worker].wires;
        let carries = |wire: &&usize| {
            let wire = &self.wires[**wire];
            wire.requests.last().is_some_and(|sent| sent.id == id) && wire.answered < wire.requests.len()
        };
        wires.iter().filter(carries).count()
    }

    /// Takes the next request of a client out of what came from it.
    fn next_request(&mut self, client: usize) -> Option<Handing> {
        let of = &mut self.clients[client];
        of.looking_is_due = false;
        if of.serving.is_some() || of.is_closed {
            return None;
        }
        if of.is_broken {
            of.is_closed = true;
            return None;
        }
        let came: Vec<u8> = of.inbound.iter().copied().collect();
        let ended = of.is_at_end();
        let Some(&id) = of.asks.get(of.begun) else {
            if !came.is_empty() {
                self.fail(format!("client {client}: bytes that are no request are left of it"));
            } else if ended {
                self.clients[client].is_closed = true;
            }
            return None;
        };
        let (head, body) = (self.asks[id].head.clone(), self.asks[id].body.clone());
        let common = came.len().min(head.len());
        if came[..common] != head[..common] {
            let found = super::asks::shown(&came);
            self.fail(format!("client {client} is out of step: request {id} should begin here: {found}"));
            return None;
        }
        let behind = &came[common..];
        let host_waits = self.asks[id].host_waits;
        if common < head.len() || (host_waits && behind.len() < body.len()) {
            self.clients[client].is_closed |= ended;
            return None;
        }
        let has_body = !body.is_empty();
        let dice = &mut self.dice;
        let (given, keeps_rest, taken) = match (has_body, host_waits) {
            (false, _) => {
                let given = if dice.chance(60) { behind.len() } else { 0 };
                let keeps_rest = dice.chance(70);
                (given, keeps_rest, if keeps_rest { 0 } else { given })
            }
            (true, true) => {
                let given = if dice.chance(50) { body.len() } else { behind.len() };
                let keeps_rest = dice.chance(50);
                (given, keeps_rest, if keeps_rest { body.len() } else { given })
            }
            (true, false) => {
                let most = behind.len().min(body.len());
                let given = match dice.below(10) {
                    0 => behind.len(),
                    1..4 => 0,
                    4..7 => dice.size(0, most),
                    _ => most,
                };
                (given, false, given)
            }
        };
        let may_keep_alive = !self.asks[id].is_http10 || dice.chance(50);
        let awaits = if host_waits { AWAITS_ALL } else { AWAITS_NOTHING };
        let behind = behind[..given].to_vec();
        let of = &mut self.clients[client];
        of.inbound.drain(..head.len() + taken);
        of.begun += 1;
        of.serving = Some(Serving { key: None, id });
        let (source, is_secure) = (of.source, of.is_secure);
        let ask = &mut self.asks[id];
        (ask.state, ask.moved_ms, ask.taken) = (State::Live, self.now_ms, taken);
        ask.whole_since_ms = (taken == body.len() || keeps_rest).then_some(self.now_ms);
        let worker = ask.worker;
        self.desks[worker].live.push(id);
        self.tally.exchanges += 1;
        self.trace(|| {
            let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            let (given, of_all) = (behind.len(), body.len());
            format!("client {client} begins request {id}: {first}, with {given} of {of_all} bytes of body")
        });
        Some(Handing { id, head, behind, keeps_rest, awaits, may_keep_alive, source, is_secure })
    }

    /// The client of this key, and the number of its request; what asks for another is wrong.
    fn served(&mut self, worker: usize, key: ClientKey, what: &str) -> Option<(usize, usize)> {
        let Some(client) = self.client_of(worker, key) else {
            self.fail(format!("{what} a client that is not in service: {key:?}"));
            return None;
        };
        Some((client, self.clients[client].serving?.id))
    }
}

impl Host for Owner {
    fn send(&self, key: ClientKey, bytes: &[IoSlice<'_>]) -> Sent {
        let (client, id) = {
            let world = &mut *self.world.borrow_mut();
            let Some((client, id)) = world.served(self.number, key, "bytes for") else { return Sent::Gone };
            if !world.settings.calm && world.dice.below(300) == 0 && !world.clients[client].is_broken {
                // It happens just now.
                world.break_client(client);
            }
            if world.clients[client].was_told_end {
                world.fail(format!("client {client}: bytes behind the end that it was told"));
            }
            if !world.clients[client].is_broken {
                let all: Vec<u8> = bytes.iter().flat_map(|slice| slice.iter().copied()).collect();
                let of = &mut world.clients[client];
                let n = all.len().min(of.room);
                of.room -= n;
                of.unread += n;
                of.wants_room |= n < all.len();
                world.trace(|| format!("client {client} takes {n} of {}", super::asks::shown(&all)));
                if n > 0 {
                    world.answered(id, &all[..n]);
                }
                world.client_reads_soon(client);
                return Sent::Bytes(n);
            }
            (client, id)
        };
        let nested = self.world.borrow_mut().dice.chance(30);
        if nested {
            self.world.borrow_mut().tally.nested += 1;
            self.lose(client, key, id);
        }
        Sent::Gone
    }

    fn room(&self, key: ClientKey) -> usize {
        let world = &mut *self.world.borrow_mut();
        let Some((client, _)) = world.served(self.number, key, "room asked for") else { return 0 };
        let of = &world.clients[client];
        if of.is_broken || of.is_secure {
            return 0;
        }
        let room = of.room;
        if world.dice.chance(70) { room } else { room / 2 }
    }

    fn splice(&self, key: ClientKey, _: &Pipe, _: usize) -> Sent {
        self.world.borrow_mut().fail(format!("a pipe for client {key:?}, which takes none"));
        Sent::Gone
    }

    fn takes_back(&self, key: ClientKey) -> bool {
        let world = self.world.borrow();
        world.client_of(self.number, key).is_some_and(|client| world.clients[client].takes_back)
    }

    fn take_back(&self, key: ClientKey, bytes: Vec<u8>) {
        let world = &mut *self.world.borrow_mut();
        let Some((client, id)) = world.served(self.number, key, "bytes back to") else { return };
        world.trace(|| format!("{} bytes back to client {client}", bytes.len()));
        if !world.clients[client].takes_back {
            world.fail(format!("client {client} takes nothing back"));
        }
        world.asks[id].taken -= bytes.len();
        let inbound = &mut world.clients[client].inbound;
        bytes.iter().rev().for_each(|&byte| inbound.push_front(byte));
    }

    fn receive(&self, key: ClientKey, buffer: &mut [u8]) -> Received {
        let world = &mut *self.world.borrow_mut();
        let Some((client, id)) = world.served(self.number, key, "bytes wanted from") else {
            return Received::Gone;
        };
        let now = world.now_ms;
        let of = &mut world.clients[client];
        if of.is_broken {
            return Received::Gone;
        }
        if of.inbound.is_empty() {
            return if of.has_left() { Received::End } else { Received::Nothing };
        }
        let n = buffer.len().min(of.inbound.len());
        for (to, from) in buffer.iter_mut().zip(of.inbound.drain(..n)) {
            *to = from;
        }
        let (secure, told_end) = (of.is_secure, of.was_told_end);
        let ask = &mut world.asks[id];
        ask.moved_ms = now;
        ask.taken += n;
        // The end of chunks is found behind it, and a TLS layer is asked for one byte more.
        let exact = !secure && !told_end && ask.body == ask.content;
        if exact && ask.taken > ask.body.len() {
            let (taken, all) = (ask.taken, ask.body.len());
            world.fail(format!("request {id}: {taken} bytes are read of a body that has {all}"));
        }
        world.trace(|| format!("{n} bytes more of client {client}"));
        Received::Bytes(n)
    }

    fn finish_sending(&self, key: ClientKey) -> bool {
        let world = &mut *self.world.borrow_mut();
        let Some((client, id)) = world.served(self.number, key, "an end for") else { return false };
        world.trace(|| format!("client {client}, request {id}: nothing more comes"));
        if world.clients[client].is_secure && world.dice.chance(50) {
            return false;
        }
        world.tell_end(client);
        true
    }

    fn end(&self, key: ClientKey, end: End) {
        let (client, goes_on) = {
            let world = &mut *self.world.borrow_mut();
            let Some((client, id)) = world.served(self.number, key, "the end of") else { return };
            world.trace(|| format!("client {client}, request {id}: {end:?}"));
            world.ended(id, &end);
            world.over(id);
            if world.is_watched(client) {
                world.fail(format!("client {client} is watched behind its end"));
            }
            let held = world.wires_of(id);
            if held > 0 {
                world.fail(format!("request {id} has {held} connections behind its end"));
            }
            if end.fate != Fate::KeepAlive {
                self.close(world, client);
                return;
            }
            (client, world.dice.chance(50))
        };
        // The next request of a pipeline may begin inside of the call.
        if goes_on {
            self.world.borrow_mut().tally.nested += 1;
            self.looks(client);
        } else {
            self.world.borrow_mut().look_soon(client);
        }
    }
}
