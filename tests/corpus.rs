//! The properties of `tests/properties` over the corpus that the fuzzers keep, and over input
//! that is made up anew in each run.

#![allow(clippy::unwrap_used, reason = "tests")]

mod properties;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use properties::{CHUNKED, CONFIGURATION, REQUEST_HEAD, RESPONSE_HEAD, TARGETS, Target};
use proptest::prelude::*;
use proptest::sample::{Index, select};

// --- The files that are kept -----------------------------------------------------------

#[test]
fn the_request_heads_of_the_corpus() {
    replay(REQUEST_HEAD);
}

#[test]
fn the_response_heads_of_the_corpus() {
    replay(RESPONSE_HEAD);
}

#[test]
fn the_chunked_bodies_of_the_corpus() {
    replay(CHUNKED);
}

#[test]
fn the_configurations_of_the_corpus() {
    replay(CONFIGURATION);
}

fn replay((name, property): Target) {
    let (mut taken, mut refused) = (0, 0);
    for (path, bytes) in files(name) {
        let _named = OnFailure(&path);
        if property(&bytes) { taken += 1 } else { refused += 1 }
    }
    assert!(taken >= 10 && refused >= 10, "{name}: {taken} are taken, {refused} refused");
}

/// Names the file when the property does not hold for it.
struct OnFailure<'a>(&'a Path);

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("(this was {})", self.0.display());
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    for (name, _) in TARGETS {
        let files = files(name);
        assert!((20..=FILES_MAX).contains(&files.len()), "{name} has {} files", files.len());
        for (path, bytes) in files {
            assert!(bytes.len() <= FILE_MAX, "{} has {} bytes", path.display(), bytes.len());
        }
    }
}

#[test]
fn each_property_is_a_fuzz_target() {
    let manifest = fs::read_to_string(project().join("fuzz/Cargo.toml")).unwrap();
    let targets: Vec<_> =
        manifest.lines().filter(|line| line.starts_with("path = \"fuzz_targets/")).collect();
    let expected = TARGETS.map(|(name, _)| format!("path = \"fuzz_targets/{name}.rs\""));
    assert_eq!(targets, expected);
}

/// Files of one target; `cargo fuzz cmin` brings them down (see `fuzz/README.md`).
const FILES_MAX: usize = 220;

/// Bytes of one file.
const FILE_MAX: usize = 2048;

fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = project().join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

// --- Input that is made up -------------------------------------------------------------

/// A file of the corpus with a few bytes changed, or parts of another put into it.
fn changed(target: Target) -> impl Strategy<Value = Vec<u8>> {
    let corpus: Vec<Vec<u8>> = files(target.0).into_iter().map(|(_, bytes)| bytes).collect();
    let change = prop_oneof![
        4 => (any::<Index>(), select(TELLING)).prop_map(|(at, bytes)| Change::Insert(at, bytes.to_vec())),
        2 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        2 => (any::<Index>(), 1usize..8).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<Index>(), 1usize..40, any::<Index>()).prop_map(|(from, n, to)| Change::Copy(from, n, to)),
        1 => any::<Index>().prop_map(Change::Cut),
    ];
    (select(corpus), prop::collection::vec(change, 0..6)).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|change| change.apply(&mut bytes));
        bytes
    })
}

/// Bytes that mean something to one of the readers.
const TELLING: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"0",
    b"f",
    b"%2e",
    b"..",
    b"/",
    b"_",
    b"#",
    b"${",
    b"}",
    b"[",
    b"=",
    b"\xff",
    b"\xc3\xa4",
    b"\r\nContent-Length: 3",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nConnection: x-hop",
    b"\r\nX-Hop: 1",
];

#[derive(Clone, Debug)]
enum Change {
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Remove(Index, usize),
    Copy(Index, usize, Index),
    Cut(Index),
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Change::Insert(at, new) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, new);
            }
            _ if bytes.is_empty() => {}
            Change::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Change::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + count));
            }
            Change::Copy(from, count, to) => {
                let from = from.index(bytes.len());
                let copy = bytes[from..bytes.len().min(from + count)].to_vec();
                let to = to.index(bytes.len());
                bytes.splice(to..to, copy);
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
}

/// Field lines, most of them good, with the names that mean something.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let name = select(NAMES);
    let value = select(VALUES);
    let colon = prop_oneof![20 => Just(": "), 2 => Just(":"), 1 => Just(" : "), 1 => Just(":\t ")];
    let end = prop_oneof![60 => Just("\r\n"), 1 => Just("\n"), 1 => Just(" \r\n"), 1 => Just("\r\n ")];
    let line = (name, colon, value, end).prop_map(|(n, c, v, e)| format!("{n}{c}{v}{e}"));
    prop::collection::vec(line, 0..9).prop_map(|lines| lines.concat().into_bytes())
}

const NAMES: &[&str] = &[
    "Accept",
    "Authorization",
    "Connection",
    "Connection",
    "Content_Length",
    "Cookie",
    "Date",
    "Expect",
    "Forwarded",
    "Keep-Alive",
    "Location",
    "Proxy",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Refresh",
    "Server",
    "Set-Cookie",
    "TE",
    "Trailer",
    "Upgrade",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-",
    "X-Hop",
    "X-Real-IP",
    "x_forwarded_proto",
];

const VALUES: &[&str] = &[
    "",
    "5",
    "close",
    "keep-alive, X-Hop",
    "x-hop ,, accept,Date, via",
    "cookie, host, content-length",
    "websocket",
    "http://backend:8080/b/c/x?y",
    "/b/c/..\\//x",
    "//other/b/c",
    "1; url='http://sent.example/b/c'",
    "a=b; Path=/v2/x; domain = .internal.example",
    "for=\"a, b\";proto=https, for=_c",
    "for=\"a",
    "1.1 other",
    "a=b; Path=/",
    "100-continue",
    "\u{e4}",
    "text \t with blanks",
];

