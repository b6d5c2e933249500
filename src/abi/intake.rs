//! What a server gets to read of a request that is ours: a head, and nothing
//! behind it. Both families would read bodies and later requests into a buffer
//! of theirs, where they have limits, get lost or are misunderstood.

use std::collections::HashMap;
use std::ffi::c_int;

use crate::engine::intake::{Look, look, mask};
use crate::engine::{MatchScratch, Shared};

/// A request that the server has not seen as it is.
#[derive(Debug)]
pub struct Held {
    /// The head as the client sent it.
    pub head: Vec<u8>,
    /// What was read of the body, and perhaps more.
    pub behind: Vec<u8>,
}

/// Bytes of a head that are kept until it is complete; of a longer one the
/// server gets what there is.
const LONGEST_PARTIAL: usize = 8 * 1024;

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
    /// Beginnings of heads that the server was not shown yet.
    partial: HashMap<c_int, Vec<u8>>,
    scratch: Option<MatchScratch>,
}

/// What one read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What reading gave; the server is told the same.
    Plain(c_int),
    /// A request is held; so many bytes are for the server.
    Held(c_int),
    /// The connection is over, with these last words.
    Over(Vec<u8>),
}

/// The server's text of one request: what it has read before, and room for more.
pub struct Text<'a> {
    /// All of it.
    pub bytes: &'a mut [u8],
    /// How much of it the server has already.
    pub begun: usize,
}

impl Intake {
    /// Reads for the server. `take` reads from the client, `peek` looks without
    /// taking; both answer as `recv(2)` does.
    pub fn read(
        &mut self,
        shared: &Shared,
        fd: c_int,
        text: Text<'_>,
        reading: Reading,
        (peek, take): (impl Fn(&mut [u8]) -> c_int, impl Fn(&mut [u8]) -> c_int),
    ) -> Outcome {
        let Text { bytes, begun } = text;
        // What the server was not shown yet goes first.
        let kept = if self.partial.is_empty() { None } else { self.partial.remove(&fd) };
        let kept = kept.filter(|kept| begun == 0 && kept.len() < bytes.len()).unwrap_or_default();
        bytes[..kept.len()].copy_from_slice(&kept);
        let (from, reading) = if kept.is_empty() { (begun, reading) } else { (kept.len(), Reading::Taken) };
        let here = match reading {
            Reading::Peeked => peek(&mut bytes[from..]),
            Reading::Taken => take(&mut bytes[from..]),
        };
        let Ok(n @ 1..) = usize::try_from(here) else {
            if !kept.is_empty() {
                self.partial.insert(fd, kept);
            }
            return Outcome::Plain(match reading {
                Reading::Peeked => take(&mut bytes[from..]),
                Reading::Taken => here,
            });
        };
        let mut filled = from + n;
        let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
        loop {
            let found = look(shared, scratch, &bytes[..filled]);
            if let Look::Skip(skip) = found
                && begun == 0
            {
                if reading == Reading::Peeked {
                    take(&mut bytes[..skip]);
                    bytes.copy_within(skip..filled, 0);
                } else {
                    bytes.copy_within(skip..filled, 0);
                }
                filled -= skip;
                if filled == 0 {
                    return Outcome::Plain(nothing_yet());
                }
                continue;
            }
            let wanted = match &found {
                Look::Hold { head, body, .. } if reading == Reading::Peeked => head + body,
                _ => filled,
            };
            // With nothing of later requests, which stay where they are.
            if reading == Reading::Peeked && take(&mut bytes[from..wanted]) != count(wanted - from) {
                return Outcome::Plain(-1);
            }
            return self.decide(fd, Text { bytes, begun }, found, wanted);
        }
    }

    /// What the server gets of `filled` bytes.
    fn decide(&mut self, fd: c_int, text: Text<'_>, found: Look, filled: usize) -> Outcome {
        let Text { bytes, begun } = text;
        match found {
            // Servers go by the beginning of a head before they have its end.
            Look::Incomplete if begun == 0 && filled < bytes.len().min(LONGEST_PARTIAL) => {
                self.partial.insert(fd, bytes[..filled].to_vec());
                Outcome::Plain(nothing_yet())
            }
            Look::Incomplete | Look::Pass | Look::Skip(_) => Outcome::Plain(count(filled - begun)),
            Look::Refuse(words) => Outcome::Over(words),
            Look::Last { head } => {
                self.held.insert(fd, Held { head: bytes[..head].to_vec(), behind: Vec::new() });
                Outcome::Held(count(head - begun))
            }
            Look::Hold { head, shown, .. } => {
                let held = Held { head: bytes[..head].to_vec(), behind: bytes[head..filled].to_vec() };
                self.held.insert(fd, held);
                if begun == 0 && shown.len() <= bytes.len() {
                    bytes[..shown.len()].copy_from_slice(&shown);
                    return Outcome::Held(count(shown.len()));
                }
                mask(&mut bytes[..head]);
                Outcome::Held(count(head - begun))
            }
        }
    }

    /// The client is gone.
    pub fn forget(&mut self, fd: c_int) {
        self.release(fd);
        if !self.partial.is_empty() {
            self.partial.remove(&fd);
        }
    }

    /// Whether a request of this client waits for its Stage 30.
    pub fn holds(&self, fd: c_int) -> bool {
        !self.held.is_empty() && self.held.contains_key(&fd)
    }

    /// Whether something that this client has sent did not reach the server.
    pub fn has_part(&self, fd: c_int) -> bool {
        self.held.contains_key(&fd) || self.partial.contains_key(&fd)
    }

    /// What was held of the request that is in its Stage 30 now.
    pub fn release(&mut self, fd: c_int) -> Option<Held> {
        if self.held.is_empty() { None } else { self.held.remove(&fd) }
    }
}

fn count(bytes: usize) -> c_int {
    c_int::try_from(bytes).unwrap_or(c_int::MAX)
}

/// What a read without anything to read answers.
fn nothing_yet() -> c_int {
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = libc::EAGAIN };
    -1
}
