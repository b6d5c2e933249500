//! Backends that refuse, die or say nothing, and what is tried again: RFC 9110 section 9.2.2.

use std::time::{Duration, Instant};

use crate::support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup,
    black_hole::BlackHole,
    eventually, for_each_host,
    rules::{LIMIT, Probe, on_conf, on_vice, post},
    vice, within,
};

fn host(kind: Kind, backends: &[&Backend]) -> Host {
    Setup::new(kind, Conf::new().default_key("AttemptsCount 0").route("^/app", backends)).workers(1).start()
}

/// Serves one request of a connection well, reads the next one and leaves.
fn dies_on_the_second() -> vice::Vice {
    vice::custom(|conn| {
        let Some(seen) = conn.request()? else { return Ok(Next::Close) };
        conn.answer(&seen, b"first")?;
        conn.request()?;
        Ok(Next::Close)
    })
}

/// C4 MUST: A POST that a backend has read is never sent a second time.
#[test]
fn c4_a_post_runs_once() {
    let new = || vice::reads_and_leaves(Next::Close);
    for vice in [new(), vice::reads_and_leaves(Next::Reset), dies_on_the_second()] {
        let (a, b) = (Backend::start("a", vice.clone()), Backend::start("b", vice));
        for_each_host(|kind| {
            let host = host(kind, &[&a, &b]);
            for method in ["POST", "PATCH", "POST"] {
                host.get("/app"); // Whatever comes of it, there may be an idle connection now.
                let target = format!("/app/{method}");
                let count = || {
                    let seen = [a.seen(), b.seen()].concat();
                    seen.iter().filter(|seen| seen.target == target).count()
                };
                let before = count();
                let response = host.client().ask(method, &target, "", b"once");
                let refused = (400..=501).contains(&response.status) && response.status != 500;
                assert!(response.status == 502 || refused || response.text() == "first", "{response:?}");
                assert!(count() - before <= 1, "{method} ran {} times", count() - before);
            }
        });
    }
}

/// C5 MUST: Where all servers die, each is tried at most once; then 502 or 504.
#[test]
fn c5_all_dead_is_said_after_one_try_each() {
    let [a, b, c] = ["a", "b", "c"].map(|name| Backend::start(name, vice::reads_and_leaves(Next::Close)));
    for_each_host(|kind| {
        let host = host(kind, &[&a, &b, &c]);
        let before: usize = [&a, &b, &c].map(|backend| backend.requests()).iter().sum();
        assert!(matches!(host.get("/app").status, 502 | 504));
        let tries = [&a, &b, &c].map(|backend| backend.requests()).iter().sum::<usize>() - before;
        assert!((1..=3).contains(&tries), "{tries} tries");
    });
}

/// C6 MUST: Nothing is tried again once a byte of an answer has come.
#[test]
fn c6_no_second_try_after_the_first_byte() {
    for bytes in
        ["H", "HTTP/1.1 200 OK\r\nX-", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "garbage\r\n\r\n"]
    {
        let cut = || vice::raw(bytes, Next::Close);
        let (a, b) = (Backend::start("a", cut()), Backend::start("b", cut()));
        for_each_host(|kind| {
            let host = host(kind, &[&a, &b]);
            let before = a.requests() + b.requests();
            let response = host.get("/app");
            assert!(response.status == 502 || response.end != End::Complete, "{bytes:?}: {response:?}");
            assert_eq!(a.requests() + b.requests() - before, 1, "{bytes:?}");
        });
    }
}

/// C7 MUST: A silent backend is a 504 at the time that was set, after one try.
#[test]
fn c7_silence_is_a_504_in_time() {
    on_conf("C7", vice::never_answers(), &["HeaderTimeOut 1"], |p| {
        let begun = Instant::now();
        assert_eq!(p.host.get("/app").status, 504);
        let took = begun.elapsed();
        assert!((800..2500).contains(&took.as_millis()), "{took:?}");
        assert_eq!(p.a.requests(), 1);
    });
}

/// C8 MUST: A server that refuses connections is a 502 or 503.
#[test]
fn c8_refused_is_a_502() {
    let a = Backend::refuses("a");
    for_each_host(|kind| {
        let host = host(kind, &[&a]);
        for method in ["GET", "POST"] {
            let response = host.client().ask(method, "/app", "", b"");
            // Monkey 1.5 itself refuses a POST without a body.
            assert!(matches!(response.status, 502 | 503) || response.status == 400 && method == "POST");
        }
    });
}

/// C8b SHOULD: That is said within a second.
#[test]
fn c8b_refused_is_said_at_once() {
    let (a, b) = (Backend::refuses("a"), Backend::refuses("b"));
    for_each_host(|kind| {
        let host = host(kind, &[&a, &b]);
        let begun = Instant::now();
        assert!(matches!(host.get("/app").status, 502 | 503));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    });
}

/// C8c MUST: An error for a POST whose body was not read closes, or leaves the connection in step.
#[test]
fn c8c_an_error_leaves_the_connection_in_step() {
    let a = Backend::refuses("a");
    for_each_host(|kind| {
        let host = host(kind, &[&a]);
        let mut client = host.client().with_deadline(LIMIT);
        // The body looks like a request; were it read as one, there would be a second answer.
        let body = "GET /page.html HTTP/1.1\r\nHost: h\r\n\r\nx";
        client.send(post(&format!("Content-Length: {}\r\n", body.len()), body));
        assert!(matches!(client.read("POST").status, 502 | 503));
        let _ = client.try_send("GET /no-such-file HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if let Ok(response) = client.try_read("GET") {
            assert_eq!(response.status, 404, "the body was read as a request: {response:?}");
        }
    });
}

