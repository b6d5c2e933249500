//! Where a response body ends, and which of its bytes the client gets.

use super::chunked::{BadChunk, Chunked, Piece};
use super::trailers;

/// How the end of a body is told (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes, more than zero.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked,
    /// Everything until the backend closes.
    UntilClose,
}

/// Follows one body to its end. It alone says when a message is over.
#[derive(Clone, Debug)]
pub enum BodyDecoder {
    /// Over.
    Done,
    /// Bytes still to come.
    Length(u64),
    /// Chunks.
    Chunked {
        /// Place in the grammar.
        decoder: Chunked,
        /// What the receiver gets of the framing.
        style: Style,
    },
    /// Whatever comes until the close.
    UntilClose,
}

/// What is passed on of a chunked body.
#[derive(Clone, Debug)]
pub enum Style {
    /// The content alone, for receivers that do not know chunks.
    Unwrapped,
    /// The chunks, without trailer fields.
    Plain,
    /// The chunks and the trailer fields, which were collected so far.
    WithTrailers(Vec<u8>),
}

/// What one read of body bytes amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes at the front of the buffer that go to the client.
    pub keep: usize,
    /// The body is over.
    pub done: bool,
    /// Bytes came behind the end of the body: the connection is out of step.
    pub surplus: bool,
    /// How many bytes of what came belong to the body. Those behind stay where
    /// they are in the buffer.
    pub taken: usize,
    /// No reader would see the end of the body elsewhere.
    pub plain: bool,
    /// Goes out behind them: trailer fields with the line that ends them.
    pub tail: Vec<u8>,
}

impl BodyDecoder {
    /// The decoder for a body of this framing; `style` is what becomes of chunks.
    pub fn new(length: BodyLength, style: Style) -> Self {
        match length {
            BodyLength::None => BodyDecoder::Done,
            BodyLength::Length(n) => BodyDecoder::Length(n),
            BodyLength::Chunked => BodyDecoder::Chunked { decoder: Chunked::default(), style },
            BodyLength::UntilClose => BodyDecoder::UntilClose,
        }
    }

    /// Whether the backend's close is the proper end.
    pub fn ends_at_close(&self) -> bool {
        matches!(self, BodyDecoder::UntilClose)
    }

    /// How many bytes are still to come, where that was said in advance.
    pub fn known_rest(&self) -> Option<u64> {
        match self {
            BodyDecoder::Length(left) => Some(*left),
            _ => None,
        }
    }

    /// So many of [`known_rest`](Self::known_rest) have come and gone; whether it is over.
    pub fn pass(&mut self, bytes: u64) -> bool {
        if let BodyDecoder::Length(left) = self {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                *self = BodyDecoder::Done;
            }
        }
        matches!(self, BodyDecoder::Done)
    }

    /// Takes body bytes and leaves what the client gets at the front of `buffer`.
    ///
    /// Chunks are passed through as they came; trailer fields only to those who
    /// asked for them (RFC 9110 6.5.1).
    ///
    /// # Errors
    /// [`BadChunk`] when chunked framing is broken.
    pub fn relay(&mut self, buffer: &mut [u8]) -> Result<Relayed, BadChunk> {
        let tail = Vec::new();
        match self {
            BodyDecoder::Done => {
                Ok(Relayed { keep: 0, done: true, surplus: !buffer.is_empty(), taken: 0, plain: true, tail })
            }
            BodyDecoder::UntilClose => {
                let taken = buffer.len();
                Ok(Relayed { keep: taken, done: false, surplus: false, taken, plain: true, tail })
            }
            BodyDecoder::Length(left) => {
                let keep = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= keep as u64;
                let done = *left == 0;
                if done {
                    *self = BodyDecoder::Done;
                }
                Ok(Relayed { keep, done, surplus: keep < buffer.len(), taken: keep, plain: true, tail })
            }
            BodyDecoder::Chunked { decoder, style } => {
                let relayed = relay_chunks(decoder, style, buffer)?;
                if relayed.done {
                    *self = BodyDecoder::Done;
                }
                Ok(relayed)
            }
        }
    }
}

