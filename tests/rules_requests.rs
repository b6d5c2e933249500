//! Rules on requests: what may reach a backend, and in which form (RFC 9110, RFC 9112, RFC 7239).
//!
//! Each test is named by its rule; `docs/HTTP-CONFORMANCE.md` is the table of all of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

#[path = "rules/requests/bodies.rs"]
mod bodies;
#[path = "rules/requests/fields.rs"]
mod fields;
#[path = "rules/requests/heads.rs"]
mod heads;
#[path = "rules/requests/hosts.rs"]
mod hosts;
#[path = "rules/requests/identity.rs"]
mod identity;
#[path = "rules/requests/targets.rs"]
mod targets;
