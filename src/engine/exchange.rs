//! One request and its response: what each phase owns.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::Now;
use super::attempts::Attempts;
use super::cause::Cause;
use super::host::Fate;
use super::naming::Naming;
use super::queue::Queueing;
use super::record::Record;
use super::shared::Route;
use super::slots::Key;
use super::times::Times;
use super::tunnel::Ends;
use super::upload::Upload;
use super::upstream::Upstream;
use super::worker::{DEFAULT_CLIENT_TIMEOUT, WATCH_AFTER_MS};
use crate::balancer::{InFlight, Tried};
use crate::http::Version;
use crate::http::body::BodyDecoder;
use crate::stats::events::Short;

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
    /// Bytes that the client takes for certain, as far as is known.
    pub room: usize,
    /// The status of the answer, once known.
    pub status: u16,
    /// Body bytes that the client has taken.
    pub body_bytes: u64,
    /// Bytes of `pending` and of what is being sent that belong to a head.
    pub head_bytes: usize,
    /// It was begun when the server was going to end already.
    pub is_late: bool,
    /// When it has come how far.
    pub times: Times,
    /// What has become of it so far.
    pub cause: Cause,
    /// What is told of it, if anything is.
    pub record: Option<Box<Record>>,
}

/// The client's side of an exchange.
#[derive(Debug)]
pub struct Client {
    /// Its socket, owned by the host.
    pub fd: RawFd,
    /// The version it speaks.
    pub version: Version,
    /// Bytes can go to it straight out of a pipe.
    pub may_splice: bool,
    /// It asked with HEAD.
    pub to_head: bool,
    /// Host and request allow another request on this connection.
    pub keep_alive: bool,
    /// It took everything that was offered last.
    pub ready: bool,
    /// Reading from it may bring something.
    pub readable: bool,
    /// It may be sending what nobody is going to read as a request.
    pub unread: bool,
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
    /// The request as it goes out, with what came of its body so far; kept until
    /// the answer has begun. Of a body that is longer than that, the part that
    /// waits for the backend. In a tunnel, bytes on their way to the backend.
    pub request: Vec<u8>,
    /// The rest of the body.
    pub upload: Upload,
    /// The protocol that the client asks for.
    pub upgrade: Option<Upgrade>,
    /// The client takes trailer fields.
    pub takes_trailers: bool,
    /// Under which name it goes out.
    pub naming: Naming,
    /// Repeating it changes nothing, by its method or by what was said of it.
    pub idempotent: bool,
    /// The client's address as bytes (Source-Hash).
    pub source: [u8; 16],
    /// How many bytes of `source` count.
    pub source_len: u8,
    /// The client's connection number (Naive).
    pub connection: u32,
    /// Backends that were asked already.
    pub tried: Tried,
    /// What became of its attempts so far.
    pub attempts: Attempts,
    /// Whether it waits for a backend.
    pub queueing: Queueing,
    /// The name of the request for the flight recorder, once `request` holds it no more.
    pub name: Short<64>,
    /// The backend whose answer has come to its end.
    pub answered_by: Option<usize>,
}

impl Order {
    /// How long to wait when a backend has taken so many bytes of the request
    /// that is here: for itself, for more from the client, or for the answer.
    pub fn asking_timeout(&self, written: usize) -> Option<Duration> {
        let settings = &self.route.settings;
        match (written == self.request.len(), self.upload.is_over()) {
            (true, true) => settings.header_timeout,
            (true, false) => settings.client_timeout,
            (false, _) => settings.send_timeout,
        }
    }
}

/// The wish to speak another protocol.
#[derive(Debug)]
pub struct Upgrade {
    /// Its name.
    pub protocol: String,
    /// What the client has sent behind the request already.
    pub early: Vec<u8>,
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
    /// Bytes of the order's `request` that were taken.
    pub written: usize,
    /// Interim responses that came.
    pub interims: u32,
    /// Counts as in flight until dropped.
    pub in_flight: InFlight,
}

