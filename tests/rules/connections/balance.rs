//! Several servers behind one route.

use crate::support::{
    Backend, Conf, Host, eventually, for_each_host,
    rules::{LIMIT, host_of},
    vice,
};

fn three() -> [Backend; 3] {
    ["a", "b", "c"].map(|name| Backend::start(name, vice::echo()))
}

/// C19 SHOULD: Round robin is even.
#[test]
fn c19_round_robin_is_even() {
    let servers = three();
    for_each_host(|kind| {
        let before = servers.each_ref().map(Backend::requests);
        let host = Host::start(kind, Conf::new().route("^/app", &servers.each_ref()));
        for _ in 0..30 {
            host.get("/app").expect(200);
        }
        for (server, before) in servers.iter().zip(before) {
            assert!(server.requests() - before >= 6, "{server:?}: {}", server.requests() - before);
        }
    });
}

/// C20 MUST: One server of three that refuses costs no GET, and is used again once it is back.
#[test]
fn c20_a_dead_server_costs_nothing_and_comes_back() {
    let [a, b, c] = three();
    for_each_host(|kind| {
        b.stop();
        let conf = Conf::new().route("^/app", &[&a, &b, &c]).with("OfflineTimeOut 1");
        let host = Host::start(kind, conf);
        for _ in 0..30 {
            host.get("/app").expect(200);
        }
        b.restart(vice::echo());
        let before = b.requests();
        eventually(LIMIT, "it is used again", || {
            host.get("/app").expect(200);
            b.requests() > before
        });
        // One server alone works as well.
        assert_eq!(host_of(kind, &a).get("/app").expect(200).backend(), "a");
    });
}
