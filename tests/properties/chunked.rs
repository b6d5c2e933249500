//! Chunked bodies: one content, one end, however the bytes come in pieces.

use monkey_proxy_reverse::http::body::{BodyDecoder, BodyLength, Style};
use monkey_proxy_reverse::http::chunked::{
    BadChunk, CHUNK_END, Chunked, LAST_CHUNK, MAX_SIZE_LINE, MAX_TRAILERS, Piece, plain_length, write_size,
};

use super::naive::{self, Chunks, ChunksEnd, assert_same, is_one_of, shown};

/// The property of the target `chunked`.
pub fn check(input: &[u8]) -> bool {
    let expected = naive::chunks(input, MAX_SIZE_LINE, MAX_TRAILERS);
    let mut errors = Vec::new();
    for split in SPLITS {
        let (got, error) = decode(&mut split(input));
        assert_same(&got.content, &expected.content);
        assert_eq!(got.end, expected.end);
        errors.push(error);
    }
    assert!(errors.windows(2).all(|pair| pair[0] == pair[1]), "it depends on the pieces: {errors:?}");
    for style in [Style::Unwrapped, Style::Plain, Style::WithTrailers(Vec::new())] {
        let passed: Vec<_> =
            SPLITS.iter().map(|split| relay(&mut split(input), style.clone(), &expected.end)).collect();
        for out in &passed {
            match style {
                Style::Unwrapped if expected.end == ChunksEnd::Bad => {
                    assert!(expected.content.starts_with(out), "{}", shown(out));
                }
                Style::Unwrapped => assert_same(out, &expected.content),
                Style::Plain => passes_the_content_on(out, &expected, false),
                Style::WithTrailers(_) => passes_the_content_on(out, &expected, true),
            }
            assert!(expected.end == ChunksEnd::Bad || *out == passed[0], "it depends on the pieces");
        }
    }
    if let Some(length) = plain_length(input) {
        assert_eq!(expected.end, ChunksEnd::Whole(length));
        assert!(expected.trailers.is_empty());
    }
    is_written_as_it_is_read(&expected.content);
    expected.end != ChunksEnd::Bad
}

/// An iterator over all of the input, in pieces.
type Pieces<'a> = Box<dyn Iterator<Item = &'a [u8]> + 'a>;

/// Ways to cut the input.
const SPLITS: [fn(&[u8]) -> Pieces<'_>; 4] = [
    |input| Box::new(std::iter::once(input)),
    |input| Box::new(input.chunks(1)),
    |input| Box::new(input.chunks(7)),
    |input| Box::new(uneven(input)),
];

/// Pieces of 1 to 31 bytes, whose lengths follow from the input.
fn uneven(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut seed = input.iter().fold(7u32, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
    std::iter::from_fn(move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = (1 + (seed >> 27) as usize).min(31).min(input.len());
        let (piece, rest) = input.split_at(length);
        input = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Runs the decoder over pieces as the relay does.
fn decode(pieces: &mut Pieces<'_>) -> (Chunks, Option<BadChunk>) {
    let mut decoder = Chunked::default();
    let mut got = Chunks::default();
    let mut taken = 0;
    for piece in pieces {
        let mut rest = piece;
        loop {
            let length = match decoder.next(rest) {
                Ok(None) => break,
                Ok(Some(Piece::Data(n))) => {
                    got.content.extend_from_slice(&rest[..n]);
                    n
                }
                Ok(Some(Piece::Framing(n) | Piece::Trailer(n) | Piece::End(n))) => n,
                Err(error) => {
                    got.end = ChunksEnd::Bad;
                    return (got, Some(error));
                }
            };
            assert!(length > 0 && length <= rest.len(), "a piece of {length} of {} bytes", rest.len());
            taken += length;
            rest = &rest[length..];
        }
        if decoder.is_done() {
            got.end = ChunksEnd::Whole(taken);
            return (got, None);
        }
        assert!(rest.is_empty(), "bytes are left over although more may come");
    }
    (got, None)
}

/// What the client gets of a body that ends so.
fn relay(pieces: &mut Pieces<'_>, style: Style, expected: &ChunksEnd) -> Vec<u8> {
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, style);
    assert!(!decoder.ends_at_close());
    let end = if let ChunksEnd::Whole(end) = *expected { end } else { usize::MAX };
    let (mut out, mut given) = (Vec::new(), 0);
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.clear();
        buffer.extend_from_slice(piece);
        given += piece.len();
        let Ok(relayed) = decoder.relay(&mut buffer) else {
            assert_eq!(*expected, ChunksEnd::Bad);
            return out;
        };
        assert_eq!((relayed.done, relayed.surplus), (given >= end, given > end));
        out.extend_from_slice(&buffer[..relayed.keep]);
        out.extend_from_slice(&relayed.tail);
    }
    assert_ne!(*expected, ChunksEnd::Bad, "a mistake was passed on");
    out
}

/// The client reads the same content, and of the trailers those that it may have.
fn passes_the_content_on(out: &[u8], expected: &Chunks, with_trailers: bool) {
    let read = naive::chunks(out, MAX_SIZE_LINE, MAX_TRAILERS);
    if with_trailers && matches!(expected.end, ChunksEnd::Whole(_)) {
        may_have(&read.trailers, &expected.trailers);
    } else {
        assert!(read.trailers.is_empty(), "{}", shown(out));
    }
    match expected.end {
        ChunksEnd::Whole(_) => assert_eq!(read.end, ChunksEnd::Whole(out.len())),
        ChunksEnd::Cut | ChunksEnd::Bad => assert_eq!(read.end, ChunksEnd::Cut),
    }
    if expected.end == ChunksEnd::Bad {
        assert!(expected.content.starts_with(&read.content));
    } else {
        assert_same(&read.content, &expected.content);
    }
}

/// What passes is some of what came, in its order; nothing that belongs into a head, and all
/// that has a name of its own.
fn may_have(passed: &[Vec<u8>], came: &[Vec<u8>]) {
    let name = |line: &[u8]| line.iter().position(|&b| b == b':').map(|colon| line[..colon].to_vec());
    let mut rest = came.iter();
    for line in passed {
        assert!(rest.any(|other| other == line), "{} did not come, or not there", shown(line));
        let name = name(line).unwrap_or_default();
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        assert!(!name.is_empty() && name.iter().all(token), "{}", shown(line));
        assert!(!is_one_of(&name, HEAD_ONLY), "{}", shown(line));
    }
    let own = |line: &&Vec<u8>| name(line).is_some_and(|name| is_one_of(&name, &["x-sum", "server-timing"]));
    assert_eq!(passed.iter().filter(own).count(), came.iter().filter(own).count());
}

/// What would change the meaning of a head that was understood without it.
const HEAD_ONLY: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "location",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

/// What we put into chunks ourselves has that content.
fn is_written_as_it_is_read(content: &[u8]) {
    let mut out = Vec::new();
    for chunk in uneven(content) {
        write_size(&mut out, chunk.len());
        out.extend_from_slice(chunk);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK);
    let read = naive::chunks(&out, MAX_SIZE_LINE, MAX_TRAILERS);
    assert_same(&read.content, content);
    assert_eq!(read.end, ChunksEnd::Whole(out.len()));
}
