//! Servers that die and come back: what clients notice of it, which is next to nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use support::{Backend, Client, Conf, End, Host, Kind, Next, eventually, for_each_host, vice};

fn three() -> [Backend; 3] {
    ["a", "b", "c"].map(|name| Backend::start(name, vice::echo()))
}

#[test]
fn one_dead_server_of_three_costs_nobody_an_answer_c20() {
    let (a, b, c) =
        (Backend::start("a", vice::echo()), Backend::refuses("b"), Backend::start("c", vice::echo()));
    for_each_host(|kind| {
        for balancer in
            ["Naive", "First-Alive", "Round-Robin", "Locking-Round-Robin", "Least-Connections", "Source-Hash"]
        {
            let conf = Conf::new().route("^/app", &[&b, &a, &c]).with(&format!("LoadBalancer {balancer}"));
            let host = Host::start(kind, conf);
            let mut kept = host.client();
            for _ in 0..30 {
                kept.get("/app").expect(200);
                host.get("/app").expect(200);
            }
        }
    });
}

#[test]
fn a_post_goes_to_the_next_server_when_one_refuses_c9() {
    let (a, b) = (Backend::refuses("a"), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b]));
        let mut client = host.client();
        for i in 0..10 {
            let body = format!("body {i}");
            client.ask("POST", "/app", "", body.as_bytes()).expect(200);
            assert_eq!(b.last_seen().body, body.as_bytes());
        }
    });
}

#[test]
fn a_server_killed_under_load_costs_no_get() {
    for_each_host(|kind| {
        let [a, b, c] = three();
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b, &c]));
        let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        let failures = thread::scope(|scope| {
            let load = |i: usize| {
                let (host, stop, served) = (&host, &stop, &served);
                move || load_until(stop, served, host, i)
            };
            let clients: Vec<_> = (0..8).map(|i| scope.spawn(load(i))).collect();
            wait_for(&served, 200);
            b.stop();
            wait_for(&served, served.load(SeqCst) + 400);
            b.restart(vice::echo());
            wait_for(&served, served.load(SeqCst) + 200);
            stop.store(true, SeqCst);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(failures.is_empty(), "{} lost: {:#?}", failures.len(), failures.first());
    });
}

fn wait_for(served: &AtomicUsize, n: usize) {
    // A client that fails goes on, so this comes to an end in any case.
    support::within(Duration::from_secs(3), || served.load(SeqCst) >= n);
}

fn load_until(stop: &AtomicBool, served: &AtomicUsize, host: &Host, id: usize) -> Vec<String> {
    let mut failures = Vec::new();
    let mut client = host.client();
    let mut n = 0;
    while !stop.load(SeqCst) {
        n += 1;
        if n % 50 == 0 {
            client = host.client();
        }
        let target = format!("/app/{id}/{n}");
        client.send_request("GET", &target, "", b"");
        match client.try_read("GET") {
            Ok(response)
                if response.status == 200
                    && response.end == End::Complete
                    && response.text() == format!("GET {target}\n") => {}
            other => {
                failures.push(format!("{target}: {other:?}"));
                client = host.client();
            }
        }
        served.fetch_add(1, SeqCst);
    }
    failures
}

#[test]
fn all_dead_is_said_at_once_and_recovery_needs_no_restart() {
    for_each_host(|kind| {
        let [a, b, c] = three();
        let conf = Conf::new().route("^/app", &[&a, &b, &c]).with("OfflineTimeOut 1");
        let host = Host::start(kind, conf);
        host.get("/app").expect(200);
        for server in [&a, &b, &c] {
            server.stop();
        }
        for _ in 0..10 {
            let begun = Instant::now();
            let response = host.get("/app");
            assert!(matches!(response.status, 502 | 503), "{response:?}");
            assert_eq!(response.end, End::Complete);
            assert!(!response.body.is_empty() && response.body.len() < 4096, "{response:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
            if response.status == 503 {
                assert!(response.header("Retry-After").is_some(), "{response:?}");
            }
        }
        assert_eq!(host.get("/page.html").status, 200);
        for server in [&a, &b, &c] {
            server.restart(vice::echo());
        }
        eventually(Duration::from_secs(3), "it recovers", || host.get("/app").status == 200);
        eventually(Duration::from_secs(4), "all three serve again", || {
            host.get("/app").expect(200);
            [&a, &b, &c].iter().all(|server| server.open() > 0)
        });
    });
}

#[test]
fn a_server_that_is_back_is_used_again_c20() {
    for_each_host(|kind| {
        let [a, b, _] = three();
        let conf =
            Conf::new().route("^/app", &[&a, &b]).with("LoadBalancer First-Alive").with("OfflineTimeOut 1");
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        a.stop();
        for _ in 0..6 {
            assert_eq!(host.get("/app").expect(200).backend(), "b");
        }
        a.restart(vice::echo());
        eventually(Duration::from_secs(4), "the first serves again", || {
            host.get("/app").expect(200).backend() == "a"
        });
    });
}

#[test]
fn an_offline_server_is_tried_by_few_requests() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::accepts_and_closes()), Backend::start("b", vice::echo()));
        let conf = Conf::new()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("AttemptsCount 2")
            .with("OfflineTimeOut 60");
        let host = Host::start(kind, conf);
        for _ in 0..40 {
            assert_eq!(host.get("/app").expect(200).backend(), "b");
        }
        assert!(a.connections() <= 8, "{} connections to a dead server", a.connections());
    });
}

