//! What can go wrong between us and a backend, whose fault it is, whether the
//! request may go out again, and what the client is told.

use std::io;

use rustix::io::Errno;

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

/// What to do about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The same backend over a new connection: the pooled one was stale.
    SameBackend,
    /// Another backend that was not asked yet.
    OtherBackend,
    /// Tell the client.
    GiveUp,
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Attempted {
    /// The connection came from the pool.
    pub reused: bool,
    /// Some byte of the request may have reached the backend.
    pub sent: bool,
    /// Repeating the request changes nothing (RFC 9110 9.2.2).
    pub idempotent: bool,
    /// Further attempts that `RetryCount` leaves for requests that were sent.
    pub retries_left: u32,
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

    /// What to do next. No request goes out twice unless that is harmless or
    /// no byte of it can have arrived.
    pub fn next(&self, attempted: Attempted) -> Next {
        match self {
            Failure::Connect(_) | Failure::Local(_) | Failure::ConnectTimeOut => Next::OtherBackend,
            _ if !self.is_loss() => Next::GiveUp,
            _ if attempted.sent && !attempted.idempotent => Next::GiveUp,
            _ if attempted.reused => Next::SameBackend,
            _ if attempted.retries_left > 0 => Next::OtherBackend,
            _ => Next::GiveUp,
        }
    }

    /// The connection was lost before a byte of the answer.
    fn is_loss(&self) -> bool {
        matches!(self, Failure::Reset(_) | Failure::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempted(reused: bool, sent: bool, idempotent: bool, retries_left: u32) -> Attempted {
        Attempted { reused, sent, idempotent, retries_left }
    }

    #[test]
    fn a_request_is_repeated_only_when_that_is_harmless_c3_c4_c7_c9() {
        let refused = || Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let cases = [
            (refused(), attempted(false, false, false, 0), Next::OtherBackend),
            (Failure::ConnectTimeOut, attempted(false, false, false, 0), Next::OtherBackend),
            (Failure::Closed, attempted(true, true, true, 0), Next::SameBackend),
            (Failure::Closed, attempted(true, true, false, 2), Next::GiveUp),
            (Failure::Closed, attempted(true, false, false, 2), Next::SameBackend),
            (Failure::Closed, attempted(false, true, true, 2), Next::OtherBackend),
            (Failure::Closed, attempted(false, true, true, 0), Next::GiveUp),
            (Failure::Closed, attempted(false, true, false, 2), Next::GiveUp),
            (Failure::ClosedInHead, attempted(true, true, true, 2), Next::GiveUp),
            (Failure::HeaderTimeOut, attempted(false, true, true, 2), Next::GiveUp),
            (Failure::BadResponse(BadResponse::Malformed), attempted(false, true, true, 2), Next::GiveUp),
        ];
        for (failure, attempted, next) in cases {
            assert_eq!(failure.next(attempted), next, "{failure:?} {attempted:?}");
        }
    }

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