/// Where an exchange stands.
#[derive(Debug)]
pub enum Phase {
    /// The beginning of the body comes from the client.
    Gathering,
    /// A backend must be chosen.
    Picking,
    /// A connection is being opened.
    Connecting(Attempt),
    /// The request is going out, or has gone out; no whole head came back yet.
    Asking {
        /// The try.
        attempt: Attempt,
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
    /// Both sides speak another protocol, whose bytes go to and fro.
    Tunnel {
        /// The try.
        attempt: Attempt,
        /// Who has ended.
        ends: Ends,
    },
    /// Everything is there; the client takes the rest.
    Flushing(Fate),
    /// The client has everything, but may still be sending: closed now, its
    /// system would throw away the answer.
    Lingering {
        /// When it is closed whatever it does.
        until_ms: u64,
    },
}

impl Exchange {
    /// An exchange that begins now.
    pub fn new(phase: Phase, client: Client, now: Now) -> Self {
        Exchange {
            phase,
            client,
            order: None,
            pending: Vec::new(),
            pending_from: 0,
            queued: false,
            deadline_ms: None,
            watch_at_ms: now.ms + WATCH_AFTER_MS,
            room: 0,
            status: 0,
            body_bytes: 0,
            head_bytes: 0,
            is_late: false,
            times: Times::begin(now),
            cause: Cause::Ok,
            record: None,
        }
    }

    /// Whether bytes wait for the client.
    pub fn has_pending(&self) -> bool {
        self.pending_from < self.pending.len()
    }

    /// Whether what the client sends belongs to this exchange.
    pub fn reads_client(&self) -> bool {
        match &self.phase {
            Phase::Gathering | Phase::Tunnel { .. } | Phase::Lingering { .. } => true,
            Phase::Picking | Phase::Connecting(_) | Phase::Flushing(_) => false,
            Phase::Asking { .. } | Phase::Relaying { .. } => !self.has_whole_request(),
        }
    }

    /// Whether the client was told that nothing more comes, and is read on.
    pub fn was_told_end(&self) -> bool {
        match &self.phase {
            Phase::Tunnel { ends, .. } => ends.backend_told,
            phase => matches!(phase, Phase::Lingering { .. }),
        }
    }

    /// Whether nothing of the request is left with the client.
    pub fn has_whole_request(&self) -> bool {
        self.order.as_ref().is_none_or(|order| order.upload.is_over())
    }

    /// Nobody is going to wait for what the client may still be sending.
    pub fn forget_unread(&mut self) {
        self.client.unread = false;
        if let Some(order) = self.order.as_mut() {
            order.upload = Upload::nothing();
        }
    }

    /// Whether the backend has taken what came of the body, and wants the rest.
    pub fn awaits_body(&self) -> bool {
        let (Phase::Asking { attempt, .. } | Phase::Relaying { attempt, .. }) = &self.phase else {
            return false;
        };
        let taken = |order: &Order| attempt.written == order.request.len();
        self.order.as_ref().is_some_and(|order| order.upload.is_wanted() && taken(order))
    }

    /// Whether the late watch for a client that leaves has not begun.
    pub fn is_young(&self, now_ms: u64) -> bool {
        now_ms < self.watch_at_ms && self.watch_at_ms < u64::MAX
    }

    /// Whether another request may follow on the client's connection.
    pub fn may_keep_alive(&self) -> bool {
        self.client.keep_alive && self.has_whole_request()
    }

    /// How long the client may take nothing, or send nothing of its body.
    pub fn client_timeout(&self) -> Option<Duration> {
        let settings = self.order.as_ref().map(|order| &order.route.settings);
        match (&self.phase, settings) {
            (Phase::Tunnel { .. }, _) => self.tunnel_timeout(),
            (_, Some(settings)) => settings.client_timeout,
            (_, None) => Some(DEFAULT_CLIENT_TIMEOUT),
        }
    }

    /// How long the backend may be silent inside its answer: a client that
    /// closed its sending side has probably left, so not for long then.
    pub fn read_timeout(&self) -> Option<Duration> {
        let configured = self.order.as_ref().and_then(|order| {
            // The backend may be waiting for the client.
            let client = if order.upload.is_wanted() { order.route.settings.client_timeout } else { None };
            order.route.settings.read_timeout.or(client)
        });
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
