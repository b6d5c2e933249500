//! Servers that are offline and come back: by probes, by checks, and what requests get meanwhile.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Backend, Conf, Host, Kind, for_each_host, harness_only, vice, within};

fn echo(name: &str) -> Backend {
    Backend::start(name, vice::echo())
}

fn server(host: &Host, place: usize) -> Value {
    host.statistics()["routes"][0]["backends"][place].clone()
}

/// Asks until the answer is of this backend; how long that took.
#[track_caller]
fn until_served_by(host: &Host, name: &str, limit: Duration) -> Duration {
    let begun = Instant::now();
    let served = within(limit, || {
        let response = host.get("/app");
        response.status == 200 && response.backend() == name
    });
    assert!(served, "{name} does not serve within {limit:?}");
    begun.elapsed()
}

/// Stops a server, and asks until that is known; the other one answers meanwhile.
fn stop_until_noticed(host: &Host, stopped: &Backend, nth: usize) {
    stopped.stop();
    while server(host, nth)["state"] == "online" {
        host.get("/app").expect(200);
    }
}

#[test]
fn a_restarted_server_serves_again_long_before_its_time_is_over() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("OfflineTimeOut 60");
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        a.stop();
        while server(&host, 0)["state"] == "online" {
            assert_eq!(host.get("/app").expect(200).backend(), "b");
        }
        assert_eq!(server(&host, 0)["cause"], "failures");
        a.restart(vice::echo());
        until_served_by(&host, "a", Duration::from_millis(2500));
        let back = server(&host, 0);
        assert_eq!(
            (&back["state"], &back["last_probe_result"]),
            (&"online".into(), &"good".into()),
            "{back}"
        );
        assert_eq!((&back["cause"], &back["offline_count"]), (&Value::Null, &1.into()), "{back}");
        host.expect_output("is back online");
    });
}

#[test]
fn a_unix_socket_is_probed_as_well() {
    for_each_host(|kind| {
        let folder = tempfile::tempdir().unwrap();
        let a = Backend::start_unix("a", &folder.path().join("a.sock"), vice::echo());
        let b = echo("b");
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("ProbeInterval 200ms");
        let host = Host::start(kind, conf);
        stop_until_noticed(&host, &a, 0);
        a.restart(vice::echo());
        until_served_by(&host, "a", Duration::from_secs(2));
    });
}

#[test]
fn with_all_down_the_first_that_is_up_serves_within_a_second() {
    for_each_host(|kind| {
        let [a, b, c] = ["a", "b", "c"].map(echo);
        for line in ["WhenAllOffline try", "WhenAllOffline 503"] {
            let conf = Conf::new().with_statistics().route("^/app", &[&a, &b, &c]).with(line);
            let host = Host::start(kind, conf);
            [&a, &b, &c].into_iter().for_each(Backend::stop);
            let all_offline = || (0..3).all(|place| server(&host, place)["state"] == "offline");
            while !all_offline() {
                assert!(matches!(host.get("/app").status, 502 | 503));
            }
            thread::sleep(Duration::from_millis(300));
            b.restart(vice::echo());
            let took = until_served_by(&host, "b", Duration::from_millis(1500));
            assert!(took < Duration::from_millis(1200), "{line}: {took:?}");
            for _ in 0..20 {
                host.get("/app").expect(200);
            }
            a.restart(vice::echo());
            c.restart(vice::echo());
        }
    });
}

#[test]
fn when_the_last_server_goes_one_that_is_back_is_found_at_once() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("ProbeInterval 60")
            .with("WhenAllOffline 503");
        let host = Host::start(kind, conf);
        stop_until_noticed(&host, &a, 0);
        a.restart(vice::echo());
        thread::sleep(Duration::from_millis(100));
        assert_eq!(host.get("/app").expect(200).backend(), "b", "nobody knows yet");
        b.stop();
        while server(&host, 1)["state"] == "online" {
            host.get("/app");
        }
        until_served_by(&host, "a", Duration::from_millis(500));
    });
}

