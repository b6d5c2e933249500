//! One connection to a backend. Knows no HTTP.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;

use mio::event::{Event, Source};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use rustix::net::{RecvFlags, recv};

use super::endpoint::{Counted, Endpoint};
use super::exchange::Exchange;

use super::slots::Key;
use super::window::{Limits, Window};

/// The socket of an upstream.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

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
pub struct Upstream {
    socket: Socket,
    /// Reading may bring something.
    pub readable: bool,
    /// Writing may get rid of something.
    pub writable: bool,
    /// The backend has closed its side or the connection broke: reading goes
    /// on until that shows.
    pub closed: bool,
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

impl Upstream {
    /// Wraps a socket whose connect to `endpoint` has been started on behalf of
    /// `exchange`; `window` and `limits` say for how long it may be kept.
    pub fn new(
        socket: Socket,
        (index, endpoint): (usize, &Arc<Endpoint>),
        exchange: Key<Exchange>,
        window: Window,
        limits: Limits,
    ) -> Self {
        Upstream {
            socket,
            readable: false,
            writable: false,
            closed: false,
            used_by: Use::Busy(exchange),
            endpoint: index,
            window,
            limits,
            _counted: Counted::new(endpoint),
        }
    }

    /// Watches the socket, for as long as it is open.
    ///
    /// # Errors
    /// When the system refuses to watch one more socket.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut self.socket {
            Socket::Tcp(s) => s.register(registry, token, interest),
            Socket::Unix(s) => s.register(registry, token, interest),
        }
    }

    /// Notes what the poll reported.
    pub fn note(&mut self, event: &Event) {
        let over = event.is_read_closed() || event.is_write_closed() || event.is_error();
        self.closed |= over;
        self.readable |= event.is_readable() || over;
        self.writable |= event.is_writable() || over;
    }

    /// Whether the connect came to an end: `None` while it is under way.
    ///
    /// # Errors
    /// Why it failed.
    pub fn connected(&self) -> io::Result<Option<()>> {
        let (error, peer) = match &self.socket {
            Socket::Tcp(s) => (s.take_error()?, s.peer_addr().map(drop)),
            Socket::Unix(s) => (s.take_error()?, s.peer_addr().map(drop)),
        };
        if let Some(error) = error {
            return Err(error);
        }
        match peer {
            Ok(()) => Ok(Some(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether an idle connection may carry another request: it is open and no
    /// byte has come that nobody asked for. The poll may not have told yet.
    pub fn silence(&self) -> Silence {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let result = match &self.socket {
            Socket::Tcp(s) => recv(s, &mut byte, flags).map(|(n, _)| n),
            Socket::Unix(s) => recv(s, &mut byte, flags).map(|(n, _)| n),
        };
        match result {
            Err(rustix::io::Errno::AGAIN) => Silence::Kept,
            Ok(0) | Err(_) => Silence::Closed,
            Ok(_) => Silence::Broken,
        }
    }

    /// Reads what is there. A short read means that nothing is left.
    ///
    /// # Errors
    /// As `read(2)`; "would block" is `Ok(None)`.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let result = match &mut self.socket {
                Socket::Tcp(s) => s.read(buffer),
                Socket::Unix(s) => s.read(buffer),
            };
            match result {
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

    /// Tells the backend that nothing more comes; it may go on sending.
    pub fn finish_sending(&self) {
        let result = match &self.socket {
            Socket::Tcp(s) => s.shutdown(Shutdown::Write),
            Socket::Unix(s) => s.shutdown(Shutdown::Write),
        };
        if let Err(error) = result {
            log::debug!("a backend was gone already: {error}");
        }
    }

    /// Writes as much as fits; 0 when nothing does.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.socket {
                Socket::Tcp(s) => s.write(bytes),
                Socket::Unix(s) => s.write(bytes),
            };
            match result {
                Ok(n) => {
                    self.writable = n == bytes.len();
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
