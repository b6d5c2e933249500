//! Where messages end: odd framings of backends, and clients that try to smuggle.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::Duration;

use support::{Backend, Conf, End, Framing, Host, Kind, Next, assert_bytes, for_each_host, pattern, vice};

const LEN: usize = 200_000;

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

#[test]
fn a_chunked_answer_arrives_whole_and_in_step_r17_r23() {
    let a = Backend::start("a", vice::chunked(LEN));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..3 {
            let response = client.get("/app").expect(200);
            assert_bytes(&response.body, &pattern(LEN));
            assert!(response.all("X-Trailer").is_empty(), "R23: merged into the head");
            let framings = ["Transfer-Encoding", "Content-Length"].map(|name| response.all(name).len());
            assert!(framings.iter().sum::<usize>() <= 1, "{response:?}");
        }
        client.get("/page.html").expect(200);
    });
}

#[test]
fn a_chunked_answer_is_decoded_for_http10_clients_r28() {
    let a = Backend::start("a", vice::chunked(LEN));
    for_each_host(|kind| {
        let host = app(kind, &a);
        for connection in ["", "Connection: Keep-Alive\r\n"] {
            let mut client = host.client();
            client.send(format!("GET /app HTTP/1.0\r\nHost: h\r\n{connection}\r\n"));
            let response = client.read("GET").expect(200);
            assert!(response.all("Transfer-Encoding").is_empty(), "{response:?}");
            assert_eq!(response.framing, Framing::UntilClose);
            assert_bytes(&response.body, &pattern(LEN));
        }
    });
}

#[test]
fn a_body_that_the_close_ends_arrives_whole_r24() {
    let a = Backend::start("a", vice::until_close(LEN));
    for_each_host(|kind| {
        let host = app(kind, &a);
        for version in ["1.1", "1.0"] {
            let mut client = host.client();
            client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n\r\n"));
            let response = client.read("GET").expect(200);
            assert_bytes(&response.body, &pattern(LEN));
            if version == "1.0" {
                assert_eq!(response.framing, Framing::UntilClose);
            } else {
                // Ours ends by itself, so the client's connection goes on.
                assert_eq!(response.framing, Framing::Chunked);
                assert_bytes(&client.get("/app").expect(200).body, &pattern(LEN));
            }
        }
    });
}

#[test]
fn an_http10_backend_is_not_reused_r26() {
    let a = Backend::start("a", vice::http10(5000));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..5 {
            let response = client.get("/app").expect(200);
            assert_eq!(response.version, "HTTP/1.1");
            assert_bytes(&response.body, &pattern(5000));
        }
    });
}

#[test]
fn a_body_cut_short_is_visibly_cut_r16() {
    for how in [Next::Close, Next::Reset] {
        let a = Backend::start("a", vice::closes_mid_body(10_000, 1000, how));
        for_each_host(|kind| {
            let host = app(kind, &a);
            for version in ["1.1", "1.0"] {
                let mut client = host.client();
                client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n\r\n"));
                let response = client.read("GET");
                assert_eq!(response.framing, Framing::Length(10_000), "{response:?}");
                assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
                assert_bytes(&response.body, &pattern(1000)[..response.body.len()]);
            }
        });
    }
}

#[test]
fn chunks_without_the_last_one_are_visibly_cut_r21() {
    for how in [Next::Close, Next::Reset] {
        let a = Backend::start("a", vice::closes_mid_chunks(1000, how));
        for_each_host(|kind| {
            let host = app(kind, &a);
            let response = host.client().get("/app");
            assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
            let mut old = host.client();
            old.send("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
            // Nothing but the close is possible here; it comes at once, not by a time-out.
            assert_ne!(old.read("GET").end, End::TimedOut);
        });
    }
}

#[test]
fn a_reset_in_a_body_that_the_close_ends_is_a_cut_r24c() {
    let head = b"HTTP/1.1 200 OK\r\n\r\nsome".to_vec();
    let a = Backend::start(
        "a",
        vice::pieces(vec![head, b" more".to_vec()], Duration::from_millis(50), Next::Reset),
    );
    for_each_host(|kind| {
        let response = app(kind, &a).client().get("/app");
        assert!(matches!(response.end, End::Truncated | End::Reset), "a cut looks like an end: {response:?}");
    });
}

#[test]
fn surplus_behind_a_body_is_cut_and_never_an_answer_r15() {
    let a = Backend::start("a", vice::surplus_after_body(None));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.connections();
        let mut client = host.client();
        for _ in 0..5 {
            let response = client.get("/app").expect(200);
            assert_eq!(response.text(), "hello");
        }
        assert_eq!(a.connections() - before, 5, "that connection must not be used again");
    });
}

