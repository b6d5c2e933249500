//! Loading, refusing to load, configuration errors, and the end of the server.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use support::{
    Backend, Conf, Host, Kind, Next, Setup, assert_bytes, build, conf::PAGE, for_each_host, harness_only,
    host::has_asan, pattern, vice,
};

#[test]
fn exactly_the_promised_symbols_are_exported() {
    let output = match Command::new("nm").args(["-D", "--defined-only"]).arg(build::plugin()).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: nm: {error}");
            return;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<_> = text.lines().filter_map(|line| line.split(' ').next_back()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "_mkp_core_thctx",
            "_mkp_event_close",
            "_mkp_event_error",
            "_mkp_event_read",
            "_mkp_event_timeout",
            "_mkp_event_write",
            "_mkp_exit",
            "_mkp_init",
            "_mkp_stage_30",
            "_mkp_stage_40",
            "_mkp_stage_50",
            "_plugin_info",
            "mk_plugin_proxy_reverse",
        ]
    );
}

/// The plugin is out, the static site is in.
fn serves_only_the_static_site(host: &Host) {
    assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
    // Monkey 1.8 still has the path in [HANDLERS], and nobody behind it.
    let status = host.get("/app").status;
    assert!(status == 404 || (host.kind.is_modern() && status == 500), "{status}");
}

#[test]
fn a_bad_configuration_refuses_the_plugin_and_says_where() {
    let a = Backend::start("a", vice::echo());
    let conf = format!(
        "[PROXY_DEFAULTS]\n    AttemptsCount many\n\n[PROXY_ENTRY]\n    Match ^/app\n    \
         ServerList {}\n    LoadBalancer Rond-Robin\n",
        a.address()
    );
    for_each_host(|kind| {
        let host = Host::start(kind, conf.clone());
        host.expect_output("proxy_reverse.conf:2:");
        host.expect_output("proxy_reverse.conf:7:");
        serves_only_the_static_site(&host);
    });
}

#[test]
fn a_bad_regular_expression_says_where() {
    for_each_host(|kind| {
        let conf = "[PROXY_ENTRY]\n    ServerList 127.0.0.1:1\n    Match ^/app(\n";
        let host = Host::start(kind, conf);
        host.expect_output("proxy_reverse.conf:3:");
        serves_only_the_static_site(&host);
    });
}

#[test]
fn an_empty_configuration_leaves_the_static_site() {
    for_each_host(|kind| {
        let host = Host::start(kind, "");
        serves_only_the_static_site(&host);
    });
}

/// Versions of another layout, and supported ones beside the last: 1.5.5 is one or the other.
const OTHERS: (&[&str], &[&str]) = if cfg!(target_pointer_width = "64") {
    (&["1.4.0", "unknown"], &["1.5.5", "hidden"])
} else {
    (&["1.4.0", "unknown", "1.5.5"], &["hidden"])
};

#[test]
fn versions_that_are_not_known_are_refused_aloud() {
    let a = Backend::start("a", vice::echo());
    harness_only(|kind| {
        for variant in OTHERS.0 {
            let conf = Conf::new().route("^/app", &[&a]);
            let host = Setup::new(kind, conf).arg("-V").arg(variant).start();
            serves_only_the_static_site(&host);
            let output = host.output();
            let aloud = output.contains("proxy_reverse") && output.contains("supported");
            assert!(aloud, "-V {variant} printed:\n{output}");
        }
    });
}

#[test]
fn other_versions_of_the_family_work() {
    let a = Backend::start("a", vice::echo());
    harness_only(|kind| {
        for variant in OTHERS.1 {
            let conf = Conf::new().route("^/app", &[&a]);
            let host = Setup::new(kind, conf).arg("-V").arg(variant).start();
            let mut client = host.client();
            for i in 0..20 {
                let target = format!("/app/{i}");
                assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
                assert_eq!(client.get("/page.html").expect(200).text(), PAGE.1);
            }
        }
    });
}

#[test]
fn an_answer_never_goes_to_the_next_client_with_that_descriptor() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(20)));
    harness_only(|kind| {
        for variant in ["1.5.5", "1.5.6"] {
            if OTHERS.0.contains(&variant) {
                continue;
            }
            let conf = Conf::new().route("^/app", &[&a]);
            let mut setup = Setup::new(kind, conf).workers(1);
            if variant != "1.5.6" {
                setup = setup.arg("-V").arg(variant);
            }
            let host = setup.start();
            for i in 0..40 {
                let mut leaver = host.client();
                leaver.send_request("GET", "/app/left", "", b"");
                thread::sleep(Duration::from_millis(5));
                leaver.reset();
                let target = format!("/app/{i}");
                assert_eq!(host.get(&target).expect(200).text(), format!("GET {target}\n"));
            }
        }
    });
}

#[test]
fn a_daemon_without_its_standard_streams_works() {
    let a = Backend::start("a", vice::echo());
    let dead = Backend::refuses("dead");
    harness_only(|kind| {
        let conf = Conf::new().route("^/app", &[&a, &dead]).route("^/dead", &[&dead]);
        let host = Setup::new(kind, conf).arg("-V").arg("daemon").start();
        // Descriptors 1 and 2 may be clients here: whatever is logged must not reach them.
        let mut clients: Vec<_> = (0..10).map(|_| host.client()).collect();
        for _ in 0..5 {
            for client in &mut clients {
                client.get("/app").expect(200);
                assert!((502..=504).contains(&client.get("/dead").status));
                assert_eq!(client.get("/page.html").expect(200).text(), PAGE.1);
            }
        }
    });
}

