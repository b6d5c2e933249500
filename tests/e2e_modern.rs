//! What is particular to Monkey 1.8: pipelines are served whole, chunked bodies arrive, and the
//! versions of the family differ in what they do behind Stage 30.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::thread;
use std::time::Duration;

use support::conf::{PAGE, STATISTICS};
use support::host::harness_18_only;
use support::{
    Backend, Conf, End, Host, Kind, Setup, assert_bytes, eventually, for_each_host, pattern, vice,
};

/// Every host of this family that there is.
fn for_each_modern_host(test: impl Fn(Kind)) {
    for_each_host(|kind| {
        if kind.is_modern() {
            test(kind);
        }
    });
}

#[test]
fn pipelined_requests_are_all_answered_in_order_f50() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().with_statistics().route("^/app", &[&a]));
        let mut client = host.client();
        for round in 0..3 {
            let targets: Vec<String> = (0..5).map(|i| format!("/app/{round}/{i}")).collect();
            let burst: String =
                targets.iter().map(|t| format!("GET {t} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
            client.send(burst);
            for target in &targets {
                assert_eq!(client.read("GET").expect(200).text(), format!("GET {target}\n"));
            }
        }
        // What is answered inside Stage 30, what is a file, and what takes a while, side by side.
        let mix = ["/app/1", "/page.html", STATISTICS, "/app/2", "/page.html", "/app/3?x=1", "/app/4"];
        client.send(mix.map(|t| format!("GET {t} HTTP/1.1\r\nHost: h\r\n\r\n")).concat());
        for target in mix {
            let response = client.read("GET").expect(200);
            if target.starts_with("/app") {
                assert_eq!(response.text(), format!("GET {target}\n"));
            } else if target == "/page.html" {
                assert_eq!(response.text(), PAGE.1);
            }
        }
    });
}

#[test]
fn chunked_bodies_arrive_unwrapped_f20_f22() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        for (chunks, content) in
            [("5\r\nhello\r\n0\r\n\r\n", "hello"), ("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef")]
        {
            let mut client = host.client();
            client
                .send(format!("POST /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
            client.read("POST").expect(200);
            let seen = a.last_seen();
            assert_eq!(seen.body, content.as_bytes());
            let framing = format!("{seen:?}").to_lowercase();
            assert!(!framing.contains("transfer-encoding"), "{framing}");
        }
    });
}

#[test]
fn a_query_is_not_that_of_the_request_before_h24() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        for target in ["/app?x=1", "/app", "/app?", "/app/%41?y=%20", "/app/b", "/app?HTTP/1.1"] {
            assert_eq!(client.get(target).expect(200).text(), format!("GET {target}\n"));
        }
    });
}

#[test]
fn what_no_match_takes_is_a_404_and_said_once() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        // [HANDLERS] sends all of /app here; Match takes a part of it.
        let host = Host::start(kind, Conf::new().route("^/app/(only|this)", &[&a]));
        let mut client = host.client();
        for _ in 0..3 {
            assert_eq!(client.get("/app/other").status, 404);
            client.get("/app/only").expect(200);
        }
        host.expect_output("[HANDLERS] sends");
        assert_eq!(host.output().matches("[HANDLERS] sends").count(), 1, "{}", host.output());
        client.get("/page.html").expect(200);
    });
}

#[test]
fn early_bytes_and_an_early_leave_do_not_disturb_an_answer() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(60)));
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        client.send_request("GET", "/app/1", "", b"");
        thread::sleep(Duration::from_millis(20));
        client.send_request("GET", "/app/2", "", b"");
        for i in 1..=2 {
            assert_eq!(client.read("GET").expect(200).text(), format!("GET /app/{i}\n"));
        }
        client.send_request("GET", "/app/3", "", b"");
        thread::sleep(Duration::from_millis(20));
        client.half_close();
        assert_eq!(client.read("GET").expect(200).text(), "GET /app/3\n");
    });
}

#[test]
fn a_client_that_leaves_takes_its_backend_connection_along_c13() {
    let a = Backend::start("a", vice::never_answers());
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        for reset in [true, false] {
            let before = a.requests();
            let mut client = host.client();
            client.send_request("GET", "/app", "", b"");
            eventually(Duration::from_secs(2), "the backend is asked", || a.requests() > before);
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            eventually(Duration::from_secs(2), "the backend is left alone", || a.open() == 0);
        }
        host.get("/page.html").expect(200);
    });
}

