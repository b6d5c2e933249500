//! Connections that change their protocol: WebSocket and its like, in both directions.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{io::Write, net::Shutdown, thread, time::Duration};

use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, for_each_host, pattern, vice,
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(5);
const HANDSHAKE: &str = "GET /app/ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, uPgRade\r\nUpgrade: WebSocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Switches to whatever is asked for, says `hello` in the same piece, then sends back what comes.
/// Plain requests are answered as by any server.
fn mirror() -> Backend {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        let Some(protocol) = seen.header("Upgrade").map(str::to_owned) else {
            return conn.answer(&seen, b"plain");
        };
        let fields = format!("Connection: upgrade\r\nUpgrade: {protocol}\r\nSec-WebSocket-Accept: k\r\n");
        let mut answer = conn.head_with("101 Switching Protocols", &fields);
        answer.extend_from_slice(b"hello");
        conn.send(&answer)?;
        loop {
            let piece = conn.piece()?;
            if piece.is_empty() {
                return Ok(Next::Close);
            }
            conn.send(&piece)?;
        }
    };
    Backend::start("a", vice::custom(act))
}

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

/// A client behind its handshake and the first bytes.
#[track_caller]
fn tunnel(host: &Host) -> Client {
    let mut client = host.client();
    client.send(HANDSHAKE);
    let response = client.read("GET");
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("Upgrade"), Some("WebSocket"));
    assert_eq!(response.header("Connection"), Some("Upgrade"));
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some("k"));
    assert_eq!(client.read_exactly(5), b"hello");
    client
}

#[test]
fn bytes_go_both_ways_u1_u2_u14() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = tunnel(&host);
        let seen = a.last_seen();
        assert_eq!((seen.header("Connection"), seen.header("Upgrade")), (Some("Upgrade"), Some("WebSocket")));
        assert_eq!(seen.header("Sec-WebSocket-Key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        for round in 0..50 {
            let message = pattern(1 + 37 * round);
            client.send(&message);
            assert_bytes(&client.read_exactly(message.len()), &message);
        }
    });
}

#[test]
fn bytes_behind_the_handshake_are_not_lost_u3() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send(format!("{HANDSHAKE}early"));
        assert_eq!(client.read("GET").status, 101);
        assert_eq!(client.read_exactly(10), b"helloearly");
    });
}

#[test]
fn bytes_behind_the_handshake_were_lost_on_a_connection_that_was_used_before_u3() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.get("/app/plain");
        client.send(format!("{HANDSHAKE}early"));
        assert_eq!(client.read("GET").status, 101);
        assert_eq!(client.read_exactly(10), b"helloearly");
    });
}

#[test]
fn four_megabytes_each_way_at_once_u4() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = tunnel(&host);
        let body = pattern(4_000_000);
        let (mut sender, sent) = (client.sender(), body.clone());
        let writer = thread::spawn(move || sender.write_all(&sent).unwrap());
        assert_bytes(&client.read_exactly(body.len()), &body);
        writer.join().unwrap();
    });
}

#[test]
fn an_end_is_passed_on_in_either_direction_u5() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        // Half-closed: the mirror sees the end, and ends.
        let mut client = tunnel(&host);
        client.send("last");
        client.half_close();
        let (rest, end) = client.read_all(LIMIT);
        assert_eq!((rest.as_slice(), end), (b"last".as_slice(), End::Truncated));
        // Closed altogether, or broken.
        drop(tunnel(&host));
        tunnel(&host).reset();
        eventually(LIMIT, "the backend's connections are closed", || a.open() == 0);
        // The backend leaves.
        let mut client = tunnel(&host);
        a.cut();
        assert_ne!(client.read_all(LIMIT).1, End::TimedOut);
        host.get("/app").expect(200);
    });
}

#[test]
fn a_backend_that_ends_first_still_hears_the_client_u5b() {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.send(
            &conn.head_with("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: websocket\r\n"),
        )?;
        let _ = conn.stream.shutdown(Shutdown::Write);
        let mut seen = seen;
        while seen.body.len() < 10 {
            let piece = conn.piece()?;
            if piece.is_empty() {
                break;
            }
            seen.body.extend_from_slice(&piece);
        }
        conn.record(&seen);
        Ok(Next::Close)
    };
    let a = Backend::start("a", vice::custom(act));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send(HANDSHAKE);
        assert_eq!(client.read("GET").status, 101);
        assert_eq!(client.read_all(LIMIT).1, End::Truncated);
        client.send("still here");
        eventually(LIMIT, "the backend got it", || {
            a.seen().last().is_some_and(|seen| seen.body == b"still here")
        });
    });
}

#[test]
fn what_is_not_switched_stays_plain_http_u6_u7_u8_u9() {
    let a = Backend::start(
        "a",
        vice::answering(|conn, seen| {
            let upgrade = seen.header("Upgrade").unwrap_or("none").to_owned();
            conn.answer(seen, upgrade.as_bytes())
        }),
    );
    for_each_host(|kind| {
        let host = app(kind, &a);
        let ask = |version: &str, fields: &str| {
            let mut client = host.client();
            client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n{fields}\r\n"));
            client.read("GET").expect(200).text()
        };
        assert_eq!(ask("1.1", "Upgrade: websocket\r\n"), "none");
        assert_eq!(
            ask("1.1", "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"),
            "none"
        );
        assert_eq!(ask("1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"), "none");
        assert_eq!(ask("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"), "none");
        // Asked for and refused: the next request is one.
        let mut client = host.client();
        client.send(HANDSHAKE);
        assert_eq!(client.read("GET").expect(200).text(), "WebSocket");
        assert_eq!(client.get("/app").expect(200).text(), "none");
    });
}

