//! Why a request goes where it goes, as asked at `StatisticsURL`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use serde_json::Value;
use support::{Backend, Conf, Host, conf::STATISTICS, for_each_host, vice};

/// The explanation of `query` as JSON.
#[track_caller]
fn explained(host: &Host, query: &str) -> Value {
    let answer = host.get(&format!("{STATISTICS}?explain={query}&format=json")).expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

fn codes(explained: &Value) -> Vec<&str> {
    let servers = explained["balancing"]["servers"].as_array().unwrap();
    servers.iter().map(|server| server["code"].as_str().unwrap()).collect()
}

#[test]
fn what_is_explained_happens_and_asking_changes_nothing() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = Conf::new().with_statistics().route("^/other", &[&a]).route("^/app/", &[&a, &b]);
        let host = Host::start(kind, conf);
        for _ in 0..4 {
            let answer = explained(&host, "%2Fapp%2F1");
            assert_eq!(answer, explained(&host, "/app/1"), "asking has moved something");
            assert_eq!(answer["outcome"], "forwarded");
            assert_eq!(answer["passed_over"][0]["patterns"][0], "^/other");
            let place = answer["entry"]["place"].as_str().unwrap();
            assert!(place.starts_with("proxy_reverse.conf:"), "{place}");
            let chosen = answer["balancing"]["chosen"].as_str().unwrap().to_owned();
            let by = host.get("/app/1").expect(200);
            let expected = if by.backend() == "a" { a.address() } else { b.address() };
            assert_eq!(chosen, expected);
        }
        assert_eq!((a.requests(), b.requests()), (2, 2));
    });
}

#[test]
fn a_server_that_is_offline_is_explained_with_the_time_of_its_trial() {
    for_each_host(|kind| {
        let (a, b) = (Backend::refuses("a"), Backend::start("b", vice::echo()));
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a, &b])
            .with("AttemptsCount 1")
            .with("OfflineTimeOut 60")
            .with("LoadBalancer First-Alive");
        let host = Host::start(kind, conf);
        assert_eq!(codes(&explained(&host, "/app")), ["chosen", "not-in-turn"]);
        host.get("/app").expect(200);
        let answer = explained(&host, "/app");
        assert_eq!(codes(&answer), ["offline", "chosen"]);
        let why = answer["balancing"]["servers"][0]["why"].as_str().unwrap();
        assert!(why.contains("its trial is due in "), "{why}");
    });
}

#[test]
fn who_asks_is_taken_for_the_client_unless_another_is_named() {
    for_each_host(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = Conf::new().with_statistics().route("^/app", &[&a, &b]).with("LoadBalancer Source-Hash");
        let host = Host::start(kind, conf);
        assert_eq!(explained(&host, "/app")["client"], "127.0.0.1");
        let named = explained(&host, "/app&ip=2001:db8::7&host=shop.example&method=POST");
        assert_eq!(
            (named["client"].as_str(), named["host"].as_str()),
            (Some("2001:db8::7"), Some("shop.example"))
        );
        assert_eq!(named["method"], "POST");
        let bad = host.get(&format!("{STATISTICS}?explain=/app&ip=nobody")).expect(400);
        assert!(bad.text().contains("not an address"), "{}", bad.text());
    });
}

#[test]
fn an_entry_that_does_not_allow_it_is_not_explained() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new()
            .route("^/secret", &[&a])
            .with("StatisticsAllow 192.0.2.1")
            .route("^/open", &[&a])
            .with(&format!("StatisticsURL {STATISTICS}"));
        let host = Host::start(kind, conf);
        let open = explained(&host, "/open");
        assert_eq!(
            (open["outcome"].as_str(), open["passed_over"].as_array().unwrap().len()),
            (Some("forwarded"), 0)
        );
        let secret = host.get(&format!("{STATISTICS}?explain=/secret")).expect(403);
        assert!(
            !secret.text().contains(&a.address()) && !secret.text().contains("^/secret"),
            "{}",
            secret.text()
        );
    });
}

#[test]
fn the_page_is_text_or_html_without_a_hole_for_scripts() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().with_statistics().route("^/app<b>?", &[&a]));
        let asked = "/app%3Cscript%3Ealert(1)%3C/script%3E%0d%0aX:%20y";
        let page = host.get(&format!("{STATISTICS}?explain={asked}")).expect(200);
        assert!(page.header("Content-Type").unwrap().starts_with("text/html"));
        assert!(
            !page.text().contains("<script>") && page.text().contains("&lt;script&gt;"),
            "{}",
            page.text()
        );
        let text = host.get(&format!("{STATISTICS}?explain=/nothing&format=text")).expect(200);
        assert!(text.header("Content-Type").unwrap().starts_with("text/plain"));
        assert!(text.text().ends_with("no Match takes it: Monkey serves it\n"), "{}", text.text());
    });
}