fn relay_chunks(decoder: &mut Chunked, style: &mut Style, buffer: &mut [u8]) -> Result<Relayed, BadChunk> {
    let (mut read, mut keep) = (0, 0);
    while let Some(piece) = decoder.next(&buffer[read..])? {
        let (length, wanted) = match (piece, &mut *style) {
            (Piece::Data(n), _) => (n, true),
            (Piece::Framing(n), style) => (n, !matches!(style, Style::Unwrapped)),
            (Piece::Trailer(n), Style::WithTrailers(lines)) => {
                lines.extend_from_slice(&buffer[read..read + n]);
                (n, false)
            }
            (Piece::Trailer(n), _) | (Piece::End(n), Style::Unwrapped) => (n, false),
            (Piece::End(n), Style::WithTrailers(lines)) => (n, lines.is_empty()),
            (Piece::End(n), Style::Plain) => (n, true),
        };
        if wanted {
            if read != keep {
                buffer.copy_within(read..read + length, keep);
            }
            keep += length;
        }
        read += length;
    }
    let done = decoder.is_done();
    let tail = match style {
        Style::WithTrailers(lines) if done && !lines.is_empty() => trailers::ending(lines),
        _ => Vec::new(),
    };
    let plain = decoder.is_plain();
    Ok(Relayed { keep, done, surplus: read < buffer.len(), taken: read, plain, tail })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relay_all(length: BodyLength, style: Style, input: &[u8], step: usize) -> (Vec<u8>, bool, bool) {
        let mut decoder = BodyDecoder::new(length, style);
        let (mut out, mut done, mut surplus) = (Vec::new(), false, false);
        for part in input.chunks(step) {
            let mut buffer = part.to_vec();
            let relayed = decoder.relay(&mut buffer).unwrap();
            out.extend_from_slice(&buffer[..relayed.keep]);
            out.extend_from_slice(&relayed.tail);
            assert_eq!(buffer[relayed.taken..], part[relayed.taken..]);
            assert_eq!(relayed.surplus, relayed.taken < part.len());
            done = relayed.done;
            surplus |= relayed.surplus;
        }
        (out, done, surplus)
    }

    #[test]
    fn surplus_behind_a_length_is_cut_and_told_r15() {
        let (out, done, surplus) =
            relay_all(BodyLength::Length(5), Style::Plain, b"helloHTTP/1.1 200 POISON", 100);
        assert_eq!(out, b"hello");
        assert!(done && surplus);
    }

    #[test]
    fn a_length_of_more_than_4_gib_is_counted_in_full() {
        const LENGTH: u64 = (1 << 32) + 5;
        let mut decoder = BodyDecoder::new(BodyLength::Length(LENGTH), Style::Plain);
        let relayed = decoder.relay(&mut [b'x'; 10]).unwrap();
        assert_eq!((relayed.keep, relayed.done, relayed.surplus), (10, false, false));
        assert_eq!(decoder.known_rest(), Some(LENGTH - 10));
        assert!(!decoder.pass(LENGTH - 15));
        let relayed = decoder.relay(&mut [b'x'; 10]).unwrap();
        assert_eq!((relayed.keep, relayed.done, relayed.surplus), (5, true, true));
    }

    #[test]
    fn a_length_can_be_followed_without_the_bytes() {
        let mut decoder = BodyDecoder::new(BodyLength::Length(10), Style::Plain);
        assert_eq!(decoder.known_rest(), Some(10));
        assert!(!decoder.pass(4));
        let mut buffer = *b"abc";
        assert_eq!(decoder.relay(&mut buffer).map(|relayed| (relayed.keep, relayed.done)), Ok((3, false)));
        assert_eq!(decoder.known_rest(), Some(3));
        assert!(decoder.pass(3));
        assert_eq!(decoder.known_rest(), None);
        let mut chunked = BodyDecoder::new(BodyLength::Chunked, Style::Plain);
        assert!(chunked.known_rest().is_none() && !chunked.pass(5));
    }

    #[test]
    fn chunks_pass_without_trailers_r23() {
        let input = b"5\r\nhello\r\n0\r\nSecret: 1\r\nX: y\r\n\r\n";
        for step in 1..input.len() {
            let (out, done, surplus) = relay_all(BodyLength::Chunked, Style::Plain, input, step);
            assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n", "by {step}");
            assert!(done && !surplus);
        }
    }

    #[test]
    fn trailers_pass_for_those_who_take_them_but_for_what_belongs_into_a_head_r23() {
        let input = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nSet-Cookie: a\r\nno colon\r\nX Y: z\r\nY: 2\r\n\r\n";
        let empty = b"5\r\nhello\r\n0\r\n\r\n";
        for step in 1..input.len() {
            let (out, done, surplus) =
                relay_all(BodyLength::Chunked, Style::WithTrailers(Vec::new()), input, step);
            assert_eq!(out, b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n", "by {step}");
            assert!(done && !surplus);
            let (out, ..) = relay_all(BodyLength::Chunked, Style::WithTrailers(Vec::new()), empty, step);
            assert_eq!(out, empty, "by {step}");
        }
    }

    #[test]
    fn chunks_are_unwrapped_for_http10_r28() {
        let input = b"5\r\nhello\r\n1;x\r\n!\r\n0\r\nX: y\r\n\r\n";
        for step in 1..input.len() {
            assert_eq!(relay_all(BodyLength::Chunked, Style::Unwrapped, input, step).0, b"hello!");
        }
    }

    proptest! {
        #[test]
        fn any_split_relays_the_same(body in prop::collection::vec(any::<u8>(), 1..100), step in 1usize..30, extra in 0usize..5) {
            let mut input = body.clone();
            input.extend(std::iter::repeat_n(b'!', extra));
            let (out, done, surplus) = relay_all(BodyLength::Length(body.len() as u64), Style::Plain, &input, step);
            prop_assert_eq!(out, body);
            prop_assert!(done);
            prop_assert_eq!(surplus, extra > 0);
        }
    }
}
