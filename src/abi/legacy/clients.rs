//! What is known of the clients of one worker, by descriptor: Monkey 1.5 names
//! them by nothing else.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::raw::{ClientSession, SessionRequest};
use crate::abi::FdMap;
use crate::engine::ClientKey;

/// Where a client's request stands, as far as the host is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub enum Seat {
    /// No request of ours.
    #[default]
    Empty,
    /// An exchange is under way.
    Serving(Serving),
    /// The exchange is over; the connection is closed in an event of its own,
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

/// The clients of a worker of which there is something to know: none that asks nothing.
#[derive(Debug, Default)]
pub struct Clients {
    by_fd: FdMap<Seat>,
    /// The descriptor of each exchange, by the place in its key.
    fd_of: Vec<c_int>,
    /// By descriptor: the length of the piece that the transport refused last.
    refused: FdMap<usize>,
}

impl Clients {
    /// The seat of a descriptor.
    pub fn seat(&self, fd: c_int) -> Seat {
        self.by_fd.get(&fd).copied().unwrap_or_default()
    }

    /// Changes the seat of a descriptor; gives the former one.
    pub fn set(&mut self, fd: c_int, seat: Seat) -> Seat {
        if !matches!(seat, Seat::Serving(_)) {
            self.refused.remove(&fd);
        }
        if let Seat::Serving(serving) = &seat {
            let place = serving.key.index();
            if self.fd_of.len() <= place {
                self.fd_of.resize(place + 1, -1);
            }
            self.fd_of[place] = fd;
        }
        let former = match seat {
            Seat::Empty => self.by_fd.remove(&fd),
            seat => self.by_fd.insert(fd, seat),
        };
        former.unwrap_or_default()
    }

    /// The descriptor and the pointers of a client in service.
    pub fn serving(&self, key: ClientKey) -> Option<(c_int, Serving)> {
        let fd = *self.fd_of.get(key.index())?;
        match self.seat(fd) {
            Seat::Serving(serving) if serving.key == key => Some((fd, serving)),
            _ => None,
        }
    }

    /// The length of the piece that the transport did not take from a client last; 0 if it took all.
    pub fn refused(&self, fd: c_int) -> usize {
        self.refused.get(&fd).copied().unwrap_or(0)
    }

    /// Notes such a length.
    pub fn set_refused(&mut self, fd: c_int, length: usize) {
        if length > 0 {
            self.refused.insert(fd, length);
        } else {
            self.refused.remove(&fd);
        }
    }

    /// The descriptors of all clients in service.
    pub fn in_service(&self) -> Vec<c_int> {
        let in_service = self.by_fd.iter().filter(|(_, seat)| matches!(seat, Seat::Serving(_)));
        in_service.map(|(fd, _)| *fd).collect()
    }
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
        let generation = if usize::BITS == 64 { 1 << 32 } else { 1 << 18 };
        let later = ClientKey::from_bits(generation | 3);
        assert_eq!(later.index(), 3);
        assert!(clients.serving(later).is_none());
        assert!(matches!(clients.set(9, Seat::Closing), Seat::Serving(_)));
        assert!(clients.serving(ClientKey::from_bits(3)).is_none());
        assert!(matches!(clients.seat(-1), Seat::Empty));
        assert!(matches!(clients.seat(4000), Seat::Empty));
    }

    #[test]
    fn the_table_of_clients_grew_with_those_that_asked_nothing() {
        let mut clients = Clients::default();
        for fd in 0..20_000 {
            let key = ClientKey::from_bits(0);
            let (session, request) = (NonNull::dangling(), NonNull::dangling());
            clients.set(fd, Seat::Serving(Serving { key, session, request }));
            clients.set(fd, Seat::Empty);
        }
        assert!(clients.by_fd.capacity() < 10 && clients.fd_of.len() == 1);
    }
}
