//! Rules on responses: what of a backend's answer may reach a client (RFC 9110, RFC 9112, RFC 8297).
//!
//! Each test is named by its rule; `docs/HTTP-CONFORMANCE.md` is the table of all of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

#[path = "rules/responses/chunks.rs"]
mod chunks;
#[path = "rules/responses/ends.rs"]
mod ends;
#[path = "rules/responses/fields.rs"]
mod fields;
#[path = "rules/responses/interim.rs"]
mod interim;
#[path = "rules/responses/lengths.rs"]
mod lengths;
#[path = "rules/responses/status.rs"]
mod status;
#[path = "rules/responses/timing.rs"]
mod timing;
