//! Request bodies that the host did not read: the plugin takes them from the client itself.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Kind, Next, Setup, assert_bytes, for_each_host, pattern, vice,
    wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(5);

const METHODS: [&str; 7] = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "GET", "PROPFIND"];

/// Answers with the body that it got.
fn mirror() -> Backend {
    Backend::start("a", vice::answering(|conn, seen| conn.answer(seen, &seen.body.clone())))
}

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

/// `body` in chunks of these sizes, in turn.
fn chunked(body: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut rest, mut turn) = (body, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at((*turn.next().unwrap()).min(rest.len()));
        out.extend_from_slice(format!("{:x};ext=1\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = others;
    }
    out.extend_from_slice(b"0\r\nX-Trailer: t\r\n\r\n");
    out
}

#[test]
fn bodies_of_any_method_arrive_whole_and_in_step_f19() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        for method in METHODS {
            // Monkey 1.8 reads these itself, and crashes when its buffer grows a second time.
            let mut client = host.client();
            for length in [1, 100, 3000] {
                let body = pattern(length);
                let response = client.ask(method, "/app", "", &body);
                assert_bytes(&response.expect(200).body, &body);
                assert_eq!(a.last_seen().method, method);
            }
            assert_eq!(client.get("/page.html").status, 200, "{method}: out of step");
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn a_body_that_comes_late_and_in_pieces_arrives_whole_f19_f52b() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let body = pattern(2000);
        let mut client = host.client();
        client.send("DELETE /app HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n");
        for piece in body.chunks(700) {
            thread::sleep(Duration::from_millis(20));
            client.send(piece);
        }
        assert_bytes(&client.read("DELETE").expect(200).body, &body);
        assert_eq!(client.get("/page.html").status, 200);
    });
}

#[test]
fn a_large_body_streams_through_f19_f52() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let body = pattern(20_000_000);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let mut client = host.client();
            let (mut sender, sent) = (client.sender(), body.clone());
            let head = format!("{method} /app HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
            let writer = thread::spawn(move || {
                sender.write_all(head.as_bytes()).unwrap();
                sender.write_all(&sent).unwrap();
            });
            let response = client.read(method).expect(200);
            writer.join().unwrap();
            assert_bytes(&response.body, &body);
            assert_eq!(client.get("/page.html").status, 200, "{method}: out of step");
        }
    });
}

#[test]
fn chunks_of_other_methods_are_taken_out_f20_f21_f22() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        for (length, sizes) in [(0, &[1][..]), (300, &[1, 7, 64]), (150_000, &[1, 4095, 70_000])] {
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                let body = pattern(length);
                let head = format!("{method} /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
                let mut bytes = head.into_bytes();
                let head = bytes.len();
                bytes.extend_from_slice(&chunked(&body, sizes));
                let mut client = host.client();
                let mut sender = client.sender();
                let writer = thread::spawn(move || {
                    // The head first, so that the body comes late.
                    sender.write_all(&bytes[..head]).unwrap();
                    thread::sleep(Duration::from_millis(20));
                    let _ = sender.write_all(&bytes[head..]);
                });
                let response = client.read(method).expect(200);
                writer.join().unwrap();
                assert_bytes(&response.body, &body);
                let seen = a.last_seen();
                assert_eq!(seen.method, method);
                assert!(seen.all("X-Trailer").is_empty() && seen.all("Trailer").is_empty(), "{seen:?}");
                // What is short comes with its length.
                assert_eq!(seen.header("Content-Length").is_some(), length < 10_000, "{seen:?}");
            }
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn malformed_chunks_never_make_a_whole_request_s5() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        for chunks in ["zz\r\n", "3\r\nabcX\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "-1\r\n"] {
            let before = a.seen().len();
            let mut client = host.client();
            client.send(format!(
                "PATCH /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ));
            assert_eq!(client.read("PATCH").status, 400, "{chunks:?}");
            assert!(client.closed_within(LIMIT));
            assert_eq!(a.seen().len(), before, "{chunks:?}");
        }
        // The same beyond what is gathered first.
        let before = a.seen().len();
        let mut client = host.client();
        let good = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
        client.send(format!(
            "PATCH /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{good}zz\r\n"
        ));
        assert_eq!(client.read("PATCH").status, 400);
        assert_eq!(a.seen().len(), before);
    });
}

