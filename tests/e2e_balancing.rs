//! Each balancer's order, seen from outside.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use support::{Backend, Client, Conf, Host, Kind, Next, conf::PAGE, eventually, for_each_host, vice};

const SOON: Duration = Duration::from_secs(2);

fn three() -> [Backend; 3] {
    ["a", "b", "c"].map(|name| Backend::start(name, vice::echo()))
}

fn with_balancer(kind: Kind, balancer: &str, backends: &[&Backend]) -> Host {
    let conf = Conf::new().route("^/app", backends).with(&format!("LoadBalancer {balancer}"));
    Host::start(kind, conf)
}

/// The names of the backends that answered `n` GETs in a row on one connection.
fn order(host: &Host, n: usize) -> Vec<String> {
    let mut client = host.client();
    (0..n).map(|_| client.get("/app").expect(200).backend().to_owned()).collect()
}

fn counts(order: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for name in order {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn round_robin_alternates_c19() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        for balancer in ["Round-Robin", "Locking-Round-Robin", "lockingroundrobin"] {
            let host = with_balancer(kind, balancer, &[&a, &b, &c]);
            let order = order(&host, 30);
            for three in order.windows(3) {
                assert_eq!(counts(three).len(), 3, "{balancer}: {order:?}");
            }
        }
    });
}

#[test]
fn round_robin_is_the_default() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a, &b, &c]));
        assert!(counts(&order(&host, 30)).values().all(|&n| n == 10));
    });
}

#[test]
fn round_robin_is_even_over_many_connections_c19() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        let host = with_balancer(kind, "Round-Robin", &[&a, &b, &c]);
        let names: Vec<_> = (0..30).map(|_| host.get("/app").expect(200).backend().to_owned()).collect();
        assert!(counts(&names).values().all(|&n| n >= 6), "{names:?}");
    });
}

#[test]
fn a_server_named_twice_weighs_twice_and_is_interleaved() {
    let [a, b, _] = three();
    for_each_host(|kind| {
        for balancer in ["Round-Robin", "Locking-Round-Robin"] {
            let host = with_balancer(kind, balancer, &[&a, &a, &b]);
            let order = order(&host, 30);
            assert_eq!(counts(&order), BTreeMap::from([("a", 20), ("b", 10)]), "{balancer}");
            for three in order.windows(3) {
                assert!(three.iter().any(|name| name == "b"), "{balancer} bunches: {order:?}");
            }
        }
    });
}

#[test]
fn first_alive_sticks_to_the_first() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        let host = with_balancer(kind, "First-Alive", &[&b, &a, &c]);
        assert!(order(&host, 12).iter().all(|name| name == "b"));
    });
}

#[test]
fn source_hash_sticks_and_spreads() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        let host = with_balancer(kind, "Source-Hash", &[&a, &b, &c]);
        let mut firsts = Vec::new();
        for last in 1..=40_u8 {
            let from = IpAddr::from([127, 0, 0, last]);
            let ask = || {
                let mut client = Client::connect_from(host.addr(), from);
                client.get("/app").expect(200).backend().to_owned()
            };
            let first = ask();
            assert_eq!((ask(), ask()), (first.clone(), first.clone()), "from {from}");
            firsts.push(first);
        }
        let spread = counts(&firsts);
        assert!(spread.len() == 3 && spread.values().all(|&n| n >= 3), "{spread:?}");
    });
}

#[test]
fn source_hash_walks_on_when_its_server_is_gone_and_returns() {
    let [a, b, c] = three();
    let all = [&a, &b, &c];
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &all).with("LoadBalancer Source-Hash").with("OfflineTimeOut 1");
        let host = Host::start(kind, conf);
        let home = host.get("/app").expect(200).backend().to_owned();
        let server = all.iter().find(|server| server.name() == home).unwrap();
        server.stop();
        let away = host.get("/app").expect(200).backend().to_owned();
        assert_ne!(away, home);
        assert_eq!(host.get("/app").expect(200).backend(), away);
        server.restart(vice::echo());
        eventually(Duration::from_secs(4), "it returns home", || {
            host.get("/app").expect(200).backend() == home
        });
    });
}

#[test]
fn least_connections_avoids_the_busy_one() {
    let hang_on_hang = || {
        vice::answering(|conn, seen| {
            if seen.target.contains("hang") {
                conn.wait_for_hangup();
                return Ok(Next::Close);
            }
            conn.answer(seen, b"")
        })
    };
    let (a, b) = (Backend::start("a", hang_on_hang()), Backend::start("b", hang_on_hang()));
    for_each_host(|kind| {
        let host = with_balancer(kind, "Least-Connections", &[&a, &b]);
        let hung =
            |server: &Backend| server.seen().iter().filter(|seen| seen.target.contains("hang")).count();
        let before = (hung(&a), hung(&b));
        let mut hanging = host.client();
        hanging.send_request("GET", "/app/hang", "", b"");
        eventually(SOON, "the request hangs", || (hung(&a), hung(&b)) != before);
        let free = if hung(&a) == before.0 { "a" } else { "b" };
        assert!(order(&host, 10).iter().all(|name| name == free));
    });
}

#[test]
fn naive_goes_by_the_connections_number() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a, &b, &c]).with("LoadBalancer Naive");
        let host = support::Setup::new(kind, conf).workers(1).start();
        // The connection that looked whether the host is there may still be counted.
        let mut first = host.client();
        eventually(SOON, "a first connection gets the first server", || {
            if first.get("/app").expect(200).backend() == "a" {
                return true;
            }
            first = host.client();
            false
        });
        let mut second = host.client();
        assert_eq!(second.get("/app").expect(200).backend(), "b");
        assert_eq!(first.get("/app").expect(200).backend(), "a");
        assert_eq!(host.client().get("/page.html").expect(200).text(), PAGE.1);
        drop(second);
        eventually(SOON, "its number is free again", || {
            host.client().get("/app").expect(200).backend() == "b"
        });
    });
}

#[test]
fn each_entry_has_a_cursor_of_its_own() {
    let [a, b, _] = three();
    for_each_host(|kind| {
        let conf = Conf::new().route("^/one", &[&a, &b]).route("^/two", &[&a, &b]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        let mut order = Vec::new();
        for _ in 0..5 {
            order.push(client.get("/one").expect(200).backend().to_owned());
            client.get("/two").expect(200);
        }
        for two in order.windows(2) {
            assert_ne!(two[0], two[1], "{order:?}");
        }
    });
}
