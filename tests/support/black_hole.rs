//! An address that neither accepts nor refuses: a listener whose queue is full.

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use super::{
    sockets::{LOOPBACK, Reserved, connect_only_begun},
    wait::within,
};

/// A connect to it stays unanswered for as long as this value lives.
pub struct BlackHole {
    port: Reserved,
    _listener: OwnedFd,
    _filling: Vec<TcpStream>,
}

impl BlackHole {
    /// Opens one and fills its queue.
    pub fn new() -> BlackHole {
        let port = Reserved::new(LOOPBACK).unwrap();
        let listener = port.listen(0).unwrap();
        let mut filling = Vec::new();
        for _ in 0..64 {
            let stream = connect_only_begun(port.addr()).unwrap();
            let arrived = within(Duration::from_millis(60), || stream.peer_addr().is_ok());
            filling.push(stream);
            if !arrived {
                return BlackHole { port, _listener: listener, _filling: filling };
            }
        }
        panic!("this system keeps accepting behind a full queue");
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }
}
