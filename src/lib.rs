//! A reverse proxy and load balancer for the Monkey HTTP server.

pub mod http;
