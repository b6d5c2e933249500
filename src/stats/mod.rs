//! Numbers out: what an operator may want to know, and how it is shown.
//!
//! Owns: the counters per backend and their HTML and JSON forms. May not touch:
//! sockets, clocks, any other module of this crate. Nothing here is ever read
//! to make a decision.
//!
//! Read next: [`counters`] (what is counted), [`snapshot`] (one moment of it).

pub mod counters;
pub mod html;
pub mod snapshot;

pub use counters::{BackendCounters, RouteCounters};
pub use snapshot::{BackendRow, RouteRow, Snapshot};
