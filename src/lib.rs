//! A reverse proxy and load balancer for the Monkey HTTP server.

#![warn(clippy::dbg_macro)]

pub mod balancer;
pub mod config;
