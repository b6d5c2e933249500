//! The other ends of client connections, by descriptor: the host's connections have no other name
//! that both families know.

use std::ffi::c_int;
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use super::FdMap;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    text: [u8; TEXT_MAX],
    text_len: u8,
    bytes: [u8; 16],
    bytes_len: u8,
}

/// The longest address as text.
const TEXT_MAX: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len();

/// The peers of one worker.
///
/// Addresses are remembered in a table that does not grow with the number of clients: they are what
/// is left of a client that asks nothing. Whose seat somebody else has is asked for again.
#[derive(Debug, Default)]
pub struct Peers {
    seats: Vec<Option<(c_int, Peer)>>,
    numbers: FdMap<u32>,
}

/// Seats of the table: a system call is saved for so many busy clients, for 36 KB at most.
const SEATS: usize = 512;

impl Peers {
    /// The peer of a connection; `find` asks for it.
    pub fn peer(&mut self, fd: c_int, find: impl FnOnce() -> Peer) -> Peer {
        let i = seat_of(fd);
        if self.seats.len() <= i {
            self.seats.resize(i + 1, None);
        }
        match &self.seats[i] {
            Some((owner, peer)) if *owner == fd => *peer,
            _ => {
                let peer = find();
                self.seats[i] = Some((fd, peer));
                peer
            }
        }
    }

    /// The number of a connection (Naive); `take` asks for it once.
    pub fn number(&mut self, fd: c_int, take: impl FnOnce() -> u32) -> u32 {
        *self.numbers.entry(fd).or_insert_with(take)
    }

    /// Forgets a connection that is closed; gives its number.
    pub fn forget(&mut self, fd: c_int) -> Option<u32> {
        if let Some(seat) = self.seats.get_mut(seat_of(fd))
            && seat.is_some_and(|(owner, _)| owner == fd)
        {
            *seat = None;
        }
        self.numbers.remove(&fd)
    }
}

fn seat_of(fd: c_int) -> usize {
    fd.unsigned_abs() as usize % SEATS
}

impl Peer {
    /// The peer at `address`; an IPv4 address inside IPv6 is shown as IPv4.
    pub fn new(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let mut peer = Peer::named(format_args!("{address}"));
        match address {
            IpAddr::V4(v4) => {
                peer.bytes[..4].copy_from_slice(&v4.octets());
                peer.bytes_len = 4;
            }
            IpAddr::V6(v6) => {
                peer.bytes = v6.octets();
                peer.bytes_len = 16;
            }
        }
        peer
    }

    /// The peer of a client's socket.
    pub fn of_socket(fd: c_int) -> Self {
        // SAFETY: the socket is open: it belongs to the request being processed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        match rustix::net::getpeername(fd).ok().flatten().map(std::net::SocketAddr::try_from) {
            Some(Ok(address)) => Peer::new(address.ip()),
            // Gone already, or a Unix socket: RFC 7239 6 has this word for it.
            _ => Peer::named(format_args!("unknown")),
        }
    }

    /// The address as text; IPv6 without brackets.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text[..self.text_len.into()]).unwrap_or_default()
    }

    /// The address as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.bytes_len.into()]
    }

    fn named(name: fmt::Arguments<'_>) -> Self {
        let mut peer = Peer { text: [0; TEXT_MAX], text_len: 0, bytes: [0; 16], bytes_len: 0 };
        // It cannot fail: no address is longer than the longest.
        let _ = Text(&mut peer).write_fmt(name);
        peer
    }
}

/// Writes the text of a peer.
struct Text<'a>(&'a mut Peer);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let from = usize::from(self.0.text_len);
        let to = from + piece.len();
        self.0.text.get_mut(from..to).ok_or(fmt::Error)?.copy_from_slice(piece.as_bytes());
        self.0.text_len = u8::try_from(to).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    #[test]
    fn peers_and_numbers_last_as_long_as_the_connection() {
        let mut peers = Peers::default();
        assert_eq!(peers.peer(5, || peer("::ffff:10.0.0.9")).text(), "10.0.0.9");
        assert_eq!(peers.peer(5, || unreachable!()).bytes(), [10, 0, 0, 9]);
        assert_eq!(peers.number(5, || 7), 7);
        assert_eq!(peers.number(5, || 8), 7);
        assert_eq!(peers.forget(5), Some(7));
        assert_eq!(peers.forget(5), None);
        let longest = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff";
        assert_eq!(peers.peer(5, || peer(longest)).text(), longest);
        assert_eq!((peers.forget(-1), peers.forget(4000)), (None, None));
    }

    #[test]
    fn who_has_lost_the_seat_is_asked_for_again() {
        let mut peers = Peers::default();
        let (one, other) = (5, 5 + c_int::try_from(SEATS).unwrap());
        assert_eq!(peers.peer(one, || peer("10.0.0.1")).text(), "10.0.0.1");
        assert_eq!(peers.peer(other, || peer("10.0.0.2")).text(), "10.0.0.2");
        peers.forget(one);
        assert_eq!(peers.peer(other, || unreachable!()).text(), "10.0.0.2");
        assert_eq!(peers.peer(one, || peer("10.0.0.1")).text(), "10.0.0.1");
    }

    #[test]
    fn the_table_of_addresses_grew_with_the_clients() {
        let mut peers = Peers::default();
        for fd in 0..20_000 {
            peers.peer(fd, || peer("10.0.0.1"));
        }
        assert!(peers.seats.capacity() * size_of::<Option<(c_int, Peer)>>() <= 36 * 1024);
    }
}
