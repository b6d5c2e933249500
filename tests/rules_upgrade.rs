//! Rules on Upgrade and tunnels: RFC 9110 section 7.8, RFC 6455 section 4.
//!
//! Each test is named by its rule; `docs/HTTP-CONFORMANCE.md` is the table of all of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    io::Write,
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use support::{
    Client, End, Next, assert_bytes, pattern,
    rules::{LIMIT, Probe, on_conf, on_vice},
    vice::{self, Vice},
    within,
};

const SOON: Duration = Duration::from_secs(3);
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
const HANDSHAKE: &str = "GET /app/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// Whether a backend takes this as a request to upgrade to a web socket.
fn asks(seen: &support::Seen) -> bool {
    let has = |name: &str, want: &str| {
        seen.all(name).join(",").to_ascii_lowercase().split(',').any(|option| option.trim() == want)
    };
    has("Upgrade", "websocket") && has("Connection", "upgrade")
}

/// Switches when it is asked to, says `early` at once, and echoes until the client leaves. Without
/// an Upgrade it echoes as HTTP.
fn sockets(early: &'static str) -> Vice {
    vice::custom(move |conn| {
        let Some(mut seen) = conn.head()? else { return Ok(Next::Close) };
        seen.body = conn.body(&seen)?;
        conn.record(&seen);
        if !asks(&seen) {
            return conn.answer(&seen, format!("{} {}\n", seen.method, seen.target).as_bytes());
        }
        conn.send(format!("{SWITCH}{early}").as_bytes())?;
        loop {
            let piece = conn.piece()?;
            if piece.is_empty() {
                return Ok(Next::Close);
            }
            conn.send(&piece)?;
        }
    })
}

/// A tunnel, opened.
#[track_caller]
fn opened(p: &Probe, handshake: &str) -> Client {
    let mut client = p.host.client().with_deadline(LIMIT);
    client.send(handshake);
    let response = client.read("GET");
    assert_eq!(response.status, 101, "{response:?}");
    client
}

/// Reads until `len` bytes have come, or nothing more does.
fn read_some(client: &mut Client, len: usize) -> Vec<u8> {
    let (mut got, until) = (Vec::new(), Instant::now() + LIMIT);
    while got.len() < len && Instant::now() < until {
        let (piece, end) = client.read_all(Duration::from_millis(20));
        got.extend(piece);
        if end != End::TimedOut {
            break;
        }
    }
    got
}

#[track_caller]
fn echoes(client: &mut Client, text: &str) {
    client.send(text);
    assert_eq!(String::from_utf8_lossy(&read_some(client, text.len())), text);
}

/// U1 MUST: The handshake goes through with a fresh Connection, the 101 comes back with its fields.
#[test]
fn u1_a_handshake_goes_through() {
    on_vice("U1", sockets(""), |p| {
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(HANDSHAKE);
        let response = client.read("GET");
        assert_eq!((response.status, response.version.as_str()), (101, "HTTP/1.1"), "{response:?}");
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("chat"));
        assert_eq!(response.header("Upgrade"), Some("websocket"));
        assert!(response.header("Connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
        assert_eq!((response.all("Content-Length").len(), response.all("Transfer-Encoding").len()), (0, 0));
        let seen = p.a.last_seen();
        assert_eq!(seen.header("Sec-WebSocket-Key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(seen.header("Sec-WebSocket-Extensions"), Some("permessage-deflate"));
        assert!(
            seen.header("Connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")),
            "{}",
            seen.head
        );
        for text in ["one", "two\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\0\u{1}"] {
            echoes(&mut client, text);
        }
    });
}

/// U2 MUST: Bytes in the same segment as the 101 are delivered.
#[test]
fn u2_bytes_behind_the_101_arrive() {
    on_vice("U2", sockets("hello from the backend"), |p| {
        let mut client = opened(p, HANDSHAKE);
        assert_eq!(read_some(&mut client, 22), b"hello from the backend");
        echoes(&mut client, "and on");
    });
}

/// U3 SHOULD: Bytes that a client sends right behind its handshake are delivered, too.
#[test]
fn u3_bytes_behind_the_handshake_arrive() {
    on_vice("U3", sockets(""), |p| {
        let mut client = opened(p, &format!("{HANDSHAKE}early bytes"));
        assert_eq!(String::from_utf8_lossy(&read_some(&mut client, 11)), "early bytes");
        echoes(&mut client, "and on");
    });
}

const BULK: usize = 4_000_000;

/// Sends as much as it gets, at the same time.
fn bulk() -> Vice {
    vice::custom(|conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        conn.send(SWITCH.as_bytes())?;
        let mut writer = conn.stream.try_clone()?;
        let sending = thread::spawn(move || writer.write_all(&pattern(BULK)));
        let mut got = Vec::new();
        while got.len() < BULK {
            let piece = conn.piece()?;
            if piece.is_empty() {
                break;
            }
            got.extend(piece);
        }
        sending.join().unwrap()?;
        let verdict = if got == pattern(BULK) { "good" } else { "bad!" };
        conn.send(verdict.as_bytes())?;
        Ok(Next::Close)
    })
}

/// U4 MUST: 4 MB in each direction at once arrive, without a deadlock.
#[test]
fn u4_both_directions_at_once() {
    on_vice("U4", bulk(), |p| {
        let mut client = opened(p, HANDSHAKE).with_deadline(Duration::from_secs(20));
        let mut writer = client.stream.try_clone().unwrap();
        let sending = thread::spawn(move || writer.write_all(&pattern(BULK)));
        let (got, _) = client.read_all(Duration::from_secs(20));
        sending.join().unwrap().unwrap();
        assert_eq!(got.len(), BULK + 4);
        assert_bytes(&got[..BULK], &pattern(BULK));
        assert_eq!(&got[BULK..], b"good");
    });
}

/// U5 MUST: The end of one side ends the other within 3 s.
#[test]
fn u5_the_end_of_one_side_ends_the_other() {
    on_vice("U5", sockets(""), |p| {
        for reset in [false, true] {
            let mut client = opened(p, HANDSHAKE);
            echoes(&mut client, "x");
            if reset {
                client.reset()
            } else {
                drop(client)
            }
            assert!(within(SOON, || p.a.open() == 0), "the backend's side is left, reset: {reset}");
        }
        let mut client = opened(p, HANDSHAKE);
        echoes(&mut client, "x");
        p.a.cut();
        assert!(client.closed_within(SOON), "the client's side is left");
    });
}

/// U5b CHOICE: A half-close is passed on, or ends both sides.
#[test]
fn u5b_a_half_close_is_passed_on_or_ends_both() {
    let says_goodbye = vice::custom(|conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        conn.send(SWITCH.as_bytes())?;
        while !conn.piece()?.is_empty() {}
        let _ = conn.send(b"goodbye");
        Ok(Next::Close)
    });
    on_vice("U5b", says_goodbye, |p| {
        let mut client = opened(p, HANDSHAKE);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let (got, end) = client.read_all(SOON);
        assert!(got == b"goodbye" || got.is_empty(), "{got:?}");
        assert_ne!(end, End::TimedOut);
        assert!(within(SOON, || p.a.open() == 0));
    });
}

