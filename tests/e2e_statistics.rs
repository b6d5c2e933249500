//! The page of statistics, for people and for programs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Backend, Conf, Host, conf::STATISTICS, eventually, for_each_host, vice};

fn server<'a>(statistics: &'a Value, route: usize, address: &str) -> &'a Value {
    let servers = statistics["routes"][route]["backends"].as_array();
    let servers = servers.unwrap_or_else(|| panic!("no backends of route {route}: {statistics:#}"));
    let found = servers.iter().find(|server| server["address"] == address);
    found.unwrap_or_else(|| panic!("{address} is not in {statistics:#}"))
}

#[track_caller]
fn number(server: &Value, field: &str) -> u64 {
    server[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {server:#}"))
}

#[test]
fn counters_per_route_and_server_add_up() {
    for_each_host(|kind| {
        let (a, b) =
            (Backend::start("a", vice::status_by_target()), Backend::start("b", vice::status_by_target()));
        let conf = Conf::new().with_statistics().route("^/both", &[&a, &b]).route("^/alone", &[&a]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for _ in 0..6 {
            client.get("/both/200").expect(200);
        }
        for (status, times) in [(200, 4), (302, 3), (404, 2), (500, 1)] {
            for _ in 0..times {
                client.get(&format!("/alone/{status}")).expect(status);
            }
        }
        let statistics = host.statistics();
        let (first, second) = (server(&statistics, 0, &a.address()), server(&statistics, 0, &b.address()));
        assert_eq!((number(first, "requests"), number(second, "requests")), (3, 3));
        assert_eq!((number(first, "status_2xx"), number(second, "status_2xx")), (3, 3));
        let alone = server(&statistics, 1, &a.address());
        let fields = ["requests", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "failures"];
        assert_eq!(fields.map(|field| number(alone, field)), [10, 4, 3, 2, 1, 0]);
        assert_eq!(alone["state"], "online");
        assert_eq!(number(alone, "offline_count"), 0);
    });
}

#[test]
fn connects_first_bytes_and_whole_answers_are_timed() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::slow_echo(Duration::from_millis(60)));
        let host = Host::start(kind, Conf::new().with_statistics().route("^/app", &[&a]));
        let mut client = host.client();
        for _ in 0..4 {
            client.get("/app").expect(200);
        }
        let statistics = host.statistics();
        assert_eq!(statistics["schema"], 1);
        let route = &statistics["routes"][0];
        let server = server(&statistics, 0, &a.address());
        let opened = number(server, "connections_opened");
        assert_eq!(number(&server["connect"], "count"), opened, "{server:#}");
        for times in [&server["first_byte"], &server["total"]] {
            assert_eq!(number(times, "count"), 4, "{server:#}");
            let [p50, p99, max] = ["p50_us", "p99_us", "max_us"].map(|field| number(times, field));
            // A percentile may be a sixteenth off.
            assert!(p50 >= 56_000 && p50 <= p99 && p99 <= max, "{server:#}");
        }
        assert_eq!(number(route, "requests"), 4);
        let seconds = route["requests_by_second"].as_array().unwrap();
        assert_eq!(seconds.len(), 60);
        eventually(Duration::from_secs(3), "all are in whole seconds", || {
            let statistics = host.statistics();
            let seconds = statistics["routes"][0]["requests_by_second"].as_array().unwrap().clone();
            seconds.iter().filter_map(Value::as_u64).sum::<u64>() == 4
        });
    });
}

#[test]
fn requests_in_flight_are_connections() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::never_answers());
        let host = Host::start(kind, Conf::new().with_statistics().route("^/app", &[&a]));
        let mut clients: Vec<_> = (0..3).map(|_| host.client()).collect();
        for client in &mut clients {
            client.send_request("GET", "/app", "", b"");
        }
        let connections = || number(server(&host.statistics(), 0, &a.address()), "connections");
        eventually(Duration::from_secs(2), "3 in flight", || connections() == 3);
        clients.clear();
        eventually(Duration::from_secs(3), "0 in flight", || connections() == 0);
    });
}

#[test]
fn a_dead_server_is_shown_as_offline() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::refuses("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("AttemptsCount 2")
            .with("OfflineTimeOut 60");
        let host = Host::start(kind, conf);
        for _ in 0..10 {
            host.get("/app").expect(200);
        }
        let statistics = host.statistics();
        let dead = server(&statistics, 0, &b.address());
        assert_eq!(dead["state"], "offline");
        assert_eq!((number(dead, "failures"), number(dead, "offline_count")), (2, 1));
        assert_eq!(server(&statistics, 0, &a.address())["state"], "online");
    });
}

#[test]
fn a_name_without_an_address_is_shown_as_unresolved() {
    for_each_host(|kind| {
        let conf = Conf::new().with_statistics().route_to("^/app", "no-such-host.invalid:80");
        let host = Host::start(kind, conf);
        eventually(Duration::from_secs(4), "it is unresolved", || {
            let statistics = host.statistics();
            server(&statistics, 0, "no-such-host.invalid:80")["state"] == "unresolved"
        });
    });
}

#[test]
fn the_page_is_html_and_names_every_server() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().with_statistics().route("^/app<script>", &[&a]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for _ in 0..2 {
            let page = client.get(STATISTICS).expect(200);
            let kind_of_page = page.header("Content-Type").unwrap_or_default();
            assert!(kind_of_page.starts_with("text/html"), "{page:?}");
            assert!(page.text().contains(&a.address()), "{}", page.text());
            assert!(!page.text().contains("<script>"), "not escaped: {}", page.text());
        }
        let head = client.ask("HEAD", STATISTICS, "", b"").expect(200);
        assert!(head.body.is_empty());
        client.get("/page.html").expect(200);
    });
}

#[test]
fn the_page_is_never_proxied_nor_there_when_not_asked_for() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().with_statistics().route(".", &[&a]));
        assert_eq!(host.get(STATISTICS).expect(200).backend(), "");
        assert_eq!(a.requests(), 0);
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        assert_eq!(host.get(STATISTICS).status, 404);
    });
}
