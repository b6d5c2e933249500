//! One address that backends are reached at.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use mio::net::{TcpStream, UnixStream};
use parking_lot::RwLock;

use super::seldom::Seldom;
use super::sockets::Socket;
use super::window::Learned;
use crate::config::ServerAddress;

/// An address, shared by all workers and all routes that name it.
#[derive(Debug)]
pub struct Endpoint {
    label: String,
    authority: String,
    place: Place,
    connections: AtomicU32,
    stale: AtomicU64,
    /// How long it keeps idle connections, as it turned out.
    pub learned: Learned,
    /// What keeps us from connecting to it, and is no fault of its own.
    pub lacks: Seldom,
}

#[derive(Debug)]
enum Place {
    Fixed(SocketAddr),
    Unix(PathBuf),
    /// A name; its address is known once the resolver found it. The lock is
    /// held for a copy, never across I/O, and only when a connection is opened.
    Named {
        host: String,
        port: u16,
        found: RwLock<Option<SocketAddr>>,
    },
}

impl Endpoint {
    /// The endpoint of a configured address.
    pub fn new(address: &ServerAddress) -> Self {
        let label = address.to_string();
        let (authority, place) = match address {
            ServerAddress::Socket(socket) => (label.clone(), Place::Fixed(*socket)),
            ServerAddress::Unix(path) => ("localhost".to_owned(), Place::Unix(path.clone())),
            ServerAddress::Name { host, port } => {
                (label.clone(), Place::Named { host: host.clone(), port: *port, found: RwLock::new(None) })
            }
        };
        Endpoint {
            label,
            authority,
            place,
            connections: AtomicU32::default(),
            stale: AtomicU64::default(),
            learned: Learned::default(),
            lacks: Seldom::new(),
        }
    }

    /// The address as configured.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What goes into `Host` when the client sent none.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Connections open to it, of all workers.
    pub fn connections(&self) -> u64 {
        u64::from(self.connections.load(Relaxed))
    }

    /// A connection that was kept for it turned out to be closed.
    pub fn count_stale(&self) {
        self.stale.fetch_add(1, Relaxed);
    }

    /// How many connections that were kept turned out to be closed, of all workers.
    pub fn stale(&self) -> u64 {
        self.stale.load(Relaxed)
    }

    /// The name and port to look up, if this endpoint has a name.
    pub fn name(&self) -> Option<(&str, u16)> {
        match &self.place {
            Place::Named { host, port, .. } => Some((host, *port)),
            _ => None,
        }
    }

    /// Whether there is an address to connect to.
    pub fn is_resolved(&self) -> bool {
        match &self.place {
            Place::Named { found, .. } => found.read().is_some(),
            _ => true,
        }
    }

    /// Takes a look-up's result; tells whether it is news.
    pub fn set_resolved(&self, address: SocketAddr) -> bool {
        match &self.place {
            Place::Named { found, .. } => found.write().replace(address) != Some(address),
            _ => false,
        }
    }

    /// Starts a non-blocking connect.
    ///
    /// # Errors
    /// What the system says at once, or `NotFound` while the name has no address.
    pub fn connect(&self) -> io::Result<Socket> {
        let address = match &self.place {
            Place::Fixed(address) => *address,
            Place::Named { found, .. } => (*found.read()).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the name of {} has no address yet", self.label),
                )
            })?,
            Place::Unix(path) => return Ok(Socket::Unix(UnixStream::connect(path)?)),
        };
        let stream = TcpStream::connect(address)?;
        // Requests leave whole; waiting for more would only delay their end.
        stream.set_nodelay(true)?;
        Ok(Socket::Tcp(stream))
    }
}

/// Counts one open connection for as long as it lives.
#[derive(Debug)]
pub struct Counted(Arc<Endpoint>);

impl Counted {
    /// Counts a connection to `endpoint`.
    pub fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.connections.fetch_add(1, Relaxed);
        Counted(Arc::clone(endpoint))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
