//! Servers that reset every connection, that are not there, or that answer drop by drop: each
//! client is told the truth, nobody else pays, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, black_hole::BlackHole, eventually,
    for_each_host, host::expect_quiet, pattern, vice, vice::Vice, within,
};

const SECOND: Duration = Duration::from_secs(1);

/// Longer than what is sent of it at once.
const LENGTH: usize = 50_000;

/// The stages at which a server resets a connection, and whether the client may get a part.
fn storms() -> [(&'static str, Vice); 6] {
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
        ("behind the last byte", vice::raw(whole, Next::Reset)),
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
                        for _ in 0..8 {
                            is_told(name, &mut host.client(), method);
                        }
                    });
                }
            });
        };
        load("before", "GET");
        expect_quiet(2 * SECOND, &[&a]);
        let before = host.descriptors();
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
            let settled = within(2 * SECOND, || host.descriptors() <= before);
            assert!(settled, "{name}: {before} descriptors, now {}", host.open_files());
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
        Err(none) if none.end == End::Reset && name.starts_with("inside the body") => return,
        Err(none) => panic!("{name}, {method}: {none:?}"),
    };
    let cut = matches!(response.end, End::Truncated | End::Reset);
    match response.status {
        200 if response.end == End::Complete => assert_bytes(&response.body, &pattern(LENGTH)),
        200 if cut => assert_bytes(&response.body, &pattern(LENGTH)[..response.body.len()]),
        502..=504 if response.end == End::Complete => {}
        _ => panic!("{name}, {method}: {response:?}"),
    }
    // What came whole is passed on whole, unless a body was not read to its end.
    let whole = response.status == 200 && response.end == End::Complete;
    assert!(whole || !matches!(name, "before" | "behind the last byte"), "{name}, {method}: {response:?}");
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
                    assert!(took > TIME_OUT && took < 2 * TIME_OUT + SECOND, "took {took:?}");
                });
            }
        });
        let states = || [0, 1].map(|i: usize| state(&host, i));
        assert_eq!(states(), ["offline", "offline"]);
        // Longer than it takes to probe them for the first time.
        let until = Instant::now() + 2 * SECOND;
        let mut client = host.client();
        while Instant::now() < until {
            let begun = Instant::now();
            assert_eq!(client.get("/app").expect(200).backend(), "a");
            let took = begun.elapsed();
            assert!(took < TIME_OUT, "took {took:?} while they are {:?}", states());
            thread::sleep(Duration::from_millis(5));
        }
    });
}

fn state(host: &Host, backend: usize) -> String {
    host.statistics()["routes"][0]["backends"][backend]["state"].as_str().unwrap().to_owned()
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
        let late = Backend::start("late", dripping(MS / 10, 5, 900 * MS));
        let echo = Backend::start("echo", vice::echo());
        let conf = Conf::new()
            .default_key("HeaderTimeOut 700ms")
            .default_key("ReadTimeOut 500ms")
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
                    assert!(took >= 450 * MS && took < 2 * SECOND, "took {took:?}");
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