/// None, one, or two lines that say how long the body is.
fn framing() -> impl Strategy<Value = String> {
    let line = often(&["Content-Length: 5", "Transfer-Encoding: chunked"], &FRAMINGS);
    let lines = prop_oneof![Just(0usize), Just(1), Just(1), Just(2)];
    lines
        .prop_flat_map(move |n| prop::collection::vec(line.clone(), n))
        .prop_map(|lines| lines.into_iter().map(|line| format!("{line}\r\n")).collect())
}

const FRAMINGS: [&str; 5] = [
    "Content-Length: 0",
    "content-length:05 ",
    "Content-Length: 18446744073709551616",
    "Content-Length: 5, 5",
    "Transfer-Encoding: gzip, chunked",
];

/// Mostly one of the first.
fn often(
    first: &'static [&'static str],
    other: &'static [&'static str],
) -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![6 => select(first), 1 => select(other)]
}

fn request_heads() -> impl Strategy<Value = Vec<u8>> {
    let method = often(&["GET", "HEAD", "POST", "x-y"], &["TRACE", "CONNECT", "G T"]);
    let target = often(
        &["/", "/a/b?c=d", "/%2e%2E/%41/x", "//a/./..//a%2fb/", "/A/../a/..", "/\u{e4}"],
        &["/a%", "/%00", "/a#b", "*", "http://h/"],
    );
    let version = often(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/2.0", "HTTP/1.1 "]);
    let host = often(&["Host: h\r\n", "Host: h:80\r\n", "host:[::1]\r\n"], &["", "Host: a b\r\n"]);
    (method, target, version, host, framing(), fields()).prop_map(
        |(method, target, version, host, framing, fields)| {
            let begin = format!("{method} {target} {version}\r\n{host}{framing}");
            [begin.as_bytes(), &fields, b"\r\n"].concat()
        },
    )
}

fn response_heads() -> impl Strategy<Value = Vec<u8>> {
    let version = often(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/1.2", "\r\nHTTP/1.1"]);
    let status = often(
        &["200 OK", "200", "404 ", "204 None", "304 N", "100 C", "999 x y", "200 \u{e4}"],
        &["101 U", "099 x", "20 x"],
    );
    let behind = select(&["", "body", "\r\n"][..]);
    (version, status, framing(), fields(), behind).prop_map(|(version, status, framing, fields, behind)| {
        let begin = format!("{version} {status}\r\n{framing}");
        [begin.as_bytes(), &fields, b"\r\n", behind.as_bytes()].concat()
    })
}

/// Chunks whose size lines and trailers come near the limits, where a fuzzer does not get.
fn chunked_bodies() -> impl Strategy<Value = Vec<u8>> {
    let near = |limit: usize| prop_oneof![8 => Just(0), 2 => 1usize..40, 1 => limit - 8..limit + 8];
    let size = select(&["", "0", "00000000000000000000"][..]);
    let chunk = (size, near(4096), prop::collection::vec(any::<u8>(), 1..40));
    let chunks = prop::collection::vec(chunk, 0..5);
    let trailers = prop::collection::vec(near(8192), 0..3);
    (chunks, trailers, select(&["", "0\r\n\r\n", "\n"][..])).prop_map(|(chunks, trailers, behind)| {
        let mut bytes = Vec::new();
        for (zeros, extension, content) in chunks {
            let extension =
                if extension == 0 { String::new() } else { format!(";{}", "x".repeat(extension)) };
            bytes.extend_from_slice(format!("{zeros}{:X}{extension}\r\n", content.len()).as_bytes());
            bytes.extend_from_slice(&content);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n");
        for trailer in trailers.into_iter().filter(|&length| length > 0) {
            bytes.extend_from_slice("t".repeat(trailer).as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(behind.as_bytes());
        bytes
    })
}

/// Configurations of lines out of the corpus, most of them from files that are good.
fn configurations() -> impl Strategy<Value = Vec<u8>> {
    static LINES: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
        let texts = files(CONFIGURATION.0).into_iter().map(|(_, bytes)| bytes);
        let (good, bad): (Vec<_>, Vec<_>) = texts.partition(|text| (CONFIGURATION.1)(text));
        [good, bad].map(|texts| {
            let lines = texts.iter().flat_map(|text| text.split(|&b| b == b'\n'));
            lines.map(<[u8]>::to_vec).collect()
        })
    });
    let [good, bad] = &*LINES;
    let begin = prop_oneof![4 => Just("[PROXY_ENTRY]\nMatch ^/a x\nServerList a:1\n"), 1 => Just("")];
    let line = prop_oneof![12 => select(&**good), 1 => select(&**bad)];
    (begin, prop::collection::vec(line, 0..6))
        .prop_map(|(begin, lines)| [begin.as_bytes(), &lines.join(&b'\n')].concat())
}

proptest! {
    // A finding belongs into the corpus, not into a file of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn request_heads_keep_their_meaning(input in prop_oneof![request_heads(), changed(REQUEST_HEAD)]) {
        (REQUEST_HEAD.1)(&input);
    }

    #[test]
    fn response_heads_keep_their_meaning(input in prop_oneof![response_heads(), changed(RESPONSE_HEAD)]) {
        (RESPONSE_HEAD.1)(&input);
    }

    #[test]
    fn chunked_bodies_keep_their_content(input in prop_oneof![chunked_bodies(), changed(CHUNKED)]) {
        (CHUNKED.1)(&input);
    }

    #[test]
    fn configurations_mean_one_thing(input in prop_oneof![configurations(), changed(CONFIGURATION)]) {
        (CONFIGURATION.1)(&input);
    }
}
