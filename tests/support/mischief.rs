//! A backend that misbehaves in every way that we could think of, another one for each request,
//! and always the same for the same seed and request.

use std::{io, thread, time::Duration};

use super::{
    backends::Conn,
    random::Random,
    seen::Seen,
    vice::{self, Next, Vice},
    wait::{in_chunks, pattern},
};

/// One way to treat a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// A right answer with a length.
    Length,
    /// A right answer in chunks.
    Chunks,
    /// A right answer that the close ends.
    Close,
    /// A right answer that ends with a reset.
    ResetBehind,
    /// A right answer, and a close although it was to go on.
    CloseBehind,
    /// The head of the request is read, and no more.
    ResetInRequest,
    /// No answer.
    CloseInstead,
    /// No answer, and a reset.
    ResetInstead,
    /// The head breaks off.
    CloseInHead,
    /// The head breaks off with a reset.
    ResetInHead,
    /// The body breaks off.
    CloseInBody,
    /// The body breaks off with a reset.
    ResetInBody,
    /// The chunks break off.
    CloseInChunks,
    /// The chunks break off with a reset.
    ResetInChunks,
    /// A body that the close was to end, and a reset comes.
    ResetBeforeClose,
    /// Another answer stands behind the right one.
    Surplus,
    /// Another answer comes behind the right one, a moment later.
    LateSurplus,
    /// Silence instead of an answer.
    Silence,
    /// Silence inside the head.
    SilenceInHead,
    /// Silence inside the body.
    SilenceInBody,
    /// A right answer, drop by drop.
    Drip,
    /// Something that is no HTTP.
    Garbage,
    /// Two lengths that differ.
    TwoLengths,
    /// A length that is no number.
    BadLength,
    /// A length and chunks.
    LengthAndChunks,
    /// A size of a chunk that is no number.
    BadChunkSize,
    /// A chunk that is longer than it says.
    LongChunk,
    /// A size of a chunk that is larger than any number.
    HugeChunkSize,
    /// A flood of interim responses before a right answer.
    InterimFlood,
    /// An answer before the request was read, and a reset.
    EarlyAnswer,
    /// A head without an end.
    EndlessHead,
    /// A head that is too large.
    LargeHead,
    /// NUL bytes in the head.
    Nul,
    /// A field without a colon.
    NoColon,
    /// A change of the protocol that nobody asked for.
    Switch,
    /// A right answer to HEAD and 204, with the body that there must not be.
    BodyWithout,
}

/// All of them.
pub const WAYS: [Way; 36] = [
    Way::Length,
    Way::Chunks,
    Way::Close,
    Way::ResetBehind,
    Way::CloseBehind,
    Way::ResetInRequest,
    Way::CloseInstead,
    Way::ResetInstead,
    Way::CloseInHead,
    Way::ResetInHead,
    Way::CloseInBody,
    Way::ResetInBody,
    Way::CloseInChunks,
    Way::ResetInChunks,
    Way::ResetBeforeClose,
    Way::Surplus,
    Way::LateSurplus,
    Way::Silence,
    Way::SilenceInHead,
    Way::SilenceInBody,
    Way::Drip,
    Way::Garbage,
    Way::TwoLengths,
    Way::BadLength,
    Way::LengthAndChunks,
    Way::BadChunkSize,
    Way::LongChunk,
    Way::HugeChunkSize,
    Way::InterimFlood,
    Way::EarlyAnswer,
    Way::EndlessHead,
    Way::LargeHead,
    Way::Nul,
    Way::NoColon,
    Way::Switch,
    Way::BodyWithout,
];

/// What is said where nobody asked.
const POISON: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

/// How a request with this number is treated.
pub fn way(seed: u64, number: u64) -> Way {
    let mut random = Random::of(seed, number);
    loop {
        let way = WAYS[random.below(WAYS.len())];
        // They take long: fewer of them.
        let silent = matches!(way, Way::Silence | Way::SilenceInHead | Way::SilenceInBody);
        if !silent || random.percent(30) {
            return way;
        }
    }
}

/// The body of the right answer to the request with this number: no two are alike.
pub fn right_body(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::of(seed, !number);
    let length = match random.below(4) {
        0 => random.below(50),
        1 => random.below(2_000),
        2 => random.below(20_000),
        _ => random.below(150_000),
    };
    let mut body = format!("answer to {number}\n").into_bytes();
    body.extend_from_slice(&pattern(length));
    body
}

