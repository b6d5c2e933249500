//! Explanations of configurations, and of a proxy at work.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config;

const TWO: &str = "[PROXY_DEFAULTS]\nLoadBalancer First-Alive\n\
    [PROXY_ENTRY]\nMatch \\.php$\nServerList a\n\
    [PROXY_ENTRY]\nMatch ^/x ^/shop/\nServer 10.0.0.1:80 name=one\nServer 10.0.0.2:80 disabled\n\
    Server unix:/s backup\nServer 10.0.0.3:80 max=1\nStripPrefix /shop\nHostHeader shop.internal\n\
    [PROXY_ENTRY]\nMatch /\nServerList c\n";

fn config(text: &str) -> Config {
    config::from_text(Path::new("/etc/p.conf"), text.as_bytes(), &|_| None).unwrap()
}

fn of(text: &str, question: &Question<'_>) -> Explanation {
    of_config(&config(text), question).unwrap()
}

fn codes(answer: &Explanation) -> Vec<&'static str> {
    answer.balancing.iter().flat_map(|it| &it.servers).map(|server| server.code).collect()
}

#[test]
fn the_entry_and_its_pattern_are_named_with_their_places() {
    let answer = of(TWO, &Question::get("http://h:81//shop/%41?b=c"));
    assert_eq!((answer.path.as_str(), answer.host.as_deref()), ("/shop/A", Some("h:81")));
    let entry = answer.entry.as_ref().unwrap();
    assert_eq!((entry.place.as_str(), entry.pattern_place.as_str()), ("p.conf:6", "p.conf:7:11"));
    assert_eq!((entry.pattern.as_str(), entry.sent_host.as_str()), ("^/shop/", "shop.internal"));
    assert_eq!(answer.passed_over.iter().map(|it| it.place.as_str()).collect::<Vec<_>>(), ["p.conf:3"]);
    assert_eq!(answer.not_reached.iter().map(|it| it.place.as_str()).collect::<Vec<_>>(), ["p.conf:14"]);
    assert_eq!(codes(&answer), ["chosen", "disabled", "backup-not-needed", "not-in-turn"]);
    assert_eq!(answer.outcome, Outcome::Forwarded);
    assert_eq!(answer.balancing.unwrap().chosen.as_deref(), Some("one (10.0.0.1:80)"));
}

#[test]
fn what_is_not_ours_is_said_to_be_monkeys() {
    let answer = of("[PROXY_ENTRY]\nMatch ^/a\nServerList a\nStatisticsURL /s\n", &Question::get("/b"));
    assert_eq!((answer.outcome, answer.passed_over.len()), (Outcome::NotMatched, 1));
    assert!(answer.to_string().ends_with("outcome:  no Match takes it: Monkey serves it\n"), "{answer}");
    let answer =
        of("[PROXY_ENTRY]\nMatch ^/a\nServerList a\nStatisticsURL /s\n", &Question::get("/s?format=json"));
    assert_eq!(answer.outcome, Outcome::Statistics);
}

#[test]
fn the_text_says_it_line_by_line() {
    let client = Some(IpAddr::from([192, 0, 2, 1]));
    let question = Question { client, host: Some("h"), ..Question::get("/a") };
    let text = "[PROXY_ENTRY]\nMatch ^/a\nServerList x y z\nLoadBalancer Source-Hash\n";
    assert_eq!(
        of(text, &question).to_string(),
        "request:  GET /a, Host h, from 192.0.2.1\n\
         path:     /a\n\
         entry:    p.conf:1\n\
         pattern:  ^/a  (p.conf:2:7)\n\
         goes out: /a, Host h\n\
         balancer: Source-Hash: the hash of the client's address, 803931826a2288ea, leads to place 2 of 3 in the list\n\
         server:   x:80  not-in-turn  it could take the request, but the load balancer takes another; weight 1, 0 in flight\n\
         server:   y:80  chosen       it gets the request; weight 1, 0 in flight\n\
         server:   z:80  not-in-turn  it could take the request, but the load balancer takes another; weight 1, 0 in flight\n\
         outcome:  goes to y:80\n"
    );
}

