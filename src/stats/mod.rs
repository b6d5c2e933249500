//! Numbers out: what an operator may want to know, and how it is shown.
//!
//! Owns: the counters and histograms of each worker, their sums, and their HTML and JSON forms. May not touch:
//! sockets, clocks, any other module of this crate. Nothing here is ever read
//! to make a decision.
//!
//! Read next: [`counters`] (what is counted), [`tally`] (by whom), [`snapshot`] (one moment of it).

pub mod counters;
pub mod events;
pub mod histogram;
pub mod html;
pub mod prometheus;
pub mod seconds;
pub mod snapshot;
pub mod tally;
pub mod words;

pub use counters::RouteCounters;
pub use events::Recorder;
pub use snapshot::{BackendRow, Durations, RouteRow, Snapshot};
pub use tally::{Tallies, Tally};
