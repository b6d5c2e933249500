//! The machinery of one worker thread, and what all workers share.
//!
//! Owns: exchanges, connections to backends, their pool, time-outs. May use
//! the leaves `http`, `balancer`, `config` and `stats`; never `abi`. Reads no
//! clock, no environment, and no file once [`setup`] is done.
//!
//! The contract:
//!
//! 1. [`Shared::admit`] is read-only and gives the verdict that Stage 30 needs
//!    at once.
//! 2. No borrow is held while the host is called: [`drive()`] borrows the worker,
//!    takes one action, releases, calls the host, and feeds the outcome back. A
//!    nested `drive` on the same thread returns at once; the outer one picks up
//!    what the nested entry queued.
//! 3. [`Worker::client_gone`] frees the exchange before it returns.
//! 4. Keys, not pointers and not descriptors: a stale key finds nothing.
//! 5. Readiness is ours: flags are set by events and cleared only by a short
//!    read or write; what was not finished is queued again and the poll woken.
//! 6. A turn is bounded; then it is the host's turn.
//!
//! Read next: [`host`] (the border), [`network`] (what it needs of the system),
//! [`exchange`] (the states of one request), `serve.rs` (what moves it on),
//! `docs/LIFECYCLE.md` (all of it in charts).

pub mod attempts;
mod begin;
mod blame;
pub mod budget;
pub mod cause;
mod choice;
mod date;
mod deadlines;
pub mod drive;
mod ending;
pub mod endpoint;
pub mod exchange;
pub mod explain;
pub mod failure;
pub mod host;
mod idle;
pub mod intake;
pub mod naming;
pub mod network;
mod noting;
mod outcome;
pub mod pipe;
pub mod poison;
mod pool;
mod probing;
mod queue;
pub mod record;
mod relay;
mod resolver;
pub mod retry;
pub mod seldom;
mod serve;
pub mod setup;
pub mod shared;
pub mod slots;
pub mod sockets;
mod spare;
mod splice;
mod status_page;
mod timer;
pub mod times;
pub mod token;
mod tunnel;
mod upload;
pub mod upstream;
mod window;
pub mod worker;

pub use crate::http::path::decoded_path;
pub use crate::http::request::head_end;
pub use drive::drive;
pub use ending::{Ending, UnderWay};
pub use host::{Awaits, ClientKey, End, Fate, Host, Received, RequestParts, Sent};
pub use pipe::Pipe;
pub use record::Logs;
pub use seldom::Seldom;
pub use shared::{MatchScratch, Shared, Verdict};
pub use status_page::last_resort;
pub use worker::Worker;

/// One moment, read by whoever called us; the engine has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds since some moment before the first request.
    pub ms: u64,
    /// The same in microseconds, for what is only told.
    pub us: u64,
    /// Seconds since the Unix epoch, for dates.
    pub unix: u64,
}
