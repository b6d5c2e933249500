//! A reverse proxy and load balancer that the Monkey HTTP server loads as a plugin.

pub mod abi;
pub mod balancer;
pub mod config;
pub mod engine;
pub mod http;
pub mod stats;
