//! Rules on connections: pools, retries, time-outs, clients that leave (RFC 9110 section 9.2.2,
//! RFC 9112 section 9, RFC 9209).
//!
//! Each test is named by its rule; `docs/HTTP-CONFORMANCE.md` is the table of all of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

#[path = "rules/connections/balance.rs"]
mod balance;
#[path = "rules/connections/clients.rs"]
mod clients;
#[path = "rules/connections/ends.rs"]
mod ends;
#[path = "rules/connections/failures.rs"]
mod failures;
#[path = "rules/connections/pools.rs"]
mod pools;
