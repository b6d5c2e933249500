//! Requests that two parsers may read differently: refused and closed, or sent on exactly.
//!
//! Bodies here end in `x` because Monkey 1.5 takes an empty line at the very end of what it
//! received for the end of the head, and would wait for a body that has come already.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{net::Shutdown, time::Duration};

use support::{Backend, Conf, End, Host, Kind, for_each_host, vice};

const LIMIT: Duration = Duration::from_secs(3);
const SMUGGLED: &str = "GET /app/SMUGGLED HTTP/1.1\r\nHost: l\r\nX-S: 1\r\n\r\n";

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

/// Sends it on a connection of its own: an error and a close, and not a byte to the backend.
#[track_caller]
fn refused(host: &Host, a: &Backend, bytes: &str) {
    let before = a.received();
    let mut client = host.client();
    let _ = client.try_send(bytes);
    // Monkey 1.8 may keep what it refuses: no need to wait for long.
    let limit = if host.kind.is_modern() { Duration::from_millis(150) } else { LIMIT };
    let (answer, end) = client.read_all(limit);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let said = status.starts_with('4') || status.starts_with('5');
    if host.kind.is_modern() {
        // What Monkey 1.8 cannot parse it waits on, drops, or answers and keeps, before any plugin
        // is asked; none of that is an answer of a backend.
        assert!(said || answer.is_empty(), "{bytes:?} got {answer:?}");
    } else {
        assert_ne!(end, End::TimedOut, "left open after {bytes:?}, with {answer:?}");
        // A close with unread bytes is a reset, which may overtake the answer.
        assert!(said || (end == End::Reset && answer.is_empty()), "{bytes:?} got {answer:?}");
    }
    assert_eq!(a.received(), before, "the backend got something of {bytes:?}: {:?}", a.seen().last());
}

/// Sends it: whatever is answered, the backend saw only requests that the proxy made.
#[track_caller]
fn never_smuggled(host: &Host, a: &Backend, bytes: &str) {
    let before = a.seen().len();
    let mut client = host.client();
    let _ = client.try_send(bytes);
    // It may be closed by now.
    let _ = client.sender().shutdown(Shutdown::Write);
    let (answer, _) = client.read_all(LIMIT);
    assert_eq!(a.complaints(), Vec::<String>::new(), "after {bytes:?}");
    for seen in &a.seen()[before..] {
        let own = seen.all("X-Forwarded-For").len() == 1 && seen.all("Via").len() == 1;
        let answer = String::from_utf8_lossy(&answer);
        assert!(own && seen.all("Host").len() == 1, "{bytes:?} let {seen:?} through: {answer}");
        assert!(!seen.target.contains("SMUGGLED") || own);
    }
}

#[test]
fn two_framings_are_refused_h10_s1() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for method in ["POST", "GET", "PUT"] {
            let length = SMUGGLED.len() + 6;
            refused(
                &host,
                &a,
                &format!(
                    "{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}x"
                ),
            );
            refused(
                &host,
                &a,
                &format!(
                    "{method} /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
                 Content-Length: 4\r\n\r\n{:x}\r\n{SMUGGLED}\r\n0\r\n\r\nx",
                    SMUGGLED.len()
                ),
            );
        }
    });
}

#[test]
fn chunks_without_post_or_put_are_taken_out_and_what_is_behind_them_stays_apart_h6_h13_s4() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for method in ["GET", "HEAD", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
            let before = a.seen().len();
            let mut client = host.client();
            client.send(format!(
                "{method} /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 0\r\n\r\n{SMUGGLED}"
            ));
            client.read(method).expect(200);
            client.read("GET").expect(200);
            let seen = a.seen()[before..].to_vec();
            let got: Vec<_> = seen.iter().map(|seen| (seen.target.as_str(), seen.body.len())).collect();
            assert_eq!(got, [("/app", 0), ("/app/SMUGGLED", 0)], "{seen:?}");
            assert!(seen.iter().all(|seen| seen.all("Via").len() == 1), "{seen:?}");
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn odd_codings_are_refused_h11_s2() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for line in [
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding\t: chunked",
            " Transfer-Encoding: chunked",
            "X: y\nTransfer-Encoding: chunked",
            "X: y\rTransfer-Encoding: chunked",
            "Foo\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding:\r\n chunked",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        ] {
            refused(
                &host,
                &a,
                &format!("POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n{line}\r\n\r\n0\r\n\r\nx"),
            );
        }
    });
}

#[test]
fn dubious_lengths_are_refused_f54_h9_s3() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for lines in [
            "Content-Length: 5\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 5",
            "Content-Length: +5",
            "Content-Length: 5 5",
            "Content-Length: 5,5",
            "Content-Length: 5;a",
            "Content-Length: 5x",
            "Content-Length: 5\r\nContent-Length : 0",
        ] {
            refused(&host, &a, &format!("POST /app HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n12345"));
        }
        for length in [": -5", ": 0x5", ": 18446744073709551617", " : 5"] {
            refused(
                &host,
                &a,
                &format!("POST /app HTTP/1.1\r\nHost: h\r\nContent-Length{length}\r\n\r\n12345"),
            );
        }
    });
}

#[test]
fn dubious_field_lines_are_refused_f39_f40_f42_f43_h2_h5() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for lines in [
            "X-A: a\r\n b",
            "X-A : v",
            "X-A\t: v",
            ": v",
            "nocolon",
            "X(A: v",
            "X-A: a\nX-B: b",
            "X-A: a\rX-B: b",
            "X-A: a\0b",
            "X A: v",
        ] {
            refused(&host, &a, &format!("GET /app HTTP/1.1\r\nHost: h\r\n{lines}\r\nX-Z: z\r\n\r\n"));
        }
    });
}

