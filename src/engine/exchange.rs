//! One request and its response: what each phase owns.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::host::Fate;
use super::naming::Naming;
use super::shared::Route;
use super::slots::Key;
use super::upstream::Upstream;
use crate::balancer::{InFlight, Tried};
use crate::http::Version;
use crate::http::body::BodyDecoder;

/// How long a silent answer is kept up for a client that closed its sending side.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// One request on its way through us.
#[derive(Debug)]
pub struct Exchange {
    /// Where it stands.
    pub phase: Phase,
    /// The client's side.
    pub client: Client,
    /// What is needed to ask a backend; `None` for answers of our own.
    pub order: Option<Order>,
    /// Bytes for the client that it has not taken yet. While there are any,
    /// nothing is read from the backend.
    pub pending: Vec<u8>,
    /// Where in `pending` the bytes begin that are still to go.
    pub pending_from: usize,
    /// It stands in the queue of those that can move on.
    pub queued: bool,
    /// When the phase has lasted too long, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// When to begin watching for a client that leaves politely.
    pub watch_at_ms: u64,
    /// The status of the answer, once known.
    pub status: u16,
    /// Body bytes that the client has taken.
    pub body_bytes: u64,
    /// Bytes of `pending` and of what is being sent that belong to a head.
    pub head_bytes: usize,
}

/// The client's side of an exchange.
#[derive(Debug)]
pub struct Client {
    /// Its socket, owned by the host.
    pub fd: RawFd,
    /// The version it speaks.
    pub version: Version,
    /// It asked with HEAD.
    pub to_head: bool,
    /// Host and request allow another request on this connection.
    pub keep_alive: bool,
    /// It took everything that was offered last.
    pub ready: bool,
    /// Its socket is in our poll.
    pub watched: bool,
    /// It has closed its sending side.
    pub half_closed: bool,
}

/// What was asked for.
#[derive(Debug)]
pub struct Order {
    /// Where the request goes.
    pub route: Arc<Route>,
    /// The request as it goes out, body included; kept until the answer has begun.
    pub request: Vec<u8>,
    /// Under which name it goes out.
    pub naming: Naming,
    /// Repeating it changes nothing.
    pub idempotent: bool,
    /// The client's address as bytes (Source-Hash).
    pub source: [u8; 16],
    /// How many bytes of `source` count.
    pub source_len: u8,
    /// The client's connection number (Naive).
    pub connection: u32,
    /// Backends that were asked already.
    pub tried: Tried,
    /// Attempts that `RetryCount` still allows once bytes were sent.
    pub retries_left: u32,
}

/// One try with one backend.
#[derive(Debug)]
pub struct Attempt {
    /// The connection.
    pub upstream: Key<Upstream>,
    /// The backend's index in its cluster.
    pub backend: usize,
    /// The connection came from the pool.
    pub reused: bool,
    /// The backend is on trial: this request decides whether it is back.
    pub trial: bool,
    /// Counts as in flight until dropped.
    pub in_flight: InFlight,
}

/// Where an exchange stands.
#[derive(Debug)]
pub enum Phase {
    /// A backend must be chosen.
    Picking,
    /// A connection is being opened.
    Connecting(Attempt),
    /// The request is going out, or has gone out; no whole head came back yet.
    Asking {
        /// The try.
        attempt: Attempt,
        /// Bytes of the request that were taken.
        written: usize,
        /// The part of the response head that came so far.
        head: Vec<u8>,
    },
    /// The response's head is through; its body follows.
    Relaying {
        /// The try.
        attempt: Attempt,
        /// Where the body ends.
        body: BodyDecoder,
        /// The upstream may go to the pool afterwards.
        reusable: bool,
        /// What becomes of the client's connection when all is well.
        fate: Fate,
    },
    /// Everything is there; the client takes the rest.
    Flushing(Fate),
}

impl Exchange {
    /// An exchange that begins now.
    pub fn new(phase: Phase, client: Client, watch_at_ms: u64) -> Self {
        Exchange {
            phase,
            client,
            order: None,
            pending: Vec::new(),
            pending_from: 0,
            queued: false,
            deadline_ms: None,
            watch_at_ms,
            status: 0,
            body_bytes: 0,
            head_bytes: 0,
        }
    }

    /// Whether bytes wait for the client.
    pub fn has_pending(&self) -> bool {
        self.pending_from < self.pending.len()
    }

    /// How long the backend may be silent inside its answer: a client that
    /// closed its sending side has probably left, so not for long then.
    pub fn read_timeout(&self) -> Option<Duration> {
        let configured = self.order.as_ref().and_then(|order| order.route.settings.read_timeout);
        if self.client.half_closed {
            Some(HALF_CLOSED.min(configured.unwrap_or(HALF_CLOSED)))
        } else {
            configured
        }
    }

    /// Counts `bytes` that the client took: head first, then body.
    pub fn count_sent(&mut self, bytes: usize) {
        let of_head = bytes.min(self.head_bytes);
        self.head_bytes -= of_head;
        self.body_bytes += (bytes - of_head) as u64;
    }

    /// The next moment at which time alone changes something.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let watch = (!self.client.watched).then_some(self.watch_at_ms);
        match (self.deadline_ms, watch) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
