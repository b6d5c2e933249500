//! What became of a request, in one word. The words stand in `ProxyLog`, and what RFC 9209 calls
//! the same in `Proxy-Status`; both are promises.

use std::io;

use super::failure::Failure;
use crate::http::request::Refusal;
use crate::http::response::BadResponse;

/// What became of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It was answered by a backend, whole.
    #[default]
    Ok,
    /// The client left before it had its answer.
    ClientLeft,
    /// The client took nothing more of its answer (`ClientTimeOut`).
    ClientTimeOut,
    /// The client sent nothing more of its body (`ClientTimeOut`).
    BodyTimeOut,
    /// The backend refused the connection.
    ConnectRefused,
    /// There was no connection for another reason.
    ConnectFailed,
    /// There was no connection in time (`ConnectTimeOut`).
    ConnectTimeOut,
    /// The name of the backend has no address.
    Unresolved,
    /// We lacked descriptors, memory or ports.
    NoResources,
    /// The backend took no more of the request (`SendTimeOut`).
    SendTimeOut,
    /// The backend did not begin to answer in time (`HeaderTimeOut`).
    HeaderTimeOut,
    /// The backend stopped inside its answer (`ReadTimeOut`).
    ReadTimeOut,
    /// The connection broke before an answer.
    Reset,
    /// The backend closed the connection before an answer.
    Closed,
    /// It closed it inside the head of the answer.
    ClosedInHead,
    /// It closed it inside the body of the answer: the client sees the cut.
    Cut,
    /// What came was no proper answer.
    InvalidResponse,
    /// Its head was too long (`MaxResponseHeader`).
    ResponseTooLarge,
    /// Its chunks were malformed.
    BadChunks,
    /// Two backends broke over it (`PoisonGuard`).
    Poisoned,
    /// No backend is online, or left to try.
    AllOffline,
    /// All backends are busy, and there was no room to wait (`MaxConnections`, `QueueSize`).
    QueueFull,
    /// It waited in vain (`QueueTimeOut`).
    QueueTimeOut,
    /// It is no proper request, or one that is not forwarded.
    BadRequest,
    /// It has been here before.
    Loop,
    /// `Max-Forwards` ended it here.
    LastHop,
    /// It came when the server was about to end.
    ServerEnds,
    /// The connection had changed its protocol and was silent (`TunnelTimeOut`).
    TunnelTimeOut,
}

impl Cause {
    /// All of them.
    pub const ALL: [Cause; 28] = [
        Cause::Ok,
        Cause::ClientLeft,
        Cause::ClientTimeOut,
        Cause::BodyTimeOut,
        Cause::ConnectRefused,
        Cause::ConnectFailed,
        Cause::ConnectTimeOut,
        Cause::Unresolved,
        Cause::NoResources,
        Cause::SendTimeOut,
        Cause::HeaderTimeOut,
        Cause::ReadTimeOut,
        Cause::Reset,
        Cause::Closed,
        Cause::ClosedInHead,
        Cause::Cut,
        Cause::InvalidResponse,
        Cause::ResponseTooLarge,
        Cause::BadChunks,
        Cause::Poisoned,
        Cause::AllOffline,
        Cause::QueueFull,
        Cause::QueueTimeOut,
        Cause::BadRequest,
        Cause::Loop,
        Cause::LastHop,
        Cause::ServerEnds,
        Cause::TunnelTimeOut,
    ];