#[test]
fn each_algorithm_says_what_it_begins_from() {
    for (name, expected) in [
        ("Naive", "connection number 4 leads to place 2 of 3 in the list"),
        ("First-Alive", "the first of the list that can take it"),
        ("Round-Robin", "it is the turn of place 1 of 3"),
        ("Locking-Round-Robin", "it is the turn of place 1 of 3"),
        ("Least-Connections", "among equals place 1 of 3 is first"),
        ("Source-Hash", "the hash of the client's address, efd01f60ba992926, leads to place"),
    ] {
        let text = format!("[PROXY_ENTRY]\nMatch ^/a\nServerList x y z\nLoadBalancer {name}\n");
        let answer = of(&text, &Question { connection: 4, ..Question::get("/a") });
        let balancing = answer.balancing.unwrap();
        assert_eq!(balancing.algorithm, name);
        assert!(balancing.reasoning.contains(expected), "{name}: {}", balancing.reasoning);
    }
}

#[test]
fn a_proxy_at_work_tells_why_each_server_is_left_out() {
    let text = "[PROXY_ENTRY]\nMatch ^/a\nServer 10.0.0.1\nServer 10.0.0.2 max=1\nServer 10.0.0.3\nServer no.name\n\
        Server 10.0.0.5\nLoadBalancer First-Alive\nOfflineTimeOut 60\nAttemptsCount 1\nOfflineJitter 0\n";
    let shared = setup::build(&config(text), "monkey").unwrap();
    let cluster = Arc::clone(&shared.routes[0].cluster);
    let at = |ms| Now { ms, us: ms * 1000, unix: 0 };
    cluster.record_failure(0, false, 1000);
    let _busy = cluster.begin(1);
    cluster.record_fitness(2, false, 1000);
    cluster.record_failure(4, false, 1000);
    let answer = explain(&shared, &Question::get("/a"), at(2_000));
    assert_eq!(codes(&answer), ["offline", "full", "unfit", "chosen", "offline"]);
    let servers = &answer.balancing.as_ref().unwrap().servers;
    assert!(servers[0].why.ends_with("due in 59 s"), "{}", servers[0].why);
    assert_eq!(servers[3].why, "its name has no address yet");
    // Nothing was claimed by asking.
    for _ in 0..2 {
        let answer = explain(&shared, &Question::get("/a"), at(61_000));
        assert_eq!(codes(&answer), ["trial", "full", "unfit", "unresolved", "trial-due"]);
    }
    let post = Question { method: "POST", ..Question::get("/a") };
    assert_eq!(
        codes(&explain(&shared, &post, at(61_000))),
        ["trial-due", "full", "unfit", "chosen", "trial-due"]
    );
}

#[test]
fn nobody_who_takes_it_is_a_refusal_a_wait_or_a_file() {
    let outcome = |lines: &str| {
        let text = format!("[PROXY_ENTRY]\nMatch ^/a\nServer 10.0.0.1 max=1\nAttemptsCount 1\n{lines}\n");
        let shared = setup::build(&config(&text), "monkey").unwrap();
        let cluster = Arc::clone(&shared.routes[0].cluster);
        let busy = cluster.begin(0);
        let full = explain(&shared, &Question::get("/a"), Now { ms: 0, us: 0, unix: 0 }).outcome;
        drop(busy);
        cluster.record_failure(0, false, 0);
        (full, explain(&shared, &Question::get("/a"), Now { ms: 1, us: 1000, unix: 0 }).outcome)
    };
    assert_eq!(outcome(""), (Outcome::Refused, Outcome::Forwarded));
    assert_eq!(outcome("QueueSize 1"), (Outcome::Waits, Outcome::Forwarded));
    assert_eq!(outcome("WhenAllOffline 503"), (Outcome::Refused, Outcome::Refused));
    assert_eq!(outcome("WhenAllOffline static"), (Outcome::Refused, Outcome::LeftToMonkey));
}
