//! What a lenient server hands over: each of these must be refused or rebuilt by the plugin.
//! RFC 9110 section 5.6.2, RFC 9112 sections 2.2, 3, 5 and 6.
//!
//! Bodies here end in `x`, since Monkey 1.5 takes an empty line at the very end of what it has
//! received for the end of the head, and waits for a body that has come already.

use std::time::Duration;

use crate::support::{
    Backend, Conf, End, Seen, Setup, for_each_host,
    limits::{host_limit, is_limited},
    rules::{LIMIT, Probe, get, on_echo, post},
    vice,
};

const SECOND: &str = "GET /app/second HTTP/1.1\r\nHost: h\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Sends it all: whatever is answered, the backend saw only whole requests that the proxy made.
#[track_caller]
fn only_own_requests(p: &Probe, bytes: impl AsRef<[u8]>) -> Vec<Seen> {
    let before = p.a.requests();
    let mut client = p.host.client();
    let _ = client.try_send(bytes);
    client.half_close();
    let quiet = if is_limited(p.id, p.host.kind) { Duration::from_millis(300) } else { LIMIT };
    client.read_all(quiet);
    p.no_complaints();
    let seen = p.a.seen().split_off(before);
    for one in &seen {
        assert!(one.method.bytes().all(|byte| byte.is_ascii_uppercase()), "{one:?}");
        assert_eq!((one.all("Host").len(), one.all("X-Forwarded-For").len()), (1, 1), "{}", one.head);
    }
    seen
}

/// H1 MUST: Bytes behind a body are no part of it.
#[test]
fn h1_pipelined_bytes_are_no_body() {
    on_echo("H1", |p| {
        for body in ["abc", ""] {
            let bytes = post(&format!("Content-Length: {}\r\n", body.len()), format!("{body}{SECOND}x"));
            let seen = only_own_requests(p, bytes);
            // Monkey 1.5 itself refuses an empty body.
            assert!(!seen.is_empty() || body.is_empty());
            assert!(seen.first().is_none_or(|first| first.body == body.as_bytes()), "{seen:#?}");
            assert!(seen.get(1).is_none_or(|second| second.target == "/app/second"), "{seen:#?}");
        }
    });
}

/// H2 MUST: A line without a colon swallows neither the end of the head nor what follows.
#[test]
fn h2_a_line_without_a_colon_swallows_nothing() {
    on_echo("H2", |p| {
        p.refused(get(&format!("XY\r\n\r\n{SECOND}")));
        p.refused(get(&format!("X-A: a\r\nXY\r\n\r\n{SECOND}")));
        p.refused(get("XY\r\nX-A: a\r\n"));
    });
}

/// H3 MUST: A framing field behind a line without a colon is not overlooked.
#[test]
fn h3_a_framing_field_is_not_hidden_by_a_bare_line() {
    on_echo("H3", |p| {
        p.refused(post(&format!("Foo\r\n{CHUNKED}"), "0\r\n\r\nx"));
        p.refused(post(&format!("Content-Length: 6\r\nFoo\r\n{CHUNKED}"), "0\r\n\r\nx"));
        p.refused(post("Foo\r\nContent-Length: 5\r\n", "hello"));
    });
}