#[test]
fn a_rolling_restart_costs_no_get() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new().with_statistics().route("^/app", &[&a, &b]).with("ProbeInterval 100ms");
        let host = Host::start(kind, conf);
        let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
        let lost = thread::scope(|scope| {
            let load = || {
                let mut lost = Vec::new();
                let mut client = host.client();
                let mut asked = 0;
                while !stop.load(SeqCst) {
                    asked += 1;
                    // A connection is good for a thousand requests.
                    if asked % 50 == 0 {
                        client = host.client();
                    }
                    answers.fetch_add(1, SeqCst);
                    client.send_request("GET", "/app", "", b"");
                    match client.try_read("GET") {
                        Ok(response) if response.status == 200 => {}
                        other => {
                            lost.push(format!("{other:?}"));
                            client = host.client();
                        }
                    }
                }
                lost
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            for (place, backend) in [(0, &a), (1, &b), (0, &a)] {
                let before = answers.load(SeqCst);
                within(Duration::from_secs(2), || answers.load(SeqCst) > before + 50);
                backend.stop();
                within(Duration::from_secs(2), || server(&host, place)["state"] == "offline");
                backend.restart(vice::echo());
                let back = within(Duration::from_secs(3), || server(&host, place)["state"] == "online");
                if !back {
                    stop.store(true, SeqCst);
                    panic!("{} is not back", backend.name());
                }
            }
            stop.store(true, SeqCst);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(lost.is_empty(), "{} lost: {:?}", lost.len(), lost.first());
    });
}

#[test]
fn healthy_servers_see_no_probes() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), Backend::refuses("b"));
        let conf = Conf::new().with_statistics().route("^/app", &[&a, &b]).with("ProbeInterval 50ms");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        while server(&host, 1)["state"] == "online" {
            client.get("/app").expect(200);
        }
        let before = (a.connections(), a.requests());
        assert!(within(Duration::from_secs(2), || server(&host, 1)["last_probe_result"] == "bad"));
        thread::sleep(Duration::from_millis(500));
        assert_eq!((a.connections(), a.requests()), before);
        assert_eq!(server(&host, 0)["last_probe"], Value::Null);
    });
}

#[test]
fn without_probes_a_server_waits_for_its_time() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("ProbeOffline off");
        let host = Host::start(kind, conf);
        stop_until_noticed(&host, &a, 0);
        a.restart(vice::echo());
        let before = a.connections();
        thread::sleep(Duration::from_millis(1500));
        assert_eq!(host.get("/app").expect(200).backend(), "b");
        assert_eq!(a.connections(), before, "it was left alone");
    });
}

#[test]
fn a_server_in_several_entries_is_probed_once() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new()
            .default_key("ProbeInterval 2")
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .route("^/other", &[&a, &b])
            .with("LoadBalancer First-Alive");
        let host = Host::start(kind, conf);
        a.stop();
        let states = || {
            let routes = &host.statistics()["routes"];
            [0, 1].map(|route: usize| routes[route]["backends"][0]["state"] == "online")
        };
        while states() != [false, false] {
            host.get("/app").expect(200);
            host.get("/other").expect(200);
        }
        let before = a.connections();
        a.restart(vice::echo());
        assert!(within(Duration::from_secs(4), || a.connections() > before));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(a.connections() - before, 1);
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        assert_eq!(host.get("/other").expect(200).backend(), "a");
    });
}

#[test]
fn a_server_that_is_back_gets_its_share_little_by_little() {
    for_each_host(|kind| {
        let (a, b) = (echo("a"), echo("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("ProbeInterval 100ms")
            .with("SlowStart 60");
        let host = Host::start(kind, conf);
        stop_until_noticed(&host, &b, 1);
        b.restart(vice::echo());
        until_served_by(&host, "b", Duration::from_secs(3));
        let of_b = (0..110).filter(|_| host.get("/app").expect(200).backend() == "b").count();
        assert!((5..=25).contains(&of_b), "{of_b} of 110 in the beginning");
    });
}

#[test]
fn a_status_can_count_as_a_failure() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::status_by_target());
        let b = Backend::start("b", vice::status_by_target());
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("FailOn connect 503")
            .with("ProbeOffline off");
        let host = Host::start(kind, conf);
        for _ in 0..5 {
            assert_eq!(host.get("/app/500").expect(500).backend(), "a", "is not named");
        }
        for _ in 0..2 {
            assert_eq!(host.get("/app/503").expect(503).backend(), "a", "the client gets it");
        }
        assert_eq!(host.get("/app/200").expect(200).backend(), "b");
        assert_eq!(server(&host, 0)["state"], "offline");
        host.expect_output("it answered 503");
    });
}

