//! A server that has no descriptor left: that is its own trouble, and no backend's. It says so, to
//! clients and to the operator, neither spins nor dies, and goes on when there are some again.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Kind, Setup, eventually, for_each_host,
    host::expect_quiet,
    usage::{cpu, descriptor_limits, is_root, limit_descriptors},
    vice, within,
};

const SECOND: Duration = Duration::from_secs(1);

/// A host that has begun altogether. With several workers it would answer before that, and 1.5
/// ends when one of them gets no descriptor.
fn start(kind: Kind, conf: Conf) -> Host {
    let host = Setup::new(kind, conf).workers(1).ulimit("-S -n 1000").start();
    if is_root() && kind == Kind::Monkey15 {
        // As root it gives itself all that it may have, and would take back what we take away.
        let limits = || descriptor_limits(host.pid());
        eventually(2 * SECOND, "it has changed its limit", || limits().0 == limits().1);
    }
    host
}

/// Leaves a running host no descriptor but those that it has; false where that cannot be done.
fn take_away(host: &Host) -> bool {
    limit_descriptors(host.pid(), 0)
}

fn give_back(host: &Host) {
    assert!(limit_descriptors(host.pid(), 1024));
}

/// Clients that are connected, and known to a worker.
fn clients(host: &Host, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| host.client()).collect();
    for client in &mut clients {
        client.get("/page.html").expect(200);
    }
    clients
}

/// Lines of the log since `from` that tell of it.
fn complaints(host: &Host, from: usize) -> usize {
    let output = host.output();
    output[from..].lines().filter(|line| line.contains("proxy_reverse") && line.contains("24")).count()
}

#[test]
fn a_lack_of_descriptors_sets_no_backend_offline() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a, &b]).with("KeepAlive off").with_statistics();
        let host = start(kind, conf);
        let mut clients: Vec<_> = (0..8).map(|_| host.client()).collect();
        for client in &mut clients {
            client.get("/app").expect(200);
        }
        expect_quiet(2 * SECOND, &[&a, &b]);
        if !take_away(&host) {
            return;
        }
        for client in &mut clients {
            let status = client.get("/app").status;
            assert!((502..=503).contains(&status), "{status} without a descriptor for the backend");
        }
        give_back(&host);
        thread::sleep(Duration::from_millis(50));
        let output = host.output();
        assert!(!output.contains("is offline"), "backends are blamed for our own lack:\n{output}");
        let mut seen: Vec<_> = (0..8).map(|_| host.get("/app").expect(200).backend().to_owned()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "b"], "all of them serve again at once");
    });
}

