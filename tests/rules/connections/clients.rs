//! Clients that leave, that do not read, and many at once: RFC 9112 sections 9.6 and 9.8.

use std::{
    io::Read,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Backend, Client, Conf, Setup, assert_bytes, eventually, for_each_host,
    host::expect_quiet,
    pattern,
    rules::{LIMIT, Probe, on_vice},
    vice, within,
};

const SOON: Duration = Duration::from_secs(2);

/// A client whose GET the backend has begun to work on.
fn waiting(p: &Probe) -> Client {
    let before = p.a.requests();
    let mut client = p.host.client();
    client.send_request("GET", "/app", "", b"");
    eventually(LIMIT, "the request is there", || p.a.requests() > before);
    client
}

/// C13 MUST: A client that leaves while it waits has the backend's connection closed within 2 s.
#[test]
fn c13_a_client_that_leaves_frees_the_backend() {
    on_vice("C13", vice::never_answers(), |p| {
        waiting(p).reset();
        expect_quiet(SOON, &[p.a]);
        drop(waiting(p));
        expect_quiet(SOON, &[p.a]);
    });
}

/// C14 MUST: A reset in the middle of a download has it closed within 3 s.
#[test]
fn c14_a_reset_in_a_download_frees_the_backend() {
    on_vice("C14", vice::endless(), |p| {
        let mut client = waiting(p);
        client.stream.set_read_timeout(Some(LIMIT)).unwrap();
        client.stream.read_exact(&mut [0; 300_000]).unwrap();
        client.reset();
        expect_quiet(Duration::from_secs(3), &[p.a]);
    });
}

/// C15 MUST: A client that does not read holds its backend back.
#[test]
fn c15_a_client_that_does_not_read_holds_the_backend_back() {
    on_vice("C15", vice::endless(), |p| {
        let mut client = Client::connect_narrow(p.host.addr());
        client.send_request("GET", "/app", "", b"");
        let until = Instant::now() + Duration::from_secs(3);
        let mut last = (0, Instant::now());
        while last.1.elapsed() < Duration::from_millis(500) && Instant::now() < until {
            if p.a.sent() != last.0 {
                last = (p.a.sent(), Instant::now());
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(last.0 > 0 && last.0 <= 40_000_000, "the backend could send {} bytes", last.0);
    });
}

/// C15b MUST: In the end a slow client has got everything.
#[test]
fn c15b_a_slow_client_gets_everything() {
    const LEN: usize = 8_000_000;
    on_vice("C15b", vice::fixed(LEN), |p| {
        let mut client = Client::connect_narrow(p.host.addr()).with_deadline(Duration::from_secs(30));
        client.send_request("GET", "/app", "", b"");
        thread::sleep(Duration::from_millis(150)); // It does not read at first; that is the test.
        assert_bytes(&client.read("GET").expect(200).body, &pattern(LEN));
    });
}

/// C16 CHOICE: A client that only closes its sending side gets an answer that is not long in coming.
#[test]
fn c16_a_half_closed_client_gets_its_answer() {
    on_vice("C16", vice::slow_echo(Duration::from_millis(100)), |p| {
        let mut client = p.host.client();
        client.send_request("GET", "/app", "", b"");
        client.half_close();
        assert_eq!(client.read("GET").expect(200).text(), "GET /app\n");
    });
}

/// C17 MUST: 200 clients with ten requests each get their own answers.
#[test]
fn c17_everybody_gets_the_own_answer() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a, &b])).start();
        thread::scope(|scope| {
            for id in 0..200 {
                let host = &host;
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, move || {
                        let mut client = host.client().with_deadline(Duration::from_secs(30));
                        for n in 0..10 {
                            let target = format!("/app/{id}/{n}");
                            assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
                        }
                    })
                    .unwrap();
            }
        });
    });
}

/// C18 MUST: Twenty requests that hang on one backend hold up nobody else.
#[test]
fn c18_a_hanging_backend_holds_up_nobody() {
    let (a, b) = (Backend::start("a", vice::never_answers()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/hangs", &[&a]).route("^/app", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        let before = a.requests();
        let mut hanging: Vec<_> = (0..20).map(|_| host.client()).collect();
        for client in &mut hanging {
            client.send_request("GET", "/hangs", "", b"");
        }
        eventually(LIMIT, "all of them hang", || a.requests() == before + 20);
        let begun = Instant::now();
        host.get("/app").expect(200);
        host.get("/page.html").expect(200);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

/// C25 MUST: 300 requests that are given up leave no descriptor behind.
#[test]
fn c25_given_up_requests_leave_no_descriptor() {
    on_vice("C25", vice::never_answers(), |p| {
        let give_up = |n: usize| {
            for i in 0..n {
                let mut client = p.host.client();
                client.send_request("GET", "/app", "", b"");
                if i % 3 == 0 {
                    client.stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                    let _ = client.stream.read(&mut [0; 100]);
                }
                client.reset();
            }
            expect_quiet(LIMIT, &[p.a]);
        };
        give_up(20);
        let before = p.host.descriptors();
        give_up(300);
        let settled = within(LIMIT, || p.host.descriptors() <= before + 4);
        assert!(settled, "{before} before, {} now: {}", p.host.descriptors(), p.host.open_files());
    });
}
