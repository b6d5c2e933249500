//! Monkey 1.5 as the engine's [`Host`].

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::io::IoSlice;
use std::ptr::NonNull;

use super::clients::{Clients, Seat, Serving};
use super::raw::{LEVEL_TRIGGERED, MODE_READ, PluginApi, SessionRequest};
use super::reads;
use crate::abi::nudge;
use crate::abi::peers::Peers;
use crate::abi::socket::{self, c_text};
use crate::engine::{ClientKey, End, Fate, Host, Pipe, Received, Sent};

/// The host of one worker thread.
pub struct LegacyHost {
    /// The server's table of functions; it lives as long as the process.
    pub api: &'static PluginApi,
    /// Client sockets carry plain bytes: no detour through the transport.
    pub plain: bool,
    /// What is in a pipe can go to clients as it is.
    pub may_splice: bool,
    /// The server speaks TLS to its clients.
    pub secure: bool,
    /// The clients of this worker.
    pub clients: RefCell<Clients>,
    /// What stays the same for the life of a connection.
    pub peers: RefCell<Peers>,
    /// The client whose Stage 30 is being run: it must not be ended in there.
    pub in_stage: Cell<Option<ClientKey>>,
    /// How the exchange of `in_stage` ended, if it did so at once.
    pub ended_in_stage: Cell<Option<End>>,
    /// The request that we have answered and that the server is about to end.
    pub answered: Cell<Option<NonNull<SessionRequest>>>,
}

impl LegacyHost {
    /// The host of the calling worker thread.
    pub fn new(api: &'static PluginApi) -> Self {
        // SAFETY: the server fills the configuration before it starts workers
        // and keeps it until it exits.
        let config = unsafe { &*api.config };
        // SAFETY: the configuration's texts live as long as the process.
        let plain = unsafe { c_text(config.transport_layer) } == Some("liana");
        LegacyHost {
            api,
            plain,
            may_splice: plain && socket::may_splice(),
            // SAFETY: as above.
            secure: unsafe { c_text(config.transport) } == Some("https"),
            clients: RefCell::default(),
            peers: RefCell::default(),
            in_stage: Cell::new(None),
            ended_in_stage: Cell::new(None),
            answered: Cell::new(None),
        }
    }

    /// Notes in the request what the server's logger and its keep-alive
    /// decision look at.
    pub fn note_end(&self, serving: Serving, end: End) {
        // SAFETY: the request lives until it is ended or the client is gone;
        // both empty the seat that `serving` came from.
        let request = unsafe { &mut *serving.request.as_ptr() };
        request.headers.status = c_int::from(loggable(end.status));
        #[allow(clippy::useless_conversion, reason = "on a 32-bit processor it may be as short")]
        let logged = i32::try_from(end.body_bytes).unwrap_or(i32::MAX).into();
        request.headers.content_length = logged;
        request.headers.sent = 1;
        request.close_now = c_int::from(end.fate != Fate::KeepAlive);
        self.answered.set(Some(serving.request));
    }

    /// Lets the server end the request of `fd`. The seat must be empty
    /// already: the call may come back to us.
    pub fn end_request(&self, fd: c_int) {
        // SAFETY: called on the worker thread that owns the client; an unknown
        // descriptor is answered with -1.
        let _ = unsafe { (self.api.http_request_end)(fd) };
        self.answered.set(None);
    }

    /// Changes what the server watches a client for.
    pub fn watch(&self, fd: c_int, mode: c_int) {
        // SAFETY: called on the worker thread that owns the client.
        let _ = unsafe { (self.api.event_socket_change_mode)(fd, mode, LEVEL_TRIGGERED) };
    }
}

