//! A reverse proxy and load balancer that the Monkey HTTP server loads as a plugin.
//!
//! ```text
//! abi  ->  engine  ->  { http, balancer, config, stats }
//! ```
//!
//! Calls go to the right only, and the four on the right do not know each
//! other (`tests/architecture.rs` holds it). Monkey calls [`abi`], which hands
//! a request to the [`engine`]; that asks [`http`] what it means, [`balancer`]
//! who gets it, and comes back to Monkey through the trait [`engine::Host`].
//!
//! Read next: `docs/ARCHITECTURE.md` (the way of one request), then [`engine`].

pub mod abi;
pub mod balancer;
pub mod config;
pub mod engine;
pub mod http;
pub mod stats;