/// U6 MUST: Any other answer leaves plain HTTP: what follows is read as a request.
#[test]
fn u6_without_a_101_there_is_no_tunnel() {
    for status in ["426 Upgrade Required", "403 Forbidden", "200 OK"] {
        let refuses = vice::answering(move |conn, seen| {
            let body = format!("{} {}\n", seen.method, seen.target);
            let head =
                conn.head_with(status, &format!("Upgrade: websocket\r\nContent-Length: {}\r\n", body.len()));
            conn.send(&[&head[..], body.as_bytes()].concat())?;
            Ok(Next::Again)
        });
        on_vice("U6", refuses, |p| {
            let mut client = p.host.client().with_deadline(LIMIT);
            client.send(HANDSHAKE);
            let response = client.read("GET");
            assert_eq!((response.status, response.end), (status[..3].parse().unwrap(), End::Complete));
            client.send("GET /app/next HTTP/1.1\r\nHost: h\r\n\r\n");
            if let Ok(response) = client.try_read("GET") {
                assert_eq!(response.text(), "GET /app/next\n");
                assert_eq!(p.a.last_seen().header("X-Forwarded-For"), Some("127.0.0.1"), "not our request");
            }
            assert_eq!(p.a.complaints(), Vec::<String>::new());
        });
    }
}

#[track_caller]
fn not_asked_for(p: &Probe, bytes: &str) {
    let mut client = p.host.client().with_deadline(LIMIT);
    client.send(bytes);
    let before = p.a.requests();
    let response = client.read("GET");
    assert!(response.status == 200 || response.status >= 400, "{response:?}");
    if response.status == 200 {
        let seen = p.a.last_seen();
        assert!(seen.all("Upgrade").is_empty() && seen.all("HTTP2-Settings").is_empty(), "{}", seen.head);
        let options = seen.all("Connection").join(",").to_ascii_lowercase();
        assert!(!options.contains("upgrade") && !options.contains("http2"), "{}", seen.head);
    } else {
        assert!(p.a.requests() <= before + 1);
    }
}

/// U7 MUST: Upgrade without the option in Connection is no upgrade.
#[test]
fn u7_upgrade_needs_the_option() {
    on_vice("U7", sockets(""), |p| {
        not_asked_for(p, &HANDSHAKE.replace("Connection: Upgrade", "Connection: keep-alive"));
        not_asked_for(p, &HANDSHAKE.replace("Connection: Upgrade\r\n", ""));
        not_asked_for(p, &HANDSHAKE.replace("Connection: Upgrade", "Connection: xupgrade"));
        not_asked_for(p, &HANDSHAKE.replace("Upgrade: websocket\r\n", ""));
    });
}

