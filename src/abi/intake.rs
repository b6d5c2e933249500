//! What a server gets to read of a request that is ours: a head, and nothing
//! behind it. Both families would read bodies and later requests into a buffer
//! of theirs, where they have limits, get lost or are misunderstood.

use std::ffi::c_int;

use super::{FdMap, socket};
use crate::engine::intake::{Look, Passing, look, too_long};
use crate::engine::{MatchScratch, Shared};

/// A request that the server has not seen as it is.
#[derive(Debug)]
pub struct Held {
    /// The head as the client sent it.
    pub head: Vec<u8>,
    /// What was read of the body, and perhaps more.
    pub behind: Vec<u8>,
}

/// Bytes of a head that are kept until it is complete; a longer one is refused.
const LONGEST_HEAD: usize = 64 * 1024;

/// Bytes that a transport may have at hand at once: one TLS record (RFC 8446 5.1).
const LARGEST_RECORD: usize = 16 * 1024;

/// How the bytes of a client are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Look before they are taken out of the kernel: what is not to be read
    /// now stays there, and is reported again.
    Peeked,
    /// Take them; what is too much is held.
    Taken,
}

/// How the beginning of a request is read.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Where from.
    pub reading: Reading,
    /// What goes through as it is.
    pub passing: Passing,
    /// The server can be made to come back for what is kept behind a request.
    pub keeps: bool,
}

/// The requests of one worker that wait for their Stage 30.
#[derive(Default)]
pub struct Intake {
    held: FdMap<Held>,
    /// What was taken of a client and not shown to the server yet: the beginning
    /// of a head, or requests behind the present one. No longer than a head.
    kept: FdMap<Vec<u8>>,
    /// Room for a head that the server's buffer has none for.
    work: Vec<u8>,
    scratch: Option<MatchScratch>,
}

/// What one read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What reading gave; the server is told the same.
    Plain(c_int),
    /// A request is held; so many bytes are for the server.
    Held(c_int),
    /// So many bytes are for the server; more requests wait in the kernel.
    Split(c_int),
    /// The connection is over, with these last words.
    Over(Vec<u8>),
}

impl Intake {
    /// Reads the beginning of a request for the server, into its empty `buffer`.
    /// `take` reads from the client, `peek` looks without taking; both answer
    /// as `recv(2)` does, but that `take` may count in what it has at hand and
    /// did not fit, as the TLS layer of mbedTLS does.
    pub fn read(
        &mut self,
        shared: &Shared,
        fd: c_int,
        buffer: &mut [u8],
        manner: Manner,
        (peek, take): (impl Fn(&mut [u8]) -> c_int, impl Fn(&mut [u8]) -> c_int),
    ) -> Outcome {
        // What the server was not shown yet goes first.
        let kept = if self.kept.is_empty() { None } else { self.kept.remove(&fd) };
        let (manner, kept) = match kept {
            Some(kept) => (Manner { reading: Reading::Taken, ..manner }, kept),
            None => (manner, Vec::new()),
        };
        let reading = manner.reading;
        if kept.is_empty() {
            let here = match reading {
                Reading::Peeked => peek(buffer),
                Reading::Taken => take(buffer),
            };
            let Ok(n @ 1..) = usize::try_from(here) else {
                // Not to be taken now: what has come since then was not looked at.
                return Outcome::Plain(here);
            };
            let further = n.saturating_sub(buffer.len());
            let n = n - further;
            let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
            // Nearly always all of it.
            match look(shared, scratch, &buffer[..n], manner.passing) {
                // The rest was not looked at.
                Look::Pass if further > 0 => {}
                Look::Pass if reading == Reading::Taken => return Outcome::Plain(here),
                Look::Pass => return Outcome::Plain(take(&mut buffer[..n])),
                _ => {}
            }
            self.work.clear();
            if reading == Reading::Taken {
                self.work.extend_from_slice(&buffer[..n]);
            }
            if further > 0 && !self.take_further(further, &take) {
                return Outcome::Plain(-1);
            }
        } else {
            self.work.clear();
            self.work.extend_from_slice(&kept);
        }
        self.read_on(shared, fd, buffer, manner, !kept.is_empty(), (peek, take))
    }

    /// Reads on behind `self.work`, so many bytes at least: the transport has
    /// them at hand, and nobody would tell of them later. Answers whether they came.
    fn take_further(&mut self, further: usize, take: &impl Fn(&mut [u8]) -> c_int) -> bool {
        let begun = self.work.len();
        self.work.resize(begun + further.max(LARGEST_RECORD), 0);
        let came = usize::try_from(take(&mut self.work[begun..])).unwrap_or(0);
        self.work.truncate(begun + came);
        came >= further
    }

