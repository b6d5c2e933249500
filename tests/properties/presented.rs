//! What a server is shown of a request that is ours: one head in which nobody finds a body, and
//! the same path.

use monkey_proxy_reverse::http::path::decoded_path;
use monkey_proxy_reverse::http::presented::{empty_lines, is_ordinary, ordinary, shown, tolerant_end};
use monkey_proxy_reverse::http::request::{self, Request};

use super::naive::{self, Head, assert_same, is, is_one_of};

/// Looks at the bytes as they come from a client.
pub fn check(input: &[u8]) {
    let skipped = empty_lines(input);
    assert!(input[..skipped].chunks(2).all(|pair| pair == b"\r\n"));
    let bytes = &input[skipped..];
    assert!(!bytes.starts_with(b"\r\n"));
    let end = (0..bytes.len()).find_map(|at| {
        let ends = [&b"\n\n"[..], b"\n\r\n"];
        ends.iter().find(|end| bytes[at..].starts_with(end)).map(|end| at + end.len())
    });
    assert_eq!(tolerant_end(bytes), end);
    let Some(end) = end else { return };
    let head = &bytes[..end];

    let mut room = request::storage();
    let request = request::parse(head, &mut room).ok();
    if is_ordinary(head) {
        is_read_by_everybody_alike(head, request.is_some());
    }
    let path = decoded_path(head);
    if path.starts_with(b"/") {
        says_nothing_of_a_body(&shown(head, &path), &path, request.as_ref());
    }
    if let Some(count) = ordinary(bytes) {
        assert_eq!(count, bytes.windows(4).filter(|end| end == b"\r\n\r\n").count());
        assert!(count == 0 || is_ordinary(head));
    }
}

fn is_read_by_everybody_alike(head: &[u8], is_taken: bool) {
    let read = Head::read(head);
    let words: Vec<_> = read.first.split(|&b| b == b' ').collect();
    assert!(words.len() == 3 && (words[0] == b"GET" || words[0] == b"HEAD") && words[2] == b"HTTP/1.1");
    assert_eq!(read.all("host").len(), 1);
    for (name, _) in &read.fields {
        let hyphened: Vec<u8> = name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect();
        assert!(!is_one_of(&hyphened, FRAMING) && !is(name, "expect"), "{}", naive::shown(name));
    }
    // We refuse nothing else of it than a target.
    assert!(is_taken || words[1].iter().any(|b| b"%#".contains(b)), "{}", naive::shown(head));
}

fn says_nothing_of_a_body(out: &[u8], path: &[u8], request: Option<&Request<'_, '_>>) {
    let read = Head::read(out);
    assert_eq!(read.all("host").len(), 1);
    assert!(!read.fields.iter().any(|(name, _)| is_one_of(name, FRAMING) || is(name, "expect")));
    // Of a very long one both ends are shown.
    assert!(out.len() < 4096, "{} bytes", out.len());
    if path.len() <= 512 {
        assert_same(&decoded_path(out), path);
    }
    assert!(!out.starts_with(b"POST ") && !out.starts_with(b"PUT "));
    let Some(request) = request else { return };
    let mut room = request::storage();
    let again = request::parse(out, &mut room).unwrap_or_else(|e| panic!("{e}: {}", naive::shown(out)));
    assert_eq!((again.content_length, again.chunked), (None, false));
    assert_eq!(again.version, request.version);
    let known = ["GET", "HEAD", "DELETE", "OPTIONS"].contains(&request.method);
    assert_eq!(again.method == request.method, known || request.method == "QOST" || is_qed(request.method));
    // How the connection goes on, unless there is too much to show; the engine knows better anyway.
    let plain = |value: &[u8]| value.iter().all(|b| (b' '..0x7f).contains(b));
    let length: usize = request.fields.iter().map(|field| field.name.len() + field.value.len() + 4).sum();
    if request.fields.len() <= 20 && length <= 2048 && request.fields.iter().all(|field| plain(field.value)) {
        let keeps = |request: &Request<'_, '_>| (request.connection.close, request.connection.keep_alive);
        assert_eq!(keeps(&again), keeps(request), "{}", naive::shown(out));
    }
}

/// Whether a method is its own disguise.
fn is_qed(method: &str) -> bool {
    method.starts_with('Q')
        && (3..=7).contains(&method.len())
        && method.bytes().all(|b| b.is_ascii_uppercase())
}

const FRAMING: &[&str] = &["content-length", "transfer-encoding"];
