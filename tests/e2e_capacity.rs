//! Servers with weights, as backups, disabled, with a limit; and requests that wait for one.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Backend, Client, Conf, Host, eventually, for_each_host, vice};

const LIMIT: Duration = Duration::from_secs(10);

/// Requests for `/app/hold...` stay at the server until the gate lets them go.
#[derive(Default)]
struct Gate {
    permits: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    /// Lets so many requests go.
    fn open(&self, many: usize) {
        *self.permits.lock().unwrap() += many;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = |permits: &mut usize| *permits == 0;
        let (mut permits, _) =
            self.opened.wait_timeout_while(self.permits.lock().unwrap(), LIMIT, closed).unwrap();
        *permits = permits.saturating_sub(1);
    }
}

/// A server behind a gate.
fn gated(name: &str, gate: &Arc<Gate>) -> Backend {
    Backend::start(name, holds(gate))
}

fn holds(gate: &Arc<Gate>) -> vice::Vice {
    let gate = Arc::clone(gate);
    vice::answering(move |conn, seen| {
        if seen.target.starts_with("/app/hold") {
            gate.pass();
        }
        let mut body = format!("{}\n", seen.target).into_bytes();
        body.extend_from_slice(&seen.body);
        conn.answer(seen, &body)
    })
}

/// An entry with these `Server` lines, and statistics.
fn conf(servers: &[String]) -> Conf {
    let [first, others @ ..] = servers else { panic!("no server") };
    let line = |server: &String| format!("Server {server}");
    let mut conf = Conf::new().with_statistics().entry("^/app", &line(first));
    for server in others {
        conf = conf.with(&line(server));
    }
    conf
}

fn route(host: &Host) -> Value {
    host.statistics()["routes"][0].clone()
}

/// How many requests wait.
fn waiting(host: &Host) -> u64 {
    route(host)["waiting"].as_u64().unwrap()
}

/// A client that has asked for this, and has no answer yet.
fn asking(host: &Host, target: &str) -> Client {
    let mut client = host.client();
    client.send_request("GET", target, "", b"");
    client
}

/// A client whose request is at this server.
fn holding(host: &Host, server: &Backend, target: &str) -> Client {
    let before = server.requests();
    let client = asking(host, target);
    eventually(LIMIT, "the request is at the server", || server.requests() > before);
    client
}

/// A client whose request waits behind so many others.
fn queued(host: &Host, target: &str, others: u64) -> Client {
    let client = asking(host, target);
    eventually(LIMIT, "the request waits", || waiting(host) == others + 1);
    client
}

fn backends_of(host: &Host, requests: usize) -> Vec<String> {
    (0..requests).map(|_| host.get("/app").expect(200).backend().to_owned()).collect()
}

fn count(all: &[String], name: &str) -> usize {
    all.iter().filter(|it| *it == name).count()
}

#[test]
fn weights_share_the_requests() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let host = Host::start(kind, conf(&[format!("{} weight=3", a.address()), b.address()]));
        let all = backends_of(&host, 8);
        assert_eq!((count(&all, "a"), count(&all, "b")), (6, 2), "{all:?}");
        let servers = &route(&host)["backends"];
        assert_eq!((&servers[0]["weight"], &servers[1]["weight"]), (&3.into(), &1.into()));
    });
}

#[test]
fn a_backup_stands_in_and_steps_back() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = conf(&[a.address(), format!("{} backup", b.address())])
            .with("AttemptsCount 1")
            .with("ProbeInterval 50ms")
            .with("SlowStart 0");
        let host = Host::start(kind, conf);
        assert_eq!(count(&backends_of(&host, 4), "a"), 4);
        a.stop();
        assert_eq!(count(&backends_of(&host, 4), "b"), 4);
        a.restart(vice::echo());
        eventually(LIMIT, "the first one is asked again", || host.get("/app").expect(200).backend() == "a");
        assert_eq!(count(&backends_of(&host, 4), "a"), 4);
    });
}

#[test]
fn a_disabled_server_gets_nothing_and_is_shown() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = conf(&[a.address(), format!("{} disabled", b.address())]).with("HealthCheck tcp");
        let host = Host::start(kind, conf.with("HealthInterval 50ms"));
        eventually(LIMIT, "the other one is checked", || a.connections() > 1);
        assert_eq!(count(&backends_of(&host, 6), "a"), 6);
        assert_eq!((b.requests(), b.connections()), (0, 0));
        assert_eq!(route(&host)["backends"][1]["state"], "disabled");
    });
}

