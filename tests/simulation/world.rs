//! Everything outside of the engine, with its clock and its agenda. One seed makes one
//! world; whatever happens in it happens again with the same seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use monkey_proxy_reverse::engine::{ClientKey, Now};

use super::asks::{Answer, Ask};
use super::client::Client;
use super::dice::Dice;
use super::settings::{Settings, Theme};
use super::wire::Wire;

/// What is going to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// A worker's poll has something to tell.
    Turn(usize),
    /// A worker's alarm, if it is still the one that was set then.
    Alarm(usize, u64),
    /// A connect comes to an end.
    Connected(usize),
    /// The backend at the end of a wire reads.
    BackendReads(usize),
    /// The backend at the end of a wire goes on with what it has to do.
    BackendActs(usize),
    /// What was sent to a backend that has closed comes back as a reset.
    Bounces(usize),
    /// A client goes on with what it has to do.
    ClientActs(usize),
    /// A client reads.
    ClientReads(usize),
    /// A client has had enough.
    ClientAborts(usize),
    /// The host looks for a request of a client.
    HostLooks(usize),
    /// The host comes upon a client that is gone.
    HostNotices(usize),
    /// A backend is probed, or checked.
    Probe(usize),
}

/// What a worker's poll watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spark {
    Wire(usize),
    Client(usize),
    Timer,
    Waker,
}

/// What one worker has to do with.
#[derive(Debug, Default)]
pub struct Desk {
    /// Of these the poll has something to tell.
    pub pending: Vec<Spark>,
    pub turn_is_due: bool,
    pub alarms: u64,
    /// Its open connections to backends.
    pub wires: Vec<usize>,
    /// Somebody has woken it.
    pub woken: Arc<AtomicBool>,
    /// Its exchanges, by the number of what was asked.
    pub live: Vec<usize>,
}

/// How often something has happened, so that the tests can see what they see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub exchanges: u64,
    pub answers: u64,
    pub own_answers: u64,
    pub cuts: u64,
    pub gone: u64,
    pub further_attempts: u64,
    pub stale: u64,
    pub reused: u64,
    pub refused_connects: u64,
    pub timeouts: u64,
    pub bodies_timed_out: u64,
    pub statuses_retried: u64,
    pub nested: u64,
    pub resets: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        let pairs = [
            (&mut self.exchanges, other.exchanges),
            (&mut self.answers, other.answers),
            (&mut self.own_answers, other.own_answers),
            (&mut self.cuts, other.cuts),
            (&mut self.gone, other.gone),
            (&mut self.further_attempts, other.further_attempts),
            (&mut self.stale, other.stale),
            (&mut self.reused, other.reused),
            (&mut self.refused_connects, other.refused_connects),
            (&mut self.timeouts, other.timeouts),
            (&mut self.bodies_timed_out, other.bodies_timed_out),
            (&mut self.statuses_retried, other.statuses_retried),
            (&mut self.nested, other.nested),
            (&mut self.resets, other.resets),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<String> {
        let text = format!("{self:?}");
        let inner = text.trim_start_matches("Tally { ").trim_end_matches(" }");
        inner.split(", ").filter(|part| part.ends_with(": 0")).map(str::to_owned).collect()
    }
}

/// The world of one run.
#[derive(Debug)]
pub struct World {
    pub now_ms: u64,
    pub dice: Dice,
    pub settings: Settings,
    agenda: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    pub desks: Vec<Desk>,
    pub wires: Vec<Wire>,
    pub clients: Vec<Client>,
    pub asks: Vec<Ask>,
    pub answers: Vec<Answer>,
    /// How bad each backend is, in percent of what it does.
    pub moods: Vec<u64>,
    pub tally: Tally,
    /// What went wrong first.
    pub failure: Option<String>,
    pub traces: bool,
}

impl World {
    pub fn new(seed: u64, traces: bool) -> Self {
        let mut dice = Dice::new(seed);
        let settings = Settings::draw(&mut dice);
        let bad: &[u64] = if settings.theme == Theme::Pool { &[0, 0, 10, 25] } else { &[0, 10, 40, 90] };
        let moods = (0..settings.backends).map(|_| if settings.calm { 0 } else { dice.one_of(bad) });
        let moods = moods.collect();
        let desks = (0..settings.workers).map(|_| Desk::default()).collect();
        World {
            now_ms: dice.between(1, 100_000),
            dice,
            settings,
            agenda: BinaryHeap::new(),
            desks,
            wires: Vec::new(),
            clients: Vec::new(),
            asks: Vec::new(),
            answers: Vec::new(),
            moods,
            tally: Tally::default(),
            failure: None,
            traces,
        }
    }

    pub fn now(&self) -> Now {
        Now { ms: self.now_ms, us: self.now_ms * 1000, unix: 1_700_000_000 + self.now_ms / 1000 }
    }

    /// Puts something on the agenda. What is due in the same millisecond comes in any order.
    pub fn after(&mut self, wait_ms: u64, happening: Happening) {
        let tie = self.dice.next();
        self.agenda.push(Reverse((self.now_ms + wait_ms, tie, happening)));
    }

    /// What happens next; the clock is put forward.
    pub fn next(&mut self) -> Option<Happening> {
        let Reverse((at, _, happening)) = self.agenda.pop()?;
        self.now_ms = at;
        Some(happening)
    }

    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.traces {
            println!("{:>8} {}", self.now_ms, text());
        }
    }

    /// Something is not as it must be. The first one counts.
    pub fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.trace(|| format!("*** {what}"));
        let at = self.now_ms;
        self.failure.get_or_insert_with(|| format!("at {at} ms: {what}"));
    }

    /// The poll of a worker has news of something.
    pub fn spark(&mut self, worker: usize, spark: Spark) {
        if !self.desks[worker].pending.contains(&spark) {
            self.desks[worker].pending.push(spark);
        }
        self.call(worker);
    }

    /// Tells the polls of workers that were woken.
    pub fn notice_wakes(&mut self) {
        for worker in 0..self.desks.len() {
            if self.desks[worker].woken.swap(false, Relaxed) {
                self.spark(worker, Spark::Waker);
            }
        }
    }

    /// The host is going to call a worker.
    pub fn call(&mut self, worker: usize) {
        if !std::mem::replace(&mut self.desks[worker].turn_is_due, true) {
            let wait = self.dice.one_of(&[0, 0, 0, 1, 2]);
            self.after(wait, Happening::Turn(worker));
        }
    }

    /// The client that a worker knows by this key.
    pub fn client_of(&self, worker: usize, key: ClientKey) -> Option<usize> {
        let serves = |client: &Client| {
            client.worker == worker && client.serving.is_some_and(|serving| serving.key == Some(key))
        };
        self.clients.iter().position(serves)
    }
}
