//! What stays the same for the life of a client connection, by descriptor:
//! the host's connections have no other name that both families know.

use std::ffi::c_int;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// The other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The address as text; IPv6 without brackets.
    pub text: String,
    /// The address as bytes.
    pub bytes: [u8; 16],
    /// How many bytes of it count.
    pub len: usize,
}

/// The peers of one worker.
#[derive(Debug, Default)]
pub struct Peers {
    by_fd: Vec<Seat>,
}

#[derive(Debug, Default)]
struct Seat {
    peer: Option<Peer>,
    number: Option<u32>,
}

impl Peers {
    /// The peer of a connection; `find` asks for it once.
    pub fn peer(&mut self, fd: c_int, find: impl FnOnce() -> Peer) -> &Peer {
        self.seat(fd).peer.get_or_insert_with(find)
    }

    /// The number of a connection (Naive); `take` asks for it once.
    pub fn number(&mut self, fd: c_int, take: impl FnOnce() -> u32) -> u32 {
        *self.seat(fd).number.get_or_insert_with(take)
    }

    /// Forgets a connection that is closed; gives its number.
    pub fn forget(&mut self, fd: c_int) -> Option<u32> {
        let seat = self.by_fd.get_mut(usize::try_from(fd).ok()?)?;
        seat.peer = None;
        seat.number.take()
    }

    /// The seat of an open descriptor.
    fn seat(&mut self, fd: c_int) -> &mut Seat {
        let i = usize::try_from(fd).unwrap_or_default();
        if self.by_fd.len() <= i {
            self.by_fd.resize_with(i + 1, Seat::default);
        }
        &mut self.by_fd[i]
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

    /// The peer of a client's socket.
    pub fn of_socket(fd: c_int) -> Self {
        // SAFETY: the socket is open: it belongs to the request being processed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match rustix::net::getpeername(fd).ok().flatten().map(std::net::SocketAddr::try_from) {
            Some(Ok(address)) => Peer::new(address.ip()),
            // Gone already, or a Unix socket: RFC 7239 6 has this word for it.
            _ => Peer { text: "unknown".into(), ..Peer::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_and_numbers_last_as_long_as_the_connection() {
        let mut peers = Peers::default();
        let address = || Peer::new("::ffff:10.0.0.9".parse().unwrap());
        assert_eq!(peers.peer(5, address).text, "10.0.0.9");
        assert_eq!(peers.peer(5, || unreachable!()).len, 4);
        assert_eq!(peers.number(5, || 7), 7);
        assert_eq!(peers.number(5, || 8), 7);
        assert_eq!(peers.forget(5), Some(7));
        assert_eq!(peers.forget(5), None);
        assert_eq!(peers.peer(5, || Peer::new("2001:db8::1".parse().unwrap())).text, "2001:db8::1");
        assert_eq!((peers.forget(-1), peers.forget(4000)), (None, None));
    }
}
