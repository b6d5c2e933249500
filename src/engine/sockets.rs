//! The network as the system has it: sockets, a poll and a timer descriptor.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source as _;
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Waker};
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{RecvFlags, recv};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::endpoint::Endpoint;
use super::host::ClientKey;
use super::network::{Alarm, Event, Link, Network, Wake};
use super::pipe::Pipe;
use super::slots::Key;
use super::token::Source;
use super::upstream::{Silence, Upstream};

/// Events taken from the poll in one turn.
const TURN_EVENTS: usize = 256;
/// What sockets are watched for.
const BOTH_WAYS: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The poll of one worker, and what wakes it.
#[derive(Debug)]
pub struct Sockets {
    poll: Poll,
    waker: Arc<Waker>,
}

impl Sockets {
    /// A poll that watches nothing yet.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Source::Waker.into())?);
        Ok(Sockets { poll, waker })
    }
}

/// That of the poll, readable while there is something to tell.
impl AsRawFd for Sockets {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

impl Network for Sockets {
    type Link = Socket;
    type Alarm = TimerFd;
    type Events = Events;

    fn alarm(&self) -> io::Result<TimerFd> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = TimerFd(timerfd_create(TimerfdClockId::Monotonic, flags)?);
        let descriptor = timer.0.as_raw_fd();
        self.poll.registry().register(
            &mut SourceFd(&descriptor),
            Source::Timer.into(),
            Interest::READABLE,
        )?;
        Ok(timer)
    }

    fn events(&self) -> Events {
        Events::with_capacity(TURN_EVENTS)
    }

    fn connect(&self, endpoint: &Endpoint) -> io::Result<Socket> {
        endpoint.connect()
    }

    fn watch(&self, link: &mut Socket, key: Key<Upstream>) -> io::Result<()> {
        let (registry, token) = (self.poll.registry(), Source::Upstream(key).into());
        match link {
            Socket::Tcp(s) => s.register(registry, token, BOTH_WAYS),
            Socket::Unix(s) => s.register(registry, token, BOTH_WAYS),
        }
    }

    fn watch_client(&self, socket: RawFd, client: ClientKey, again: bool) -> io::Result<()> {
        let (mut source, token) = (SourceFd(&socket), Source::Client(client).into());
        let registry = self.poll.registry();
        if again {
            registry.reregister(&mut source, token, BOTH_WAYS)
        } else {
            registry.register(&mut source, token, BOTH_WAYS)
        }
    }

    fn unwatch_client(&self, socket: RawFd) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&socket))
    }

    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        self.poll.poll(events, Some(Duration::ZERO))
    }

    fn told(events: &Events) -> impl Iterator<Item = Event> {
        events.iter().map(|event| Event {
            source: event.token().into(),
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            write_closed: event.is_write_closed(),
            error: event.is_error(),
        })
    }

    fn pipe(&self) -> Option<Pipe> {
        Pipe::new().inspect_err(|error| log::debug!("long bodies are copied: {error}")).ok()
    }

    fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }
}

impl Wake for Waker {
    fn wake(&self) -> io::Result<()> {
        Waker::wake(self)
    }
}

/// The socket of an upstream.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Link for Socket {
    fn connected(&self) -> io::Result<Option<()>> {
        let (error, peer) = match self {
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

    fn silence(&self) -> Silence {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let result = match self {
            Socket::Tcp(s) => recv(s, &mut byte, flags).map(|(n, _)| n),
            Socket::Unix(s) => recv(s, &mut byte, flags).map(|(n, _)| n),
        };
        match result {
            Err(rustix::io::Errno::AGAIN) => Silence::Kept,
            Ok(0) | Err(_) => Silence::Closed,
            Ok(_) => Silence::Broken,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.read(buffer),
            Socket::Unix(s) => s.read(buffer),
        }
    }

    fn splice(&mut self, into: &Pipe, most: usize) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => into.fill(&*s, most),
            Socket::Unix(s) => into.fill(&*s, most),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(s) => s.write(bytes),
            Socket::Unix(s) => s.write(bytes),
        }
    }

    fn acknowledge(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => Ok(set_tcp_quickack(s, true)?),
            Socket::Unix(_) => Ok(()),
        }
    }

    fn finish_sending(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(s) => s.shutdown(Shutdown::Write),
            Socket::Unix(s) => s.shutdown(Shutdown::Write),
        }
    }
}

/// A timer descriptor.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl Alarm for TimerFd {
    fn set(&self, wait_ms: u64) -> io::Result<()> {
        let value = Timespec {
            tv_sec: i64::try_from(wait_ms / 1000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(wait_ms % 1000).unwrap_or(0) * 1_000_000,
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