#[test]
fn what_fail_on_does_not_name_sets_nobody_offline() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::accepts_and_closes());
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("FailOn connect");
        let host = Host::start(kind, conf);
        for _ in 0..5 {
            host.get("/app").expect(502);
        }
        let server = server(&host, 0);
        assert_eq!((&server["state"], &server["failures"]), (&"online".into(), &5.into()));
    });
}

#[test]
fn with_all_offline_503_says_so_at_once() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("WhenAllOffline 503");
        let host = Host::start(kind, conf);
        while server(&host, 0)["state"] == "online" {
            host.get("/app").expect(502);
        }
        let requests = server(&host, 0)["requests"].clone();
        thread::sleep(Duration::from_millis(300));
        for _ in 0..5 {
            let response = host.get("/app").expect(503);
            assert!(response.header("Retry-After").is_some(), "{response:?}");
        }
        assert_eq!(server(&host, 0)["requests"], requests, "nobody was asked");
    });
}

#[test]
fn with_all_offline_static_leaves_requests_to_the_files() {
    for_each_host(|kind| {
        let a = echo("a");
        let conf = Conf::new()
            .with_statistics()
            .route("^/(page|app)", &[&a])
            .with("WhenAllOffline static")
            .with("ProbeInterval 200ms");
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/page.html").expect(200).backend(), "a");
        a.stop();
        while server(&host, 0)["state"] == "online" {
            assert!(matches!(host.get("/page.html").status, 502 | 503));
        }
        if kind.is_modern() {
            host.get("/page.html").expect(503);
            host.expect_output("cannot take requests back");
        } else {
            assert_eq!(host.get("/page.html").expect(200).text(), support::conf::PAGE.1);
            host.get("/app/nothing").expect(404);
        }
        host.client().ask("POST", "/app", "", b"a body").expect(503);
        a.restart(vice::echo());
        assert!(within(Duration::from_secs(2), || host.get("/page.html").status == 200
            && host.get("/page.html").backend() == "a"));
    });
}

/// Answers checks with this status, everything else as an echo.
fn checked(name: &str, status: &Arc<AtomicU16>, checks: &Arc<AtomicUsize>) -> Backend {
    let (status, checks) = (Arc::clone(status), Arc::clone(checks));
    Backend::start(
        name,
        vice::answering(move |conn, seen| {
            if seen.target != "/healthz" {
                return conn.answer(seen, b"fine");
            }
            checks.fetch_add(1, SeqCst);
            let head = conn.head_with(&format!("{} Text", status.load(SeqCst)), "Content-Length: 0\r\n");
            conn.send(&head)?;
            Ok(support::Next::Close)
        }),
    )
}

fn with_check(conf: Conf) -> Conf {
    conf.with("HealthCheck GET /healthz")
        .with("HealthInterval 100ms")
        .with("HealthTimeOut 200ms")
        .with("SlowStart 0")
}