#[test]
fn dubious_hosts_are_refused_f7a_f8() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        refused(&host, &a, "GET /app HTTP/1.1\r\n\r\n");
        refused(&host, &a, "GET /app HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
        refused(&host, &a, "GET /app HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    });
}

#[test]
fn dubious_request_lines_are_refused_f26_f33_f34() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for line in [
            "GET /app?x y HTTP/1.1",
            "GET /app?x HTTP/1.0 HTTP/1.1",
            "GET /app?\tx HTTP/1.1",
            "GET /app?x\0y HTTP/1.1",
            "G(T /app HTTP/1.1",
            "CONNECT /app HTTP/1.1",
        ] {
            refused(&host, &a, &format!("{line}\r\nHost: h\r\n\r\n"));
        }
    });
}

#[test]
fn a_body_on_other_methods_goes_whole_or_not_at_all_f19() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for method in ["GET", "DELETE", "OPTIONS", "PATCH", "PROPFIND"] {
            let before = a.received();
            let mut client = host.client();
            client.send(format!("{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789"));
            let response = client.try_read(method);
            match response {
                Ok(response) if response.status == 200 => {
                    assert_eq!(a.last_seen().body, b"0123456789");
                }
                other => {
                    assert!(client.closed_within(LIMIT), "{method} left open after {other:?}");
                    assert_eq!(a.received(), before);
                }
            }
        }
    });
}

#[test]
fn a_request_behind_another_is_never_part_of_it_h1_f16_f50() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let get = "GET /app/first HTTP/1.1\r\nHost: h\r\n\r\n";
        never_smuggled(&host, &a, &format!("{get}{SMUGGLED}"));
        never_smuggled(&host, &a, &format!("{get}{get}{get}{get}{SMUGGLED}"));
        let post = "POST /app/first HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
        never_smuggled(&host, &a, &format!("{post}{SMUGGLED}"));
        never_smuggled(&host, &a, &format!("{post}{SMUGGLED}GET /app"));
        let first = |seen: &support::Seen| seen.method == "POST" && seen.target == "/app/first";
        let posts: Vec<_> = a.seen().into_iter().filter(first).collect();
        assert!(posts.iter().all(|seen| seen.body == b"abc"), "{posts:#?}");
        let empty = "POST /app/empty HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        never_smuggled(&host, &a, &format!("{empty}{SMUGGLED}"));
        never_smuggled(&host, &a, &format!("{get}\r\n{SMUGGLED}"));
    });
}

#[test]
fn pipelined_requests_on_a_used_connection_are_answered_in_order_or_closed_f50() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.get("/app/warm").expect(200);
        let many: String = (0..5).map(|i| format!("GET /app/{i} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
        client.send(many);
        let mut answered = 0;
        while let Ok(response) = client.try_read("GET") {
            assert_eq!(response.expect(200).text(), format!("GET /app/{answered}\n"));
            answered += 1;
            if answered == 5 {
                return;
            }
        }
        assert!(answered > 0, "not even the first was answered");
        assert!(client.closed_within(LIMIT), "{answered} answers and the connection left open");
    });
}

#[test]
fn a_cut_body_never_reaches_a_backend_as_complete_s9() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        let mut client = host.client();
        client.send("POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nabc");
        client.half_close();
        let _ = client.read_all(Duration::from_millis(300));
        drop(client);
        host.get("/page.html").expect(200);
        assert_eq!(a.requests(), before);
    });
}

#[test]
fn encoded_line_ends_and_zeros_stay_encoded_f30_h18() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let response = host.get("/app%0d%0aX:%20y");
        if response.status == 200 {
            assert_eq!(response.text(), "GET /app%0d%0aX:%20y\n");
        }
        let response = host.get("/app%00b/tail");
        if response.status == 200 && !response.backend().is_empty() {
            assert_eq!(response.text(), "GET /app%00b/tail\n");
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn a_way_out_of_the_route_is_refused_f32() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app/", &[&a]).route("^/secret/", &[&b]);
        let host = Host::start(kind, conf);
        for target in ["/app/../secret/x", "/app/%2e%2e/secret/x", "/app/./../secret/x"] {
            host.get(target);
        }
        let got = a.seen();
        assert!(got.iter().all(|seen| !seen.target.contains("secret")), "{got:#?}");
    });
}

/// A host that had read on behind a request of its own looked there for more,
/// and found some in a body that it would not have waited for.
#[test]
fn a_body_behind_a_request_of_the_host_itself_is_no_request_s1() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let own = "GET /page.html HTTP/1.1\r\nHost: h\r\n\r\n";
        for method in ["POST", "PATCH", "QUERY", "GET"] {
            let body = SMUGGLED.repeat(100);
            let text = format!(
                "{own}{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}{own}",
                body.len()
            );
            let before = a.seen().len();
            let mut client = host.client();
            client.send(&text);
            client.read("GET").expect(200);
            client.read(method).expect(200);
            client.read("GET").expect(200);
            // Where requests come behind each other for the first time later on, the connection may end.
            let mut client = host.client();
            client.get("/page.html").expect(200);
            client.get("/app").expect(200);
            client.send(&text);
            client.read("GET").expect(200);
            let _ = client.read_all(Duration::from_millis(300));
            let seen = a.seen()[before..].to_vec();
            assert!(seen.iter().all(|seen| seen.target == "/app"), "{method}: {seen:?}");
        }
    });
}