#[test]
fn surplus_on_an_idle_connection_is_never_an_answer_r15b() {
    let a = Backend::start("a", vice::surplus_after_body(Some(Duration::from_millis(30))));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..5 {
            assert_eq!(client.get("/app").expect(200).text(), "hello");
            std::thread::sleep(Duration::from_millis(80));
        }
    });
}

#[test]
fn a_408_on_an_idle_connection_is_never_an_answer_r53() {
    let vice = vice::answering(|conn, seen| {
        conn.answer(seen, b"fine")?;
        std::thread::sleep(Duration::from_millis(20));
        conn.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")?;
        Ok(Next::Close)
    });
    let a = Backend::start("a", vice);
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..5 {
            assert_eq!(client.get("/app").expect(200).text(), "fine");
            std::thread::sleep(Duration::from_millis(60));
        }
    });
}

#[test]
fn a_body_behind_204_or_head_leaks_nowhere_r9b_r11b() {
    let vice = vice::answering(|conn, seen| {
        let status = if seen.method == "HEAD" { "200 OK" } else { "204 No Content" };
        let bytes = conn.head_with(status, "Content-Length: 5\r\n");
        conn.send(&[&bytes[..], b"hello"].concat())?;
        Ok(Next::Again)
    });
    let a = Backend::start("a", vice);
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for method in ["GET", "HEAD", "GET", "HEAD"] {
            let response = client.ask(method, "/app", "", b"");
            assert_eq!(response.status, if method == "HEAD" { 200 } else { 204 });
        }
        client.get("/page.html").expect(200);
    });
}

#[test]
fn interim_answers_are_not_the_answer_r3_r4_r4b() {
    let a = Backend::start("a", vice::sends_100_first());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..3 {
            let response = client.get("/app").expect(200);
            assert_eq!(response.text(), "final");
            assert!(!response.interim.contains(&100), "an unasked 100 was passed on");
            assert!(response.all("X-Early").is_empty(), "fields of a 1xx were merged");
        }
        let mut old = host.client();
        old.send("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
        let response = old.read("GET").expect(200);
        assert!(response.interim.is_empty(), "R4b: {:?}", response.interim);
    });
}

#[test]
fn an_unasked_101_is_no_tunnel_r7() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhi";
    let a = Backend::start("a", vice::raw(answer, Next::Again));
    for_each_host(|kind| {
        assert_eq!(app(kind, &a).get("/app").status, 502);
    });
}

#[test]
fn an_early_answer_to_an_upload_is_relayed_r45() {
    let a = Backend::start("a", vice::early_answer());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let response = host.client().ask("POST", "/app", "", &pattern(500_000));
        assert_eq!((response.status, response.text().as_str()), (413, "big"));
    });
}

#[test]
fn answers_with_a_dubious_length_are_refused_r30_r31_r32() {
    let heads = [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: foo\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ];
    for fields in heads {
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}\r\nhello");
        let a = Backend::start("a", vice::raw(answer, Next::Close));
        for_each_host(|kind| {
            let response = app(kind, &a).get("/app");
            assert_eq!(response.status, 502, "for {fields:?}: {response:?}");
        });
    }
}

#[test]
fn bad_chunk_sizes_never_look_complete_r19() {
    for size in ["g", "-5", "+5", "0x5", "", "0_5", "fffffffffffffffff", "8000000000000000"] {
        let answer =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n");
        let a = Backend::start("a", vice::raw(answer, Next::Close));
        for_each_host(|kind| {
            let host = app(kind, &a);
            let mut client = host.client();
            client.send_request("GET", "/app", "", b"");
            if let Ok(response) = client.try_read("GET") {
                let bad = response.status == 502 || response.end != End::Complete;
                assert!(bad, "size {size:?} looks complete: {response:?}");
            }
        });
    }
}