#[test]
fn other_versions_of_the_family_proxy_too() {
    let a = Backend::start("a", vice::echo());
    harness_18_only(|kind| {
        for variant in ["1.8.7", "hidden", "daemon"] {
            let conf = Conf::new().with_statistics().route("^/app", &[&a]);
            let host = Setup::new(kind, conf).arg("-V").arg(variant).start();
            let mut client = host.client();
            for i in 0..20 {
                let target = format!("/app/{i}");
                assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
            }
            client.get(STATISTICS).expect(200);
        }
    });
}

#[test]
fn versions_of_another_layout_are_refused() {
    let a = Backend::start("a", vice::echo());
    harness_18_only(|kind| {
        for variant in ["1.6", "unknown"] {
            let conf = Conf::new().route("^/app", &[&a]);
            let host = Setup::new(kind, conf).arg("-V").arg(variant).start();
            assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
            assert_ne!(host.get("/app").status, 200);
            if variant == "unknown" {
                host.expect_output("supported are Monkey 1.7.0 to 1.8.9");
            }
        }
    });
}

#[test]
fn bytes_go_through_the_transport_of_a_tls_listener() {
    let big = Backend::start("big", vice::fixed(300_000));
    harness_18_only(|kind| {
        let conf = Conf::new().route("^/big", &[&big]);
        let host = Setup::new(kind, conf).arg("-V").arg("fake-tls").start();
        let response = host.get("/big").expect(200);
        assert_bytes(&response.body, &pattern(300_000));
        assert!(format!("{:?}", big.last_seen()).contains("https"), "X-Forwarded-Proto");
    });
}

#[test]
fn a_mixed_load_leaves_the_sanitizer_silent() {
    if !support::host::has_asan() {
        return;
    }
    let a = Backend::start("a", vice::echo());
    let b = Backend::start("b", vice::chunked(100_000));
    let d = Backend::start("d", vice::never_answers());
    harness_18_only(|kind| {
        let conf = Conf::new()
            .with_statistics()
            .route("^/a", &[&a])
            .route("^/b", &[&b])
            .route("^/d", &[&d])
            .with("HeaderTimeOut 1");
        let host = Setup::new(kind, conf).asan().start();
        thread::scope(|scope| {
            for id in 0..8 {
                let host = &host;
                scope.spawn(move || {
                    let mut client = host.client();
                    for n in 0..20 {
                        let target = format!("/a/{id}/{n}");
                        assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
                        assert_bytes(&client.get("/b").expect(200).body, &pattern(100_000));
                        client.get("/page.html").expect(200);
                        if n % 5 == id % 5 {
                            let mut leaver = host.client();
                            leaver.send_request("GET", "/d", "", b"");
                            leaver.reset();
                        }
                    }
                });
            }
        });
        host.get("/d").expect(504);
        host.statistics();
        let (status, output) = host.stop();
        assert!(status.success(), "{status}:\n{output}");
    });
}

#[test]
fn http10_gets_its_answer_and_a_close_f49() {
    let a = Backend::start("a", vice::chunked(5000));
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        client.send("GET /app HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let (answer, end) = client.read_all(Duration::from_secs(2));
        assert_ne!(end, End::TimedOut);
        let text = String::from_utf8_lossy(&answer[..200]).to_lowercase();
        assert!(text.contains("connection: close") && !text.contains("transfer-encoding"), "{text}");
        assert!(answer.ends_with(&pattern(5000)));
    });
}

/// The server would write through slices of a buffer that it has freed, once a buffer on the heap
/// grows: so no body comes into its buffer.
#[test]
fn bodies_of_any_size_leave_the_servers_buffer_alone() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        for len in [30_000, 60_000, 120_000] {
            let mut client = host.client();
            client.get("/app").expect(200);
            let body = pattern(len);
            let response = client.ask("POST", "/app", "", &body).expect(200);
            assert_eq!(response.header("connection"), None);
            assert_bytes(&a.last_seen().body, &body);
            client.get("/app").expect(200);
        }
    });
}

#[test]
fn a_connection_in_use_outlives_the_servers_time_out() {
    let a = Backend::start("a", vice::echo());
    for_each_modern_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).server_line("Timeout 1").start();
        let mut client = host.client();
        for _ in 0..12 {
            client.get("/app").expect(200);
            thread::sleep(Duration::from_millis(300));
        }
        // Unused, it is closed as before.
        let (rest, end) = client.read_all(Duration::from_secs(10));
        let rest = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() && end != End::TimedOut, "{end:?} behind {rest:?}");
    });
}
