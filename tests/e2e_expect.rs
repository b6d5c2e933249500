//! Clients that wait for `100 Continue`: the host reads their body before it asks the plugin, so
//! the plugin tells them to go on while the host reads.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{thread, time::Duration};

use support::host::harness_18_only;
use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, build, eventually, for_each_host,
    harness_only, pattern, vice,
};

/// What a waiting client gets.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How soon.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How long a client listens that gets nothing.
const A_WHILE: Duration = Duration::from_millis(200);
const LIMIT: Duration = Duration::from_secs(5);

/// Answers with the body that it got.
fn mirror() -> Backend {
    Backend::start("a", vice::answering(|conn, seen| conn.answer(seen, &seen.body.clone())))
}

fn setup(kind: Kind, a: &Backend) -> Setup {
    Setup::new(kind, Conf::new().route("^/app", &[a]))
}

fn head(method: &str, target: &str, fields: &str, length: usize) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: {length}\r\n\r\n")
}

/// Sends a head, waits, sends the body, and checks the answer.
#[track_caller]
fn upload(client: &mut Client, a: &Backend, method: &str, body: &[u8]) {
    client.send(head(method, "/app", "Expect: 100-continue\r\n", body.len()));
    assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE);
    client.send(body);
    let response = client.read(method).expect(200);
    assert_bytes(&response.body, body);
    assert_eq!(response.interim, [0u16; 0], "told twice");
    let seen = a.last_seen();
    assert_eq!(seen.method, method);
    assert!(seen.all("Expect").is_empty(), "{seen:?}");
}

/// Sends `first`, gets nothing, sends `rest` and gets a final answer.
#[track_caller]
fn gets_none(host: &Host, first: &str, rest: &str) {
    let mut client = host.client();
    client.send(first);
    assert_eq!(client.read_all(A_WHILE), (Vec::new(), End::TimedOut), "{first:?}");
    client.send(rest);
    let response = client.read("POST");
    assert_eq!(response.interim, [0u16; 0], "{first:?}");
}

