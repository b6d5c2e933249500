//! Long bodies, which pass from server to client through a pipe without being copied: whole, in
//! order, and nobody else's.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{Backend, Client, Conf, End, Host, Next, Setup, eventually, for_each_host, pattern, vice};

const LENGTH: usize = 1_000_000;
/// More than all buffers on the way to a client hold.
const VERY_LONG: usize = 24_000_000;

/// The body for a target, unlike that of any other.
fn body_for(target: &str) -> Vec<u8> {
    let mut body = target.as_bytes().repeat(LENGTH / target.len() + 1);
    body.truncate(LENGTH);
    body
}

/// Answers each target with its body.
fn long_answers() -> vice::Vice {
    vice::answering(|conn, seen| {
        let body = body_for(&seen.target);
        conn.answer(seen, &body)
    })
}

fn one_worker(kind: support::Kind, conf: Conf) -> Host {
    Setup::new(kind, conf.with_statistics()).workers(1).start()
}

fn pipes(host: &Host) -> usize {
    host.open_files().matches("pipe:").count()
}

#[test]
fn a_long_body_goes_through_a_pipe_that_serves_all() {
    for_each_host(|kind| {
        let a = Backend::start("a", long_answers());
        let host = one_worker(kind, Conf::new().route("^/app", &[&a]));
        let before = pipes(&host);
        host.get("/app/first").expect(200);
        assert_eq!(pipes(&host), before + 2, "both ends of it: {}", host.open_files());
        thread::scope(|scope| {
            for n in 0..8 {
                let host = &host;
                scope.spawn(move || {
                    let mut client = host.client();
                    for i in 0..3 {
                        let target = format!("/app/{n}/{i}");
                        assert!(client.get(&target).expect(200).body == body_for(&target), "{target}");
                    }
                });
            }
        });
        assert_eq!(pipes(&host), before + 2);
    });
}

#[test]
fn a_reader_that_stops_and_goes_on_gets_every_byte() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::fixed(VERY_LONG)), Backend::start("b", long_answers()));
        let host = one_worker(kind, Conf::new().route("^/app", &[&a]).route("^/other", &[&b]));
        let whole = pattern(VERY_LONG);
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        let mut other = host.client();
        let mut seen = Vec::new();
        // Now and then it takes nothing for as long as it takes to fill all buffers in between.
        for piece in [200_000, 1, 3_000_000, 100_000] {
            seen.extend(client.read_exactly(piece));
            eventually(Duration::from_secs(10), "the server has to wait", || {
                let before = a.sent();
                thread::sleep(Duration::from_millis(50));
                a.sent() == before
            });
            let answer = other.get("/other").expect(200);
            assert!(answer.body == body_for("/other"), "others are not kept waiting");
        }
        let head = seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        seen.extend(client.read_exactly(whole.len() + head - seen.len()));
        assert!(seen[head..] == whole[..]);
    });
}

#[test]
fn a_long_body_that_is_cut_is_seen_as_cut() {
    for how in [Next::Close, Next::Reset] {
        for_each_host(|kind| {
            let a = Backend::start("a", vice::closes_mid_body(LENGTH, LENGTH / 2, how));
            let host = one_worker(kind, Conf::new().route("^/app", &[&a]));
            let mut client = host.client();
            client.send_request("GET", "/app", "", b"");
            let (bytes, end) = client.read_all(Duration::from_secs(10));
            assert!(matches!(end, End::Reset | End::Truncated), "{end:?}");
            assert!(bytes.len() < LENGTH, "{}", bytes.len());
            let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(head) = head {
                assert!(pattern(LENGTH / 2).starts_with(&bytes[head + 4..]), "what came is right");
            }
        });
    }
}

#[test]
fn what_stands_behind_a_long_body_is_nobodys_answer() {
    for_each_host(|kind| {
        let act = |conn: &mut support::backends::Conn, seen: &support::Seen| {
            let body = body_for(&seen.target);
            let mut bytes = conn.head_with("200 OK", &format!("Content-Length: {LENGTH}\r\n"));
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON");
            conn.send(&bytes)?;
            Ok(Next::Again)
        };
        let a = Backend::start("a", vice::answering(act));
        let host = one_worker(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        for n in 0..5 {
            let target = format!("/app/{n}");
            assert!(client.get(&target).expect(200).body == body_for(&target), "{target}");
        }
    });
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_in_the_pipe() {
    for_each_host(|kind| {
        let a = Backend::start("a", long_answers());
        let mut host = one_worker(kind, Conf::new().route("^/app", &[&a]));
        leave_and_stay(&host);
        assert!(host.is_alive());
    });
}

#[test]
fn a_server_that_does_not_block_sigpipe_survives_those_who_leave_a_long_body() {
    support::harness_only(|kind| {
        if kind.is_modern() {
            return;
        }
        let a = Backend::start("a", long_answers());
        let conf = Conf::new().route("^/app", &[&a]).with_statistics();
        let mut host = Setup::new(kind, conf).workers(1).arg("-V").arg("sigpipe").start();
        leave_and_stay(&host);
        assert!(host.is_alive());
    });
}

/// Some clients leave in the middle of their bodies, some politely; others stay and get theirs.
fn leave_and_stay(host: &Host) {
    let until = Instant::now() + Duration::from_secs(1);
    thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                for i in 0.. {
                    let mut client = asking(host, &format!("/app/leaves/{n}/{i}"));
                    client.read_exactly(1 + i * 50_021 % 400_000);
                    if i % 2 == 0 {
                        client.reset()
                    } else {
                        drop(client)
                    }
                    if Instant::now() > until {
                        break;
                    }
                }
            });
            scope.spawn(move || {
                let mut client = host.client();
                for i in 0.. {
                    let target = format!("/app/stays/{n}/{i}");
                    assert!(client.get(&target).expect(200).body == body_for(&target), "{target}");
                    if Instant::now() > until {
                        break;
                    }
                }
            });
        }
    });
}

fn asking(host: &Host, target: &str) -> Client {
    let mut client = host.client();
    client.send_request("GET", target, "", b"");
    client
}
