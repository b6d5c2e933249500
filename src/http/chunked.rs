//! Follows a chunked body (RFC 9112 7.1) piece by piece, with limits.

use memchr::memchr;

/// Bytes that the line with a chunk's size may have, extensions included (R18).
pub const MAX_SIZE_LINE: usize = 4096;

/// Bytes that all trailer fields together may have.
pub const MAX_TRAILERS: usize = 8192;

/// What ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What stands behind the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the line in front of a chunk of `length` bytes, more than zero.
pub fn write_size(out: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[length >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Where in the grammar the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hex digits of a size.
    Size { value: u64, digits: u8 },
    /// Blanks behind the size.
    AfterSize { value: u64 },
    /// In an extension.
    Extension { value: u64 },
    /// The CR of a size line was read.
    SizeLf { value: u64 },
    /// Bytes of data still to come.
    Data { left: u64 },
    /// Data is over, CR must follow.
    DataCr,
    /// Data is over, LF must follow.
    DataLf,
    /// At the first byte of a trailer line or of the final empty line.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// The CR of a trailer line was read.
    TrailerLf,
    /// The CR of the final empty line was read.
    EndLf,
    /// The message is over; no byte belongs to it any more.
    Done,
}

/// A decoder for one chunked body.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    line: usize,
    trailers: usize,
    /// So far without what some readers take differently (see [`plain_length`]).
    plain: bool,
}

/// How many bytes of `input` a chunked body takes that ends in there and that
/// every reader takes alike: sizes without blanks and extensions, no trailers.
pub fn plain_length(input: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = input.get(at..)?;
        let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if !(1..=8).contains(&digits) || !rest[digits..].starts_with(CHUNK_END) {
            return None;
        }
        let size = rest[..digits].iter().fold(0, |size, &digit| size << 4 | usize::from(hex(digit)));
        // What eight digits say may be more than a 32-bit word can count up to.
        at = (at + digits + CHUNK_END.len()).checked_add(size)?;
        if !input.get(at..)?.starts_with(CHUNK_END) {
            return None;
        }
        at += CHUNK_END.len();
        if size == 0 {
            return Some(at);
        }
    }
}

/// What the next bytes of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Size lines and the line ends behind data.
    Framing(usize),
    /// Bytes of the content.
    Data(usize),
    /// Trailer fields.
    Trailer(usize),
    /// The final empty line, or a part of it; the body is over behind it.
    End(usize),
}

/// The bytes are not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed chunked framing: {0}")]
pub struct BadChunk(&'static str);

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: State::Size { value: 0, digits: 0 }, line: 0, trailers: 0, plain: true }
    }
}

