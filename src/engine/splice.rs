//! Long bodies for clients that take them as fast as they come: through a pipe, without a copy.
//!
//! Never more is taken from the backend than the client has room for, so the one pipe of the worker
//! is empty again at once. Should the client take less after all, the rest is read out of the pipe;
//! and a pipe that may not be empty is closed.

use super::Now;
use super::drive::Action;
use super::exchange::{Exchange, Phase};
use super::host::{ClientKey, Fate, Sent};
use super::network::Network;
use super::pipe::{self, Pipe};
use super::worker::Worker;

/// What is shorter than this is copied: that costs less than two more calls.
const SPLICE_MIN: usize = 64 * 1024;

/// What became of the wish to splice.
pub(super) enum Spliced {
    /// It is not worth it, or impossible: the body is to be copied.
    No,
    /// The backend has nothing yet.
    Nothing,
    /// The backend has closed before the end.
    Cut,
    /// This is to be done.
    Some(Action),
}

impl<N: Network> Worker<N> {
    /// Lets the next piece of a body go into the pipe, if that is worth it.
    pub(super) fn splice(&mut self, key: ClientKey, now: Now) -> Spliced {
        let Some(exchange) = self.exchanges.get_mut(key) else { return Spliced::No };
        let timeout = exchange.read_timeout();
        let Exchange {
            phase: Phase::Relaying { attempt, body, .. },
            order: Some(order),
            client,
            room,
            record,
            ..
        } = exchange
        else {
            return Spliced::No;
        };
        let rest = body.known_rest().map_or(0, |rest| usize::try_from(rest).unwrap_or(usize::MAX));
        let most = rest.min(*room).min(pipe::CAPACITY);
        if !client.may_splice || most < SPLICE_MIN {
            return Spliced::No;
        }
        let Some(upstream) = self.upstreams.get_mut(attempt.upstream) else { return Spliced::No };
        if !upstream.readable {
            return Spliced::Nothing;
        }
        let Some(pipe) = self.pipe.take().or_else(|| self.network.pipe()) else { return Spliced::No };
        let bytes = match upstream.splice(&pipe, most) {
            Ok(Some(0)) => {
                self.pipe = Some(pipe);
                return Spliced::Cut;
            }
            Ok(Some(n)) => n,
            Ok(None) => {
                self.pipe = Some(pipe);
                return Spliced::Nothing;
            }
            // A read will tell.
            Err(_) => return Spliced::No,
        };
        self.tally.backend(order.route.row(attempt.backend)).bytes(0, bytes as u64);
        if let Some(record) = record {
            record.moved(0, bytes as u64);
        }
        if body.pass(bytes as u64) {
            // Whatever stands behind that is seen by who takes the connection out of the pool.
            upstream.readable = false;
            self.finish_upstream(key, now);
        } else {
            self.set_deadline(key, timeout, now);
        }
        Spliced::Some(Action::Splice { client: key, pipe, bytes })
    }

    /// The client has taken so many bytes of a piece, and leaves the rest for later.
    fn keep_rest(&mut self, client: ClientKey, taken: usize, rest: Vec<u8>, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(client) else { return };
        exchange.count_sent(taken);
        exchange.room = 0;
        exchange.client.ready = false;
        exchange.pending = rest;
        exchange.pending_from = 0;
        let timeout = exchange.client_timeout();
        self.set_deadline(client, timeout, now);
        self.watch_client(client);
    }

    /// Takes note of what the client took of `bytes` in the pipe. `room` is what it takes for
    /// certain beyond that.
    pub(super) fn spliced(
        &mut self,
        client: ClientKey,
        pipe: Pipe,
        bytes: usize,
        sent: Sent,
        room: usize,
        now: Now,
    ) {
        let taken = match sent {
            Sent::Bytes(n) => n.min(bytes),
            Sent::Gone => return self.client_left(client),
        };
        if taken < bytes {
            match pipe.drain(bytes - taken) {
                Ok(rest) => self.keep_rest(client, taken, rest, now),
                Err(error) => {
                    log::error!(
                        "what is in a pipe cannot be read: {error}{}",
                        self.subject(client).with_entry()
                    );
                    return self.cut(client, Fate::Abort);
                }
            }
        } else if let Some(exchange) = self.exchanges.get_mut(client) {
            exchange.room = room;
            exchange.count_sent(bytes);
            self.sent_whole(client, bytes);
        }
        self.pipe = Some(pipe);
    }
}
