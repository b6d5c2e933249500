//! What a server gets to read of a request that is ours: its head alone. Both
//! families would read bodies and later requests into a buffer of theirs,
//! where they have limits, get lost or are misunderstood; so they are given the
//! head, with what would make them wait for a body masked, and the rest stays
//! with us.

use std::collections::HashMap;
use std::ffi::c_int;

use crate::engine::intake::{Cut, cut};
use crate::engine::{MatchScratch, Shared};

/// A request that the server has seen with a masked head or without what
/// stands behind it.
#[derive(Debug)]
pub struct Held {
    /// The head as the client sent it.
    pub head: Vec<u8>,
    /// What was read of the body, and perhaps more.
    pub behind: Vec<u8>,
}

/// How the bytes of a client are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Look before they are taken out of the kernel: what is not to be read
    /// now stays there, and is reported again.
    Peeked,
    /// Take them; what is too much is held.
    Taken,
}

/// The requests of one worker that wait for their Stage 30.
#[derive(Default)]
pub struct Intake {
    held: HashMap<c_int, Held>,
    scratch: Option<MatchScratch>,
}

/// What one read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What reading gave; the server is told the same.
    Plain(c_int),
    /// A request was cut: so many bytes of it are for the server.
    Cut(c_int),
}

impl Intake {
    /// Reads the beginning of a request into `buffer`. `take` reads from the
    /// client, `peek` looks without taking; both answer as `recv(2)` does.
    pub fn read(
        &mut self,
        shared: &Shared,
        fd: c_int,
        buffer: &mut [u8],
        reading: Reading,
        (peek, take): (impl Fn(&mut [u8]) -> c_int, impl Fn(&mut [u8]) -> c_int),
        mask: impl Fn(&mut [u8]),
    ) -> Outcome {
        let here = match reading {
            Reading::Peeked => peek(buffer),
            Reading::Taken => take(buffer),
        };
        let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
        let found = usize::try_from(here).ok().and_then(|here| cut(shared, scratch, &buffer[..here]));
        match (found, reading) {
            (None, Reading::Taken) => Outcome::Plain(here),
            (None, Reading::Peeked) => Outcome::Plain(take(buffer)),
            (Some(cut), Reading::Taken) => {
                self.hold(fd, buffer, usize::try_from(here).unwrap_or(0), &cut, mask)
            }
            (Some(cut), Reading::Peeked) => {
                // With nothing but its body, so that later requests stay where they are.
                let wanted = cut.head + cut.body;
                match usize::try_from(take(&mut buffer[..wanted])) {
                    Ok(taken) if taken >= cut.head => self.hold(fd, buffer, taken, &cut, mask),
                    _ => Outcome::Plain(-1),
                }
            }
        }
    }

    /// Whether a request of this client waits for its Stage 30.
    pub fn holds(&self, fd: c_int) -> bool {
        !self.held.is_empty() && self.held.contains_key(&fd)
    }

    /// What was held of the request that is in its Stage 30 now.
    pub fn release(&mut self, fd: c_int) -> Option<Held> {
        if self.held.is_empty() { None } else { self.held.remove(&fd) }
    }

    fn hold(
        &mut self,
        fd: c_int,
        buffer: &mut [u8],
        taken: usize,
        cut: &Cut,
        mask: impl Fn(&mut [u8]),
    ) -> Outcome {
        let head = &mut buffer[..cut.head];
        let original = head.to_vec();
        if cut.has_body {
            mask(head);
        }
        let behind = buffer[cut.head..taken].to_vec();
        self.held.insert(fd, Held { head: original, behind });
        Outcome::Cut(c_int::try_from(cut.head).unwrap_or(0))
    }
}
