//! One test for each fault that was found once, named after what went wrong.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::Duration;

use support::conf::STATISTICS;
use support::{
    Backend, Client, Conf, End, Setup, build, eventually, for_each_host, harness_only, vice, within,
};

/// An answer of our own inside Stage 30 was remembered by the request's
/// address, so the host's next refusal at the same address passed for ours and
/// kept a connection that Monkey 1.5 crashes on later.
#[test]
fn a_refusal_of_the_host_was_taken_for_ours() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        if kind.is_modern() {
            return; // it waits for the body until it is too large
        }
        let host = Setup::new(kind, Conf::new().with_statistics().route("^/app", &[&a])).workers(1).start();
        let mut client = host.client();
        client.get(STATISTICS).expect(200);
        client.send("POST /page.html HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
        client.read("POST").expect(413);
        assert!(client.closed_within(Duration::from_secs(2)));
    });
}

/// The statistics page did not look at an announced body, which then was the
/// next request.
#[test]
fn a_body_for_the_statistics_page_was_a_request_s4() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().with_statistics().route("^/app", &[&a])).workers(1).start();
        let before = a.requests();
        let smuggled = "GET /app/SMUGGLED HTTP/1.1\r\nHost: l\r\n\r\n";
        let mut client = host.client();
        client.send(format!(
            "GET {STATISTICS} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            smuggled.len()
        ));
        // Whether the host waits for the body or not, it is no request.
        let (first, _) = client.read_all(Duration::from_millis(300));
        let _ = client.try_send(smuggled);
        let (second, end) = client.read_all(Duration::from_secs(2));
        assert_ne!(end, End::TimedOut, "left open");
        assert!(!first.is_empty() || !second.is_empty(), "not answered at all");
        assert_eq!(a.requests(), before);
    });
}

/// A client that stopped reading held its connection for ever: the server was
/// asked to close it as soon as it could be written to.
#[test]
fn a_client_that_never_reads_kept_its_connection() {
    let big = Backend::start("big", vice::fixed(60_000_000));
    let until_close = Backend::start("until-close", vice::until_close(2_000_000));
    for_each_host(|kind| {
        let conf = Conf::new()
            .route("^/big", &[&big])
            .with("ClientTimeOut 1")
            .route("^/close", &[&until_close])
            .with("ClientTimeOut 1");
        let host = Setup::new(kind, conf).workers(1).start();
        host.get("/page.html").expect(200);
        let before = host.descriptors();
        let asked = big.requests() + until_close.requests();
        let _silent: Vec<Client> = ["/big", "/close", "/big", "/close"]
            .map(|path| {
                let mut client = Client::connect_narrow(host.addr());
                client.send_request("GET", path, "Connection: close\r\n", b"");
                client
            })
            .into();
        // The worker's own poll, timer and waker are opened with the first request, and a pipe with
        // the first long body.
        let own = 5;
        eventually(Duration::from_secs(2), "the clients are served", || {
            big.requests() + until_close.requests() == asked + 4
        });
        let mut left = String::new();
        let closed = within(Duration::from_secs(8), || {
            left = host.open_files();
            host.descriptors() <= before + own
        });
        assert!(closed, "left open, {before} before: {left}");
    });
}

/// A transport that takes less than the socket has room for gives no edge.
#[test]
fn a_transport_that_takes_little_stalled() {
    let a = Backend::start("a", vice::fixed(4000));
    harness_only(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a]))
            .env("HARNESS_TRANSPORT", "fake-tls")
            .env("HARNESS_SHORT_WRITES", "1")
            .workers(1)
            .start();
        let response = host.get("/app").expect(200);
        assert_eq!(response.body.len(), 4000);
    });
}

/// One escape that encodes nothing kept the host from seeing the others.
#[test]
fn dot_segments_hid_behind_a_broken_escape_f32() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/one/", &[&a])).workers(1).start();
        let before = a.requests();
        for path in ["/one/%zz/%2e%2e/%2e%2e/dead/x", "/one/%2e%2e/dead/x", "/one/%zz", "/one/a%"] {
            let status = host.get(path).status;
            assert!((400..500).contains(&status), "{path}: {status}");
        }
        assert_eq!(a.requests(), before);
    });
}

/// Spellings with an underscore reached programs as the names that we own, and
/// `Connection` could take a user's credentials away.
#[test]
fn fields_got_around_the_rules_f4_f12_f44() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).workers(1).start();
        let fields = "Connection: Cookie, Authorization\r\nCookie: c=1\r\nAuthorization: b\r\n\
                      Content_Length: 5\r\nX_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
                      X-Forwarded-Port: 6\r\nX-Real-IP: 6.6.6.6\r\nX_Plain: kept\r\n";
        host.client().ask("GET", "/app", fields, b"").expect(200);
        let seen = format!("{:?}", a.last_seen()).to_lowercase();
        assert!(
            seen.contains("cookie") && seen.contains("authorization") && seen.contains("x_plain"),
            "{seen}"
        );
        assert!(
            !seen.contains("6.6.6.6") && !seen.contains("content_length") && !seen.contains("port"),
            "{seen}"
        );
    });
}

/// Monkey 1.8 passes over an empty line in front of a request, and so does our parser, but the
/// path was looked for in that line: no pattern matched.
#[test]
fn an_empty_line_in_front_of_a_request_hid_its_path() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).start();
        let mut client = host.client();
        client.send("\r\nGET /app/%41 HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.read("GET").expect(200).text(), "GET /app/%41\n");
    });
}

/// A name that had no address kept all those behind it from being looked up.
#[test]
fn a_name_that_is_not_found_hid_the_names_behind_it() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let list = format!("no-such-host.invalid:80 localhost:{}", a.addr().port());
        let conf = Conf::new().route_to("^/app", &list).route_to("^/other", "no-such-host.invalid:81");
        let host = Setup::new(kind, conf).start();
        let served = || host.client().get("/app").status == 200;
        eventually(Duration::from_secs(4), "the second one is reached", served);
    });
}

/// The first read of a connection comes right behind its accept. A request that arrived between
/// our look and that read went to the server as it was, which then waited for a body that it
/// could not read, and the client for its 100.
#[test]
fn a_request_that_came_between_a_look_and_a_read_was_not_seen() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let Some(preload) = build::preload("slow_peek") else { return };
        let conf = Conf::new().route("^/app", &[&a]);
        let host = Setup::new(kind, conf).env("LD_PRELOAD", preload.to_str().unwrap()).start();
        for _ in 0..10 {
            let mut client = host.client().with_deadline(Duration::from_secs(4));
            // Inside of the pause.
            std::thread::sleep(Duration::from_millis(10));
            client.send("POST /app HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(client.read_exactly(25), b"HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello");
            assert_eq!(client.read("POST").expect(200).text(), "POST /app\nhello");
        }
    });
}
