//! HTTP/1.1 as pure functions on bytes (RFC 9110, RFC 9112).
//!
//! Owns: what a request and a response head say, where a body ends, how heads
//! are written for the next hop, which pattern a path matches. May not touch:
//! sockets, clocks, configuration, any other module of this crate.
//!
//! Read next: [`request`] (what a client asked), [`response`] (what a backend
//! answered), [`body`] (where the answer ends), [`forward`] (what is sent on),
//! [`rules`] (what a route changes on the way).

pub mod body;
pub mod chunked;
pub mod claims;
pub mod cookie;
pub mod fields;
pub mod forward;
pub mod forwarded;
pub mod path;
pub mod prefix;
pub mod presented;
pub mod reply;
pub mod request;
pub mod response;
pub mod rewrite;
pub mod router;
pub mod rules;
pub mod trailers;
pub mod via;

/// Field lines that one head may hold; more are refused (431 or 502).
pub const MAX_FIELDS: usize = 256;

/// The protocol version of a message, as far as it changes what we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked framing, closed unless keep-alive was asked for.
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
}