/// U8 MUST: An upgrade to anything that is not allowed, h2c above all, is never forwarded.
#[test]
fn u8_h2c_is_never_forwarded() {
    let h2c = "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: HTTP2-Settings";
    on_vice("U8", sockets(""), |p| {
        not_asked_for(p, &HANDSHAKE.replace("Upgrade: websocket", "Upgrade: h2c"));
        not_asked_for(p, &HANDSHAKE.replace("Upgrade: websocket", h2c));
        not_asked_for(p, &HANDSHAKE.replace("Upgrade: websocket", "Upgrade: TLS/1.0, HTTP/2.0"));
        not_asked_for(p, &HANDSHAKE.replace("Upgrade: websocket", "Upgrade: xwebsocket"));
        for both in ["h2c, websocket", "websocket, h2c", "websocket\r\nUpgrade: h2c"] {
            let mut client = p.host.client().with_deadline(LIMIT);
            client.send(HANDSHAKE.replace("Upgrade: websocket", &format!("Upgrade: {both}")));
            let _ = client.read("GET");
            assert!(p.a.seen().iter().all(|seen| !seen.head.contains("h2c")), "{both}");
        }
    });
}

/// U8 MUST: An upgrade to anything that is not allowed, h2c above all, is never forwarded.
#[test]
fn u8_upgrades_follow_the_configuration() {
    on_conf("U8", sockets(""), &["Upgrade off"], |p| not_asked_for(p, HANDSHAKE));
    on_conf("U8", sockets(""), &["Upgrade websocket"], |p| echoes(&mut opened(p, HANDSHAKE), "on"));
}

/// U9 MUST: Upgrade in a request of HTTP/1.0 is ignored.
#[test]
fn u9_http10_cannot_upgrade() {
    on_vice("U9", sockets(""), |p| not_asked_for(p, &HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0")));
}

/// U10 SHOULD: An idle tunnel has a time-out of its own.
#[test]
fn u10_an_idle_tunnel_has_its_own_time_out() {
    on_conf("U10", sockets(""), &["TunnelTimeOut 1"], |p| {
        let mut client = opened(p, HANDSHAKE);
        let begun = Instant::now();
        assert!(client.closed_within(LIMIT), "left open");
        assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());
        assert!(within(SOON, || p.a.open() == 0));
    });
    let short = ["TunnelTimeOut 300", "ReadTimeOut 1", "HeaderTimeOut 1", "ClientTimeOut 1", "SendTimeOut 1"];
    on_conf("U10", sockets(""), &short, |p| {
        let mut client = opened(p, HANDSHAKE);
        echoes(&mut client, "before");
        assert!(!client.closed_within(Duration::from_millis(1600)), "closed by another time-out");
        echoes(&mut client, "behind");
    });
}

/// U13 MUST: The connection of a tunnel is never used for anything else.
#[test]
fn u13_a_tunnel_is_never_pooled() {
    on_vice("U13", sockets(""), |p| {
        for round in 0..3 {
            let mut client = opened(p, HANDSHAKE);
            let tunnel = p.a.last_seen().connection;
            p.host.get("/app/between").expect(200);
            assert_ne!(p.a.last_seen().connection, tunnel, "{round}");
            echoes(&mut client, "x");
            drop(client);
            p.host.get("/app/behind").expect(200);
            assert_ne!(p.a.last_seen().connection, tunnel, "{round}");
        }
    });
}

/// U14 MUST: Case does not matter in the option and in the protocol, nor do other options.
#[test]
fn u14_case_and_other_options_do_not_matter() {
    on_vice("U14", sockets(""), |p| {
        for (option, protocol) in [
            ("connection: keep-alive, uPgRade", "upgrade: WebSocket"),
            ("Connection: upgrade,keep-alive", "UPGRADE: WEBSOCKET"),
            ("Connection: keep-alive\r\nConnection: Upgrade", "Upgrade: websocket"),
        ] {
            let handshake =
                HANDSHAKE.replace("Connection: Upgrade", option).replace("Upgrade: websocket", protocol);
            echoes(&mut opened(p, &handshake), "on");
        }
    });
}

/// U15 MUST: A body on the request goes out before any byte of the tunnel, or the request is refused.
#[test]
fn u15_a_body_comes_before_the_tunnel() {
    on_vice("U15", sockets(""), |p| {
        let handshake = HANDSHAKE.replace("Host: h\r\n", "Host: h\r\nContent-Length: 5\r\n");
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(format!("{handshake}12345tunnel"));
        let response = client.read("GET");
        match response.status {
            101 => {
                assert_eq!(read_some(&mut client, 6), b"tunnel");
                assert_eq!(p.a.last_seen().body, b"12345");
            }
            200 => assert_eq!(p.a.last_seen().body, b"12345"),
            _ => assert!(response.status >= 400 && p.a.received() == 0, "{response:?}"),
        }
        assert_eq!(p.a.complaints(), Vec::<String>::new());
    });
}
