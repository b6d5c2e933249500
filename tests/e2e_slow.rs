//! Slow readers, clients that leave, and many clients at once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, eventually, for_each_host,
    harness_only, host::expect_quiet, pattern, vice, within,
};

const SOON: Duration = Duration::from_secs(2);

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back_c15() {
    let a = Backend::start("a", vice::endless());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.sent();
        let mut client = Client::connect_narrow(host.addr());
        client.send_request("GET", "/app", "", b"");
        eventually(SOON, "the stream begins", || a.sent() > before);
        // It has to come to a standstill, and early.
        let until = Instant::now() + Duration::from_secs(3);
        let mut last = (a.sent(), Instant::now());
        while last.1.elapsed() < Duration::from_millis(400) && Instant::now() < until {
            if a.sent() != last.0 {
                last = (a.sent(), Instant::now());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let sent = a.sent() - before;
        assert!(sent <= 40_000_000, "the backend could send {sent} bytes");
        assert_eq!(host.get("/page.html").status, 200);
        drop(client);
        eventually(SOON, "C14: the backend is let go", || a.open() == 0);
    });
}

#[test]
fn a_slow_reader_gets_everything_c15b() {
    let a = Backend::start("a", vice::fixed(4_000_000));
    let b = Backend::start("b", vice::chunked(2_000_000));
    let c = Backend::start("c", vice::until_close(2_000_000));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/a", &[&a]).route("^/b", &[&b]).route("^/c", &[&c]);
        let host = Host::start(kind, conf);
        thread::scope(|scope| {
            for (target, len) in [("/a", 4_000_000), ("/b", 2_000_000), ("/c", 2_000_000)] {
                let host = &host;
                scope.spawn(move || {
                    let mut client = Client::connect_narrow(host.addr());
                    client.send_request("GET", target, "", b"");
                    // First it does not read at all, then it reads on, piece by piece.
                    thread::sleep(Duration::from_millis(200));
                    let response = client.read("GET").expect(200);
                    assert_bytes(&response.body, &pattern(len));
                });
            }
        });
    });
}

#[test]
fn a_reset_of_a_waiting_client_reaches_the_backend_c13() {
    let a = Backend::start("a", vice::never_answers());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        eventually(SOON, "the request is there", || a.requests() > before);
        client.reset();
        expect_quiet(SOON, &[&a]);
    });
}

#[test]
fn a_close_of_a_waiting_client_reaches_the_backend_c13() {
    let a = Backend::start("a", vice::never_answers());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        eventually(SOON, "the request is there", || a.requests() > before);
        drop(client);
        expect_quiet(Duration::from_secs(3), &[&a]);
    });
}

#[test]
fn a_reset_in_mid_download_reaches_the_backend_c14() {
    let a = Backend::start("a", vice::endless());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        let mut piece = [0; 300_000];
        client.stream.set_read_timeout(Some(SOON)).unwrap();
        client.stream.read_exact(&mut piece).unwrap();
        client.reset();
        expect_quiet(Duration::from_secs(3), &[&a]);
    });
}

#[test]
fn every_client_gets_its_own_answer_c17() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b]));
        thread::scope(|scope| {
            for id in 0..64 {
                let host = &host;
                scope.spawn(move || {
                    let mut client = host.client();
                    for n in 0..10 {
                        let target = format!("/app/{id}/{n}");
                        let response = client.get(&target).expect(200);
                        assert_eq!(response.text(), format!("GET {target}\n"));
                    }
                });
            }
        });
    });
}

