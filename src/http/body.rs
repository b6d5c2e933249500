//! Where a response body ends, and which of its bytes the client gets.

use super::chunked::{BadChunk, Chunked, Piece};

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
    /// Chunks; `unwrap` leaves the framing out, for clients that do not know it.
    Chunked {
        /// Place in the grammar.
        decoder: Chunked,
        /// Give the content alone.
        unwrap: bool,
    },
    /// Whatever comes until the close.
    UntilClose,
}

/// What one read of body bytes amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes at the front of the buffer that go to the client.
    pub keep: usize,
    /// The body is over.
    pub done: bool,
    /// Bytes came behind the end of the body: the connection is out of step.
    pub surplus: bool,
}

impl BodyDecoder {
    /// The decoder for a body of this framing. `unwrap_chunks` for clients of HTTP/1.0.
    pub fn new(length: BodyLength, unwrap_chunks: bool) -> Self {
        match length {
            BodyLength::None => BodyDecoder::Done,
            BodyLength::Length(n) => BodyDecoder::Length(n),
            BodyLength::Chunked => {
                BodyDecoder::Chunked { decoder: Chunked::default(), unwrap: unwrap_chunks }
            }
            BodyLength::UntilClose => BodyDecoder::UntilClose,
        }
    }

    /// Whether the backend's close is the proper end.
    pub fn ends_at_close(&self) -> bool {
        matches!(self, BodyDecoder::UntilClose)
    }

    /// Takes body bytes and leaves what the client gets at the front of `buffer`.
    ///
    /// Chunks are passed through as they came, without their trailers: nobody
    /// asked for them (RFC 9110 6.5.1).
    ///
    /// # Errors
    /// [`BadChunk`] when chunked framing is broken.
    pub fn relay(&mut self, buffer: &mut [u8]) -> Result<Relayed, BadChunk> {
        match self {
            BodyDecoder::Done => Ok(Relayed { keep: 0, done: true, surplus: !buffer.is_empty() }),
            BodyDecoder::UntilClose => Ok(Relayed { keep: buffer.len(), done: false, surplus: false }),
            BodyDecoder::Length(left) => {
                let keep = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= keep as u64;
                let done = *left == 0;
                if done {
                    *self = BodyDecoder::Done;
                }
                Ok(Relayed { keep, done, surplus: keep < buffer.len() })
            }
            BodyDecoder::Chunked { decoder, unwrap } => {
                let (mut read, mut keep) = (0, 0);
                while let Some(piece) = decoder.next(&buffer[read..])? {
                    let (length, wanted) = match piece {
                        Piece::Data(n) => (n, true),
                        Piece::Framing(n) | Piece::End(n) => (n, !*unwrap),
                        Piece::Trailer(n) => (n, false),
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
                if done {
                    *self = BodyDecoder::Done;
                }
                Ok(Relayed { keep, done, surplus: read < buffer.len() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn relay_all(length: BodyLength, unwrap: bool, input: &[u8], step: usize) -> (Vec<u8>, bool, bool) {
        let mut decoder = BodyDecoder::new(length, unwrap);
        let (mut out, mut done, mut surplus) = (Vec::new(), false, false);
        for part in input.chunks(step) {
            let mut buffer = part.to_vec();
            let relayed = decoder.relay(&mut buffer).unwrap();
            out.extend_from_slice(&buffer[..relayed.keep]);
            done = relayed.done;
            surplus |= relayed.surplus;
        }
        (out, done, surplus)
    }

    #[test]
    fn surplus_behind_a_length_is_cut_and_told_r15() {
        let (out, done, surplus) = relay_all(BodyLength::Length(5), false, b"helloHTTP/1.1 200 POISON", 100);
        assert_eq!(out, b"hello");
        assert!(done && surplus);
    }

    #[test]
    fn chunks_pass_without_trailers_r23() {
        let input = b"5\r\nhello\r\n0\r\nSecret: 1\r\nX: y\r\n\r\n";
        for step in 1..input.len() {
            let (out, done, surplus) = relay_all(BodyLength::Chunked, false, input, step);
            assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n", "by {step}");
            assert!(done && !surplus);
        }
    }

    #[test]
    fn chunks_are_unwrapped_for_http10_r28() {
        let input = b"5\r\nhello\r\n1;x\r\n!\r\n0\r\nX: y\r\n\r\n";
        for step in 1..input.len() {
            assert_eq!(relay_all(BodyLength::Chunked, true, input, step).0, b"hello!");
        }
    }

    proptest! {
        #[test]
        fn any_split_relays_the_same(body in prop::collection::vec(any::<u8>(), 1..100), step in 1usize..30, extra in 0usize..5) {
            let mut input = body.clone();
            input.extend(std::iter::repeat_n(b'!', extra));
            let (out, done, surplus) = relay_all(BodyLength::Length(body.len() as u64), false, &input, step);
            prop_assert_eq!(out, body);
            prop_assert!(done);
            prop_assert_eq!(surplus, extra > 0);
        }
    }
}