#[test]
fn a_client_that_waits_is_told_at_once_f23() {
    let a = mirror();
    for_each_host(|kind| {
        let host = setup(kind, &a).start();
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let mut client = host.client().with_deadline(AT_ONCE);
            for body in [&b"hello"[..], &pattern(3000)] {
                upload(&mut client, &a, method, body);
                assert_eq!(client.get("/app").expect(200).interim, [0u16; 0]);
            }
        }
        // Letter case and blanks do not matter, and the path may be spelt in another way.
        let mut client = host.client().with_deadline(AT_ONCE);
        client.send(head("POST", "/%61pp?x", "eXpect:  100-Continue \r\n", 2));
        assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE);
        client.send("ok");
        assert_eq!(client.read("POST").expect(200).text(), "ok");
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn nobody_else_is_told_f23() {
    let a = mirror();
    for_each_host(|kind| {
        let host = setup(kind, &a).start();
        // Who does not wait.
        let mut client = host.client();
        for _ in 0..3 {
            client.send(head("POST", "/app", "Expect: 100-continue\r\n", 5) + "hello");
            let response = client.read("POST").expect(200);
            assert_eq!((response.interim, response.body), (vec![], b"hello".to_vec()));
        }
        for (fields, path) in [
            ("Expect: something\r\n", "/app"),
            ("Expect: 100-continue, x\r\n", "/app"),
            ("", "/app"),
            ("Expect: 100-continue\r\n", "/nothing"),
        ] {
            gets_none(&host, &head("POST", path, fields, 5), "hello");
        }
        let old = head("POST", "/app", "Expect: 100-continue\r\n", 5).replace("HTTP/1.1", "HTTP/1.0");
        gets_none(&host, &old, "hello");
        // A body that looks like a request that waits.
        let waiting = head("POST", "/app", "Expect: 100-continue\r\n", 5);
        gets_none(&host, &(head("POST", "/app", "", waiting.len() + 3) + "abc"), &waiting);
        // Monkey's own file; 1.7.0 to 1.8.7 never send one.
        gets_none(&host, &head("POST", "/page.html", "Expect: 100-continue\r\n", 5), "hello");
    });
}

#[test]
fn each_worker_tells_from_its_very_first_request_on() {
    let a = mirror();
    for_each_host(|kind| {
        for workers in [1, 4] {
            let host = setup(kind, &a).workers(workers).start();
            for _ in 0..6 * workers {
                let mut client = host.client();
                for method in ["POST", "PUT"] {
                    upload(&mut client, &a, method, b"hello");
                }
            }
        }
    });
}

#[test]
fn a_head_in_pieces_is_told_once_it_is_whole() {
    let a = mirror();
    for_each_host(|kind| {
        let host = setup(kind, &a).start();
        let mut client = host.client();
        let head = head("POST", "/app", "Expect: 100-continue\r\n", 5);
        for cut in [2, 4, 30, head.len() - 1] {
            let (first, second) = head.split_at(cut);
            client.send(first);
            assert_eq!(client.read_all(A_WHILE / 4), (Vec::new(), End::TimedOut), "{first:?}");
            client.send(second);
            assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE, "{first:?}");
            client.send("hel");
            thread::sleep(Duration::from_millis(20));
            client.send("lo");
            let response = client.read("POST").expect(200);
            assert_eq!((response.interim, response.body), (vec![], b"hello".to_vec()));
        }
        // Close together, and not only at the first request of a connection.
        for cut in (1..head.len()).step_by(2) {
            client.send(&head[..cut]);
            client.send(&head[cut..]);
            assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE, "{cut}");
            client.send("hello");
            client.read("POST").expect(200);
        }
        // The end of the connection in the middle of a head.
        for reset in [false, true] {
            let mut client = host.client();
            client.send(&head[..30]);
            thread::sleep(Duration::from_millis(20));
            if reset {
                client.reset();
            } else {
                client.half_close();
                assert_ne!(client.read_all(LIMIT).1, End::TimedOut);
            }
        }
    });
}

#[test]
fn a_large_body_follows_the_leave() {
    let a = mirror();
    for_each_host(|kind| {
        let host = setup(kind, &a).start();
        for _ in 0..2 {
            upload(&mut host.client(), &a, "POST", &pattern(300_000));
        }
    });
}

#[test]
fn a_request_behind_another_waits_too() {
    let a = mirror();
    for_each_host(|kind| {
        if !kind.is_modern() {
            return; // Monkey 1.5 loses what stands behind a request.
        }
        let host = setup(kind, &a).start();
        let mut client = host.client();
        let first = "GET /app HTTP/1.1\r\nHost: h\r\n\r\n".to_owned();
        client.send(first + &head("POST", "/app", "Expect: 100-continue\r\n", 6));
        assert_eq!(client.read("GET").expect(200).interim, [0u16; 0]);
        assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE);
        client.send("second");
        assert_eq!(client.read("POST").expect(200).text(), "second");
        upload(&mut client, &a, "PUT", b"third");
    });
}

#[test]
fn a_request_that_comes_early_is_told_in_its_turn() {
    let slow = Backend::start("slow", vice::slow_echo(Duration::from_millis(80)));
    for_each_host(|kind| {
        let host = setup(kind, &slow).start();
        let mut client = host.client();
        let before = slow.requests();
        client.send_request("GET", "/app", "", b"");
        eventually(LIMIT, "the first is in service", || slow.requests() > before);
        client.send(head("POST", "/app", "Expect: 100-continue\r\n", 5));
        client.read("GET").expect(200);
        assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE);
        client.send("hello");
        client.read("POST").expect(200);
        assert_eq!(slow.last_seen().body, b"hello");
    });
}