#[test]
fn every_client_gets_its_own_post_back_c17() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        thread::scope(|scope| {
            for id in 0..16 {
                let host = &host;
                scope.spawn(move || {
                    let mut client = host.client();
                    for n in 0..10 {
                        let body = format!("{id} {n} ").repeat(100 * (id + 1));
                        let response = client.ask("POST", "/app", "", body.as_bytes()).expect(200);
                        assert_bytes(&response.body, format!("POST /app\n{body}").as_bytes());
                        if response.header("connection") == Some("close") {
                            client = host.client(); // Monkey 1.8, once its buffer has grown
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn aborted_requests_leave_no_descriptor_behind_c25() {
    let (a, b) = (Backend::start("a", vice::never_answers()), Backend::start("b", vice::endless()));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/a", &[&a]).route("^/b", &[&b]));
        let abort = |n: usize| {
            for i in 0..n {
                let mut client = host.client();
                client.send_request("GET", if i % 2 == 0 { "/a" } else { "/b" }, "", b"");
                if i % 3 != 0 {
                    client.stream.set_read_timeout(Some(Duration::from_millis(3))).unwrap();
                    let _ = client.stream.read(&mut [0; 1000]);
                }
                client.reset();
            }
            expect_quiet(Duration::from_secs(3), &[&a, &b]);
        };
        abort(20);
        let before = host.descriptors();
        abort(150);
        let settled = within(SOON, || host.descriptors() <= before + 4);
        assert!(settled, "{before} descriptors before, {} now", host.descriptors());
    });
}

#[test]
fn early_bytes_of_the_next_request_wait_for_the_answer() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(150)));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.get("/app/0").expect(200);
        client.send_request("GET", "/app/1", "", b"");
        thread::sleep(Duration::from_millis(50));
        client.send_request("GET", "/app/2", "", b"");
        assert_eq!(client.read("GET").expect(200).text(), "GET /app/1\n");
        assert_eq!(client.read("GET").expect(200).text(), "GET /app/2\n");
    });
}

#[test]
fn short_writes_of_the_transport_lose_nothing() {
    for_harness_variant("HARNESS_SHORT_WRITES", "1");
}

#[test]
fn a_transport_that_is_no_plain_socket_loses_nothing() {
    for_harness_variant("HARNESS_TRANSPORT", "fake-tls");
}

fn for_harness_variant(name: &str, value: &str) {
    let a = Backend::start("a", vice::fixed(400_000));
    let b = Backend::start("b", vice::chunked(200_000));
    let c = Backend::start("c", vice::until_close(100_000));
    let d = Backend::start("d", vice::echo());
    harness_only(|kind| {
        let conf =
            Conf::new().route("^/a", &[&a]).route("^/b", &[&b]).route("^/c", &[&c]).route("^/d", &[&d]);
        let host = Setup::new(kind, conf).env(name, value).start();
        let mut client = host.client();
        for _ in 0..3 {
            for (target, len) in [("/a", 400_000), ("/b", 200_000)] {
                assert_bytes(&client.get(target).expect(200).body, &pattern(len));
            }
            assert_bytes(&host.get("/c").expect(200).body, &pattern(100_000));
            let body = pattern(20_000);
            let response = client.ask("POST", "/d", "", &body).expect(200);
            assert_bytes(&response.body[b"POST /d\n".len()..], &body);
        }
        let gone = client.get("/no-such-file");
        assert_eq!((gone.status, gone.end), (404, End::Complete));
    });
}

#[test]
fn a_client_that_takes_interim_responses_slowly_has_the_backends_whole_time() {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.request()? else { return Ok(Next::Close) };
        let hint = conn.head_with("103 Early Hints", &format!("Link: {}\r\n", "x".repeat(60_000)));
        for _ in 0..60 {
            conn.send(&hint)?;
        }
        // Longer than ClientTimeOut.
        thread::sleep(Duration::from_millis(4500));
        conn.answer(&seen, b"done")
    };
    let a = Backend::start("a", vice::custom(act));
    for_each_host(|kind| {
        let conf = Conf::new().default_key("ClientTimeOut 2").default_key("MaxResponseHeader 64K");
        let host = Host::start(kind, conf.route("^/app", &[&a]));
        let mut client = Client::connect_narrow(host.addr());
        client.send_request("GET", "/app", "", b"");
        thread::sleep(Duration::from_millis(500));
        let response = client.read("GET");
        assert_eq!((response.status, response.interim.len()), (200, 60));
    });
}