#[test]
fn a_client_that_waits_is_told_to_go_on_f23() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for method in ["POST", "PUT", "PATCH", "POST"] {
            client.send(format!(
                "{method} /app HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            ));
            assert_eq!(client.read_exactly(25), b"HTTP/1.1 100 Continue\r\n\r\n");
            client.send("hello");
            let response = client.read(method).expect(200);
            assert_eq!(response.text(), "hello");
            let seen = a.last_seen();
            assert!(seen.all("Expect").is_empty() && seen.method == method, "{seen:?}");
        }
        assert_eq!(client.get("/page.html").status, 200);
    });
}

#[test]
fn a_client_that_leaves_in_its_body_leaves_nothing_whole_behind_s9() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.seen().len();
        for reset in [false, true] {
            let mut client = host.client();
            client.send("DELETE /app HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\nabc");
            if reset {
                client.reset();
            } else {
                client.half_close();
                assert!(client.read_all(LIMIT).1 != End::TimedOut);
            }
        }
        host.get("/app").expect(200);
        assert_eq!(a.seen().len(), before + 1);
    });
}

#[test]
fn a_body_that_stops_coming_is_given_up_with_408() {
    let a = mirror();
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().default_key("ClientTimeOut 300ms").route("^/app", &[&a]));
        for begun in [3, 40_000] {
            let mut client = host.client();
            client.send("DELETE /app HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n");
            client.send(pattern(begun));
            assert_eq!(client.read("DELETE").status, 408);
            assert!(client.closed_within(LIMIT));
        }
        eventually(LIMIT, "no backend connection is left with half a request", || a.open() == 0);
    });
}

/// Answers `status` before the body came, then behaves as `act` says.
fn early(status: &'static str, reads_on: bool) -> Backend {
    let act = move |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        let answer = conn.head_with(status, "Content-Length: 5\r\nConnection: close\r\n");
        conn.send(&answer)?;
        conn.send(b"early")?;
        conn.record(&seen);
        if reads_on {
            conn.wait_for_hangup();
        }
        Ok(Next::Close)
    };
    Backend::start("a", vice::custom(act))
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending_r45() {
    for (status, reads_on) in [("413 Too Large", false), ("200 OK", true), ("413 Too Large", true)] {
        let a = early(status, reads_on);
        for_each_host(|kind| {
            let host = app(kind, &a);
            let mut client = host.client();
            let mut sender = client.sender();
            let writer = thread::spawn(move || {
                sender
                    .write_all(b"PATCH /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n")
                    .unwrap();
                let _ = sender.write_all(&pattern(5_000_000));
            });
            let response = client.read("PATCH");
            assert_eq!(format!("{} {}", response.status, response.reason), status);
            assert_eq!(response.text(), "early");
            assert_eq!(response.header("Connection"), Some("close"));
            writer.join().unwrap();
            assert_ne!(client.read_all(LIMIT).1, End::TimedOut);
        });
    }
}

/// Sends back what it reads while it reads it.
fn duplex() -> Backend {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        let length = seen.header("Content-Length").unwrap().to_owned();
        conn.send(&conn.head_with("200 OK", &format!("Content-Length: {length}\r\n")))?;
        let mut left: usize = length.parse().unwrap();
        while left > 0 {
            let piece = conn.piece()?;
            if piece.is_empty() {
                return Ok(Next::Close);
            }
            left -= piece.len();
            conn.send(&piece)?;
        }
        Ok(Next::Again)
    };
    Backend::start("a", vice::custom(act))
}

#[test]
fn an_answer_that_needs_the_rest_of_the_body_gets_it() {
    let a = duplex();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let body = pattern(3_000_000);
        let mut client: Client = host.client();
        let (mut sender, sent) = (client.sender(), body.clone());
        let writer = thread::spawn(move || {
            sender.write_all(b"PATCH /app HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n").unwrap();
            sender.write_all(&sent).unwrap();
        });
        let response = client.read("PATCH").expect(200);
        assert_bytes(&response.body, &body);
        writer.join().unwrap();
    });
}

/// A request whose body is the letter `x` so many times.
fn post(target: &str, length: usize) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")
}

#[test]
fn requests_behind_a_body_are_answered_in_order_f16_f50() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let burst = [post("/app/1", 5), get("/app/2"), get("/app/3"), post("/app/4", 3000), get("/app/5")];
        for round in 0..3 {
            let mut client = host.client();
            for _ in 0..=round {
                client.send(burst.concat());
                for (index, method) in ["POST", "GET", "GET", "POST", "GET"].iter().enumerate() {
                    let response = client.read(method).expect(200);
                    let first = format!("{method} /app/{}\n", index + 1);
                    assert!(response.text().starts_with(&first), "{first}: {}", response.text());
                }
            }
            assert_eq!(client.get("/page.html").status, 200);
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

#[test]
fn five_pipelined_requests_in_one_piece_are_all_answered_f50() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        let targets: Vec<String> = (0..5).map(|i| format!("/app/{i}")).collect();
        client.send(targets.iter().map(|target| get(target)).collect::<String>());
        for target in &targets {
            assert_eq!(client.read("GET").expect(200).text(), format!("GET {target}\n"));
        }
    });
}

