//! What a worker needs of the system: connections to backends, a poll, a timer.
//! [`super::sockets`] has the real ones; a test may make up its own, and with
//! them a whole world that has no sockets and no clock.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::endpoint::Endpoint;
use super::host::ClientKey;
use super::pipe::Pipe;
use super::slots::Key;
use super::token::Source;
use super::upstream::{Silence, Upstream};

/// The world outside of one worker.
///
/// Sources are edge-triggered: an event tells of a change, once.
pub trait Network: Debug {
    /// A connection to a backend. Dropping it closes it.
    type Link: Link;
    /// Wakes the worker when it is time.
    type Alarm: Alarm;
    /// Room for the events of one turn.
    type Events: Debug;

    /// Its only alarm; asked for once.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    fn alarm(&self) -> io::Result<Self::Alarm>;

    /// Room for the events of one turn; asked for once.
    fn events(&self) -> Self::Events;

    /// Starts a connect that does not block.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    fn connect(&self, endpoint: &Endpoint) -> io::Result<Self::Link>;

    /// Watches a connection for as long as it is open.
    ///
    /// # Errors
    /// When the system refuses to watch one more.
    fn watch(&self, link: &mut Self::Link, key: Key<Upstream>) -> io::Result<()>;

    /// Watches the socket of a client, which the host owns. `again` when it is watched
    /// already: what it is ready for is told anew.
    ///
    /// # Errors
    /// As the system has it.
    fn watch_client(&self, socket: RawFd, client: ClientKey, again: bool) -> io::Result<()>;

    /// Watches it no more.
    ///
    /// # Errors
    /// As the system has it.
    fn unwatch_client(&self, socket: RawFd) -> io::Result<()>;

    /// Takes what there is to tell, without waiting.
    ///
    /// # Errors
    /// As the system has it.
    fn poll(&mut self, events: &mut Self::Events) -> io::Result<()>;

    /// What was taken.
    fn told(events: &Self::Events) -> impl Iterator<Item = Event>;

    /// A pipe for long bodies; `None` where there is none to be had.
    fn pipe(&self) -> Option<Pipe> {
        None
    }

    /// What wakes the worker.
    fn waker(&self) -> Arc<dyn Wake>;
}

/// Wakes a worker, from whatever thread.
pub trait Wake: Debug + Send + Sync {
    /// Makes the host call [`super::Worker::turn`] soon, with an event of [`Source::Waker`].
    ///
    /// # Errors
    /// As the system has it.
    fn wake(&self) -> io::Result<()>;
}

/// One connection to a backend. Nothing here waits.
pub trait Link: Debug {
    /// Whether the connect came to an end: `None` while it is under way.
    ///
    /// # Errors
    /// Why it failed.
    fn connected(&self) -> io::Result<Option<()>>;

    /// What there is to read on a connection that is idle, without taking it.
    fn silence(&self) -> Silence;

    /// As `read(2)`.
    ///
    /// # Errors
    /// As `read(2)`.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Lets up to so many bytes go into a pipe that [`Network::pipe`] gave; 0 is the end.
    ///
    /// # Errors
    /// As `splice(2)`; by default that it can't be done.
    fn splice(&mut self, _into: &Pipe, _most: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As `write(2)`.
    ///
    /// # Errors
    /// As `write(2)`.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Acknowledges what was read at once, and what comes from now on, too, up to the next write
    /// (`TCP_QUICKACK` of `tcp(7)`).
    ///
    /// # Errors
    /// As `setsockopt(2)`.
    fn acknowledge(&self) -> io::Result<()> {
        Ok(())
    }

    /// Nothing more is going to be written.
    ///
    /// # Errors
    /// As `shutdown(2)`.
    fn finish_sending(&self) -> io::Result<()>;
}

/// Wakes a worker when it is time.
pub trait Alarm: Debug {
    /// Goes off once, in so many milliseconds, as [`Source::Timer`]. What was set before
    /// is forgotten.
    ///
    /// # Errors
    /// As the system has it.
    fn set(&self, wait_ms: u64) -> io::Result<()>;
}

/// News of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of which one.
    pub source: Source,
    /// Reading may bring something.
    pub readable: bool,
    /// Writing may get rid of something.
    pub writable: bool,
    /// The other side sends no more.
    pub read_closed: bool,
    /// Nothing that is written arrives any more.
    pub write_closed: bool,
    /// The connection is broken.
    pub error: bool,
}