/// H4 MUST: A framing field with a blank or a line end in its name is refused.
#[test]
fn h4_a_blank_in_a_framing_name_is_refused() {
    on_echo("H4", |p| {
        for line in
            ["Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "X\nTransfer-Encoding: chunked"]
        {
            p.refused(post(&format!("Content-Length: 6\r\n{line}\r\n"), "0\r\n\r\nx"));
        }
        p.refused(get("X\nY: c\r\n"));
    });
}

/// H5 MUST: A folded line is refused.
#[test]
fn h5_a_folded_line_is_refused() {
    on_echo("H5", |p| {
        p.refused(get("X: a\r\n b\r\nY: z\r\n"));
        p.refused(get("X: a\r\n b: c\r\nY: z\r\n"));
    });
}

/// H6 MUST: The chunks of a GET are its body or refused; they are never a request.
#[test]
fn h6_chunks_of_a_get_are_no_request() {
    on_echo("H6", |p| {
        let seen = only_own_requests(p, get(CHUNKED).into_iter().chain(*b"0\r\n\r\nx").collect::<Vec<_>>());
        assert!(seen.iter().all(|seen| seen.body.is_empty()), "{seen:#?}");
        let bytes = [&get(CHUNKED)[..], b"0\r\n\r\n", SECOND.as_bytes()].concat();
        let seen = only_own_requests(p, bytes);
        let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
        assert!(["/app", "/app/second"].starts_with(&targets), "{targets:?}");
    });
}

/// H7 MUST: An empty line before the request is no part of the method.
#[test]
fn h7_an_empty_line_is_no_method() {
    on_echo("H7", |p| {
        for start in ["\r\n", "\r\n\r\n", "\n"] {
            let bytes = [start.as_bytes(), &get("")].concat();
            if let Some(seen) = p.forwarded_or_refused(bytes) {
                assert!(seen.head.starts_with("GET /app HTTP/1.1\r\n"), "{:?}", seen.head);
            }
        }
    });
}

/// H8 MUST: The beginning of a method's name is not that method.
#[test]
fn h8_a_prefix_is_not_the_method() {
    on_echo("H8", |p| {
        for method in ["PO", "POS", "HEA", "G", "GE", "PU", "DELET", "OPT"] {
            let bytes = format!("{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
            if let Some(seen) = p.forwarded_or_refused(bytes) {
                assert_eq!((seen.method.as_str(), seen.body.as_slice()), (method, &b"abc"[..]));
            }
        }
        p.no_complaints();
    });
}

/// H9 MUST: Two lengths that differ are refused, whichever comes last.
#[test]
fn h9_two_lengths_are_refused() {
    on_echo("H9", |p| {
        for lengths in [[5, 3], [3, 5], [30, 0], [0, 5]] {
            let fields = lengths.map(|length| format!("Content-Length: {length}\r\n")).concat();
            p.refused(post(&fields, "hello ".repeat(5)));
        }
    });
}

/// H10 MUST: A length together with chunks is refused.
#[test]
fn h10_a_length_with_chunks_is_refused() {
    on_echo("H10", |p| {
        p.refused(post(&format!("Content-Length: 6\r\n{CHUNKED}"), "0\r\n\r\nx"));
        p.refused(post(&format!("{CHUNKED}Content-Length: 6\r\n"), "0\r\n\r\nx"));
    });
}

/// H11 MUST: No transfer coding but exactly `chunked` is taken for chunks.
#[test]
fn h11_only_chunked_is_chunked() {
    on_echo("H11", |p| {
        for lines in [
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunkedx",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ] {
            p.refused(post(&format!("{lines}\r\n"), "0\r\n\r\nx"));
        }
    });
}

/// H12 MUST: A client's chunk lines are never copied; what is forwarded has the proxy's own framing.
#[test]
fn h12_chunk_lines_are_never_copied() {
    on_echo("H12", |p| {
        for size in ["3", "03", "0x3", "+3", " 3", "3;a=b", "3 "] {
            if let Some(seen) = p.forwarded_or_refused(post(CHUNKED, format!("{size}\r\nabc\r\n0\r\n\r\n"))) {
                assert_eq!(seen.body, b"abc", "{size:?}: {}", seen.head);
            }
        }
        for end in ["0\r\nX-T: t\r\n\r\n", "00\r\n\r\n"] {
            if let Some(seen) = p.forwarded_or_refused(post(CHUNKED, format!("3\r\nabc\r\n{end}"))) {
                assert_eq!(seen.body, b"abc", "{end:?}: {}", seen.head);
            }
        }
        p.no_complaints();
    });
}

/// H13 MUST: Chunks on methods other than POST and PUT are a body or refused, never a request.
#[test]
fn h13_chunks_of_other_methods_are_no_request() {
    on_echo("H13", |p| {
        for method in ["PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
            let head = format!("{method} /app HTTP/1.1\r\nHost: h\r\n{CHUNKED}\r\n");
            let bytes = format!("{head}{:x}\r\n{SECOND}\r\n0\r\n\r\nx", SECOND.len());
            let seen = only_own_requests(p, bytes);
            assert!(seen.iter().all(|seen| seen.target == "/app"), "{seen:#?}");
            assert!(seen.iter().all(|seen| seen.body == SECOND.as_bytes()), "{seen:#?}");
        }
    });
}

/// H14 MUST: Of fields that the server knows by name all lines count, not only the last.
#[test]
fn h14_no_line_of_a_known_field_is_lost() {
    on_echo("H14", |p| {
        for name in [
            "Accept",
            "Accept-Charset",
            "Cookie",
            "Cache-Control",
            "Authorization",
            "Referer",
            "User-Agent",
            "Range",
        ] {
            let seen = p.forwarded(get(&format!("{name}: one\r\n{name}: two\r\n")));
            let values = seen.all(name).join(" ").replace([',', ';'], " ");
            assert_eq!(values.split_whitespace().collect::<Vec<_>>(), ["one", "two"], "{}", seen.head);
        }
        let mut client = p.host.client();
        client.send(get("Connection: close\r\nConnection: X\r\n"));
        client.read("GET").expect(200);
        assert!(client.closed_within(LIMIT), "the close is lost");
    });
}

/// H15 MUST: Host is the one of the request's head, with its port; two of them are refused.
#[test]
fn h15_host_comes_from_the_head() {
    on_echo("H15", |p| {
        assert_eq!(p.forwarded("GET /app HTTP/1.1\r\nHost: h:8080\r\n\r\n").header("Host"), Some("h:8080"));
        p.refused("GET /app HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        if let Some(seen) = p.forwarded_or_refused("GET /app HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n") {
            assert_eq!(seen.header("Host"), Some("[::1]:8080"));
        }
    });
}

/// H16 MUST: A name that the server has rewritten is still that name, and none is doubled.
#[test]
fn h16_names_survive_the_servers_parser() {
    on_echo("H16", |p| {
        let seen = p.forwarded(get("X-UNKNOWN-Name: V\r\ncOOkie: C\r\n"));
        assert_eq!((seen.header("x-unknown-name"), seen.header("Cookie")), (Some("V"), Some("C")));
    });
}

/// H17 MUST: Blanks, controls and a second version in a request line are refused.
#[test]
fn h17_dubious_request_lines_are_refused() {
    on_echo("H17", |p| {
        for line in [
            "GET /app?x y HTTP/1.1",
            "GET /app?x HTTP/1.0 HTTP/1.1",
            "GET /app?x\rX: y HTTP/1.1",
            "GET /app/a\tb HTTP/1.1",
            "GET /app/a\0b HTTP/1.1",
            "G(T /app HTTP/1.1",
        ] {
            p.refused(format!("{line}\r\nHost: h\r\n\r\n"));
        }
    });
}

/// H18 MUST: The path that was matched is the path that is forwarded; `%00` cuts neither.
#[test]
fn h18_the_matched_path_is_the_forwarded_one() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("/c$", &[&a]).route("^/app", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        let response = host.get("/app%00b/c");
        let whole = response.backend() == "a" && response.text() == "GET /app%00b/c\n";
        assert!(whole || response.backend().is_empty() && response.status >= 400, "{response:?}");
        assert_eq!(b.requests(), 0, "{:?}", b.seen());
    });
}