    /// Goes on with a request that is not as simple as most; its text, as far as
    /// it was taken, is in `self.work`.
    fn read_on(
        &mut self,
        shared: &Shared,
        fd: c_int,
        buffer: &mut [u8],
        Manner { reading, keeps, .. }: Manner,
        was_kept: bool,
        (peek, take): (impl Fn(&mut [u8]) -> c_int, impl Fn(&mut [u8]) -> c_int),
    ) -> Outcome {
        let mut work = std::mem::take(&mut self.work);
        let begun = work.len();
        if reading == Reading::Peeked || was_kept && !self.begins_whole(shared, &work) {
            if begun >= LONGEST_HEAD {
                self.work = work;
                return Outcome::Over(too_long());
            }
            work.resize(LONGEST_HEAD, 0);
            let here = match reading {
                Reading::Peeked => peek(&mut work),
                Reading::Taken => take(&mut work[begun..]),
            };
            let Ok(n @ 1..) = usize::try_from(here) else {
                if begun > 0 {
                    self.kept.insert(fd, work[..begun].to_vec());
                }
                self.work = work;
                return Outcome::Plain(here);
            };
            if n > work.len() - begun {
                self.work = work;
                return Outcome::Over(too_long());
            }
            work.truncate(begun + n);
        }
        let taken = reading == Reading::Taken;
        let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
        loop {
            let found = look(shared, scratch, &work, Passing::Others);
            let wanted = match &found {
                Look::Skip(skip) => *skip,
                Look::Hold { head, body, .. } => head + body,
                Look::Pass => work.len().min(buffer.len()),
                Look::First(length) => *length,
                Look::Incomplete | Look::Refuse(_) | Look::Last(_) => work.len(),
            };
            // With nothing of later requests, which stay where they are.
            if !taken && take(&mut work[..wanted]) != count(wanted) {
                return Outcome::Plain(-1);
            }
            if let Look::Skip(skip) = found {
                work.drain(..skip);
                if work.is_empty() {
                    self.work = work;
                    return Outcome::Plain(nothing_yet());
                }
                continue;
            }
            let end = match found {
                Look::Hold { .. } | Look::First(_) if keeps => wanted,
                _ if taken => work.len(),
                _ => wanted,
            };
            let outcome = self.decide(fd, buffer, &work[..end], found);
            if taken && end < work.len() && matches!(outcome, Outcome::Held(_) | Outcome::Split(_)) {
                self.kept.insert(fd, work[end..].to_vec());
            }
            self.work = work;
            return outcome;
        }
    }

    /// Whether nothing more is needed to tell what `bytes` begin with.
    fn begins_whole(&mut self, shared: &Shared, mut bytes: &[u8]) -> bool {
        let scratch = self.scratch.get_or_insert_with(|| shared.match_scratch());
        loop {
            match look(shared, scratch, bytes, Passing::Others) {
                Look::Skip(skip) => bytes = &bytes[skip..],
                found => return found != Look::Incomplete,
            }
        }
    }

    /// What the server gets of a text that is not in its buffer yet.
    fn decide(&mut self, fd: c_int, buffer: &mut [u8], text: &[u8], found: Look) -> Outcome {
        match found {
            // Servers go by the beginning of a head before they have its end.
            Look::Incomplete if text.len() < LONGEST_HEAD => {
                self.kept.insert(fd, text.to_vec());
                socket::acknowledge(fd);
                Outcome::Plain(nothing_yet())
            }
            Look::Pass if text.len() <= buffer.len() => {
                buffer[..text.len()].copy_from_slice(text);
                Outcome::Plain(count(text.len()))
            }
            // More than the server can be given at once.
            Look::Incomplete | Look::Pass | Look::Skip(_) => Outcome::Over(too_long()),
            Look::Refuse(words) => Outcome::Over(words),
            Look::First(length) if length == text.len() && length <= buffer.len() => {
                buffer[..length].copy_from_slice(text);
                Outcome::Split(count(length))
            }
            // What is behind was taken already, and there is nowhere to put it.
            Look::Last(length) | Look::First(length) if length <= buffer.len() => {
                buffer[..length].copy_from_slice(&text[..length]);
                self.held.insert(fd, Held { head: text[..length].to_vec(), behind: Vec::new() });
                Outcome::Held(count(length))
            }
            Look::Hold { head, shown, .. } if shown.len() <= buffer.len() => {
                buffer[..shown.len()].copy_from_slice(&shown);
                let held = Held { head: text[..head].to_vec(), behind: text[head..].to_vec() };
                self.held.insert(fd, held);
                Outcome::Held(count(shown.len()))
            }
            Look::First(_) | Look::Last(_) | Look::Hold { .. } => Outcome::Over(too_long()),
        }
    }

    /// The client is gone.
    pub fn forget(&mut self, fd: c_int) {
        self.release(fd);
        if !self.kept.is_empty() {
            self.kept.remove(&fd);
        }
    }

    /// Whether a request of this client waits for its Stage 30.
    pub fn holds(&self, fd: c_int) -> bool {
        !self.held.is_empty() && self.held.contains_key(&fd)
    }

    /// What the client has sent behind its present request.
    pub fn take_back(&mut self, fd: c_int, bytes: Vec<u8>) {
        // What stands further behind has not been read, or this were no body.
        self.kept.insert(fd, bytes);
    }