impl Host for LegacyHost {
    fn send(&self, client: ClientKey, bytes: &[IoSlice<'_>]) -> Sent {
        let Some((fd, _)) = self.clients.borrow().serving(client) else { return Sent::Gone };
        if self.plain {
            return socket::outcome(socket::send(fd, bytes));
        }
        let refused = Cell::new(self.clients.borrow().refused(fd));
        // SAFETY: the slice is valid for the call; the descriptor is a client of this worker.
        let write = |piece: &[u8]| unsafe { (self.api.socket_send)(fd, piece.as_ptr().cast(), piece.len()) };
        let result = socket::send_through(fd, bytes, &refused, write);
        self.clients.borrow_mut().set_refused(fd, refused.get());
        socket::outcome(result)
    }

    fn splice(&self, client: ClientKey, from: &Pipe, bytes: usize) -> Sent {
        match self.clients.borrow().serving(client) {
            Some((fd, _)) => socket::splice(fd, from, bytes),
            None => Sent::Gone,
        }
    }

    fn room(&self, client: ClientKey) -> usize {
        match self.clients.borrow().serving(client) {
            Some((fd, _)) if self.plain => socket::room(fd),
            _ => 0,
        }
    }

    fn receive(&self, client: ClientKey, buffer: &mut [u8]) -> Received {
        let Some((fd, _)) = self.clients.borrow().serving(client) else { return Received::Gone };
        if self.plain {
            return socket::receive(fd, buffer);
        }
        let length = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // Not by `socket_read`, which would come to our own function: what it
        // is given is the server's buffer, and stands behind a head.
        let read = reads::server_read(self.api);
        // SAFETY: the buffer is valid for the call; the descriptor is a client of this worker.
        let n = socket::read_through(fd, || unsafe { read(fd, buffer.as_mut_ptr().cast(), length) });
        socket::arrived_in(buffer.len(), n)
    }

    fn acknowledge(&self, client: ClientKey) {
        let serving = self.clients.borrow().serving(client);
        if let Some((fd, _)) = serving {
            socket::acknowledge(fd);
        }
    }

    fn takes_back(&self, _client: ClientKey) -> bool {
        nudge::is_possible()
    }

    fn take_back(&self, client: ClientKey, bytes: Vec<u8>) {
        if let Some((fd, _)) = self.clients.borrow().serving(client) {
            reads::take_back(fd, bytes);
        }
    }

    fn finish_sending(&self, client: ClientKey) -> bool {
        let Some((fd, _)) = self.clients.borrow().serving(client) else { return false };
        if self.plain {
            socket::finish_sending(fd);
        }
        self.plain
    }

    fn end(&self, client: ClientKey, end: End) {
        if self.in_stage.get() == Some(client) {
            self.ended_in_stage.set(Some(end));
            return;
        }
        let Some((fd, serving)) = self.clients.borrow().serving(client) else { return };
        self.note_end(serving, end);
        match end.fate {
            Fate::KeepAlive => {
                self.clients.borrow_mut().set(fd, Seat::Empty);
                self.end_request(fd);
            }
            Fate::Close | Fate::Abort => {
                if end.fate == Fate::Abort {
                    socket::abort(fd, self.plain);
                }
                self.clients.borrow_mut().set(fd, Seat::Closing);
                // Its own read event comes at once, also when its buffer is full.
                socket::end_reading(fd);
                self.watch(fd, MODE_READ);
            }
        }
    }
}

/// The status to put into the server's log. Its logger writes through a wild
/// pointer for one below 400 that is not in its table, so the nearest stands in.
fn loggable(status: u16) -> u16 {
    match status {
        200..=206 | 300..=305 | 400.. => status,
        307 => 302,
        308 => 301,
        306..=399 => 300,
        _ => 200,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_that_the_logger_knows_are_logged() {
        for (status, logged) in [
            (200, 200),
            (207, 200),
            (226, 200),
            (299, 200),
            (304, 304),
            (306, 300),
            (307, 302),
            (308, 301),
            (399, 300),
            (499, 499),
            (599, 599),
        ] {
            assert_eq!(loggable(status), logged);
        }
    }
}
