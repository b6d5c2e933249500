//! What the engine needs from whoever owns the client's connection.

use std::io::IoSlice;
use std::os::fd::RawFd;

use super::exchange::Exchange;
use super::pipe::Pipe;
use super::slots::Key;

/// Names one client for the length of one exchange: our own slot and
/// generation, never a descriptor or a pointer of the host.
pub type ClientKey = Key<Exchange>;

/// The owner of the client connections.
///
/// Called by [`super::drive()`] alone, with no borrow held: any call may enter
/// the engine again. A key that the host does not know any more is ignored
/// ([`Sent::Gone`]).
pub trait Host {
    /// Offers `bytes` to the client without blocking.
    fn send(&self, client: ClientKey, bytes: &[IoSlice<'_>]) -> Sent;

    /// How many bytes more the client's connection takes for certain, without a part of them
    /// being left; 0 where nobody knows.
    fn room(&self, client: ClientKey) -> usize;

    /// Offers bytes to the client that are in a pipe. Only for clients of whom
    /// [`RequestParts::may_splice`] was said.
    fn splice(&self, client: ClientKey, from: &Pipe, bytes: usize) -> Sent;

    /// Takes what the client has sent behind the request, without blocking.
    fn receive(&self, client: ClientKey, buffer: &mut [u8]) -> Received;

    /// Lets the client know at once that what it sent has arrived; best effort.
    fn acknowledge(&self, _client: ClientKey) {}

    /// Whether [`Host::take_back`] does something for this client.
    fn takes_back(&self, _client: ClientKey) -> bool {
        false
    }

    /// Takes what was received behind the end of a request, to read it again as
    /// the beginning of the next one.
    fn take_back(&self, _client: ClientKey, _bytes: Vec<u8>) {}

    /// Tells the client that nothing more comes, while it may go on sending.
    /// False if its transport cannot say that.
    fn finish_sending(&self, client: ClientKey) -> bool;

    /// The exchange is over; the engine has forgotten it.
    fn end(&self, client: ClientKey, end: End);
}

/// What became of bytes offered to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So many were taken, from the front; fewer than offered means that the
    /// client is full for now.
    Bytes(usize),
    /// The client will not take any, ever.
    Gone,
}

/// What became of the wish to read from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, more than zero.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// The client sends no more.
    End,
    /// The connection is broken.
    Gone,
}

/// How an exchange ended, for the host's log and its keep-alive decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The status that the client got, or would have got (499: it left first).
    pub status: u16,
    /// Body bytes that were sent to it.
    pub body_bytes: u64,
    /// What is to become of the connection.
    pub fate: Fate,
}

/// What becomes of a client's connection behind an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may carry another request.
    KeepAlive,
    /// It is closed; the response is complete.
    Close,
    /// It is closed in a way that shows the client that something is missing.
    Abort,
}

/// Which bodies are in a host's hands, whole, when it hands a request over. Of
/// others it has the beginning; the rest is with the client.
#[derive(Clone, Copy, Debug)]
pub struct Awaits {
    /// Bodies with `Content-Length`, by method.
    pub length: fn(&str) -> bool,
    /// Chunked bodies, by method; they are still in chunks.
    pub chunked: fn(&str) -> bool,
}

/// A request as the host hands it over; copied before the call returns.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The raw head, its empty line included.
    pub head: &'a [u8],
    /// What the host has behind the head: the body, and perhaps more.
    pub behind: &'a [u8],
    /// The host itself goes on with what stands behind a request without a
    /// body. Otherwise such bytes are lost at the end of the request.
    pub keeps_rest: bool,
    /// What the host has behind the head is all that came so far, and what the
    /// client sends from now on is left to us.
    pub rest_is_ours: bool,
    /// The client's socket, to be watched in the worker's own poll.
    pub fd: RawFd,
    /// The client's address as text.
    pub client: &'a str,
    /// The client's address as bytes, for Source-Hash.
    pub source: &'a [u8],
    /// The client came over TLS.
    pub secure: bool,
    /// What is in a pipe can be sent to the client as it is.
    pub may_splice: bool,
    /// The host's own decision: this connection may carry another request.
    pub may_keep_alive: bool,
    /// Which bodies the host waits for before it hands a request over.
    pub awaits: Awaits,
    /// The client's connection number (see `balancer::ConnectionNumbers`); 0 where no balancer asks for it.
    pub connection: u32,
}
