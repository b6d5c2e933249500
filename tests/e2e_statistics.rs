//! The page of statistics, for people and for programs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::{Backend, Client, Conf, Host, Kind, Next, conf::STATISTICS, eventually, for_each_host, vice};

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
        served(&host, 4);
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
            let text = page.text();
            assert!(
                text.contains("^/app&#60;script&#62;") && !text.contains("app<script>"),
                "not escaped: {text}"
            );
            let policy = page.header("Content-Security-Policy").unwrap_or_default();
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
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

#[test]
fn the_page_is_for_those_whom_statistics_allow_names() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let near = Conf::new().with_statistics().route("^/app", &[&a]);
        let host = Host::start(kind, near.clone());
        let ask = |host: &Host, fields: &str| host.client().ask("GET", STATISTICS, fields, b"");
        ask(&host, "").expect(200);
        ask(&host, "X-Forwarded-For: 127.0.0.1, ::1\r\n").expect(200);
        let strangers = [
            "X-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n",
            "Forwarded: for=192.0.2.1\r\n",
            "X-Real-IP: 192.0.2.1\r\n",
        ];
        for fields in strangers {
            let refusal = ask(&host, fields).expect(403);
            assert!(refusal.text().contains("StatisticsAllow"), "{}", refusal.text());
            assert_eq!(refusal.header("Cache-Control"), Some("no-store"));
        }
        let mut other = Client::connect_from(host.addr(), "127.0.0.2".parse().unwrap());
        other.get(STATISTICS).expect(200);

        let one = near.clone().default_key("StatisticsAllow 127.0.0.1 10.0.0.0/8");
        let host = Host::start(kind, one);
        ask(&host, "X-Forwarded-For: 10.9.9.9\r\n").expect(200);
        let mut other = Client::connect_from(host.addr(), "127.0.0.2".parse().unwrap());
        for format in ["", "?format=json", "?format=prometheus"] {
            let refusal = other.get(&format!("{STATISTICS}{format}")).expect(403);
            assert!(!refusal.text().contains(&a.address()), "{}", refusal.text());
        }
        // What the entry serves is not touched by that.
        other.get("/app").expect(200);

        let host = Host::start(kind, near.default_key("StatisticsAllow any"));
        for fields in strangers.into_iter().chain(["X-Forwarded-For: unknown\r\n"]) {
            ask(&host, fields).expect(200);
        }
    });
}

#[test]
fn entries_that_share_a_page_must_agree_on_who_sees_it() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().with_statistics().route("^/b", &[&a]).with("StatisticsAllow any");
        let host = Host::start(kind, conf.route("^/app", &[&a]));
        host.client().ask("GET", STATISTICS, "X-Forwarded-For: 192.0.2.1\r\n", b"").expect(403);
        host.get(STATISTICS).expect(200);
    });
}

#[test]
fn the_page_is_only_to_be_read_and_not_to_be_kept() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().with_statistics().route("^/app", &[&a]));
        for format in ["", "?format=json", "?format=prometheus"] {
            let target = format!("{STATISTICS}{format}");
            let get = host.get(&target).expect(200);
            let head = host.client().ask("HEAD", &target, "", b"").expect(200);
            assert!(head.body.is_empty());
            assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
            assert_eq!(get.header("Cache-Control"), Some("no-store"));
            assert_eq!(get.header("X-Content-Type-Options"), Some("nosniff"));
            for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
                let refusal = host.client().ask(method, &target, "", b"").expect(405);
                assert_eq!(refusal.header("Allow"), Some("GET, HEAD"), "{method}");
            }
        }
        assert_eq!(a.requests(), 0);
    });
}