#[test]
fn a_body_that_looks_like_the_end_of_a_head_is_a_body() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for body in ["\r\n\r\n", "abc\r\n\r\n", "GET /app/inner HTTP/1.1\r\nHost: h\r\n\r\n"] {
            let response = client.ask("POST", "/app", "", body.as_bytes());
            assert_eq!(response.expect(200).text(), body);
        }
    });
}

#[test]
fn a_request_that_is_cut_but_never_served_takes_its_connection_along() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.seen().len();
        let mut client = host.client();
        // The server refuses the path before it asks any plugin.
        client.send("POST /app/a/../b HTTP/1.1\r\nHost: h\r\nContent-Length: 39\r\n\r\n");
        client.send("GET /app/inner HTTP/1.1\r\nHost: h\r\n\r\n\r\n");
        // Nothing on this connection is a request any more.
        let _ = client.try_send(get("/app/behind"));
        let (answer, end) = client.read_all(LIMIT);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.contains(" 200 "), "{answer}");
        assert_ne!(end, End::TimedOut);
        assert_eq!(a.seen().len(), before);
    });
}

#[test]
fn a_client_that_closes_behind_its_body_gets_its_answer() {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.request()? else { return Ok(Next::Close) };
        thread::sleep(Duration::from_millis(100));
        conn.answer(&seen, &seen.body.clone())
    };
    let a = Backend::start("a", vice::custom(act));
    for_each_host(|kind| {
        let host = app(kind, &a);
        for late in [0, 40] {
            let mut client = host.client();
            client.send("DELETE /app HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
            thread::sleep(Duration::from_millis(late));
            client.send("hello");
            thread::sleep(Duration::from_millis(40));
            client.half_close();
            assert_eq!(client.read("DELETE").expect(200).text(), "hello", "{late} ms");
        }
    });
}

/// Answers while it reads, and never comes to an end.
fn flood() -> Backend {
    let act = |conn: &mut support::backends::Conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        conn.send(&conn.head_with("200 OK", "Content-Length: 1000000000\r\n"))?;
        let piece = pattern(100_000);
        loop {
            conn.send(&piece)?;
        }
    };
    Backend::start("a", vice::custom(act))
}

#[test]
fn malformed_chunks_of_a_client_that_reads_nothing_end_its_connection() {
    let a = flood();
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().default_key("ClientTimeOut 2").route("^/app", &[&a]));
        let mut client = Client::connect_narrow(host.addr());
        let good = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
        client.send(format!("PATCH /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{good}"));
        // Until it is full.
        thread::sleep(Duration::from_millis(500));
        client.send("zz\r\n");
        eventually(LIMIT, "the connection ends", || {
            thread::sleep(Duration::from_millis(50));
            client.try_send("x").is_err()
        });
    });
}

/// Sends half a body to a backend that answers with what it gets.
fn stall_in_body(host: &Host) {
    let mut client = host.client();
    client.send("PATCH /app HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    client.send(pattern(100_000));
    assert_ne!(client.read_all(LIMIT).1, End::TimedOut);
}

#[test]
fn a_client_that_stalls_behind_an_early_answer_blames_nobody() {
    for_each_host(|kind| {
        let (a, b) = (duplex(), mirror());
        let conf = Conf::new()
            .default_key("ReadTimeOut 300ms")
            .default_key("AttemptsCount 1")
            .default_key("LoadBalancer First-Alive")
            .route("^/app", &[&a, &b]);
        let host = Host::start(kind, conf);
        stall_in_body(&host);
        let response = host.client().ask("PATCH", "/app", "", b"hello").expect(200);
        assert_eq!(response.text(), "hello");
        assert_eq!((a.requests(), b.requests()), (2, 0), "a is online");
    });
}

#[test]
fn a_client_that_stalls_behind_an_early_answer_is_not_kept_for_ever() {
    for_each_host(|kind| {
        let a = duplex();
        let conf = Conf::new().default_key("ReadTimeOut 0").default_key("ClientTimeOut 300ms");
        stall_in_body(&Host::start(kind, conf.route("^/app", &[&a])));
    });
}

#[test]
fn a_backend_that_takes_no_more_of_a_body_has_its_send_time_out_f52() {
    let act = |conn: &mut support::backends::Conn| {
        let Some(_) = conn.head()? else { return Ok(Next::Close) };
        thread::sleep(Duration::from_secs(5));
        Ok(Next::Close)
    };
    let a = Backend::start("a", vice::custom(act));
    for_each_host(|kind| {
        let conf = Conf::new()
            .default_key("AttemptsCount 0")
            .default_key("SendTimeOut 300ms")
            .default_key("ClientTimeOut 0");
        let host = Host::start(kind, conf.route("^/app", &[&a]));
        // Several, since it depends on the moment at which the backend is full.
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let client = host.client();
                let mut sender = client.sender();
                thread::spawn(move || {
                    let head = "PATCH /app HTTP/1.1\r\nHost: h\r\nContent-Length: 30000000\r\n\r\n";
                    let _ = sender.write_all(head.as_bytes());
                    let _ = sender.write_all(&vec![b'x'; 30_000_000]);
                });
                client
            })
            .collect();
        let begun = Instant::now();
        for mut client in clients {
            assert_eq!(client.read("PATCH").status, 504);
        }
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    });
}

