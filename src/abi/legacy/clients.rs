//! What is known of the clients of one worker, by descriptor: Monkey 1.5 names
//! them by nothing else.

use std::ffi::c_int;
use std::net::IpAddr;
use std::ptr::NonNull;

use super::raw::{ClientSession, SessionRequest};
use crate::engine::ClientKey;

/// Where a client's request stands, as far as the host is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub enum Seat {
    /// No request of ours.
    #[default]
    Empty,
    /// An exchange is under way.
    Serving(Serving),
    /// The exchange is over; the connection is closed in its own write event,
    /// where no event of the same batch can be stale.
    Closing,
    /// The host dropped the client in service. Before 1.5.6 it forgot the
    /// session, which must be ended once its socket is closed.
    Dropped,
}

/// A client in service. The pointers are good until the request is ended or
/// Stage 50 tells that the client is gone.
#[derive(Clone, Copy, Debug)]
pub struct Serving {
    /// The engine's name for it.
    pub key: ClientKey,
    /// The session.
    pub session: NonNull<ClientSession>,
    /// The request.
    pub request: NonNull<SessionRequest>,
}

/// What stays the same for the life of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address as text; IPv6 without brackets.
    pub text: String,
    /// The address as bytes.
    pub bytes: [u8; 16],
    /// How many bytes of it count.
    pub len: usize,
}

/// All clients of a worker that we met.
#[derive(Debug, Default)]
pub struct Clients {
    by_fd: Vec<Client>,
    /// The descriptor of each exchange, by the place in its key.
    fd_of: Vec<c_int>,
}

#[derive(Debug, Default)]
struct Client {
    seat: Seat,
    peer: Option<Peer>,
    number: Option<u32>,
}

impl Clients {
    /// The seat of a descriptor.
    pub fn seat(&self, fd: c_int) -> Seat {
        index(fd).and_then(|i| self.by_fd.get(i)).map_or(Seat::Empty, |client| client.seat)
    }

    /// Changes the seat of a descriptor; gives the former one.
    pub fn set(&mut self, fd: c_int, seat: Seat) -> Seat {
        if let Seat::Serving(serving) = &seat {
            let place = serving.key.index();
            if self.fd_of.len() <= place {
                self.fd_of.resize(place + 1, -1);
            }
            self.fd_of[place] = fd;
        }
        self.client(fd).map_or(Seat::Empty, |client| std::mem::replace(&mut client.seat, seat))
    }

    /// The descriptor and the pointers of a client in service.
    pub fn serving(&self, key: ClientKey) -> Option<(c_int, Serving)> {
        let fd = *self.fd_of.get(key.index())?;
        match self.seat(fd) {
            Seat::Serving(serving) if serving.key == key => Some((fd, serving)),
            _ => None,
        }
    }

    /// The peer of a connection; `find` asks for it once.
    pub fn peer(&mut self, fd: c_int, find: impl FnOnce() -> Peer) -> Peer {
        match self.client(fd) {
            Some(client) => client.peer.get_or_insert_with(find).clone(),
            None => find(),
        }
    }

    /// The number of a connection; `take` asks for it once.
    pub fn number(&mut self, fd: c_int, take: impl FnOnce() -> u32) -> u32 {
        self.client(fd).map_or(0, |client| *client.number.get_or_insert_with(take))
    }

    /// Forgets what belonged to a connection that is closed; gives its number.
    pub fn forget(&mut self, fd: c_int) -> Option<u32> {
        let client = index(fd).and_then(|i| self.by_fd.get_mut(i))?;
        client.peer = None;
        client.number.take()
    }

    /// The descriptors of all clients in service.
    pub fn in_service(&self) -> Vec<c_int> {
        let fds = self.by_fd.iter().enumerate().filter(|(_, c)| matches!(c.seat, Seat::Serving(_)));
        fds.filter_map(|(fd, _)| c_int::try_from(fd).ok()).collect()
    }

    fn client(&mut self, fd: c_int) -> Option<&mut Client> {
        let i = index(fd)?;
        if self.by_fd.len() <= i {
            self.by_fd.resize_with(i + 1, Client::default);
        }
        self.by_fd.get_mut(i)
    }
}

impl Peer {
    /// The peer at `address`; an IPv4 address inside IPv6 is shown as IPv4.
    pub fn new(address: IpAddr) -> Self {
        let mut bytes = [0; 16];
        let address = address.to_canonical();
        let len = match address {
            IpAddr::V4(v4) => {
                bytes[..4].copy_from_slice(&v4.octets());
                4
            }
            IpAddr::V6(v6) => {
                bytes = v6.octets();
                16
            }
        };
        Peer { text: address.to_string(), bytes, len }
    }
}

fn index(fd: c_int) -> Option<usize> {
    usize::try_from(fd).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_an_earlier_exchange_finds_nobody() {
        let mut clients = Clients::default();
        let serving = |bits| Serving {
            key: ClientKey::from_bits(bits),
            session: NonNull::dangling(),
            request: NonNull::dangling(),
        };
        clients.set(9, Seat::Serving(serving(3)));
        assert_eq!(clients.serving(ClientKey::from_bits(3)).map(|(fd, _)| fd), Some(9));
        assert!(clients.serving(ClientKey::from_bits(1 << 32 | 3)).is_none());
        assert!(matches!(clients.set(9, Seat::Closing), Seat::Serving(_)));
        assert!(clients.serving(ClientKey::from_bits(3)).is_none());
        assert!(matches!(clients.seat(-1), Seat::Empty));
        assert!(matches!(clients.seat(4000), Seat::Empty));
    }

    #[test]
    fn peers_and_numbers_last_as_long_as_the_connection() {
        let mut clients = Clients::default();
        let address = || Peer::new("::ffff:10.0.0.9".parse().unwrap());
        assert_eq!(clients.peer(5, address).text, "10.0.0.9");
        assert_eq!(clients.peer(5, || unreachable!()).len, 4);
        assert_eq!(clients.number(5, || 7), 7);
        assert_eq!(clients.number(5, || 8), 7);
        assert_eq!(clients.forget(5), Some(7));
        assert_eq!(clients.forget(5), None);
        assert_eq!(clients.peer(5, || Peer::new("2001:db8::1".parse().unwrap())).text, "2001:db8::1");
    }
}
