//! Which connection a request goes out on: RFC 9112 section 9.

use std::time::Duration;

use crate::support::{
    Backend, Conf, Next, Setup, for_each_host,
    rules::{LIMIT, on_echo, on_vice},
    vice, within,
};

/// C1 MUST: Requests of many clients share a few connections.
#[test]
fn c1_clients_share_connections() {
    on_echo("C1", |p| {
        for i in 0..12 {
            let target = format!("/app/{i}");
            assert_eq!(p.host.get(&target).expect(200).text(), format!("GET {target}\n"));
        }
        assert!(p.a.connections() <= 3, "{} connections", p.a.connections());
    });
}

/// C2 MUST: A backend's close is obeyed, and not relayed to the client.
#[test]
fn c2_a_backends_close_is_its_own() {
    for option in ["close", "Close", "x, close", "close, keep-alive"] {
        let bytes = format!("HTTP/1.1 200 OK\r\nConnection: {option}\r\nContent-Length: 2\r\n\r\nok");
        on_vice("C2", vice::raw(bytes, Next::Again), |p| {
            let mut client = p.host.client();
            for _ in 0..4 {
                let response = client.get("/app").expect(200);
                assert!(
                    !response.all("Connection").join(",").to_lowercase().contains("close"),
                    "{response:?}"
                );
            }
            assert_eq!(p.a.connections(), 4, "used again after {option:?}");
            assert!(within(LIMIT, || p.a.open() == 0), "kept open after {option:?}");
        });
    }
}

/// C3 MUST: A connection that the backend closed while it was idle costs no request.
#[test]
fn c3_an_idle_close_costs_nothing() {
    for how in [Next::Close, Next::Reset] {
        on_vice("C3", vice::leaves_when_idle(Duration::from_millis(3), how), |p| {
            let mut client = p.host.client();
            for _ in 0..20 {
                client.get("/app").expect(200);
                assert!(within(LIMIT, || p.a.open() == 0));
            }
        });
    }
}

/// C3b MUST: The same without any pause.
#[test]
fn c3b_a_close_at_once_costs_nothing() {
    for how in [Next::Close, Next::Reset] {
        on_vice("C3b", vice::leaves_when_idle(Duration::ZERO, how), |p| {
            let mut client = p.host.client();
            for round in 0..60 {
                let response = client.get("/app");
                assert_eq!(response.status, 200, "{how:?}, round {round}: {response:?}");
            }
        });
    }
}

/// C21 MUST: A pooled connection serves the address that it leads to, and no other.
#[test]
fn c21_pools_are_per_address() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/a", &[&a]).route("^/b", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        let mut client = host.client();
        for _ in 0..5 {
            assert_eq!(client.get("/a").expect(200).backend(), "a");
            assert_eq!(client.get("/b").expect(200).backend(), "b");
        }
    });
}
