//! What the end-to-end tests share: hosts that load the plugin, toy backends, a raw client.
//!
//! A test reads like this: start backends (`Backend::start("a", vice::echo())`), write a
//! configuration (`Conf::new().route("^/app", &[&a])`), and in `for_each_host` start a
//! `Host` with it and talk to it with `host.client()`. Next to read: `host.rs`.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read the clock, wait, and fail loudly"
)]

pub mod backends;
pub mod black_hole;
pub mod build;
pub mod certificate;
pub mod child;
pub mod client;
pub mod conf;
pub mod host;
pub mod limits;
pub mod mischief;
pub mod random;
pub mod rules;
pub mod seen;
pub mod sockets;
pub mod usage;
pub mod vice;
pub mod wait;

#[allow(unused_imports, reason = "each test file uses its own part of this")]
pub use self::{
    backends::Backend,
    certificate::Certificate,
    client::{Client, End, Framing, Response},
    conf::Conf,
    host::{Host, Kind, Setup, for_each_host, harness_only},
    seen::Seen,
    vice::Next,
    wait::{Steady, assert_bytes, eventually, in_chunks, pattern, steadily, within},
};
