//! One connection of a probe or a check.

use std::io::{self, Read, Write};

use mio::{Interest, Registry, Token};

use super::answer::{Answer, Judged};
use super::schedule::Question;
use crate::engine::endpoint::Endpoint;
use crate::engine::sockets::Socket;

/// Read at a time.
const PIECE: usize = 4096;
/// Reads in one go; a poll of edges must be followed to the end, but not for ever.
const MOST_PIECES: usize = 64;

/// A connection, and how far it has come.
pub(super) struct Line {
    socket: Socket,
    stage: Stage,
    /// When it has taken too long.
    pub(super) deadline_ms: u64,
}

enum Stage {
    Connecting,
    /// So many bytes of the question are out.
    Asking(usize),
    Listening(Answer),
}

/// What became of it.
pub(super) enum Progress {
    /// More is to come.
    Waits,
    /// It is connected, and that was the question.
    Connected,
    /// The whole answer came, with this status.
    Answered(u16),
    /// It will come to nothing, for this reason.
    Bad(String),
}

impl Line {
    /// Watches a socket whose connect has been started.
    ///
    /// # Errors
    /// When the system refuses to watch one more socket.
    pub(super) fn new(
        mut socket: Socket,
        registry: &Registry,
        token: Token,
        deadline_ms: u64,
    ) -> io::Result<Line> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match &mut socket {
            Socket::Tcp(socket) => registry.register(socket, token, interest)?,
            Socket::Unix(socket) => registry.register(socket, token, interest)?,
        }
        Ok(Line { socket, stage: Stage::Connecting, deadline_ms })
    }

    /// What the backend has not done in time.
    pub(super) fn what_is_late(&self) -> &'static str {
        match self.stage {
            Stage::Connecting => "no connection in time",
            Stage::Asking(_) | Stage::Listening(_) => "no whole answer in time",
        }
    }

    /// Does what can be done without waiting. Without a question the
    /// connection is the answer.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(super) fn go_on(&mut self, question: Option<&Question>) -> io::Result<Progress> {
        if matches!(self.stage, Stage::Connecting) {
            if !self.is_connected()? {
                return Ok(Progress::Waits);
            }
            if self.is_with_itself() {
                return Ok(Progress::Bad("nobody listens".to_owned()));
            }
            self.stage = Stage::Asking(0);
        }
        let Some(question) = question else { return Ok(Progress::Connected) };
        if let Stage::Asking(written) = &mut self.stage {
            while *written < question.text.len() {
                match write(&mut self.socket, &question.text[*written..]) {
                    Ok(0) => return Ok(Progress::Bad("the connection was closed".to_owned())),
                    Ok(n) => *written += n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Waits),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Ok(Progress::Bad(format!("the connection broke: {error}"))),
                }
            }
            self.stage = Stage::Listening(Answer::new(question.is_head));
        }
        let Stage::Listening(answer) = &mut self.stage else { return Ok(Progress::Waits) };
        let mut piece = [0; PIECE];
        for _ in 0..MOST_PIECES {
            let judged = match read(&mut self.socket, &mut piece) {
                Ok(0) => answer.ends(),
                Ok(n) => answer.take(&mut piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Waits),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Progress::Bad(format!("the connection broke: {error}"))),
            };
            match judged {
                Judged::Open => {}
                Judged::Whole(status) => return Ok(Progress::Answered(status)),
                Judged::Bad(why) => return Ok(Progress::Bad(why)),
            }
        }
        Ok(Progress::Bad("the answer does not end".to_owned()))
    }

    fn is_connected(&self) -> io::Result<bool> {
        let (error, peer) = match &self.socket {
            Socket::Tcp(socket) => (socket.take_error()?, socket.peer_addr().map(drop)),
            Socket::Unix(socket) => (socket.take_error()?, socket.peer_addr().map(drop)),
        };
        match (error, peer) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => Ok(true),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            (None, Err(error)) => Err(error),
        }
    }

    /// A port of this machine that nobody listens on may be given to the very
    /// socket that connects to it, which then talks to itself.
    fn is_with_itself(&self) -> bool {
        match &self.socket {
            Socket::Tcp(socket) => {
                matches!((socket.local_addr(), socket.peer_addr()), (Ok(ours), Ok(theirs)) if ours == theirs)
            }
            Socket::Unix(_) => false,
        }
    }
}

/// The name under which an endpoint is asked.
pub(super) fn host<'a>(literal: Option<&'a str>, endpoint: &'a Endpoint) -> &'a str {
    literal.unwrap_or_else(|| endpoint.authority())
}

fn read(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
    match socket {
        Socket::Tcp(socket) => socket.read(buffer),
        Socket::Unix(socket) => socket.read(buffer),
    }
}

fn write(socket: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket {
        Socket::Tcp(socket) => socket.write(bytes),
        Socket::Unix(socket) => socket.write(bytes),
    }
}
