//! Servers that reset every connection, that are not there, or that answer drop by drop: each
//! client is told the truth, nobody else pays, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, black_hole::BlackHole, eventually,
    for_each_host, host::expect_quiet, pattern, vice, vice::Vice, within,
};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than what is sent of it at once.
const LENGTH: usize = 50_000;

/// The stages at which a server resets a connection, and whether the client may get a part.
fn storms() -> [(&'static str, Vice); 7] {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    let begun = [head.as_bytes(), &pattern(LENGTH)[..LENGTH / 2]].concat();
    let whole = [head.as_bytes(), &pattern(LENGTH)].concat();
    [
        ("behind the accept", vice::custom(|_| Ok(Next::Reset))),
        (
            "behind the head of the request",
            vice::custom(|conn| {
                conn.head()?;
                Ok(Next::Reset)
            }),
        ),
        ("instead of an answer", vice::reads_and_leaves(Next::Reset)),
        ("inside the head", vice::raw("HTTP/1.1 200 OK\r\nContent-Le", Next::Reset)),
        ("inside the body", vice::raw(begun, Next::Reset)),
        // On a busy machine this may overtake all of the answer.
        ("with the last byte", vice::raw(whole, Next::Reset)),
        // The time matters here: the answer has arrived.
        ("behind the last byte", vice::closes_mid_body(LENGTH, LENGTH, Next::Reset)),
    ]
}

#[test]
fn a_storm_of_resets_is_told_as_it_is_and_leaves_nothing_behind() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::fixed(LENGTH));
        // Nothing is kept, so that descriptors can be compared.
        let conf = Conf::new().route("^/app", &[&a]).with("AttemptsCount 0").with("KeepAlive off");
        let host = Host::start(kind, conf);
        let load = |name: &str, method: &'static str| {
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..4 {
                            is_told(name, &mut host.client(), method);
                        }
                    });
                }
            });
        };
        load("before", "GET");
        expect_quiet(2 * SECOND, &[&a]);
        // Without what a worker makes that begins late.
        let sockets = || host.open_files().matches("socket:").count();
        let before = sockets();
        for (name, vice) in storms() {
            a.restart(vice);
            load(name, "GET");
            load(name, "POST");
            a.restart(vice::fixed(LENGTH));
            let mut client = host.client();
            for _ in 0..20 {
                assert_bytes(&client.get("/app").expect(200).body, &pattern(LENGTH));
            }
            drop(client);
            expect_quiet(2 * SECOND, &[&a]);
            let settled = within(2 * SECOND, || sockets() <= before + 1);
            assert!(settled, "{name}: {before} sockets before, now {}", host.open_files());
        }
    });
}

/// One request: a right answer, an error of the proxy's, or an answer that is visibly cut.
#[track_caller]
fn is_told(name: &str, client: &mut Client, method: &str) {
    client.send_request(method, "/app", "", &vec![b'x'; if method == "POST" { 20_000 } else { 0 }]);
    let response = match client.try_read(method) {
        Ok(response) => response,
        // A cut may overtake what was sent before it.
        Err(none) if none.end == End::Reset && may_be_cut(name) => return,
        Err(none) => panic!("{name}, {method}: {none:?}"),
    };
    let cut = matches!(response.end, End::Truncated | End::Reset);
    match response.status {
        200 if response.end == End::Complete => assert_bytes(&response.body, &pattern(LENGTH)),
        200 if cut => assert_bytes(&response.body, &pattern(LENGTH)[..response.body.len()]),
        502..=504 if response.end == End::Complete => {}
        _ => panic!("{name}, {method}: {response:?}"),
    }
    // What came whole is passed on whole.
    let whole = response.status == 200 && response.end == End::Complete;
    assert!(whole || !matches!(name, "before" | "behind the last byte"), "{name}, {method}: {response:?}");
}

fn may_be_cut(name: &str) -> bool {
    matches!(name, "inside the body" | "with the last byte")
}

#[test]
fn black_holes_cost_their_time_out_once_and_then_nothing() {
    const TIME_OUT: Duration = Duration::from_millis(400);
    for_each_host(|kind| {
        let (hole, other, a) = (BlackHole::new(), BlackHole::new(), Backend::start("a", vice::echo()));
        let list = format!("{} {} {}", hole.addr(), other.addr(), a.address());
        let conf = Conf::new()
            .with_statistics()
            .route_to("^/app", &list)
            .with("LoadBalancer First-Alive")
            .with("ConnectTimeOut 400ms");
        let host = Host::start(kind, conf);
        // As many at once as may, none pays for more than both of them.
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let begun = Instant::now();
                    assert_eq!(host.get("/app").expect(200).backend(), "a");
                    let took = begun.elapsed();
                    assert!(took > TIME_OUT && took < 2 * TIME_OUT + 3 * SECOND, "took {took:?}");
                });
            }
        });
        let states = || [0, 1].map(|i: usize| server(&host, i)["state"].clone());
        assert_eq!(states(), ["offline", "offline"]);
        // Longer than it takes to probe them for the first time.
        let until = Instant::now() + 3 * SECOND / 2;
        let mut client = host.client();
        let attempts = || [0, 1].map(|i: usize| server(&host, i)["requests"].as_u64());
        let before = attempts();
        while Instant::now() < until {
            assert_eq!(client.get("/app").expect(200).backend(), "a");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(attempts(), before, "no request goes there, while they are {:?}", states());
    });
}