#[test]
fn a_lack_of_descriptors_is_told_to_each_client_and_now_and_then_to_the_log() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = start(kind, Conf::new().route("^/app", &[&a, &b]).with("KeepAlive off"));
        host.get("/app").expect(200);
        let mut clients = clients(&host, 6);
        expect_quiet(2 * SECOND, &[&a, &b]);
        let from = host.output().len();
        if !take_away(&host) {
            return;
        }
        let until = Instant::now() + SECOND;
        let refused = thread::scope(|scope| {
            let threads: Vec<_> = (clients.iter_mut())
                .map(|client| {
                    scope.spawn(move || {
                        let mut refused = 0;
                        while refused < 150 && Instant::now() < until {
                            let response = client.get("/app").expect(503);
                            assert!(response.header("Retry-After").is_some(), "{response:?}");
                            refused += 1;
                        }
                        refused
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        let lines = complaints(&host, from);
        assert!((1..=12).contains(&lines), "{lines} lines for {refused} requests");
        give_back(&host);
        host.get("/app").expect(200);
    });
}

#[test]
fn without_descriptors_nothing_spins() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::refuses("b"));
    for_each_host(|kind| {
        let conf = Conf::new()
            .default_key("ProbeInterval 100ms")
            .route("^/app", &[&a, &b])
            .with("KeepAlive off")
            .route("^/checked", &[&a])
            .with("HealthCheck GET /up")
            .with("HealthInterval 1")
            .route_to("^/named", &format!("localhost:{}", a.addr().port()));
        let host = start(kind, conf);
        let mut clients = clients(&host, 8);
        for client in &mut clients {
            client.get("/app").expect(200);
        }
        let from = host.output().len();
        if !take_away(&host) {
            return;
        }
        for client in &mut clients {
            client.get("/app").expect(503);
        }
        // The prober asks, and would be answered by a lack each time.
        let before = cpu(&host);
        thread::sleep(SECOND);
        let used = cpu(&host) - before;
        assert!(used < SECOND / 4, "{used:?} of processor time in a second of idleness");
        let lines = complaints(&host, from);
        assert!(lines <= 20, "{lines} lines:\n{}", host.output());
        give_back(&host);
        eventually(3 * SECOND, "it is probed again", || host.get("/checked").status == 200);
    });
}

#[test]
fn a_worker_that_has_no_descriptors_to_begin_with_begins_later() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = start(kind, Conf::new().route("^/app", &[&a]));
        // Connected, and nothing asked: no worker has begun. A head in two pieces, since a server
        // may not even accept who sends nothing.
        let mut clients: Vec<_> = (0..50).map(|_| host.client()).collect();
        clients.iter_mut().for_each(|client| client.send("GET /app HTTP/1.1\r\n"));
        // Those, and the one that it listens on.
        let sockets = || host.open_files().matches("socket:").count();
        eventually(5 * SECOND, "all are accepted", || sockets() > clients.len());
        let have = host.descriptors();
        let from = host.output().len();
        for (round, some) in clients.chunks_mut(10).enumerate() {
            let limit = if round == 0 { 0 } else { have + round };
            if !limit_descriptors(host.pid(), limit) {
                return;
            }
            for client in some {
                client.send("Host: h\r\n\r\n");
                let answer = client.try_read("GET");
                let Ok(response) = answer else { panic!("{round} descriptors: {answer:?}") };
                assert!(matches!(response.status, 200 | 503), "{round} descriptors: {response:?}");
                assert!(round > 0 || response.status == 503, "a worker without a descriptor");
                assert_eq!(response.end, End::Complete);
            }
        }
        let lines = complaints(&host, from);
        assert!((1..=10).contains(&lines), "{lines} lines:\n{}", host.output());
        give_back(&host);
        for _ in 0..3 {
            host.get("/app").expect(200);
        }
    });
}

#[test]
fn more_clients_than_descriptors_are_served_one_after_the_other() {
    const CLIENTS: usize = 90;
    let a = Backend::start("a", vice::slow_echo(Duration::from_millis(20)));
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).ulimit("-n 64").start();
        let served = thread::scope(|scope| {
            let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| ask_until_served(&host))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|&served| served).count()
        });
        assert_eq!(served, CLIENTS, "{kind:?}");
        // Idle again, it has all of them back.
        let before = cpu(&host);
        thread::sleep(SECOND / 2);
        let used = cpu(&host) - before;
        assert!(used < SECOND / 5, "{used:?} of processor time in half a second of idleness");
        for _ in 0..20 {
            host.get("/app").expect(200);
        }
    });
}

/// Comes again when it is not let in or refused, as clients do.
fn ask_until_served(host: &Host) -> bool {
    within(10 * SECOND, || {
        let Ok(client) = Client::try_connect(host.addr()) else { return false };
        let mut client = client.with_deadline(2 * SECOND);
        let asked = client.try_send("GET /app HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        match (asked, client.try_read("GET")) {
            (Ok(()), Ok(response)) if response.status == 200 => {
                assert_eq!((response.end, response.text()), (End::Complete, "GET /app\n".into()));
                true
            }
            (Ok(()), Ok(response)) => {
                assert!((502..=503).contains(&response.status), "{response:?}");
                false
            }
            _ => false,
        }
    })
}