#[test]
fn why_a_server_went_offline_is_told_afterwards() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::refuses("b"));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("AttemptsCount 2")
            .with("OfflineTimeOut 60")
            .with("ProbeInterval 1");
        let host = Host::start(kind, conf);
        for _ in 0..10 {
            host.get("/app/x?secret=1").expect(200);
        }
        let statistics = host.statistics();
        let dead = server(&statistics, 0, &b.address());
        let [offline, failure] = &dead["events"].as_array().unwrap()[..] else { panic!("{dead:#}") };
        assert_eq!(offline["kind"], "offline");
        assert!(
            offline["why"].as_str().unwrap().starts_with("2 failures in a row; next trial in "),
            "{dead:#}"
        );
        assert_eq!((&failure["kind"], number(failure, "times")), (&"failure".into(), 2));
        assert!(failure["why"].as_str().unwrap().contains("Connection refused"), "{dead:#}");
        assert_eq!(failure["attempt"]["phase"], "connecting");
        assert_eq!(failure["attempt"]["request"], "GET /app/x");
        assert_eq!(&dead["last_error"], failure);
        assert!(number(&statistics, "time").abs_diff(number(failure, "time")) < 60);
        assert_eq!(server(&statistics, 0, &a.address())["events"], Value::Array(vec![]));

        b.restart(vice::echo());
        eventually(Duration::from_secs(8), "it is back", || {
            host.get("/app").expect(200);
            let statistics = host.statistics();
            let events = server(&statistics, 0, &b.address())["events"].as_array().unwrap().clone();
            let kinds: Vec<&str> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
            kinds == ["back", "trial", "offline", "failure"]
        });
        let fewer = host.get(&format!("{STATISTICS}?format=json&events=1")).expect(200);
        let fewer: Value = serde_json::from_slice(&fewer.body).unwrap();
        assert_eq!(server(&fewer, 0, &b.address())["events"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn an_answer_that_breaks_off_is_told_with_its_connection() {
    for_each_host(|kind| {
        let long = 200_000;
        let a = Backend::start("a", vice::closes_mid_body(2 * long, long, Next::Close));
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("AttemptsCount 0");
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/app/long?q").status, 200);
        eventually(Duration::from_secs(3), "the failure is noted", || {
            let statistics = host.statistics();
            let error = &server(&statistics, 0, &a.address())["last_error"];
            error["attempt"]["phase"] == "relaying"
                && error["attempt"]["request"] == "GET /app/long"
                && error["attempt"]["connection"]["requests"] == 1
        });
    });
}

#[test]
fn the_json_is_what_its_schema_says() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/statistics.schema.json");
    let mut schemas = boon::Schemas::new();
    let schema = boon::Compiler::new().compile(schema.to_str().unwrap(), &mut schemas).unwrap();
    for_each_host(|kind| {
        let host = mixed(kind);
        let statistics = host.statistics();
        assert_eq!(statistics["routes"].as_array().unwrap().len(), 2);
        if let Err(error) = schemas.validate(&statistics, schema) {
            panic!("{error:#}\n{statistics:#}");
        }
        // Each name is one that the schema knows and wants: this one would not be noticed otherwise.
        let mut other = statistics.clone();
        other["routes"][0]["backends"][0]["surprise"] = Value::from(1);
        assert!(schemas.validate(&other, schema).is_err());
    });
}

#[test]
fn the_reference_names_every_number() {
    let docs = |page: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page)).unwrap()
    };
    let reference = docs("STATISTICS.md");
    let schema: Value = serde_json::from_str(&docs("statistics.schema.json")).unwrap();
    let names = ["route", "backend", "durations", "event"]
        .into_iter()
        .flat_map(|part| schema["$defs"][part]["properties"].as_object().unwrap().keys().cloned());
    let host = mixed(Kind::Harness);
    let metrics = host.get(&format!("{STATISTICS}?format=prometheus")).expect(200).text();
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE monkey_proxy_"));
    let families = families.map(|line| line.split(' ').next().unwrap().to_owned());
    let all: Vec<String> = names.chain(families).collect();
    assert!(all.len() > 80);
    for name in all {
        assert!(reference.contains(&format!("`{name}`")), "docs/STATISTICS.md does not name {name}");
    }
}

#[test]
fn prometheus_finds_nothing_to_complain_of() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("promtool is not installed: its complaints about ?format=prometheus are not known");
        return;
    }
    for_each_host(|kind| {
        let host = mixed(kind);
        let text = host.get(&format!("{STATISTICS}?format=prometheus")).expect(200).body;
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(&text).unwrap();
        let said = promtool.wait_with_output().unwrap();
        let said = (said.status.success(), said.stdout, said.stderr);
        assert_eq!(said, (true, vec![], vec![]), "{}", String::from_utf8_lossy(&said.2));
    });
}

#[test]
fn prometheus_gets_the_numbers_of_the_json() {
    for_each_host(|kind| {
        let host = mixed(kind);
        let text = host.get(&format!("{STATISTICS}?format=prometheus")).expect(200);
        assert_eq!(text.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let statistics = host.statistics();
        let route = &statistics["routes"][0];
        let (entry, good) = (route["entry"].as_str().unwrap(), &route["backends"][0]);
        let address = good["address"].as_str().unwrap();
        let labels = format!("entry=\"{entry}\",server=\"{address}\",name=\"good\"");
        let text = text.text();
        for (line, value) in [
            (format!("monkey_proxy_entry_requests_total{{entry=\"{entry}\"}}"), number(route, "requests")),
            (format!("monkey_proxy_server_requests_total{{{labels}}}"), number(good, "requests")),
            (
                format!("monkey_proxy_server_responses_total{{{labels},code=\"2xx\"}}"),
                number(good, "status_2xx"),
            ),
            (
                format!("monkey_proxy_server_request_seconds_count{{{labels}}}"),
                number(&good["total"], "count"),
            ),
            (
                format!("monkey_proxy_server_request_seconds_bucket{{{labels},le=\"+Inf\"}}"),
                number(&good["total"], "count"),
            ),
            (format!("monkey_proxy_server_state{{{labels},state=\"online\"}}"), 1),
        ] {
            let line = format!("\n{line} {value}\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    });
}

/// Waits until so many requests of the first entry are counted as served: a client may have its whole
/// answer a moment before.
#[track_caller]
fn served(host: &Host, requests: u64) {
    eventually(Duration::from_secs(3), "all requests are counted", || {
        let statistics = host.statistics();
        let servers = statistics["routes"][0]["backends"].as_array().unwrap();
        servers.iter().map(|server| number(&server["total"], "count")).sum::<u64>() == requests
    });
}

/// A host with servers of all kinds that has served some requests.
fn mixed(kind: Kind) -> Host {
    let good = Backend::start("good", vice::status_by_target());
    let slow = Backend::start("slow", vice::slow_echo(Duration::from_millis(30)));
    let dead = Backend::refuses("dead");
    let conf = Conf::new()
        .with_statistics()
        .entry("^/a", &format!("Server {} name=good weight=3 max=9", good.address()))
        .with(&format!("Server {}", dead.address()))
        .with(&format!("Server {} disabled", slow.address()))
        .with("Server 127.0.0.1:1 backup")
        .with("HealthCheck off")
        .route_to("^/b\"\\\\", &format!("{} no-such-host.invalid:80", slow.address()));
    let host = Host::start(kind, conf);
    for target in ["/a/200", "/a/404", "/a/302", "/a/500", "/a/200"] {
        host.get(target);
    }
    served(&host, 5);
    host
}