#[test]
fn a_post_that_a_server_died_on_is_executed_once_c4() {
    for how in [Next::Close, Next::Reset] {
        let (a, b) = (
            Backend::start("a", vice::reads_and_leaves(how)),
            Backend::start("b", vice::reads_and_leaves(how)),
        );
        for_each_host(|kind| {
            let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b]));
            let before = a.requests() + b.requests();
            host.client().ask("POST", "/app", "", b"once").expect(502);
            assert_eq!(a.requests() + b.requests() - before, 1);
        });
    }
}

#[test]
fn a_post_on_a_used_connection_is_executed_once_c4() {
    let dies_on_post = || {
        vice::answering(|conn, seen| match seen.method.as_str() {
            "POST" => Ok(Next::Close),
            _ => conn.answer(seen, b""),
        })
    };
    let (a, b) = (Backend::start("a", dies_on_post()), Backend::start("b", dies_on_post()));
    for_each_host(|kind| {
        // These deaths are failures; no server shall go offline for them here.
        let conf = Conf::new().route("^/app", &[&a, &b]).with("AttemptsCount 100");
        let host = Host::start(kind, conf);
        let posts = || {
            let all = [a.seen(), b.seen()].concat();
            all.iter().filter(|seen| seen.method == "POST").count()
        };
        for _ in 0..5 {
            let mut client = host.client();
            client.get("/app").expect(200);
            client.get("/app").expect(200);
            let before = posts();
            client.ask("POST", "/app", "", b"once").expect(502);
            assert_eq!(posts() - before, 1);
        }
    });
}

#[test]
fn a_get_is_tried_at_most_once_per_server_c5() {
    let (a, b, c) = (
        Backend::start("a", vice::reads_and_leaves(Next::Close)),
        Backend::start("b", vice::reads_and_leaves(Next::Close)),
        Backend::start("c", vice::reads_and_leaves(Next::Close)),
    );
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b, &c]));
        let before = [a.requests(), b.requests(), c.requests()];
        host.get("/app").expect(502);
        for (server, before) in [&a, &b, &c].iter().zip(before) {
            assert!(server.requests() - before <= 1, "{} was tried again", server.name());
        }
    });
}

#[test]
fn nothing_is_tried_again_once_an_answer_began_c6() {
    let (a, b) = (
        Backend::start("a", vice::closes_mid_body(100, 10, Next::Close)),
        Backend::start("b", vice::closes_mid_body(100, 10, Next::Close)),
    );
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b]));
        let before = a.requests() + b.requests();
        assert_ne!(host.client().get("/app").end, End::Complete);
        assert_eq!(a.requests() + b.requests() - before, 1);
    });
}

#[test]
fn idle_connections_that_went_stale_lose_no_get_c3() {
    for how in [Next::Close, Next::Reset] {
        let a = Backend::start("a", vice::leaves_when_idle(Duration::from_millis(15), how));
        for_each_host(|kind| {
            let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
            let mut client = host.client();
            for i in 0..20 {
                assert_eq!(client.get(&format!("/app/{i}")).expect(200).backend(), "a");
                thread::sleep(Duration::from_millis(30));
            }
        });
    }
}

#[test]
fn connections_that_are_closed_right_after_an_answer_lose_no_get_c3b() {
    let a = Backend::start("a", vice::leaves_when_idle(Duration::ZERO, Next::Close));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        for i in 0..60 {
            let target = format!("/app/{i}");
            assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
        }
        for i in 0..60 {
            host.get(&format!("/app/again/{i}")).expect(200);
        }
    });
}

#[test]
fn stale_connections_are_not_a_servers_failure() {
    let a = Backend::start("a", vice::leaves_when_idle(Duration::ZERO, Next::Close));
    for_each_host(|kind| {
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        for _ in 0..40 {
            host.get("/app").expect(200);
        }
        let server = &host.statistics()["routes"][0]["backends"][0];
        assert_eq!((&server["failures"], &server["state"]), (&0.into(), &"online".into()));
    });
}

#[test]
fn clients_that_leave_are_not_a_servers_failure_c16b() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(100)));
    for_each_host(|kind| {
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        let before = a.requests();
        for i in 1..=5 {
            let mut client = Client::connect(host.addr());
            client.send_request("GET", "/app", "", b"");
            eventually(Duration::from_secs(2), "it arrived", || a.requests() - before >= i);
            client.reset();
        }
        host.get("/app").expect(200);
        let server = &host.statistics()["routes"][0]["backends"][0];
        assert_eq!((&server["failures"], &server["state"]), (&0.into(), &"online".into()));
    });
}

#[test]
fn failing_requests_that_are_the_clients_fault_cost_no_health_c16b() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind: Kind| {
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        for _ in 0..6 {
            let mut client = host.client();
            client.send("GET /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
            let _ = client.read_all(Duration::from_secs(2));
        }
        host.get("/app").expect(200);
        let server = &host.statistics()["routes"][0]["backends"][0];
        assert_eq!(server["failures"], 0);
    });
}