/// The number in a target like `/app/17`.
fn number_of(seen: &Seen) -> u64 {
    seen.target.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The backend.
pub fn backend(seed: u64) -> Vice {
    vice::custom(move |conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        let number = number_of(&seen);
        let way = way(seed, number);
        match way {
            Way::ResetInRequest => return Ok(Next::Reset),
            Way::EarlyAnswer => {
                let head = conn.head_with("413 Too Much", "Content-Length: 3\r\n");
                conn.send(&[&head[..], b"big"].concat())?;
                return Ok(Next::Reset);
            }
            _ => {}
        }
        // Not its content: it is a long run.
        conn.body(&seen)?;
        conn.record(&seen);
        let answer = Answer { body: right_body(seed, number), seen, random: Random::of(seed, number + 1) };
        answer.give(conn, way)
    })
}

struct Answer {
    body: Vec<u8>,
    seen: Seen,
    random: Random,
}

impl Answer {
    fn give(mut self, conn: &mut Conn, way: Way) -> io::Result<Next> {
        let length = format!("Content-Length: {}\r\n", self.body.len());
        let whole = self.with(conn, &length, &self.body);
        let chunks = self.with(conn, "Transfer-Encoding: chunked\r\n", &self.chunks());
        match way {
            Way::Length => self.all(conn, &whole, Next::Again),
            Way::Chunks => self.all(conn, &chunks, Next::Again),
            Way::Close => self.all(conn, &self.with(conn, "", &self.body), Next::Close),
            Way::ResetBehind => self.all(conn, &whole, Next::Reset),
            Way::CloseBehind => self.all(conn, &whole, Next::Close),
            Way::CloseInstead => Ok(Next::Close),
            Way::ResetInRequest | Way::ResetInstead | Way::EarlyAnswer => Ok(Next::Reset),
            Way::CloseInHead | Way::ResetInHead => {
                let end = find_end(&whole);
                let end = 1 + self.random.below(end - 2);
                self.all(conn, &whole[..end], how(way == Way::ResetInHead))
            }
            Way::CloseInBody | Way::ResetInBody => {
                let end = self.inside(&whole);
                self.all(conn, &whole[..end], how(way == Way::ResetInBody))
            }
            Way::CloseInChunks | Way::ResetInChunks => {
                let end = self.inside(&chunks);
                self.all(conn, &chunks[..end], how(way == Way::ResetInChunks))
            }
            Way::ResetBeforeClose => {
                let close = self.with(conn, "", &self.body);
                let end = self.inside(&close);
                self.all(conn, &close[..end], Next::Reset)
            }
            Way::Surplus => {
                // Together with the end: what comes after the next request was sent is its answer.
                let (most, last) = whole.split_at(whole.len() - 1);
                conn.send(most)?;
                self.all(conn, &[last, POISON].concat(), Next::Again)
            }
            Way::LateSurplus => {
                let fields = format!("Connection: close\r\n{length}");
                conn.send(&self.with(conn, &fields, &self.body))?;
                thread::sleep(Duration::from_millis(self.random.next() % 5));
                self.all(conn, POISON, Next::Close)
            }
            Way::Silence => self.silence(conn, b""),
            Way::SilenceInHead => self.silence(conn, &whole[..find_end(&whole) / 2]),
            // Whole: silence would meet the next request.
            Way::SilenceInBody if self.seen.method == "HEAD" => self.all(conn, &whole, Next::Again),
            Way::SilenceInBody => {
                let end = self.inside(&whole);
                self.silence(conn, &whole[..end])
            }
            Way::Drip => {
                let (drops, rest) = whole.split_at(whole.len().min(120));
                for drop in drops.chunks(1 + self.random.below(9)) {
                    conn.send(drop)?;
                    thread::sleep(Duration::from_millis(1));
                }
                self.all(conn, rest, Next::Again)
            }
            Way::Garbage => {
                let garbage: Vec<u8> = (0..1000).map(|_| self.random.next() as u8).collect();
                self.all(conn, &garbage, Next::Close)
            }
            Way::TwoLengths => {
                let other = format!("{length}Content-Length: {}\r\n", self.body.len() / 2);
                self.all(conn, &self.with(conn, &other, &self.body), Next::Again)
            }
            Way::BadLength => {
                let lengths = ["-1", "0x10", "99999999999999999999", "1 1", "", "+5"];
                let length = format!("Content-Length: {}\r\n", lengths[self.random.below(lengths.len())]);
                self.all(conn, &self.with(conn, &length, &self.body), Next::Again)
            }
            Way::LengthAndChunks => {
                let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
                self.all(conn, &self.with(conn, both, &self.chunks()), Next::Again)
            }
            Way::BadChunkSize => self.spoiled(conn, &chunks, b"\r\nxyz\r\n"),
            Way::LongChunk => self.spoiled(conn, &chunks, b"\r\n5\r\nsixsix\r\n"),
            Way::HugeChunkSize => self.spoiled(conn, &chunks, b"\r\n1ffffffffffffffff\r\n"),
            Way::InterimFlood => {
                for _ in 0..10 + self.random.below(100) {
                    conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
                }
                self.all(conn, &whole, Next::Again)
            }
            Way::EndlessHead => {
                conn.send(b"HTTP/1.1 200 OK\r\n")?;
                for _ in 0..2000 {
                    conn.send(b"X-Filler: ffffffffffffffffffffffffffffffffffffffffffff\r\n")?;
                }
                Ok(Next::Close)
            }
            Way::LargeHead => {
                let fields = format!("X-Filler: {}\r\n{length}", "f".repeat(40_000));
                self.all(conn, &self.with(conn, &fields, &self.body), Next::Again)
            }
            Way::Nul => {
                self.all(conn, &self.with(conn, &format!("X-Nul: a\0b\r\n{length}"), &self.body), Next::Again)
            }
            Way::NoColon => {
                self.all(conn, &self.with(conn, &format!("nothing\r\n{length}"), &self.body), Next::Again)
            }
            Way::Switch => {
                let head =
                    conn.head_with("101 Switching Protocols", "Upgrade: other\r\nConnection: upgrade\r\n");
                self.all(conn, &head, Next::Again)
            }
            Way::BodyWithout => {
                let status = if self.seen.method == "HEAD" { "200 OK" } else { "204 No Content" };
                let head = conn.head_with(status, "");
                self.all(conn, &[&head[..], &self.body].concat(), Next::Again)
            }
        }
    }