    /// Whether something of this client is kept that the server has not seen.
    pub fn keeps(&self, fd: c_int) -> bool {
        !self.kept.is_empty() && self.kept.contains_key(&fd)
    }

    /// Whether something that this client has sent did not reach the server.
    pub fn has_part(&self, fd: c_int) -> bool {
        self.held.contains_key(&fd) || self.kept.contains_key(&fd)
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
pub fn nothing_yet() -> c_int {
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = libc::EAGAIN };
    -1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::setup;
    use std::cell::RefCell;

    const GET: &[u8] = b"GET /app HTTP/1.1\r\nHost: h\r\n\r\n";
    const POST: &[u8] = b"POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    const OTHER: &[u8] = b"POST /other HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nworld";

    fn shared() -> Shared {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy_reverse.conf");
        std::fs::write(&file, "[PROXY_ENTRY]\n Match ^/app\n ServerList 127.0.0.1:1\n").unwrap();
        setup::load(&file).unwrap()
    }

    #[test]
    fn what_comes_between_a_look_and_a_read_was_handed_over_unseen() {
        let shared = shared();
        let late = b"POST /app HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        let take = |buffer: &mut [u8]| {
            buffer[..late.len()].copy_from_slice(late);
            count(late.len())
        };
        for nothing in [-1, 0] {
            let manner = Manner { reading: Reading::Peeked, passing: Passing::One, keeps: true };
            let peek = |_: &mut [u8]| nothing;
            let outcome = Intake::default().read(&shared, 7, &mut [0; 4096], manner, (peek, take));
            assert_eq!(outcome, Outcome::Plain(nothing));
        }
    }

    /// What a server reads as the beginning of a request, and what is held of it.
    type Served = (Vec<u8>, Option<(Vec<u8>, Vec<u8>)>);

    /// What a server gets of `pieces`, which arrive one by one.
    fn served(shared: &Shared, pieces: &[&[u8]], room: usize) -> Vec<Served> {
        let mut intake = Intake::default();
        let mut served = Vec::new();
        let manner = Manner { reading: Reading::Taken, passing: Passing::Ordinary, keeps: true };
        for piece in pieces {
            let queue = RefCell::new(piece.to_vec());
            let take = |buffer: &mut [u8]| {
                let mut queue = queue.borrow_mut();
                let n = queue.len().min(buffer.len());
                buffer[..n].copy_from_slice(&queue[..n]);
                queue.drain(..n);
                if n == 0 { nothing_yet() } else { count(n) }
            };
            while !queue.borrow().is_empty() || intake.keeps(7) {
                let mut buffer = vec![0; room];
                match intake.read(shared, 7, &mut buffer, manner, (|_: &mut [u8]| -1, &take)) {
                    Outcome::Plain(-1) => break,
                    Outcome::Plain(n) | Outcome::Held(n) | Outcome::Split(n) => {
                        buffer.truncate(usize::try_from(n).unwrap());
                        let held = intake.release(7).map(|held| (held.head, held.behind));
                        served.push((buffer, held));
                    }
                    over => panic!("{over:?}"),
                }
            }
        }
        served
    }

    #[test]
    fn what_is_taken_behind_a_request_comes_next_wherever_it_is_cut_f50() {
        let shared = shared();
        let burst = [GET, POST, OTHER, GET, b"\r\n", POST].concat();
        for at in 0..=burst.len() {
            let pieces = [&burst[..at], &burst[at..]].map(|piece| (!piece.is_empty()).then_some(piece));
            let pieces: Vec<&[u8]> = pieces.into_iter().flatten().collect();
            let served = served(&shared, &pieces, 4096);
            let mut whole = Vec::new();
            for (shown, held) in &served {
                match held {
                    Some((head, behind)) => whole.extend([&head[..], behind].concat()),
                    None => whole.extend_from_slice(shown),
                }
            }
            // A body that is not here yet is read by the engine, or by the server:
            // the next piece would begin with it.
            let cuts_a_body =
                [(GET.len(), POST), (GET.len() + POST.len(), OTHER), (burst.len() - POST.len(), POST)]
                    .iter()
                    .any(|(begin, text)| (begin + text.len() - 5..begin + text.len()).contains(&at));
            if !cuts_a_body {
                let all = [GET, POST, OTHER, GET, POST].concat();
                assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&all), "cut at {at}");
                assert_eq!(served.len(), 5, "cut at {at}");
            }
        }
    }

    #[test]
    fn a_thousand_requests_in_one_burst_come_one_by_one() {
        let shared = shared();
        let burst = [POST, GET].concat().repeat(500);
        let served = served(&shared, &[&burst], 4096);
        assert_eq!(served.len(), 1000);
        let bodies =
            served.iter().flat_map(|(_, held)| held).filter(|(_, behind)| behind == b"hello").count();
        assert_eq!(bodies, 500);
    }
}