#[test]
fn where_all_are_disabled_it_is_a_503() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, conf(&[format!("{} disabled", a.address())]));
        host.expect_output("all servers of this entry are disabled");
        assert!(host.get("/app").expect(503).header("retry-after").is_some());
    });
}

#[test]
fn a_name_is_what_statistics_and_messages_say() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = conf(&[format!("{} name=app-1", a.address())]).with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        host.get("/app").expect(502);
        host.expect_output(&format!("backend app-1 ({}) is offline", a.address()));
        assert_eq!(route(&host)["backends"][0]["name"], "app-1");
        assert!(host.get(support::conf::STATISTICS).expect(200).text().contains(">app-1<"));
    });
}

#[test]
fn a_busy_server_is_passed_over_and_all_busy_is_a_503() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let (a, b) = (gated("a", &gate), gated("b", &gate));
        let host = Host::start(kind, conf(&[a.address(), b.address()]).with("MaxConnections 1"));
        let mut first = holding(&host, &a, "/app/hold/1");
        assert_eq!(count(&backends_of(&host, 3), "b"), 3);
        let mut second = holding(&host, &b, "/app/hold/2");
        let begun = Instant::now();
        let refused = host.get("/app").expect(503);
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert!(refused.text().contains("all backends are busy"), "{}", refused.text());
        gate.open(2);
        first.read("GET").expect(200);
        second.read("GET").expect(200);
        assert_eq!(backends_of(&host, 2).len(), 2);
        let servers = &route(&host)["backends"];
        assert_eq!((&servers[0]["max"], &servers[0]["state"]), (&1.into(), &"online".into()));
    });
}

#[test]
fn a_servers_own_limit_goes_before_the_common_one() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let conf = conf(&[format!("{} max=2", a.address())]).with("MaxConnections 1");
        let host = Host::start(kind, conf);
        let mut first = holding(&host, &a, "/app/hold/1");
        let mut second = holding(&host, &a, "/app/hold/2");
        host.get("/app").expect(503);
        gate.open(2);
        first.read("GET").expect(200);
        second.read("GET").expect(200);
    });
}

#[test]
fn those_who_wait_are_served_in_their_order_whatever_thread_they_are_on() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let host = Host::start(kind, conf(&[format!("{} max=1", a.address())]).with("QueueSize 10"));
        let first = holding(&host, &a, "/app/hold/0");
        let mut clients = vec![first];
        for n in 1..=6 {
            clients.push(queued(&host, &format!("/app/hold/{n}"), n - 1));
        }
        gate.open(7);
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read("GET").expect(200).text(), format!("/app/hold/{n}\n"));
        }
        let targets: Vec<String> = a.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(targets, (0..=6).map(|n| format!("/app/hold/{n}")).collect::<Vec<_>>());
        let route = route(&host);
        assert_eq!((&route["waiting"], &route["queued"]), (&0.into(), &6.into()));
        assert_eq!(route["backends"][0]["active"], 0);
    });
}

#[test]
fn a_body_waits_with_its_request() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let host = Host::start(kind, conf(&[format!("{} max=1", a.address())]).with("QueueSize 10"));
        let mut first = holding(&host, &a, "/app/hold");
        let body = support::pattern(100_000);
        let mut second = host.client();
        second.send_request("POST", "/app/post", "", &body);
        eventually(LIMIT, "the request waits", || waiting(&host) == 1);
        gate.open(1);
        first.read("GET").expect(200);
        let answer = second.read("POST").expect(200);
        assert!(answer.body.strip_prefix(b"/app/post\n") == Some(&body[..]));
    });
}

#[test]
fn a_full_line_is_a_503_and_leaves_the_others_alone() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let host = Host::start(kind, conf(&[format!("{} max=1", a.address())]).with("QueueSize 1"));
        let mut first = holding(&host, &a, "/app/hold");
        let mut second = queued(&host, "/app/2", 0);
        assert_eq!(host.get("/app/3").expect(503).header("retry-after"), Some("1"));
        gate.open(1);
        first.read("GET").expect(200);
        second.read("GET").expect(200);
        assert_eq!(route(&host)["queue_full"], 1);
    });
}