    /// An answer with these field lines; without its body to HEAD.
    fn with(&self, conn: &Conn, fields: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = conn.head_with("200 OK", fields);
        if self.seen.method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn chunks(&self) -> Vec<u8> {
        let mut random = self.random.clone();
        in_chunks(&self.body, || 1 + random.below(9000))
    }

    /// Somewhere behind the head and before the end; the end of the head if there is no more.
    fn inside(&mut self, answer: &[u8]) -> usize {
        let end = find_end(answer);
        // Two bytes less: without its last line end a body in chunks is not whole.
        end + self.random.below((answer.len() - end).max(1)).saturating_sub(2)
    }

    fn all(&self, conn: &mut Conn, bytes: &[u8], next: Next) -> io::Result<Next> {
        conn.send(bytes)?;
        Ok(if next == Next::Again && !self.seen.keeps_alive() { Next::Close } else { next })
    }

    fn silence(&self, conn: &mut Conn, bytes: &[u8]) -> io::Result<Next> {
        conn.send(bytes)?;
        conn.wait_for_hangup();
        Ok(Next::Close)
    }

    /// The last chunk is replaced.
    fn spoiled(&self, conn: &mut Conn, chunks: &[u8], by: &[u8]) -> io::Result<Next> {
        if self.seen.method == "HEAD" {
            return self.all(conn, chunks, Next::Again);
        }
        let kept = &chunks[..chunks.len() - b"\r\n0\r\n\r\n".len()];
        self.all(conn, &[kept, by].concat(), Next::Again)
    }
}

fn how(reset: bool) -> Next {
    if reset { Next::Reset } else { Next::Close }
}

fn find_end(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4)
}

/// The same without a trick.
pub fn good(seed: u64) -> Vice {
    vice::answering(move |conn, seen| conn.answer(seen, &right_body(seed, number_of(seen))))
}