impl Chunked {
    /// Whether the final empty line was read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether every reader takes alike what came so far: sizes without blanks
    /// and extensions, no trailers.
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Takes the next piece off the front of `input`; `None` when nothing is
    /// left to take, be it that the input is empty or that the body is over.
    ///
    /// # Errors
    /// [`BadChunk`] for anything that another reader could take differently.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, BadChunk> {
        if input.is_empty() || self.is_done() {
            return Ok(None);
        }
        if let State::Data { left } = self.state {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            self.state = match left - take as u64 {
                0 => State::DataCr,
                left => State::Data { left },
            };
            return Ok(Some(Piece::Data(take)));
        }
        let in_trailers = matches!(self.state, State::TrailerStart | State::Trailer | State::TrailerLf);
        let mut taken = 0;
        while taken < input.len() {
            if self.state == State::Trailer {
                taken += self.skip_trailer_text(&input[taken..])?;
                continue;
            }
            let before = self.state;
            if before == State::TrailerStart && input[taken] == b'\r' && taken > 0 {
                break; // the final line is a piece of its own
            }
            self.step(input[taken])?;
            taken += 1;
            match self.state {
                State::Done => return Ok(Some(Piece::End(taken))),
                State::Data { .. } => return Ok(Some(Piece::Framing(taken))),
                State::TrailerStart if !in_trailers => return Ok(Some(Piece::Framing(taken))),
                _ => {}
            }
        }
        Ok(Some(match self.state {
            State::EndLf | State::Done => Piece::End(taken),
            _ if in_trailers => Piece::Trailer(taken),
            _ => Piece::Framing(taken),
        }))
    }

    /// Moves over trailer text up to its CR.
    fn skip_trailer_text(&mut self, input: &[u8]) -> Result<usize, BadChunk> {
        let text = memchr(b'\r', input).unwrap_or(input.len());
        if input[..text].iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f) {
            return Err(BadChunk("a control character in a trailer"));
        }
        self.count_trailer(text)?;
        if text < input.len() {
            self.step(b'\r')?;
            return Ok(text + 1);
        }
        Ok(text)
    }

    fn count_trailer(&mut self, bytes: usize) -> Result<(), BadChunk> {
        self.trailers += bytes;
        if self.trailers > MAX_TRAILERS {
            return Err(BadChunk("the trailers are too long"));
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        use State::{
            AfterSize, Data, DataCr, DataLf, Done, EndLf, Extension, Size, SizeLf, Trailer, TrailerLf,
            TrailerStart,
        };
        if matches!(self.state, Size { .. } | AfterSize { .. } | Extension { .. }) {
            self.line += 1;
            if self.line > MAX_SIZE_LINE {
                return Err(BadChunk("the line with the size is too long"));
            }
        }
        self.state = match (self.state, byte) {
            (Size { value, digits }, b) if b.is_ascii_hexdigit() => {
                // Zeros in front are not significant; sixteen digits fill 64 bits.
                let digits = if value == 0 { 1 } else { digits + 1 };
                if digits > 16 {
                    return Err(BadChunk("the size overflows"));
                }
                Size { value: value << 4 | u64::from(hex(b)), digits }
            }
            (Size { digits: 0, .. }, _) => return Err(BadChunk("no size")),
            (Size { value, .. } | AfterSize { value } | Extension { value }, b'\r') => SizeLf { value },
            (Size { value, .. } | AfterSize { value }, b';') => Extension { value },
            (Size { value, .. } | AfterSize { value }, b' ' | b'\t') => AfterSize { value },
            (Extension { value }, b) if b >= b' ' && b != 0x7f || b == b'\t' => Extension { value },
            (SizeLf { value }, b'\n') => {
                self.line = 0;
                if value > i64::MAX as u64 {
                    return Err(BadChunk("the size is beyond reason"));
                }
                if value == 0 { TrailerStart } else { Data { left: value } }
            }
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size { value: 0, digits: 0 },
            (TrailerStart, b'\r') => EndLf,
            (TrailerStart, b) if b > b' ' && b != 0x7f => {
                self.count_trailer(1)?;
                Trailer
            }
            (Trailer, b'\r') => TrailerLf,
            (TrailerLf, b'\n') => TrailerStart,
            (EndLf, b'\n') => Done,
            (Size { .. } | AfterSize { .. } | Extension { .. }, _) => return Err(BadChunk("no proper size")),
            (SizeLf { .. } | TrailerLf | EndLf, _) => return Err(BadChunk("CR without LF")),
            (DataCr | DataLf, _) => return Err(BadChunk("no line end behind the data")),
            (TrailerStart | Trailer, _) => return Err(BadChunk("a malformed trailer")),
            (Data { .. } | Done, _) => return Err(BadChunk("a byte out of place")),
        };
        self.plain &= !matches!(self.state, AfterSize { .. } | Extension { .. } | Trailer);
        Ok(())
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `input` in pieces of the given sizes: content, bytes taken, done.
    fn decode(input: &[u8], mut split: impl FnMut() -> usize) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let mut decoder = Chunked::default();
        let (mut content, mut taken) = (Vec::new(), 0);
        while taken < input.len() && !decoder.is_done() {
            let window = &input[taken..(taken + split().max(1)).min(input.len())];
            let mut used = 0;
            while let Some(piece) = decoder.next(&window[used..])? {
                let length = match piece {
                    Piece::Data(n) => {
                        content.extend_from_slice(&window[used..used + n]);
                        n
                    }
                    Piece::Framing(n) | Piece::Trailer(n) | Piece::End(n) => n,
                };
                used += length;
            }
            taken += used;
        }
        Ok((content, taken, decoder.is_done()))
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for (length, line) in
            [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (16384, "4000\r\n"), (0xabcde, "abcde\r\n")]
        {
            let mut out = Vec::new();
            write_size(&mut out, length);
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }

    #[test]
    fn good_bodies_are_followed_to_their_end_r17() {
        let cases: &[(&str, &str)] = &[
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("B\r\nhello world\r\n000\r\n\r\n", "hello world"),
            ("0000000b;a=\"x;y\"\r\nhello world\r\n0\r\nX: y\r\nZ: w\r\n\r\n", "hello world"),
            ("5 \t;x\r\nhello\r\n1\r\n!\r\n0;last\r\n\r\n", "hello!"),
            ("0\r\n\r\n", ""),
            ("00000000000000000000000000000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ];
        for (text, content) in cases {
            for step in [1, 2, 3, 1000] {
                let whole = format!("{text}NEXT");
                let (got, taken, done) = decode(whole.as_bytes(), || step).unwrap();
                assert_eq!(
                    (got.as_slice(), taken, done),
                    (content.as_bytes(), text.len(), true),
                    "{text:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn the_length_of_a_plain_body_is_found() {
        assert_eq!(plain_length(b"5\r\nhello\r\n0\r\n\r\nGET /"), Some(15));
        assert_eq!(plain_length(b"0\r\n\r\n"), Some(5));
        for other in [
            "5\r\nhello\r\n0\r\n",
            "0\r\nX: y\r\n\r\n",
            "0;x\r\n\r\n",
            "0 \r\n\r\n",
            "zz\r\n",
            "",
            "ffffffff\r\n",
            // Counted in 32 bits, these would lead back to the front of the body.
            "fffffffe\r\n0\r\n\r\n",
            "5\r\nhello\r\nfffffffe\r\n0\r\n\r\n",
        ] {
            assert_eq!(plain_length(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn a_chunk_of_more_than_4_gib_is_counted_in_full() {
        let mut decoder = Chunked::default();
        assert_eq!(decoder.next(b"100000003\r\n").unwrap(), Some(Piece::Framing(11)));
        assert_eq!(decoder.next(b"hello\r\n").unwrap(), Some(Piece::Data(7)));
        assert_eq!(decoder.state, State::Data { left: (1 << 32) + 3 - 7 });
    }

    #[test]
    fn bad_bodies_are_refused_r19_r20() {
        let long_extension = format!("3;{}\r\nabc\r\n", "x".repeat(MAX_SIZE_LINE));
        let long_trailers = format!("0\r\n{}\r\n", "X: yyyyyyyyyyyyyyyyyyyyy\r\n".repeat(400));
        let cases: &[&str] = &[
            "g\r\n",
            "-5\r\n",
            "+5\r\n",
            "0x5\r\n",
            "\r\n",
            "0_5\r\n",
            "5 5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "11111111111111111\r\n",
            "ffffffffffffffff\r\n",
            "8000000000000000\r\n",
            "5\r\nhelloX",
            "5\r\nhello\rX",
            "5\nhello\r\n",
            "5\r\nhello\n",
            "0\r\n\n",
            "0\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "3;a\x01\r\n",
            "0\r\nX: \0\r\n\r\n",
            "0\r\n\rX",
            &long_extension,
            &long_trailers,
        ];
        for text in cases {
            for step in [1, 1000] {
                assert!(decode(text.as_bytes(), || step).is_err(), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn a_cut_body_is_not_done_r21_r22() {
        for text in ["5\r\nhel", "5\r\nhello\r\n", "5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\n\r", "5"] {
            assert!(!decode(text.as_bytes(), || 1000).unwrap().2, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_content(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            splits in prop::collection::vec(1usize..9, 1..64),
        ) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x};e=1\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\nT: v\r\n\r\n");
            let mut turn = splits.iter().cycle();
            let (content, taken, done) = decode(&text, || *turn.next().unwrap()).unwrap();
            prop_assert!(done);
            prop_assert_eq!(taken, text.len());
            prop_assert_eq!(content, chunks.concat());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), step in 1usize..9) {
            let _ = decode(&bytes, || step);
        }
    }
}
