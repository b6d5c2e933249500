//! Turns the crank: takes actions out of a worker and carries them out at the
//! host. The only caller of [`Host`].

use std::cell::RefCell;
use std::io::IoSlice;

use super::Now;
use super::host::{ClientKey, End, Host, Received, Sent};
use super::network::Network;
use super::pipe::Pipe;
use super::worker::Worker;

/// Something that only the host can do.
#[derive(Debug)]
pub enum Action {
    /// Offer these bytes to the client, then tell the worker what was taken.
    Send {
        /// Which client.
        client: ClientKey,
        /// The bytes, lent by the worker.
        bytes: Outgoing,
    },
    /// Offer these bytes of a pipe to the client, then tell the worker what was taken.
    Splice {
        /// Which client.
        client: ClientKey,
        /// The worker's pipe, lent for the call.
        pipe: Pipe,
        /// How many bytes are in it.
        bytes: usize,
    },
    /// Read what the client sends, and give it to the worker.
    Receive {
        /// Which client.
        client: ClientKey,
        /// The worker's read buffer, lent for the call.
        buffer: Box<[u8]>,
        /// How many bytes of it to fill at most.
        limit: usize,
    },
    /// Tell the client that nothing more comes; it may still be sending.
    FinishSending {
        /// Which client.
        client: ClientKey,
    },
    /// The exchange is over.
    End {
        /// Which client.
        client: ClientKey,
        /// How.
        end: End,
    },
}

impl Action {
    /// Offers this text to the client.
    pub fn send(client: ClientKey, first: Vec<u8>) -> Self {
        Action::Send {
            client,
            bytes: Outgoing { first, from: 0, buffer: Box::default(), body: 0, more: false },
        }
    }
}

/// Bytes on their way to a client: some text, then a part of the read buffer.
#[derive(Debug)]
pub struct Outgoing {
    /// A head, or what was left over from before.
    pub first: Vec<u8>,
    /// Where in `first` to begin.
    pub from: usize,
    /// The worker's read buffer, lent for the call; empty if it is not used.
    pub buffer: Box<[u8]>,
    /// How many bytes of it to send.
    pub body: usize,
    /// More follows at once: how much would the client take of it?
    pub more: bool,
}

impl Outgoing {
    /// How many bytes there are.
    pub fn total(&self) -> usize {
        self.first.len() - self.from + self.body
    }
}

/// Works until nothing moves any more or the turn's budget is used up.
///
/// No borrow is held while the host is called. A nested call, made by the host
/// from inside such a call, returns at once; the outer one goes on with what
/// was queued.
pub fn drive<N: Network>(worker: &RefCell<Worker<N>>, host: &dyn Host, now: Now) {
    if !worker.borrow_mut().enter() {
        return;
    }
    loop {
        let action = worker.borrow_mut().next_action(now);
        match action {
            Some(Action::Send { client, bytes }) => {
                let slices =
                    [IoSlice::new(&bytes.first[bytes.from..]), IoSlice::new(&bytes.buffer[..bytes.body])];
                let used = match (slices[0].is_empty(), slices[1].is_empty()) {
                    (true, _) => &slices[1..],
                    (false, true) => &slices[..1],
                    (false, false) => &slices[..],
                };
                let sent = host.send(client, used);
                let is_whole = matches!(sent, Sent::Bytes(n) if n >= bytes.total());
                let room = if bytes.more && is_whole { host.room(client) } else { 0 };
                worker.borrow_mut().sent(client, bytes, sent, room, now);
            }
            Some(Action::Splice { client, pipe, bytes }) => {
                let sent = host.splice(client, &pipe, bytes);
                let room = if sent == Sent::Bytes(bytes) { host.room(client) } else { 0 };
                worker.borrow_mut().spliced(client, pipe, bytes, sent, room, now);
            }
            Some(Action::Receive { client, mut buffer, limit }) => {
                let received = host.receive(client, &mut buffer[..limit]);
                if received == Received::Nothing && worker.borrow_mut().begins_to_wait_for_body(client) {
                    host.acknowledge(client);
                }
                let takes_back = host.takes_back(client);
                let behind = worker.borrow_mut().received(client, buffer, received, takes_back, now);
                if !behind.is_empty() {
                    host.take_back(client, behind);
                }
            }
            Some(Action::FinishSending { client }) => {
                let told = host.finish_sending(client);
                worker.borrow_mut().finished_sending(client, told);
            }
            Some(Action::End { client, end }) => host.end(client, end),
            None => break,
        }
    }
    worker.borrow_mut().leave();
}
