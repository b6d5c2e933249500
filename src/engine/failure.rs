//! What can go wrong between us and a backend, whose fault it is, and what the
//! client is told.

use std::io;

use rustix::io::Errno;

use super::retry::Trouble;
use crate::http::chunked::BadChunk;
use crate::http::response::BadResponse;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// No connection for want of something on our side: descriptors, memory,
    /// ports, or the address of a name that is still being looked up.
    #[error("cannot connect: {0}")]
    Local(io::Error),
    /// No connection in time (`ConnectTimeOut`).
    #[error("no connection within ConnectTimeOut")]
    ConnectTimeOut,
    /// The connection broke before a byte of the answer came.
    #[error("the connection broke before an answer: {0}")]
    Reset(io::Error),
    /// The backend closed the connection before a byte of the answer came.
    #[error("the connection was closed before an answer")]
    Closed,
    /// The backend closed or broke the connection inside the response head.
    #[error("the connection was closed inside the response head")]
    ClosedInHead,
    /// The backend takes no more of the request (`SendTimeOut`).
    #[error("the request was not taken within SendTimeOut")]
    SendTimeOut,
    /// No whole response head in time (`HeaderTimeOut`).
    #[error("no response head within HeaderTimeOut")]
    HeaderTimeOut,
    /// What came is no proper response.
    #[error("{0}")]
    BadResponse(#[from] BadResponse),
    /// The chunks of the body are malformed.
    #[error("{0}")]
    BadChunk(#[from] BadChunk),
    /// The body ended early.
    #[error("the response body was cut short")]
    Truncated,
    /// The body stopped coming (`ReadTimeOut`).
    #[error("nothing more of the response within ReadTimeOut")]
    ReadTimeOut,
}

impl Failure {
    /// The failure to open a connection.
    pub fn of_connect(error: io::Error) -> Self {
        let ours = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(errno) => matches!(
                errno,
                Errno::MFILE
                    | Errno::NFILE
                    | Errno::NOBUFS
                    | Errno::NOMEM
                    | Errno::ADDRNOTAVAIL
                    | Errno::NOSPC
            ),
            None => true,
        };
        if ours { Failure::Local(error) } else { Failure::Connect(error) }
    }

    /// Whether it speaks against the backend. A pooled connection that was
    /// closed meanwhile does not: any server may do that.
    pub fn blames_backend(&self, reused: bool) -> bool {
        !(matches!(self, Failure::Local(_)) || (reused && self.is_loss()))
    }

    /// The status for the client.
    pub fn status(&self) -> u16 {
        match self {
            Failure::Local(_) => 503,
            Failure::ConnectTimeOut
            | Failure::SendTimeOut
            | Failure::HeaderTimeOut
            | Failure::ReadTimeOut => 504,
            _ => 502,
        }
    }

    /// What it is for the rule of retries.
    pub fn trouble(&self) -> Trouble {
        match self {
            Failure::Connect(_) | Failure::Local(_) | Failure::ConnectTimeOut => Trouble::NoConnection,
            Failure::Reset(_) | Failure::Closed => Trouble::Lost,
            Failure::SendTimeOut | Failure::HeaderTimeOut => Trouble::TooSlow,
            Failure::ClosedInHead | Failure::BadResponse(_) | Failure::BadChunk(_) => Trouble::Invalid,
            Failure::Truncated | Failure::ReadTimeOut => Trouble::InAnswer,
        }
    }

    /// The connection was lost before a byte of the answer.
    fn is_loss(&self) -> bool {
        self.trouble() == Trouble::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_shortage_is_not_the_backends_fault() {
        for (errno, ours) in [(libc::EMFILE, true), (libc::ENOBUFS, true), (libc::ECONNREFUSED, false)] {
            let failure = Failure::of_connect(io::Error::from_raw_os_error(errno));
            assert_eq!(!failure.blames_backend(false), ours, "{failure}");
        }
        assert_eq!(Failure::of_connect(io::Error::from(io::ErrorKind::NotFound)).status(), 503);
    }

    #[test]
    fn a_stale_connection_is_not_the_backends_fault() {
        assert!(!Failure::Closed.blames_backend(true));
        assert!(Failure::Closed.blames_backend(false));
        assert!(Failure::HeaderTimeOut.blames_backend(true));
    }
}