#[test]
fn all_of_the_1_8_family_tell_and_through_tls_too() {
    let a = mirror();
    harness_18_only(|kind| {
        for variant in ["1.8.7", "hidden", "fake-tls"] {
            let host = setup(kind, &a).arg("-V").arg(variant).start();
            let mut client = host.client();
            upload(&mut client, &a, "POST", b"hello");
            upload(&mut client, &a, "DELETE", b"again");
            gets_none(&host, &head("POST", "/nothing", "Expect: 100-continue\r\n", 5), "hello");
        }
    });
}

#[test]
fn monkey_1_5_tells_through_its_transport() {
    let a = mirror();
    harness_only(|kind| {
        let host = setup(kind, &a).env("HARNESS_TRANSPORT", "fake-tls").start();
        upload(&mut host.client(), &a, "POST", b"hello");
    });
}

#[test]
fn workers_that_share_their_socket_tell_from_the_second_request_on() {
    let a = mirror();
    for_each_host(|kind| {
        let setup = setup(kind, &a).workers(3);
        let host = match kind {
            Kind::Harness18 => setup.arg("-V").arg("fair").start(),
            Kind::Monkey18 => setup.arg("--balancing-mode").start(),
            Kind::Harness | Kind::Monkey15 => return,
        };
        let mut first = host.client();
        first.get("/app").expect(200);
        upload(&mut first, &a, "POST", b"hello");
        for _ in 0..12 {
            upload(&mut host.client(), &a, "PUT", b"hello");
        }
    });
}

#[test]
fn a_worker_that_has_given_up_tells_nobody() {
    let liar = Backend::start(
        "a",
        vice::answering(|conn, _| {
            conn.send(&conn.head_with("200 OK", "X-Lie: recv\r\nContent-Length: 0\r\n"))?;
            Ok(Next::Again)
        }),
    );
    for_each_host(|kind| {
        let Some(preload) = build::preload("lying_recv") else { return };
        let setup = setup(kind, &liar).workers(1).env("LD_PRELOAD", preload.to_str().unwrap());
        let mut host = setup.may_panic().start();
        let waiting = head("POST", "/app", "Expect: 100-continue\r\n", 5);
        let mut early = host.client();
        early.send(&waiting[..30]);
        thread::sleep(Duration::from_millis(50));

        let mut victim = host.client();
        victim.send_request("GET", "/app", "", b"");
        let _ = victim.read_all(A_WHILE);
        host.expect_output("this worker answers 503");

        // What came of it before is lost; it is not left to wait.
        early.send(&waiting[30..]);
        let (answer, end) = early.read_all(A_WHILE);
        assert!(answer.is_empty() && end != End::TimedOut, "{end:?} {answer:?}");
        let mut late = host.client();
        late.send(&waiting);
        assert_eq!(late.read_all(A_WHILE), (Vec::new(), End::TimedOut));
        late.send("hello");
        let response = late.read("POST");
        assert_eq!((response.status, response.interim), (503, vec![]));
        assert!(host.is_alive());
    });
}

#[test]
fn a_mixed_load_leaves_the_sanitizer_silent() {
    if !support::host::has_asan() {
        return;
    }
    let a = mirror();
    let run = |kind| {
        let host = setup(kind, &a).asan().start();
        thread::scope(|scope| {
            for id in 0..6 {
                let host = &host;
                scope.spawn(move || {
                    for n in 0..15 {
                        let mut client = host.client();
                        client.send(head("PUT", "/app", "Expect: 100-continue\r\n", 5));
                        if n % 5 == id % 5 {
                            client.reset();
                            continue;
                        }
                        assert_eq!(client.read_exactly(CONTINUE.len()), CONTINUE);
                        client.send("hello");
                        client.read("PUT").expect(200);
                        client.get("/page.html").expect(200);
                    }
                });
            }
        });
        let (status, output) = host.stop();
        assert!(status.success(), "{status}:\n{output}");
    };
    harness_only(run);
    harness_18_only(run);
}