/// 1.8 had read the method already when the head outgrew its buffer, and waited
/// for a body that it was never shown, or answered 411.
#[test]
fn heads_longer_than_the_buffer_of_the_host() {
    let a = mirror();
    for_each_host(|kind| {
        let host = app(kind, &a);
        for filler in [3900, 4050, 4200, 5500, 9000] {
            let fields = format!("X-Filler: {}\r\nCookie: {0}\r\n", "f".repeat(filler / 2));
            for method in ["POST", "PUT", "DELETE", "GET"] {
                let body = pattern(if method == "GET" { 0 } else { 5000 });
                let mut client = host.client();
                let response = client.ask(method, "/app?1", &fields, &body).expect(200);
                assert_bytes(&response.body, &body);
                assert_eq!(response.header("connection"), None, "{method} {filler}");
                let text = support::client::request(method, "/app?2", "h", &fields, &body);
                for part in text.chunks(3000) {
                    client.send(part);
                    thread::sleep(Duration::from_millis(2));
                }
                assert_bytes(&client.read(method).expect(200).body, &body);
                assert_eq!(client.get("/page.html").status, 200, "{method} {filler}: out of step");
            }
        }
        let mut client = host.client();
        client.send(format!("POST /app HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(70_000)));
        let (_, end) = client.read_all(LIMIT);
        assert_ne!(end, End::TimedOut, "a head without an end");
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

/// Bodies through a transport that is no plain socket: one that counts what it
/// has decrypted and did not fit, and on 1.5 one behind our own function.
#[test]
fn bodies_through_a_transport_that_tells_of_more_than_it_gives() {
    let a = mirror();
    let encrypted = |kind| {
        let setup = Setup::new(kind, Conf::new().route("^/app", &[&a])).workers(1);
        match kind {
            Kind::Harness => setup.env("HARNESS_TRANSPORT", "fake-tls").start(),
            _ => setup.arg("-V").arg("fake-tls").start(),
        }
    };
    let test = |kind| {
        let host = encrypted(kind);
        // What looks like the end of a head, and like a request behind it.
        let body = b"x\r\n\r\nGET /app?stray HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1500);
        let text = support::client::request("POST", "/app", "h", "", &body);
        let head = text.len() - body.len();
        for cut in [5, head - 1, head, head + 1, head + 5000] {
            for _ in 0..3 {
                let mut client = host.client();
                client.send(&text[..cut]);
                thread::sleep(Duration::from_millis(20));
                client.send(&text[cut..]);
                assert_bytes(&client.read("POST").expect(200).body, &body);
                assert_eq!(client.get("/page.html").status, 200, "{cut}: out of step");
            }
        }
        // The next request, decrypted together with the body's end, is told by nobody.
        let mut client = host.client();
        client.send(&text[..head]);
        thread::sleep(Duration::from_millis(20));
        client.send([&text[head..], b"GET /app?next HTTP/1.1\r\nHost: h\r\n\r\n"].concat());
        let response = client.read("POST").expect(200);
        assert_bytes(&response.body, &body);
        if response.header("connection") != Some("close") {
            assert_eq!(client.read("GET").status, 200);
        }
        assert_eq!(host.get("/app").status, 200);
    };
    support::harness_only(test);
    support::host::harness_18_only(test);
}