/// A real server takes connections before it has dropped its privileges; a signal in between
/// finds its main thread inside `setegid`, and 1.8.9 may then wait for itself, without a plugin too.
fn settle(kind: Kind) {
    if !kind.is_harness() {
        thread::sleep(Duration::from_millis(400));
    }
}

#[test]
fn sigterm_during_traffic_ends_with_success() {
    let a = Backend::start("a", vice::fixed(50_000));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let (addr, stop) = (host.addr(), AtomicBool::new(false));
        let status = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        let Ok(mut client) = support::Client::try_connect(addr) else { return };
                        while client.try_send("GET /app HTTP/1.1\r\nHost: h\r\n\r\n").is_ok()
                            && client.try_read("GET").is_ok()
                            && !stop.load(SeqCst)
                        {}
                    }
                });
            }
            support::eventually(Duration::from_secs(2), "traffic", || a.requests() > 50);
            settle(kind);
            let (status, _) = host.stop();
            stop.store(true, SeqCst);
            status
        });
        // Monkey 1.5.6 unloads its plugins while its workers run, and may abort for that, with or
        // without this plugin (docs/HOST_ABI.md).
        let hosts_own_end = kind == Kind::Monkey15 && status.signal() == Some(libc::SIGABRT);
        assert!(status.success() || hosts_own_end, "{status}");
    });
}

#[test]
fn sigterm_with_requests_in_service_ends_with_success() {
    let a = Backend::start("a", vice::never_answers());
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let before = a.requests();
        let mut clients: Vec<_> = (0..8).map(|_| host.client()).collect();
        for client in &mut clients {
            client.send_request("GET", "/app", "", b"");
        }
        support::eventually(Duration::from_secs(2), "in service", || a.requests() - before == 8);
        settle(kind);
        let (status, _) = host.stop();
        assert!(status.success(), "{status}");
    });
}

#[test]
fn the_stock_logger_survives_every_status() {
    let a = Backend::start("a", vice::status_by_target());
    let dead = Backend::refuses("dead");
    for_each_host(|kind| {
        if kind.is_modern() {
            return; // its logger does not load any more
        }
        let conf = Conf::new().route("^/dead", &[&dead]).route("^/[0-9]", &[&a]);
        let host = Setup::new(kind, conf).logger().start();
        let mut client = host.client();
        for status in [200, 204, 304, 307, 308, 418, 429, 451, 503, 511, 599] {
            assert_eq!(client.get(&format!("/{status}")).status, status);
        }
        assert!((502..=504).contains(&client.get("/dead").status));
        client.get("/page.html").expect(200);
    });
}

#[test]
fn a_body_above_the_servers_limit_is_413_and_the_server_lives() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        if kind.is_modern() {
            return; // it waits for the body until it is too large
        }
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        for _ in 0..3 {
            let mut client = host.client();
            // One of the server's own: of ours it reads the head alone.
            client.send("POST /own HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\nabc");
            let answer = client.try_read("POST");
            assert!(answer.is_ok_and(|response| response.status == 413));
            assert!(client.closed_within(Duration::from_secs(2)), "left open after 413");
        }
        host.get("/app").expect(200);
    });
}

#[test]
fn a_mixed_load_leaves_the_sanitizer_silent() {
    if !has_asan() {
        return;
    }
    harness_only(|kind: Kind| {
        let a = Backend::start("a", vice::echo());
        let b = Backend::start("b", vice::chunked(100_000));
        let c = Backend::start("c", vice::reads_and_leaves(Next::Close));
        let d = Backend::start("d", vice::never_answers());
        let conf = Conf::new()
            .with_statistics()
            .route("^/a", &[&a, &c])
            .route("^/b", &[&b])
            .route("^/d", &[&d])
            .with("HeaderTimeOut 1");
        let host = Setup::new(kind, conf).asan().start();
        thread::scope(|scope| {
            for id in 0..8 {
                let (host, d) = (&host, &d);
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
                            support::within(Duration::from_millis(50), || d.requests() > 0);
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
fn a_server_that_does_not_block_sigpipe_survives_clients_that_leave() {
    let a = Backend::start("a", vice::fixed(2_000_000));
    harness_only(|kind| {
        let conf = Conf::new().route("^/app", &[&a]);
        let mut host = Setup::new(kind, conf).arg("-V").arg("sigpipe").start();
        for _ in 0..20 {
            let mut leaver = support::Client::connect_narrow(host.addr());
            leaver.send_request("GET", "/app", "", b"");
            support::within(Duration::from_millis(20), || false);
            leaver.reset();
        }
        host.get("/app").expect(200);
        assert!(host.is_alive());
    });
}

#[test]
fn a_signal_handled_by_a_worker_ends_with_success() {
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(30)));
    harness_only(|kind| {
        let conf = Conf::new().route("^/app", &[&a]);
        let host = Setup::new(kind, conf).arg("-V").arg("exit-thread").start();
        let mut clients: Vec<_> = (0..8).map(|_| host.client()).collect();
        for client in &mut clients {
            client.send_request("GET", "/app", "", b"");
        }
        let (status, output) = host.stop();
        assert!(status.success(), "{status}:\n{output}");
    });
}