fn server(host: &Host, backend: usize) -> Value {
    host.statistics()["routes"][0]["backends"][backend].clone()
}

/// An answer with a length, all of its bytes one by one: those of the head with one pause between
/// them, those of the body with the other.
fn dripping(head_pause: Duration, length: usize, body_pause: Duration) -> Vice {
    vice::answering(move |conn, _| {
        let head = conn.head_with("200 OK", &format!("Content-Length: {length}\r\n"));
        for byte in head {
            conn.send(&[byte])?;
            thread::sleep(head_pause);
        }
        for byte in pattern(length) {
            conn.send(&[byte])?;
            thread::sleep(body_pause);
        }
        Ok(Next::Again)
    })
}

#[test]
fn drips_are_judged_by_their_time_outs_and_slow_nobody_down() {
    const MS: Duration = Duration::from_millis(1);
    let lone_worker = |kind: Kind, conf: Conf| Setup::new(kind, conf).workers(1).start();
    for_each_host(|kind| {
        let head = Backend::start("head", dripping(30 * MS, 10, MS));
        let body = Backend::start("body", dripping(MS / 10, 15, 100 * MS));
        let late = Backend::start("late", dripping(MS / 10, 5, 2 * SECOND));
        let echo = Backend::start("echo", vice::echo());
        let conf = Conf::new()
            .default_key("HeaderTimeOut 700ms")
            .default_key("ReadTimeOut 1")
            .default_key("AttemptsCount 0")
            .route("^/head", &[&head])
            .route("^/body", &[&body])
            .route("^/late", &[&late])
            .route("^/echo", &[&echo]);
        let host = lone_worker(kind, conf);
        let timed = |target: &str| {
            let (mut client, begun) = (host.client(), Instant::now());
            (client.get(target), begun.elapsed())
        };
        thread::scope(|scope| {
            for _ in 0..15 {
                // The whole head in time: that something comes does not help.
                scope.spawn(|| {
                    let (response, took) = timed("/head");
                    assert_eq!((response.status, response.end), (504, End::Complete));
                    assert!(took >= 600 * MS && took < 2 * SECOND, "took {took:?}");
                });
                // Each byte of the body in time: that is enough, however long it takes in all.
                scope.spawn(|| {
                    let (response, took) = timed("/body");
                    assert_bytes(&response.expect(200).body, &pattern(15));
                    assert!(took >= SECOND, "took {took:?}");
                });
                scope.spawn(|| {
                    let (response, took) = timed("/late");
                    assert_eq!(response.status, 200);
                    assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
                    assert!(took >= 900 * MS && took < 2 * SECOND, "took {took:?}");
                });
            }
            let mut times = Vec::new();
            let mut client = host.client();
            for _ in 0..100 {
                let begun = Instant::now();
                client.get("/echo").expect(200);
                times.push(begun.elapsed());
                thread::sleep(10 * MS);
            }
            times.sort();
            assert!(times[50] < 100 * MS, "half of the others took {:?} or more", times[50]);
        });
        eventually(3 * SECOND, "they are let go", || head.open() == 0 && late.open() == 0);
    });
}

/// Stops a process, or lets it go on.
fn signal(host: &Host, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", host.pid())]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_host_that_was_stopped_for_a_while_blames_no_backend_that_was_in_time() {
    const PIECE: usize = 8_000;
    let in_time = vice::answering(|conn, _| {
        let length = 3 * PIECE;
        let body = pattern(length);
        let head = conn.head_with("200 OK", &format!("Content-Length: {length}\r\n"));
        for piece in [&head[..], &body[..PIECE], &body[PIECE..2 * PIECE], &body[2 * PIECE..]] {
            thread::sleep(SECOND / 20);
            conn.send(piece)?;
        }
        Ok(Next::Again)
    });
    let a = Backend::start("a", in_time);
    for_each_host(|kind| {
        let conf = Conf::new()
            .with_statistics()
            .default_key("HeaderTimeOut 500ms")
            .default_key("ReadTimeOut 500ms")
            .route("^/app", &[&a]);
        let host = Host::start(kind, conf);
        for stage in 0..3 {
            let mut clients: Vec<_> = (0..6).map(|_| host.client()).collect();
            let before = a.requests();
            clients.iter_mut().for_each(|client| client.send_request("GET", "/app", "", b""));
            eventually(2 * SECOND, "they are there", || a.requests() == before + 6);
            // At another point of their answers each time.
            thread::sleep(SECOND * stage / 15);
            signal(&host, "STOP");
            thread::sleep(7 * SECOND / 10);
            signal(&host, "CONT");
            for client in &mut clients {
                let response = client.read("GET").expect(200);
                assert_bytes(&response.body, &pattern(3 * PIECE));
            }
        }
        let server = server(&host, 0);
        assert_eq!((&server["failures"], &server["state"]), (&0.into(), &"online".into()), "{server:#}");
    });
}
