//! Connections that are kept for further requests: for how long, for how many, and for which.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Backend, Conf, Host, Kind, Setup, eventually, for_each_host, vice};

const SECOND: Duration = Duration::from_secs(1);

/// Long enough that nobody closes for that reason.
const KEPT: &str = "PoolIdleTimeOut 60";

/// One worker, so that there is one pool.
fn one_worker(kind: Kind, conf: Conf) -> Host {
    Setup::new(kind, conf.with_statistics()).workers(1).start()
}

/// The first server of the first entry, as the statistics have it.
fn server(host: &Host) -> Value {
    host.statistics()["routes"][0]["backends"][0].clone()
}

/// An echo whose answers have these further lines; it never closes by itself.
fn says(fields: &'static str) -> vice::Vice {
    vice::closes_idle(60 * SECOND, fields)
}

#[test]
fn connections_are_counted_as_opened_and_reused() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = one_worker(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        for _ in 0..5 {
            client.get("/app").expect(200);
        }
        let server = server(&host);
        let fields = ["connections_opened", "connections_reused", "connections_stale"];
        assert_eq!(fields.map(|field| server[field].as_u64()), [Some(1), Some(4), Some(0)], "{server:#}");
        assert_eq!(server["learned_idle_ms"], Value::Null);
        let page = host.get(support::conf::STATISTICS).expect(200).text();
        assert!(page.contains("connections: 1 opened, 4 reused, 0 stale<"), "{page}");
    });
}

#[test]
fn an_announced_time_is_kept_unless_that_is_switched_off() {
    for_each_host(|kind| {
        let (a, b) = (
            Backend::start("a", says("Keep-Alive: timeout=1\r\n")),
            Backend::start("b", says("Keep-Alive: timeout=1\r\n")),
        );
        let conf = Conf::new().default_key(KEPT).route("^/a", &[&a]).route("^/b", &[&b]);
        let host = one_worker(kind, conf.with("PoolLearn off"));
        let mut client = host.client();
        let begun = Instant::now();
        for _ in 0..3 {
            client.get("/b").expect(200);
            client.get("/a").expect(200);
        }
        assert!(a.connections() == 1 || begun.elapsed() > SECOND / 2, "not kept at all");
        eventually(4 * SECOND, "it is closed in time", || a.open() == 0);
        assert_eq!(b.open(), 1);
        let server = server(&host);
        assert_eq!((&server["connections_stale"], &server["learned_idle_ms"]), (&0.into(), &Value::Null));
    });
}

#[test]
fn an_announced_end_of_keeping_is_heeded() {
    let a = Backend::start("a", says("Keep-Alive: timeout=0\r\n"));
    for_each_host(|kind| {
        let before = a.connections();
        let host = one_worker(kind, Conf::new().route("^/a", &[&a]));
        let mut client = host.client();
        for _ in 0..3 {
            client.get("/a").expect(200);
        }
        assert_eq!(a.connections() - before, 3);
    });
}

#[test]
fn a_connection_carries_so_many_requests() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", says("Keep-Alive: max=3\r\n")));
    for_each_host(|kind| {
        let before = (a.connections(), b.connections());
        let conf = Conf::new().default_key(KEPT).route("^/a", &[&a]).with("PoolMaxRequests 2");
        let host = one_worker(kind, conf.route("^/b", &[&b]));
        let mut client = host.client();
        for _ in 0..6 {
            client.get("/a").expect(200);
            client.get("/b").expect(200);
        }
        assert_eq!((a.connections() - before.0, b.connections() - before.1), (3, 2));
    });
}

#[test]
fn a_connection_is_used_for_so_long() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().route("^/a", &[&a]).with(KEPT).with("PoolMaxAge 300ms");
        let host = one_worker(kind, conf);
        let begun = Instant::now();
        let mut requests = 0;
        while begun.elapsed() < SECOND {
            host.get("/a").expect(200);
            requests += 1;
        }
        assert!(a.connections() >= 3 && a.connections() < requests, "{} connections", a.connections());
        eventually(3 * SECOND, "an idle one is closed, too", || a.open() == 0);
    });
}

#[test]
fn a_request_that_must_not_run_twice_takes_no_idle_connection() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = Conf::new().default_key(KEPT).route("^/a", &[&a]).with("PoolUnsafeIdle 0");
        let host = one_worker(kind, conf.route("^/b", &[&b]).with("PoolUnsafeIdle 200ms"));
        let mut client = host.client();
        for i in 1..=3 {
            client.ask("POST", "/a", "", b"x").expect(200);
            client.get("/a").expect(200);
            assert_eq!(a.connections(), i, "a new one for each POST, none for a GET");
        }
        client.get("/b").expect(200);
        // The time is what matters here.
        thread::sleep(Duration::from_millis(250));
        client.ask("POST", "/b", "", b"x").expect(200);
        assert_eq!(b.connections(), 2);
        assert_eq!(b.open(), 2, "the other one stays for others");
    });
}