#[test]
fn who_waits_too_long_gets_a_503() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let conf = conf(&[format!("{} max=1", a.address())]).with("QueueSize 9").with("QueueTimeOut 300ms");
        let host = Host::start(kind, conf);
        let mut first = holding(&host, &a, "/app/hold");
        let begun = Instant::now();
        let answer = host.get("/app").expect(503);
        assert!((300..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        assert!(answer.text().contains("no backend had room in time"), "{}", answer.text());
        gate.open(1);
        first.read("GET").expect(200);
        let route = route(&host);
        assert_eq!((&route["queue_timed_out"], &route["waiting"]), (&1.into(), &0.into()));
        host.get("/app").expect(200);
    });
}

#[test]
fn a_client_that_leaves_stops_waiting_and_its_place_goes_on() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let a = gated("a", &gate);
        let host = Host::start(kind, conf(&[format!("{} max=1", a.address())]).with("QueueSize 9"));
        let mut first = holding(&host, &a, "/app/hold");
        let resets = queued(&host, "/app/resets", 0);
        let leaves = queued(&host, "/app/leaves", 1);
        let mut stays = queued(&host, "/app/stays", 2);
        resets.reset();
        drop(leaves);
        eventually(LIMIT, "they are not waited for", || waiting(&host) == 1);
        gate.open(1);
        first.read("GET").expect(200);
        stays.read("GET").expect(200);
        let targets: Vec<String> = a.seen().into_iter().map(|seen| seen.target).collect();
        assert_eq!(targets, ["/app/hold", "/app/stays"]);
        assert_eq!(route(&host)["backends"][0]["active"], 0);
    });
}

#[test]
fn a_backup_takes_those_who_cannot_wait() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let (a, b) = (gated("a", &gate), Backend::start("b", vice::echo()));
        let conf = conf(&[format!("{} max=1", a.address()), format!("{} backup", b.address())])
            .with("QueueSize 1")
            .with("QueueTimeOut 10");
        let host = Host::start(kind, conf);
        let mut first = holding(&host, &a, "/app/hold");
        let mut second = queued(&host, "/app/2", 0);
        assert_eq!(host.get("/app/3").expect(200).backend(), "b");
        gate.open(1);
        first.read("GET").expect(200);
        assert_eq!(second.read("GET").expect(200).backend(), "a");
    });
}

#[test]
fn those_who_wait_for_a_server_that_dies_go_to_another() {
    let gate = Arc::new(Gate::default());
    for_each_host(|kind| {
        let (a, b) = (gated("a", &gate), Backend::start("b", vice::echo()));
        let conf = conf(&[format!("{} max=1", a.address()), format!("{} backup", b.address())])
            .with("QueueSize 9")
            .with("QueueTimeOut 60")
            .with("AttemptsCount 1");
        let host = Host::start(kind, conf);
        let mut first = holding(&host, &a, "/app/hold");
        let mut others: Vec<Client> = (0..3).map(|n| queued(&host, &format!("/app/{n}"), n)).collect();
        a.stop();
        assert_eq!(first.read("GET").expect(200).backend(), "b");
        for client in &mut others {
            assert_eq!(client.read("GET").expect(200).backend(), "b");
        }
        assert_eq!(waiting(&host), 0);
        gate.open(1);
    });
}

#[test]
fn many_clients_get_through_a_narrow_server() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = conf(&[format!("{} max=1", a.address()), format!("{} max=2", b.address())]);
        let host = Host::start(kind, conf.with("QueueSize 100"));
        std::thread::scope(|scope| {
            for n in 0..24 {
                let host = &host;
                scope.spawn(move || {
                    let mut client = host.client();
                    for i in 0..50 {
                        let target = format!("/app/{n}/{i}");
                        assert_eq!(client.get(&target).expect(200).text(), format!("GET {target}\n"));
                    }
                });
            }
        });
        let route = route(&host);
        assert_eq!((&route["waiting"], &route["queue_timed_out"]), (&0.into(), &0.into()), "{route:#}");
        assert!(route["queued"].as_u64() > Some(0), "nobody waited, this shows nothing: {route:#}");
        assert_eq!(
            (&route["backends"][0]["active"], &route["backends"][1]["active"]),
            (&0.into(), &0.into())
        );
    });
}