    /// What a failed attempt came to.
    pub fn of(failure: &Failure) -> Cause {
        match failure {
            Failure::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Cause::ConnectRefused
            }
            Failure::Connect(_) => Cause::ConnectFailed,
            Failure::Local(error) if error.kind() == io::ErrorKind::NotFound => Cause::Unresolved,
            Failure::Local(_) => Cause::NoResources,
            Failure::ConnectTimeOut => Cause::ConnectTimeOut,
            Failure::Reset(_) => Cause::Reset,
            Failure::Closed => Cause::Closed,
            Failure::ClosedInHead => Cause::ClosedInHead,
            Failure::SendTimeOut => Cause::SendTimeOut,
            Failure::HeaderTimeOut => Cause::HeaderTimeOut,
            Failure::BadResponse(BadResponse::TooLarge) => Cause::ResponseTooLarge,
            Failure::BadResponse(_) => Cause::InvalidResponse,
            Failure::BadChunk(_) => Cause::BadChunks,
            Failure::Truncated => Cause::Cut,
            Failure::ReadTimeOut => Cause::ReadTimeOut,
        }
    }

    /// What a request comes to that is not forwarded.
    pub fn of_refusal(refusal: Refusal) -> Cause {
        match refusal {
            Refusal::Malformed(_)
            | Refusal::Trace
            | Refusal::LengthRequired
            | Refusal::TooManyFields
            | Refusal::NotImplemented(_) => Cause::BadRequest,
        }
    }

    /// The word.
    pub fn code(self) -> &'static str {
        match self {
            Cause::Ok => "ok",
            Cause::ClientLeft => "client_left",
            Cause::ClientTimeOut => "client_timeout",
            Cause::BodyTimeOut => "body_timeout",
            Cause::ConnectRefused => "connect_refused",
            Cause::ConnectFailed => "connect_failed",
            Cause::ConnectTimeOut => "connect_timeout",
            Cause::Unresolved => "unresolved",
            Cause::NoResources => "no_resources",
            Cause::SendTimeOut => "send_timeout",
            Cause::HeaderTimeOut => "header_timeout",
            Cause::ReadTimeOut => "read_timeout",
            Cause::Reset => "reset",
            Cause::Closed => "closed",
            Cause::ClosedInHead => "closed_in_head",
            Cause::Cut => "cut",
            Cause::InvalidResponse => "invalid_response",
            Cause::ResponseTooLarge => "response_too_large",
            Cause::BadChunks => "bad_chunks",
            Cause::Poisoned => "poisoned",
            Cause::AllOffline => "all_offline",
            Cause::QueueFull => "queue_full",
            Cause::QueueTimeOut => "queue_timeout",
            Cause::BadRequest => "bad_request",
            Cause::Loop => "loop",
            Cause::LastHop => "last_hop",
            Cause::ServerEnds => "server_ends",
            Cause::TunnelTimeOut => "tunnel_timeout",
        }
    }

    /// The error type that RFC 9209 2.3 has for it, in an answer of our own.
    pub fn proxy_error(self) -> Option<&'static str> {
        Some(match self {
            Cause::Ok | Cause::ClientLeft | Cause::ClientTimeOut | Cause::TunnelTimeOut => return None,
            Cause::LastHop | Cause::ServerEnds => "proxy_internal_response",
            Cause::ConnectRefused => "connection_refused",
            Cause::ConnectFailed | Cause::AllOffline => "destination_unavailable",
            Cause::ConnectTimeOut => "connection_timeout",
            Cause::Unresolved => "dns_error",
            Cause::NoResources => "proxy_internal_error",
            Cause::SendTimeOut => "connection_write_timeout",
            Cause::HeaderTimeOut => "http_response_timeout",
            Cause::ReadTimeOut => "connection_read_timeout",
            Cause::Reset | Cause::Closed | Cause::Poisoned => "connection_terminated",
            Cause::ClosedInHead | Cause::Cut => "http_response_incomplete",
            Cause::InvalidResponse => "http_protocol_error",
            Cause::ResponseTooLarge => "http_response_header_section_size",
            Cause::BadChunks => "http_response_transfer_coding",
            Cause::QueueFull | Cause::QueueTimeOut => "connection_limit_reached",
            Cause::BadRequest | Cause::BodyTimeOut => "http_request_error",
            Cause::Loop => "proxy_loop_detected",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_cause_has_a_word_of_its_own() {
        let words: HashSet<&str> = Cause::ALL.iter().map(|cause| cause.code()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn errors_of_the_system_are_told_apart() {
        let of = |kind: io::ErrorKind| Cause::of(&Failure::Connect(kind.into()));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Cause::ConnectRefused);
        assert_eq!(of(io::ErrorKind::HostUnreachable), Cause::ConnectFailed);
        let lacks = Failure::of_connect(io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(Cause::of(&lacks), Cause::NoResources);
        assert_eq!(Cause::of(&Failure::of_connect(io::ErrorKind::NotFound.into())), Cause::Unresolved);
    }
}
