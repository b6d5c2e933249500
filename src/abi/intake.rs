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
        let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
        let mut here = match reading {
            Reading::Peeked => peek(&mut bytes[begun..]),
            Reading::Taken => take(&mut bytes[begun..]),
        };
        loop {
            let Ok(n @ 1..) = usize::try_from(here) else {
                return Outcome::Plain(match reading {
                    Reading::Peeked => take(&mut bytes[begun..]),
                    Reading::Taken => here,
                });
            };
            let filled = begun + n;
            match (look(shared, scratch, &bytes[..filled]), reading) {
                (Look::Pass, Reading::Taken) => return Outcome::Plain(here),
                (Look::Pass, Reading::Peeked) => return Outcome::Plain(take(&mut bytes[begun..])),
                (Look::Skip(_), _) if begun > 0 => return Outcome::Plain(here),
                (Look::Skip(skip), Reading::Taken) => {
                    bytes.copy_within(skip..n, 0);
                    here = count(n - skip);
                    if here == 0 {
                        return Outcome::Plain(nothing_yet());
                    }
                }
                (Look::Skip(skip), Reading::Peeked) => {
                    take(&mut bytes[..skip]);
                    here = peek(bytes);
                }
                (Look::Refuse(words), reading) => {
                    if reading == Reading::Peeked {
                        take(&mut bytes[begun..filled]);
                    }
                    return Outcome::Over(words);
                }
                (Look::Last { head }, reading) => {
                    if reading == Reading::Peeked && take(&mut bytes[begun..filled]) != here {
                        return Outcome::Plain(-1);
                    }
                    let held = Held { head: bytes[..head].to_vec(), behind: Vec::new() };
                    self.held.insert(fd, held);
                    return Outcome::Held(count(head - begun));
                }
                (Look::Hold { head, body, shown }, reading) => {
                    // With nothing but its body, so that later requests stay where they are.
                    let end = if reading == Reading::Peeked { head + body } else { filled };
                    if reading == Reading::Peeked && take(&mut bytes[begun..end]) != count(end - begun) {
                        return Outcome::Plain(-1);
                    }
                    let held = Held { head: bytes[..head].to_vec(), behind: bytes[head..end].to_vec() };
                    self.held.insert(fd, held);
                    if begun == 0 && shown.len() <= bytes.len() {
                        bytes[..shown.len()].copy_from_slice(&shown);
                        return Outcome::Held(count(shown.len()));
                    }
                    mask(&mut bytes[..head]);
                    return Outcome::Held(count(head - begun));
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