/// C9 MUST: Behind a server that refuses, the next one gets GET and POST, body and all.
#[test]
fn c9_the_next_server_gets_it_whole() {
    let (a, b) = (Backend::refuses("a"), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = host(kind, &[&a, &b]);
        let mut client = host.client();
        for i in 0..6 {
            client.get("/app").expect(200);
            let body = format!("body {i}");
            client.ask("POST", "/app", "", body.as_bytes()).expect(200);
            assert_eq!(b.last_seen().body, body.as_bytes());
        }
    });
}

/// C10 MUST: A server that neither accepts nor refuses is an error within the connect time-out.
#[test]
fn c10_a_black_hole_is_an_error_in_time() {
    let hole = BlackHole::new();
    for_each_host(|kind| {
        let conf = Conf::new().route_to("^/app", &hole.addr().to_string()).with("ConnectTimeOut 500ms");
        let host = Setup::new(kind, conf).workers(1).start();
        let begun = Instant::now();
        assert!(matches!(host.get("/app").status, 502..=504));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

/// C11 SHOULD: A head that drips in is cut by a limit on the whole of it.
#[test]
fn c11_a_dripping_head_is_cut() {
    on_conf("C11", vice::slow_head(Duration::from_millis(100)), &["HeaderTimeOut 1"], |p| {
        let begun = Instant::now();
        assert_eq!(p.host.get("/app").status, 504);
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    });
}

/// C12 MUST: A body that stops coming is cut after the time-out, visibly.
#[test]
fn c12_a_stalled_body_is_visibly_cut() {
    on_conf("C12", vice::stalls_mid_body(1000, 100), &["ReadTimeOut 1"], |p| {
        let begun = Instant::now();
        let response = p.host.client().get("/app");
        assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
        assert!((800..3000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        eventually(LIMIT, "the backend is let go", || p.a.open() == 0);
    });
}

/// C16b MUST: Requests that are malformed or given up by the client never count against a backend.
#[test]
fn c16b_bad_clients_set_no_backend_offline() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(30)));
    for_each_host(|kind| {
        let conf = Conf::new().default_key("AttemptsCount 1").route("^/app", &[&a]);
        let host = Setup::new(kind, conf).workers(1).start();
        let chunks = "GET /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /app HTTP/1.1\r\n\r\n";
        for bytes in [
            chunks,
            "GET /app HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nx",
        ] {
            for _ in 0..3 {
                let mut client = host.client();
                client.send(bytes);
                client.reset();
            }
        }
        given_up(&host, &a);
        for _ in 0..3 {
            host.get("/app").expect(200);
        }
    });
}

/// Clients that leave while their requests are at the backend.
fn given_up(host: &Host, a: &Backend) {
    for _ in 0..6 {
        let before = a.requests();
        let mut client: Client = host.client();
        client.send_request("GET", "/app", "", b"");
        eventually(LIMIT, "the request is there", || a.requests() > before);
        client.reset();
    }
    assert!(within(LIMIT, || host.get("/page.html").status == 200));
}

/// C26 SHOULD: An error of the proxy's own is told apart from one of the backend, in the log.
#[test]
fn c26_own_errors_are_told_apart() {
    on_vice(
        "C26",
        vice::raw("HTTP/1.1 502 Mine\r\nContent-Length: 4\r\n\r\nmine", Next::Again),
        |p: &Probe| {
            assert_eq!(p.host.get("/app").text(), "mine");
        },
    );
    on_conf("C26", vice::reads_and_leaves(Next::Close), &["AttemptsCount 1"], |p| {
        let response = p.host.get("/app");
        assert_eq!(response.status, 502);
        assert!(response.text().starts_with("502 "), "{response:?}");
        p.host.expect_output(&p.a.address());
    });
}

/// C26b SHOULD: On demand Proxy-Status tells them apart too, in the words of RFC 9209.
#[test]
fn c26b_proxy_status_tells_own_errors_apart() {
    let mine = "HTTP/1.1 502 Mine\r\nContent-Length: 4\r\n\r\nmine";
    let cases = [
        (vice::raw(mine, Next::Again), 502, "received-status=502"),
        (vice::garbage(), 502, "error=http_protocol_error"),
        (vice::leaves_in_head(Next::Close), 502, "error=http_response_incomplete"),
        (vice::never_answers(), 504, "error=http_response_timeout"),
    ];
    for (vice, status, told) in cases {
        on_conf("C26b", vice, &["ProxyStatus on", "Via here", "HeaderTimeOut 100ms"], |p| {
            let response = p.host.get("/app").expect(status);
            let expected = format!("here; {told}");
            assert_eq!(response.all("Proxy-Status"), [&*expected], "{response:?}");
        });
    }
    // Who does not want it says nothing of it.
    on_vice("C26b", vice::garbage(), |p| {
        assert_eq!(p.host.get("/app").expect(502).header("Proxy-Status"), None);
    });
}