/// H19 MUST: A fragment is refused or cut.
#[test]
fn h19_a_fragment_is_refused_or_cut() {
    on_echo("H19", |p| {
        if let Some(seen) = p.forwarded_or_refused("GET /app#f?x HTTP/1.1\r\nHost: h\r\n\r\n") {
            assert_eq!(seen.target, "/app");
        }
    });
}

/// H20 MUST: NUL in a value is refused.
#[test]
fn h20_nul_in_a_value_is_refused() {
    on_echo("H20", |p| {
        for fields in ["X-A: a\0b\r\n", "Cookie: \0\r\n", "X-A: a\0\r\n"] {
            p.refused(get(fields));
        }
    });
}

/// H21 MUST: More fields than the server takes get one answer and a close.
#[test]
fn h21_too_many_fields_get_one_answer() {
    on_echo("H21", |p| {
        for count in [51, 60, 90, 200] {
            let fields: String = (0..count).map(|i| format!("X-{i}: v\r\n")).collect();
            let mut client = p.host.client();
            let _ =
                client.try_send(format!("GET /app HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n"));
            let (answer, end) = client.read_all(LIMIT);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            if is_limited("H21", p.host.kind) {
                host_limit("H21", p.host.kind);
                assert!(!answer.contains("HTTP/1.1 200") && p.a.requests() == 0, "{answer}");
                continue;
            }
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{count} fields: {answer}");
            assert_ne!(end, End::TimedOut, "{answer}");
            let last = format!("X-{}", count - 1);
            assert!(!answer.starts_with("HTTP/1.1 200") || p.a.last_seen().all(&last).len() == 1);
        }
    });
}