#[test]
fn nobody_switches_unasked_r7() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nGARBAGE";
    let a = Backend::start("a", vice::raw(answer, Next::Close));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().default_key("AttemptsCount 0").route("^/app", &[&a]));
        assert_eq!(host.get("/app").status, 502);
        let mut client = host.client();
        client.send(HANDSHAKE);
        assert_eq!(client.read("GET").status, 502);
    });
}

#[test]
fn a_silent_tunnel_ends_after_its_time_u10() {
    let a = mirror();
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().default_key("TunnelTimeOut 2s").route("^/app", &[&a]));
        let mut client = tunnel(&host);
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(600));
            client.send("x");
            assert_eq!(client.read_exactly(1), b"x", "kept up by traffic");
        }
        assert!(client.closed_within(LIMIT));
        eventually(LIMIT, "the backend's connection is closed", || a.open() == 0);
    });
}

#[test]
fn the_servers_own_time_out_does_not_cut_a_tunnel() {
    let a = mirror();
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).server_line("Timeout 1").start();
        let mut client = tunnel(&host);
        for _ in 0..3 {
            thread::sleep(Duration::from_millis(1200));
            client.send("x");
            assert_eq!(client.read_exactly(1), b"x");
        }
    });
}

const SWITCH: &str = "Connection: upgrade\r\nUpgrade: websocket\r\n";

#[test]
fn last_words_of_a_client_that_closes_second_arrive() {
    let act = |conn: &mut support::backends::Conn| {
        let Some(mut seen) = conn.head()? else { return Ok(Next::Close) };
        conn.send(&conn.head_with("101 Switching Protocols", SWITCH))?;
        let _ = conn.stream.shutdown(Shutdown::Write);
        while let Ok(piece) = conn.piece()
            && !piece.is_empty()
        {
            seen.body.extend_from_slice(&piece);
        }
        conn.record(&seen);
        Ok(Next::Close)
    };
    let a = Backend::start("a", vice::custom(act));
    let rounds = |kind: Kind| {
        let host = app(kind, &a);
        for round in 0..20 {
            let before = a.requests();
            let mut client = host.client();
            client.send(HANDSHAKE);
            assert_eq!(client.read("GET").status, 101);
            assert_eq!(client.read_all(LIMIT).1, End::Truncated);
            client.send(pattern(3000));
            client.half_close();
            eventually(LIMIT, "the tunnel ends", || a.requests() > before);
            assert_eq!(a.last_seen().body.len(), 3000, "round {round}");
        }
    };
    for_each_host(rounds);
}

#[test]
fn last_words_of_a_backend_that_hears_nothing_more_arrive() {
    const LEN: usize = 400_000;
    let act = |conn: &mut support::backends::Conn| {
        let Some(_) = conn.head()? else { return Ok(Next::Close) };
        conn.send(&conn.head_with("101 Switching Protocols", SWITCH))?;
        // Over a Unix socket, the other side can write no more from now on.
        let _ = conn.stream.shutdown(Shutdown::Read);
        thread::sleep(Duration::from_millis(300));
        conn.send(&pattern(LEN))?;
        Ok(Next::Close)
    };
    let folder = tempfile::tempdir().unwrap();
    let a = Backend::start_unix("a", &folder.path().join("a"), vice::custom(act));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send(HANDSHAKE);
        assert_eq!(client.read("GET").status, 101);
        // Not before the backend has closed its ear.
        thread::sleep(Duration::from_millis(100));
        client.send("is anybody there?");
        let (rest, _) = client.read_all(LIMIT);
        assert_bytes(&rest, &pattern(LEN));
    });
}

#[test]
fn what_a_route_says_about_fields_goes_for_a_101_too() {
    let fields = format!("{SWITCH}Set-Cookie: a=1; Path=/in\r\nX-Internal: secret\r\nX-Set: theirs\r\n");
    let hints = "HTTP/1.1 103 Early Hints\r\nX-Internal: secret\r\nX-Set: theirs\r\nLink: l\r\n\r\n";
    let answer = format!("{hints}HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n");
    let a = Backend::start("a", vice::raw(answer, Next::Close));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a]);
        let conf = conf.with("RemoveResponseHeader X-Internal").with("SetResponseHeader X-Set ours");
        let host = Host::start(kind, conf.with("CookiePath /in /out"));
        let mut client = host.client();
        client.send(HANDSHAKE);
        let hints = b"HTTP/1.1 103 Early Hints\r\nLink: l\r\n\r\n";
        assert_eq!(client.read_exactly(hints.len()), hints);
        let response = client.read("GET");
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Set-Cookie"), Some("a=1; Path=/out"));
        assert_eq!((response.header("X-Internal"), response.all("X-Set")), (None, vec!["ours"]));
    });
}