#[test]
fn a_server_that_closes_idle_connections_is_learned_from() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::closes_idle(Duration::from_millis(500), ""));
        let conf = Conf::new().route("^/a", &[&a]).with(KEPT).with("AttemptsCount 1");
        let host = one_worker(kind, conf);
        host.get("/a").expect(200);
        eventually(4 * SECOND, "something is learned", || !server(&host)["learned_idle_ms"].is_null());
        let learned = server(&host)["learned_idle_ms"].as_u64().unwrap();
        assert!((300..1000).contains(&learned), "{learned} ms");
        host.expect_output("closed a connection that was idle for");
        for _ in 0..2 {
            host.get("/a").expect(200);
            eventually(2 * SECOND, "it is closed", || a.open() == 0);
        }
        let server = server(&host);
        assert_eq!(server["connections_stale"], 1, "we are the first to close from then on: {server:#}");
        assert_eq!((&server["failures"], &server["state"]), (&0.into(), &"online".into()));
    });
}

#[test]
fn a_connection_that_is_stale_when_it_is_used_teaches_as_well() {
    for_each_host(|kind| {
        // Polite until the next request comes: then it turns out that it was too late.
        let a = Backend::start(
            "a",
            vice::custom(|conn| {
                let Some(seen) = conn.request()? else { return Ok(support::Next::Close) };
                conn.answer(&seen, b"")?;
                conn.head()?;
                Ok(support::Next::Reset)
            }),
        );
        let conf = Conf::new().route("^/a", &[&a]).with(KEPT).with("AttemptsCount 1");
        let host = one_worker(kind, conf);
        let mut client = host.client();
        client.get("/a").expect(200);
        // The time is what matters here.
        thread::sleep(Duration::from_millis(300));
        client.get("/a").expect(200);
        let server = server(&host);
        assert_eq!((&server["connections_stale"], &server["failures"]), (&1.into(), &0.into()));
        let learned = server["learned_idle_ms"].as_u64().unwrap();
        assert!((240..1000).contains(&learned), "{server:#}");
    });
}

#[test]
fn a_server_that_stops_teaches_nothing_that_older_connections_disprove() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::closes_idle(60 * SECOND, ""));
        let host = one_worker(kind, Conf::new().route("^/a", &[&a]).with(KEPT));
        let mut clients: Vec<_> = (0..4).map(|_| host.client()).collect();
        // All at once, so that each has a connection of its own.
        eventually(5 * SECOND, "several are open", || {
            clients.iter_mut().for_each(|client| client.send_request("GET", "/a", "", b""));
            clients.iter_mut().for_each(|client| drop(client.read("GET").expect(200)));
            a.open() > 1
        });
        thread::sleep(Duration::from_millis(400));
        clients[0].get("/a").expect(200);
        // One is young now, the others are old: the young one is no measure.
        thread::sleep(Duration::from_millis(150));
        a.cut();
        eventually(3 * SECOND, "it was noticed", || !server(&host)["learned_idle_ms"].is_null());
        let learned = server(&host)["learned_idle_ms"].as_u64().unwrap();
        assert!(learned >= 400, "{learned} ms");
    });
}

#[test]
fn a_server_that_closes_idle_connections_loses_no_request_and_runs_none_twice() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::closes_idle(Duration::from_millis(500), ""));
        let conf = Conf::new().with_statistics().route("^/a", &[&a]).with(KEPT).with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        host.get("/a").expect(200);
        eventually(4 * SECOND, "it is known", || !server(&host)["learned_idle_ms"].is_null());
        thread::scope(|scope| {
            for id in 0..6_u64 {
                let mut client = host.client();
                scope.spawn(move || {
                    for n in 0..14_u64 {
                        let target = format!("/a/{id}/{n}");
                        let method = if (id + n) % 2 == 0 { "POST" } else { "GET" };
                        let body = if method == "POST" { target.as_bytes() } else { b"" };
                        let answer = client.ask(method, &target, "", body).expect(200);
                        assert_eq!(answer.text(), format!("{method} {target}\n"));
                        // Around the time after which the server closes.
                        thread::sleep(Duration::from_millis(370 + (id * 97 + n * 41) % 170));
                    }
                });
            }
        });
        let mut posts: HashMap<String, usize> = HashMap::new();
        for seen in a.seen().into_iter().filter(|seen| seen.method == "POST") {
            *posts.entry(seen.target).or_default() += 1;
        }
        assert_eq!(posts.len(), 42);
        assert!(posts.values().all(|&times| times == 1), "{posts:?}");
        let server = server(&host);
        assert_eq!((&server["failures"], &server["state"]), (&0.into(), &"online".into()));
    });
}
