//! One connection to a backend. Knows no HTTP.

use std::io;
use std::sync::Arc;

use super::endpoint::{Counted, Endpoint};
use super::exchange::Exchange;
use super::network::{Event, Link};
use super::pipe::Pipe;
use super::slots::Key;
use super::sockets::Socket;
use super::window::{Limits, Window};

/// What an upstream is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It carries this exchange.
    Busy(Key<Exchange>),
    /// It waits in the pool since so many milliseconds.
    Idle {
        /// When it was put there.
        since_ms: u64,
    },
}

/// What a look at an idle connection finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is open, and nothing has come.
    Kept,
    /// The backend has closed or reset it.
    Closed,
    /// Bytes have come that nobody asked for.
    Broken,
}

/// One connection to a backend.
#[derive(Debug)]
pub struct Upstream<L = Socket> {
    /// The connection itself.
    pub(super) link: L,
    /// Reading may bring something.
    pub readable: bool,
    /// Writing may get rid of something.
    pub writable: bool,
    /// The backend has closed its side or the connection broke: reading goes
    /// on until that shows.
    pub closed: bool,
    /// It was reset, as a write has told. The system tells that once: the end that
    /// reading comes upon afterwards is not one that the backend meant.
    pub reset: bool,
    /// The system acknowledges what comes without waiting for more; it forgets to behind a write.
    acknowledges: bool,
    /// What it is there for.
    pub used_by: Use,
    /// Which endpoint it leads to.
    pub endpoint: usize,
    /// How long it may wait in the pool, as far as the backend goes.
    pub window: Window,
    /// The same, as the route wants it that used it last.
    pub limits: Limits,
    _counted: Counted,
}

impl<L: Link> Upstream<L> {
    /// Wraps a connection whose connect to `endpoint` has been started on behalf of
    /// `exchange`; `window` and `limits` say for how long it may be kept.
    pub(super) fn new(
        link: L,
        (index, endpoint): (usize, &Arc<Endpoint>),
        exchange: Key<Exchange>,
        window: Window,
        limits: Limits,
    ) -> Self {
        Upstream {
            link,
            readable: false,
            writable: false,
            closed: false,
            reset: false,
            acknowledges: false,
            used_by: Use::Busy(exchange),
            endpoint: index,
            window,
            limits,
            _counted: Counted::new(endpoint),
        }
    }

    /// Notes what the poll reported.
    pub fn note(&mut self, event: &Event) {
        let over = event.read_closed || event.write_closed || event.error;
        self.closed |= over;
        self.readable |= event.readable || over;
        self.writable |= event.writable || over;
    }

    /// Whether the connect came to an end: `None` while it is under way.
    ///
    /// # Errors
    /// Why it failed.
    pub fn connected(&self) -> io::Result<Option<()>> {
        self.link.connected()
    }

    /// Whether an idle connection may carry another request: it is open and no
    /// byte has come that nobody asked for. The poll may not have told yet.
    pub fn silence(&self) -> Silence {
        self.link.silence()
    }

    /// Reads what is there. A short read means that nothing is left.
    ///
    /// # Errors
    /// As `read(2)`; "would block" is `Ok(None)`.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.link.read(buffer) {
                Ok(n) => {
                    // A pending close gives no further event: read on until it shows.
                    self.readable = n == buffer.len() || self.closed;
                    return Ok(Some(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets what is there go into a pipe, up to so many bytes. How much is left does not show.
    ///
    /// # Errors
    /// As `splice(2)`; "would block" is `Ok(None)`.
    pub fn splice(&mut self, into: &Pipe, most: usize) -> io::Result<Option<usize>> {
        loop {
            match self.link.splice(into, most) {
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the backend know at once that what it sent has arrived. A backend may hold the rest of
    /// an answer back until then (Nagle's algorithm, RFC 896; `TCP_CORK`), and the system may take
    /// 40 ms to say so by itself (RFC 1122 4.2.3.2).
    pub fn acknowledge(&mut self) {
        if std::mem::replace(&mut self.acknowledges, true) {
            return;
        }
        if let Err(error) = self.link.acknowledge() {
            log::debug!("a backend waits for what the system makes it wait: {error}");
        }
    }

    /// Tells the backend that nothing more comes; it may go on sending.
    pub fn finish_sending(&self) {
        if let Err(error) = self.link.finish_sending() {
            log::debug!("a backend was gone already: {error}");
        }
    }

    /// Writes as much as fits; 0 when nothing does.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.acknowledges = false;
        loop {
            match self.link.write(bytes) {
                Ok(n) => {
                    self.writable = n == bytes.len();
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Behind a proper end it is a broken pipe.
                    self.reset |= error.kind() == io::ErrorKind::ConnectionReset;
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerAddress, Settings};

    /// A socket of which this is known: the error of its next write, and nothing to read.
    #[derive(Debug)]
    struct Broken(io::ErrorKind);

    impl Link for Broken {
        fn connected(&self) -> io::Result<Option<()>> {
            Ok(Some(()))
        }

        fn silence(&self) -> Silence {
            Silence::Closed
        }

        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn finish_sending(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reset_that_a_write_was_told_looked_like_the_end_of_an_answer() {
        let address = ServerAddress::Socket("127.0.0.1:1".parse().unwrap());
        let endpoint = Arc::new(Endpoint::new(&address));
        for (error, reset) in [(io::ErrorKind::ConnectionReset, true), (io::ErrorKind::BrokenPipe, false)] {
            let (window, limits) = (Window::opened(0), Limits::of(&Settings::default()));
            let mut upstream =
                Upstream::new(Broken(error), (0, &endpoint), Key::from_bits(0), window, limits);
            assert_eq!(upstream.write(b"x").unwrap_err().kind(), error);
            assert_eq!(upstream.read(&mut [0]).unwrap(), Some(0));
            assert_eq!(upstream.reset, reset);
        }
    }
}
