//! Which trailer fields may pass (RFC 9110 6.5.1).

use super::chunked::CHUNK_END;
use super::fields::{Known, known};

/// Fields that mean something only in a head, besides those that [`known`] knows.
const HEAD_ONLY: [&str; 16] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "expires",
    "if-match",
    "if-none-match",
    "location",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "www-authenticate",
];

/// What follows the last chunk: those of `lines` that are well-formed fields
/// and may stand behind a body, and the empty line.
pub fn ending(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|&b| b == b'\n') {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let name = &line[..colon];
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let head_only = HEAD_ONLY.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        if !name.is_empty() && name.iter().all(token) && known(name) == Known::Other && !head_only {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(CHUNK_END);
    out
}

/// What is left of such an [`ending`] without the fields of which `removed` knows the names.
pub fn without(ending: &[u8], removed: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let name = |line: &[u8]| line.iter().position(|&b| b == b':').unwrap_or(0);
    let lines = ending.split_inclusive(|&b| b == b'\n');
    lines.filter(|line| !removed(&line[..name(line)])).flatten().copied().collect()
}