/// H22 MUST: A client that waits for 100 is not left waiting.
#[test]
fn h22_expect_is_not_left_waiting() {
    on_echo("H22", |p| {
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
        let (got, _) = client.read_all(Duration::from_millis(700));
        assert!(got.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&got));
    });
}

/// H23 SHOULD: An absolute target is accepted, or refused with an error.
#[test]
fn h23_absolute_targets_are_accepted_or_refused() {
    on_echo("H23", |p| {
        if let Some(seen) = p.forwarded_or_denied("GET http://h/app/x HTTP/1.1\r\nHost: h\r\n\r\n") {
            assert_eq!((seen.target.as_str(), seen.header("Host")), ("/app/x", Some("h")));
        }
    });
}

/// H24 MUST: The request line is rebuilt, so that no byte behind the target is changed.
#[test]
fn h24_the_request_line_is_whole() {
    on_echo("H24", |p| {
        for target in ["/app", "/app/x", "/app?", "/app?q=1", "/app/%41"] {
            let seen = p.forwarded(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert!(seen.head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{:?}", seen.head);
        }
    });
}

/// H25 MUST: A path with `..` is refused, or forwarded as it is to the route of its normal form.
#[test]
fn h25_dots_are_refused_or_kept() {
    on_echo("H25", |p| {
        for target in ["/app/../app/x", "/app/a..b", "/app/x/..", "/app/...", "/x/../app/y"] {
            if let Some(seen) = p.forwarded_or_denied(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")) {
                assert_eq!(seen.target, target);
            }
        }
    });
}

/// H26 MUST: `close` counts anywhere in Connection; HTTP/1.0 stays open only when that is granted.
#[test]
fn h26_close_counts_anywhere_in_the_list() {
    on_echo("H26", |p| {
        for option in ["keep-alive, close", "close, keep-alive", "x,CLOSE ,y"] {
            let mut client = p.host.client();
            client.send(get(&format!("Connection: {option}\r\n")));
            client.read("GET").expect(200);
            assert!(client.closed_within(LIMIT), "left open after {option:?}");
        }
        let mut client = p.host.client();
        client.send("GET /app HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n");
        let response = client.read("GET").expect(200);
        let granted = response.all("Connection").join(",").to_lowercase().contains("keep-alive");
        if granted {
            client.send("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
            client.read("GET").expect(200);
        }
        assert!(client.closed_within(LIMIT), "left open: {response:?}");
    });
}
