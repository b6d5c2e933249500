//! What has to hold for any bytes: one function for each fuzz target, which panics when it does
//! not. `tests/corpus.rs` runs them over the kept files and over made-up input in every
//! `cargo test`; `fuzz/` looks for more.
//!
//! They compare with `naive.rs`, which is written to be obviously right and shares no code with
//! what it judges.

#![allow(dead_code, reason = "each fuzz target uses its own part of this")]

mod chunked;
mod configuration;
mod naive;
mod presented;
mod request;
mod response;
mod rules;

/// A fuzz target: its name, which is that of its folder in `fuzz/corpus`, and its property,
/// which says whether the bytes were taken (true) or refused.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// All of them.
pub const TARGETS: [Target; 4] = [REQUEST_HEAD, RESPONSE_HEAD, CHUNKED, CONFIGURATION];

/// A request head that is taken goes on as exactly that request.
pub const REQUEST_HEAD: Target = ("request_head", request::check);

/// A response head that is taken is told to the client with the same meaning.
pub const RESPONSE_HEAD: Target = ("response_head", response::check);

/// A chunked body has one content, however it comes in pieces.
pub const CHUNKED: Target = ("chunked", chunked::check);

/// A configuration means one thing or is refused with places and reasons.
pub const CONFIGURATION: Target = ("configuration", configuration::check);