#[test]
fn a_check_takes_a_server_out_and_back_in() {
    for_each_host(|kind| {
        let (status, checks) = (Arc::new(AtomicU16::new(200)), Arc::default());
        let (a, b) = (checked("a", &status, &checks), checked("b", &Arc::new(AtomicU16::new(204)), &checks));
        let conf = Conf::new().with_statistics().route("^/app", &[&a, &b]);
        let host = Host::start(kind, with_check(conf).with("LoadBalancer First-Alive"));
        assert!(within(Duration::from_secs(2), || checks.load(SeqCst) >= 4), "both are checked");
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        for round in 1..=2 {
            status.store(500, SeqCst);
            until_served_by(&host, "b", Duration::from_secs(3));
            let out = server(&host, 0);
            assert_eq!((&out["state"], &out["cause"]), (&"offline".into(), &"check".into()), "{out}");
            assert_eq!(out["offline_count"], round);
            thread::sleep(Duration::from_millis(300));
            assert_eq!(host.get("/app").expect(200).backend(), "b");
            status.store(200, SeqCst);
            until_served_by(&host, "a", Duration::from_secs(3));
        }
        let output = host.output();
        assert_eq!(
            output.matches("offline until it passes its check (GET /healthz): it answered 500").count(),
            2
        );
        assert_eq!(output.matches("passes its check (GET /healthz) and is back online").count(), 2);
    });
}

#[test]
fn late_cut_and_missing_answers_fail_the_check() {
    for_each_host(|kind| {
        let good = echo("good");
        for bad in [
            Backend::start("silent", vice::never_answers()),
            Backend::start("cut", vice::closes_mid_body(100, 10, support::Next::Close)),
            Backend::start("closes", vice::accepts_and_closes()),
            Backend::start("garbage", vice::garbage()),
        ] {
            let conf = Conf::new().with_statistics().route("^/app", &[&bad, &good]);
            let host = Host::start(kind, with_check(conf));
            let out = || server(&host, 0)["cause"] == "check";
            assert!(within(Duration::from_secs(3), out), "{}: {}", bad.name(), server(&host, 0));
            assert_eq!(server(&host, 1)["state"], "online");
            assert_eq!(host.get("/app").expect(200).backend(), "good");
        }
    });
}

#[test]
fn when_all_fail_their_checks_they_serve_all_the_same() {
    for_each_host(|kind| {
        let (status, checks) = (Arc::new(AtomicU16::new(404)), Arc::default());
        let a = checked("a", &status, &checks);
        let host = Host::start(kind, with_check(Conf::new().with_statistics().route("^/app", &[&a])));
        assert!(within(Duration::from_secs(3), || server(&host, 0)["state"] == "offline"));
        for _ in 0..20 {
            host.get("/app").expect(200);
        }
    });
}

#[test]
fn probes_and_checks_leave_no_descriptors() {
    harness_only(|kind: Kind| {
        let (a, b) = (echo("a"), Backend::refuses("b"));
        let silent = Backend::start("silent", vice::never_answers());
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("ProbeInterval 50ms")
            .with("KeepAlive off")
            .route("^/checked", &[&a, &b, &silent])
            .with("HealthCheck GET /x")
            .with("HealthInterval 50ms")
            .with("HealthTimeOut 60ms");
        let host = Host::start(kind, conf);
        while server(&host, 1)["state"] == "online" {
            host.get("/app").expect(200);
        }
        thread::sleep(Duration::from_millis(300));
        let before = host.descriptors();
        let asked = a.requests();
        assert!(within(Duration::from_secs(4), || a.requests() >= asked + 30));
        // Three checks may be under way at any moment.
        assert!(
            host.descriptors() <= before + 4,
            "{} of {before}: {}",
            host.descriptors(),
            host.open_files()
        );
    });
}

#[test]
fn no_thread_without_need() {
    for_each_host(|kind| {
        let a = echo("a");
        let has_prober = |lines: &[&str]| {
            let conf = lines.iter().fold(Conf::new().route("^/app", &[&a]), |conf, line| conf.with(line));
            let host = Host::start(kind, conf);
            host.get("/app").expect(200);
            let tasks = std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().flatten();
            let names =
                tasks.map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
            names.filter(|name| name.trim() == "proxy-prober").count()
        };
        assert_eq!(has_prober(&[]), 1);
        assert_eq!(has_prober(&["ProbeOffline off"]), 0);
        assert_eq!(has_prober(&["OfflineTimeOut 0"]), 0);
        assert_eq!(has_prober(&["AttemptsCount 0", "HealthCheck tcp"]), 1);
    });
}
