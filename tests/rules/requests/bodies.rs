//! Bodies of requests and Expect: RFC 9110 section 10.1.1, RFC 9112 sections 6 and 7.

use std::time::Duration;

use crate::support::{
    Backend, Client, End, Next, Setup, assert_bytes, eventually, for_each_host, in_chunks,
    limits::{host_limit, is_limited},
    pattern,
    rules::{LIMIT, Probe, conf_of, get, on_echo, on_vice, post},
    steadily, vice,
};

/// Chunks of a body, of these sizes in turn.
fn chunks(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut turn = sizes.iter().copied().cycle();
    in_chunks(body, || turn.next().unwrap())
}

const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// F16 MUST: A body is as long as its length says; what follows is a request of its own.
#[test]
fn f16_a_body_ends_at_its_length() {
    on_echo("F16", |p| {
        // Without the x Monkey 1.5 would take the end for the end of the head, and wait.
        let second = "GET /app/b HTTP/1.1\r\nHost: h\r\n\r\nx";
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(post("Content-Length: 5\r\n", format!("abcde{second}")));
        assert_eq!(client.read("POST").expect(200).text(), "POST /app\nabcde");
        assert_eq!(p.a.seen()[0].body, b"abcde");
        second_answer(p, &mut client);
    });
}

#[track_caller]
fn second_answer(p: &Probe, client: &mut Client) {
    if is_limited(p.id, p.host.kind) {
        host_limit(p.id, p.host.kind);
        assert!(client.closed_within(LIMIT), "the second request is lost, and the connection left open");
        assert_eq!(p.a.requests(), 1);
        return;
    }
    assert_eq!(client.read("GET").expect(200).text(), "GET /app/b\n");
    let second = p.a.last_seen();
    assert_eq!((second.header("X-Forwarded-For"), second.body.len()), (Some("127.0.0.1"), 0));
}

/// F16b MUST: 300 kB of any bytes arrive unchanged.
#[test]
fn f16b_any_bytes_arrive_unchanged() {
    on_echo("F16b", |p| {
        let body = pattern(300_000);
        let seen = p.forwarded(post(&format!("Content-Length: {}\r\n", body.len()), &body));
        assert_bytes(&seen.body, &body);
    });
}

/// F17 MUST: POST, PUT and PATCH with an empty body keep `Content-Length: 0`.
#[test]
fn f17_an_empty_body_keeps_its_length() {
    on_echo("F17", |p| {
        for method in ["POST", "PUT", "PATCH"] {
            let bytes = format!("{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
            let seen = match method {
                "PATCH" => Some(p.forwarded(bytes)),
                _ => p.forwarded_unless_limited(bytes),
            };
            let Some(seen) = seen else {
                host_limit("F17", p.host.kind);
                continue;
            };
            assert_eq!(seen.header("Content-Length"), Some("0"), "{}", seen.head);
            assert_eq!(seen.header("Transfer-Encoding"), None);
        }
    });
}

/// F18 SHOULD: A GET without a body has no framing.
#[test]
fn f18_no_body_no_framing() {
    on_echo("F18", |p| {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            let seen = p.forwarded(format!("{method} /app HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!((seen.header("Content-Length"), seen.header("Transfer-Encoding")), (None, None));
        }
    });
}

/// F19 MUST: A body of any method goes along whole, or the request is refused and closed.
#[test]
fn f19_a_body_of_any_method_goes_whole_or_not_at_all() {
    on_echo("F19", |p| {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND"] {
            let head = format!("{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n");
            if let Some(seen) = p.forwarded_or_refused(format!("{head}0123456789")) {
                assert_eq!(seen.body, b"0123456789", "{}", seen.head);
                assert_eq!(seen.header("Content-Length"), Some("10"), "{}", seen.head);
            }
        }
        p.no_complaints();
    });
}

/// F20 MUST: A chunked upload arrives with the same bytes and one framing, on any method.
#[test]
fn f20_a_chunked_upload_arrives() {
    on_echo("F20", |p| {
        let body = pattern(100_000);
        for (body, sizes) in
            [(&b"hello world"[..], &[5][..]), (b"x", &[1]), (b"", &[1]), (&body, &[1, 8000, 33])]
        {
            let Some(seen) = p.forwarded_unless_limited(post(CHUNKED, chunks(body, sizes))) else {
                host_limit("F20", p.host.kind);
                continue;
            };
            assert_eq!(
                seen.all("Content-Length").len() + seen.all("Transfer-Encoding").len(),
                1,
                "{}",
                seen.head
            );
            assert_bytes(&seen.body, body);
        }
        for method in ["PUT", "PATCH", "DELETE", "GET", "PROPFIND"] {
            let bytes = format!("{method} /app HTTP/1.1\r\nHost: h\r\n{CHUNKED}\r\n5\r\nhello\r\n0\r\n\r\n");
            if let Some(seen) = p.forwarded_or_refused(bytes) {
                assert_eq!(seen.body, b"hello", "{}", seen.head);
            }
        }
        p.no_complaints();
    });
}

/// F20b MUST: 200 chunks that are cut at odd places on their way arrive whole.
#[test]
fn f20b_chunks_cut_at_odd_places_arrive() {
    on_echo("F20b", |p| {
        let body = pattern(1500);
        let bytes = post(CHUNKED, chunks(&body, &[1, 13, 7, 2, 16, 6]));
        let mut client = p.host.client().with_deadline(LIMIT);
        for piece in bytes.chunks(37) {
            if client.try_send(piece).is_err() {
                break;
            }
        }
        match client.try_read("POST") {
            Ok(response) if response.status == 200 => assert_bytes(&p.a.last_seen().body, &body),
            other => {
                assert!(is_limited("F20b", p.host.kind), "{other:?}");
                host_limit("F20b", p.host.kind);
                assert_eq!(p.a.received(), 0);
            }
        }
        p.no_complaints();
    });
}

/// F21 MUST: Trailers of a request are dropped or stay trailers; none gets into the head.
#[test]
fn f21_trailers_stay_out_of_the_head() {
    on_echo("F21", |p| {
        let body = "3\r\nabc\r\n0\r\nHost: evil\r\nContent-Length: 3\r\nX-Late: 1\r\n\r\n";
        let Some(seen) = p.forwarded_unless_limited(post(CHUNKED, body)) else {
            host_limit("F21", p.host.kind);
            return;
        };
        assert_eq!((seen.header("Host"), seen.body.as_slice()), (Some("h"), &b"abc"[..]));
        assert!(!seen.head.contains("evil") && seen.all("X-Late").is_empty(), "{}", seen.head);
        p.no_complaints();
    });
}

/// F22 MUST: Chunk extensions are not forwarded.
#[test]
fn f22_chunk_extensions_stay_behind() {
    let recorded = vice::custom(|conn| {
        let Some(mut seen) = conn.head()? else { return Ok(Next::Close) };
        seen.body = conn.body(&seen)?;
        conn.record(&seen);
        conn.answer(&seen, b"ok")
    });
    on_vice("F22", recorded, |p| {
        let body = "3;name=VALUE\r\nabc\r\n2 ; other=\"a;b\"\r\nde\r\n0;last\r\n\r\n";
        let Some(seen) = p.forwarded_unless_limited(post(CHUNKED, body)) else {
            host_limit("F22", p.host.kind);
            return;
        };
        assert_eq!(seen.body, b"abcde");
        // The body went as it is: not a byte more than head, body and, perhaps, plain chunk lines.
        assert!(p.a.received() <= seen.head.len() + 5 + 22, "{}", p.a.received());
    });
}

/// F23a MUST: A client that waits for 100 gets it, or a final answer, at once.
#[test]
fn f23a_expect_is_answered_at_once() {
    on_echo("F23a", |p| {
        for expect in ["100-continue", "100-Continue"] {
            let mut client = p.host.client().with_deadline(LIMIT);
            client.send(post(&format!("Content-Length: 5\r\nExpect: {expect}\r\n"), ""));
            // Whoever waits for the body waits for ever.
            let (got, _) = read_head_within(&mut client, LIMIT);
            assert!(got.starts_with("HTTP/1.1 100 "), "at once came {got:?}");
            client.send("hello");
            assert_eq!(client.read("POST").expect(200).text(), "POST /app\nhello");
            assert_eq!(p.a.last_seen().body, b"hello");
            client.get("/app").expect(200);
        }
        let old = "POST /app HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello";
        let (response, _) = p.answered(old);
        assert!(response.interim.is_empty(), "HTTP/1.0 knows no 100");
    });
}

fn read_head_within(client: &mut Client, limit: Duration) -> (String, End) {
    use std::io::Read;
    let mut piece = [0; 1000];
    client.stream.set_read_timeout(Some(limit)).unwrap();
    match steadily(|| client.stream.read(&mut piece)) {
        Ok(n) => (String::from_utf8_lossy(&piece[..n]).into_owned(), End::Complete),
        Err(_) => (String::new(), End::TimedOut),
    }
}

/// F23b MUST: An Expect that the proxy has answered goes no further.
#[test]
fn f23b_expect_goes_no_further() {
    on_echo("F23b", |p| {
        let seen = p.forwarded(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"));
        assert!(seen.all("Expect").is_empty(), "{}", seen.head);
        assert_eq!(seen.body, b"hello");
    });
}

/// F23c MUST: A 100 of the backend is not the answer.
#[test]
fn f23c_a_100_is_not_the_answer() {
    on_vice("F23c", vice::sends_100_first(), |p| {
        let mut client = p.host.client();
        for _ in 0..2 {
            let response = client.ask("POST", "/app", "", b"hello").expect(200);
            assert_eq!(response.text(), "final");
            assert_eq!(p.a.last_seen().body, b"hello");
        }
    });
}

/// F52 MUST: 20 MB arrive whole, whatever the server's own limit.
#[test]
fn f52_a_large_upload_arrives_whole() {
    let a = Backend::start("a", vice::answering(|conn, seen| conn.answer(seen, b"got it")));
    for_each_host(|kind| {
        let body = pattern(20_000_000);
        let bytes = post(&format!("Content-Length: {}\r\n", body.len()), &body);
        for limit in ["MaxRequestSize 30000", "MaxRequestSize 32"] {
            let host = Setup::new(kind, conf_of(&a)).workers(1).server_line(limit).start();
            let before = a.requests();
            Probe { id: "F52", host: &host, a: &a }.forwarded(&bytes);
            assert_eq!(a.requests(), before + 1);
            assert_bytes(&a.last_seen().body, &body);
        }
    });
}

/// F52b SHOULD: A slow upload holds no connection of a backend.
#[test]
fn f52b_a_slow_upload_holds_no_backend() {
    on_echo("F52b", |p| {
        let mut client = p.host.client();
        client.send(post("Content-Length: 20\r\n", "0123456789"));
        // Another client's exchange in between shows that the host has seen the first half.
        p.host.get("/app/other").expect(200);
        eventually(LIMIT, "only the other client's", || p.a.requests() == 1);
        assert_eq!(p.a.connections(), 1, "the half of an upload holds a connection");
        client.send("0123456789");
        assert_eq!(client.read("POST").expect(200).text(), "POST /app\n01234567890123456789");
    });
}

/// F54 MUST: A length that is no plain decimal number is refused.
#[test]
fn f54_impossible_lengths_are_refused() {
    on_echo("F54", |p| {
        for length in [
            "9223372036854775808",
            "18446744073709551616",
            "18446744073709551617",
            "18446744073709551621",
            "-1",
            "+5",
            "5 5",
            "0x5",
            "5,5",
            "5, 5",
            "",
            "5;a",
            "5x",
            "5.0",
            "5e0",
            "\u{b}5",
            "5\u{c}",
            "\"5\"",
            "five",
            "99999999999999999999999999999999999999999",
        ] {
            p.refused(post(&format!("Content-Length: {length}\r\n"), "hello"));
        }
        p.refused(get("Content-Length: -1\r\n"));
        p.refused(get("Content-Length: 18446744073709551617\r\n"));
    });
}
