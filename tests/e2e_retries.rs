//! What is asked again, and what is not: each method at each point of failure, statuses, keys,
//! the budget, and requests that make servers break.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::Value;
use support::{
    Backend, Conf, End, Host, Kind, Next, Setup, eventually, for_each_host, host::expect_quiet, pattern,
    vice, vice::Vice,
};

const KEY: &str = "Idempotency-Key: k-1\r\n";

/// Method, further fields, body.
type Ask = (&'static str, &'static str, &'static [u8]);

const GET: Ask = ("GET", "", b"");
const HEAD: Ask = ("HEAD", "", b"");
const PUT: Ask = ("PUT", "", b"put");
const DELETE: Ask = ("DELETE", "", b"");
const POST: Ask = ("POST", "", b"post");
const PATCH: Ask = ("PATCH", "", b"patch");
const KEYED_POST: Ask = ("POST", KEY, b"keyed");
/// A key without a value is none.
const EMPTY_KEY_POST: Ask = ("POST", "Idempotency-Key:\r\n", b"unkeyed");

const HARMLESS: [Ask; 5] = [GET, HEAD, PUT, DELETE, KEYED_POST];
const HARMFUL: [Ask; 3] = [POST, PATCH, EMPTY_KEY_POST];

/// What a client sees of a request that the first of two servers fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// The answer of the second.
    Second,
    /// This status, and the second was not asked.
    Status(u16),
}

/// An answer with this status that says who gave it.
fn answers(status: &'static str) -> Vice {
    vice::answering(move |conn, seen| {
        let body = format!("{} says {status}", conn.name);
        let mut bytes = conn.head_with(status, &format!("Content-Length: {}\r\n", body.len()));
        if seen.method != "HEAD" {
            bytes.extend_from_slice(body.as_bytes());
        }
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

/// The first request of each connection is answered; the second one finds it closed behind it.
fn closes_on_second() -> Vice {
    let used = Mutex::new(HashSet::new());
    vice::answering(move |conn, seen| match used.lock().unwrap().insert(conn.id) {
        true => conn.answer(seen, &seen.body),
        false => Ok(Next::Close),
    })
}

/// The first is asked first, none is ever set offline, and there is no budget, unless an entry
/// says otherwise.
fn in_order(servers: &[&Backend]) -> Conf {
    let keys = ["LoadBalancer First-Alive", "AttemptsCount 0", "HeaderTimeOut 300ms", "RetryBudget 0"];
    let conf = Conf::new().with_statistics().route("^/app", servers);
    keys.iter().fold(conf, |conf, key| conf.default_key(key))
}

/// Asks each kind of request of a host whose first server has this vice.
fn check(kind: Kind, name: &str, bad: Option<Vice>, lines: &[&str], harmless: Expect, harmful: Expect) {
    let first = bad.map_or_else(|| Backend::refuses("first"), |vice| Backend::start("first", vice));
    let second = Backend::start("second", vice::echo());
    let conf = lines.iter().fold(in_order(&[&first, &second]), |conf, line| conf.with(line));
    let host = Host::start(kind, conf);
    let cases = HARMLESS.map(|ask| (ask, harmless)).into_iter().chain(HARMFUL.map(|ask| (ask, harmful)));
    for (index, ((method, fields, body), expected)) in cases.enumerate() {
        // A path of its own: the guard shall not know it.
        let target = format!("/app/{index}");
        let before = (first.requests(), second.requests());
        let response = host.client().ask(method, &target, fields, body);
        let asked = (first.requests() - before.0, second.requests() - before.1);
        let case = format!("{name}, {method} {fields:?} with {lines:?}: {response:?}");
        assert!(asked.0 <= 1, "the first got it {} times: {case}", asked.0);
        match expected {
            Expect::Second => {
                assert_eq!((response.status, response.backend(), asked.1), (200, "second", 1), "{case}");
                assert_eq!(second.last_seen().body, body, "{case}");
            }
            Expect::Status(status) => assert_eq!((response.status, asked.1), (status, 0), "{case}"),
        }
        assert_eq!(response.end, End::Complete, "{case}");
    }
}

#[test]
fn each_method_at_each_point_of_failure_by_default_c4_c9() {
    let status = Expect::Status;
    for_each_host(|kind| {
        let check = |name, bad, harmless, harmful| check(kind, name, bad, &[], harmless, harmful);
        check("refuses", None, Expect::Second, Expect::Second);
        check("closes", Some(vice::reads_and_leaves(Next::Close)), Expect::Second, status(502));
        check("resets", Some(vice::reads_and_leaves(Next::Reset)), Expect::Second, status(502));
        check("is silent", Some(vice::never_answers()), status(504), status(504));
        check("closes in the head", Some(vice::leaves_in_head(Next::Close)), status(502), status(502));
        check("is no server", Some(vice::garbage()), status(502), status(502));
        check("is busy", Some(answers("503 Busy")), status(503), status(503));
    });
}

#[test]
fn each_method_at_each_point_of_failure_when_all_is_asked_for() {
    let status = Expect::Status;
    for_each_host(|kind| {
        let lines = ["RetryOn connect stale reset timeout invalid 429 503"];
        let check = |name, bad, harmless, harmful| check(kind, name, bad, &lines, harmless, harmful);
        check("is silent", Some(vice::never_answers()), Expect::Second, status(504));
        check("closes in the head", Some(vice::leaves_in_head(Next::Close)), Expect::Second, status(502));
        check("is no server", Some(vice::garbage()), Expect::Second, status(502));
        check("is busy", Some(answers("503 Busy")), Expect::Second, status(503));
        check("is overrun", Some(answers("429 Slowly")), Expect::Second, status(429));
        check("is broken", Some(answers("500 Broken")), status(500), status(500));
    });
}

#[test]
fn each_method_at_each_point_of_failure_when_nothing_is_asked_for() {
    let status = Expect::Status;
    for_each_host(|kind| {
        let check = |name, bad, end| check(kind, name, bad, &["RetryOn off"], end, end);
        check("refuses", None, status(502));
        check("closes", Some(vice::reads_and_leaves(Next::Close)), status(502));
        check("is silent", Some(vice::never_answers()), status(504));
        check("is busy", Some(answers("503 Busy")), status(503));
    });
}

#[test]
fn an_idle_connection_that_closes_is_replaced_when_that_is_harmless_c3() {
    for_each_host(|kind| {
        for (lines, asks, repeated) in [
            (&[][..], &HARMLESS[..], true),
            (&[][..], &HARMFUL[..], false),
            (&["RetryOn connect reset"][..], &HARMLESS[..], false),
            (&["RetryCount 0", "RetryBudget 1", "RetryBudgetMin 0"][..], &HARMLESS[..], true),
        ] {
            for &(method, fields, body) in asks {
                let (a, b) = (Backend::start("a", closes_on_second()), Backend::start("b", vice::echo()));
                let conf = lines.iter().fold(in_order(&[&a, &b]), |conf, line| conf.with(line));
                let host = Host::start(kind, conf);
                // One client stays with one worker, and so with its idle connections.
                let mut client = host.client();
                client.get("/app/first").expect(200);
                let response = client.ask(method, "/app", fields, body);
                let case = format!("{method} {fields:?} with {lines:?}: {response:?}");
                let (status, asked) = if repeated { (200, 3) } else { (502, 2) };
                assert_eq!((response.status, a.requests(), b.requests()), (status, asked, 0), "{case}");
                if repeated {
                    assert_eq!(a.last_seen().body, body, "{case}");
                    assert_ne!(a.last_seen().connection, a.seen()[1].connection, "{case}");
                }
            }
        }
    });
}

#[test]
fn what_may_happen_twice_happens_once_over_many_servers_c4() {
    for_each_host(|kind| {
        let servers = ["a", "b", "c"].map(|name| Backend::start(name, vice::reads_and_leaves(Next::Close)));
        let [a, b, c] = &servers;
        let host = Host::start(kind, Conf::new().route("^/app", &[a, b, c]).with("AttemptsCount 100"));
        for (count, (method, fields, body)) in HARMFUL.iter().cycle().take(12).enumerate() {
            host.client().ask(method, &format!("/app/{count}"), fields, body).expect(502);
            let all: usize = servers.iter().map(Backend::requests).sum();
            assert_eq!(all, count + 1, "{method} {fields:?}");
        }
    });
}

#[test]
fn the_operator_says_what_may_be_repeated() {
    for_each_host(|kind| {
        let leaves = || Some(vice::reads_and_leaves(Next::Close));
        let (again, once) = (Expect::Second, Expect::Status(502));
        check(kind, "closes", leaves(), &["RetryNonIdempotent on"], again, again);

        for (line, fields, expected) in [
            ("RetryKeyHeader off", KEY, once),
            ("RetryKeyHeader X-Once", KEY, once),
            ("RetryKeyHeader X-Once", "x-once: 1\r\n", again),
            // Servers that do not see the key cannot know the request again.
            ("RemoveRequestHeader Idempotency-Key", KEY, once),
            ("SetRequestHeader Idempotency-Key always", KEY, once),
        ] {
            let (a, b) = (Backend::start("a", leaves().unwrap()), Backend::start("b", vice::echo()));
            let host = Host::start(kind, in_order(&[&a, &b]).with(line));
            let response = host.client().ask("POST", "/app", fields, b"x");
            let found = if response.status == 200 { again } else { Expect::Status(response.status) };
            assert_eq!(found, expected, "{line}, {fields:?}");
            assert_eq!((a.requests(), b.requests()), (1, usize::from(expected == again)), "{line}");
        }
    });
}

#[test]
fn a_body_that_was_let_go_of_is_not_repeated() {
    for_each_host(|kind| {
        let (a, b) =
            (Backend::start("a", vice::reads_and_leaves(Next::Close)), Backend::start("b", vice::echo()));
        let host = Host::start(kind, in_order(&[&a, &b]).with("BufferSize 1K").with("RetryOn reset 502"));
        let response = host.client().ask("PUT", "/app/long", "", &pattern(200_000));
        assert_eq!((response.status, a.requests(), b.requests()), (502, 1, 0), "{response:?}");
        // A short one is, though it comes behind its head.
        let mut client = host.client();
        client.send("PUT /app/short HTTP/1.1\r\nHost: h\r\nContent-Length: 600\r\n\r\n");
        client.send(pattern(600));
        assert_eq!(client.read("PUT").expect(200).backend(), "b");
        assert!(b.last_seen().body == pattern(600));
    });
}

#[test]
fn nothing_is_repeated_once_the_client_has_something() {
    for_each_host(|kind| {
        let hints = vice::answering(|conn, _| {
            conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            Ok(Next::Close)
        });
        let busy = vice::answering(|conn, _| {
            conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")?;
            conn.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")?;
            Ok(Next::Again)
        });
        let cut = vice::closes_mid_body(100, 10, Next::Close);
        for (name, vice, status) in [("hints", hints, 502), ("busy", busy, 503), ("cut", cut, 200)] {
            let (a, b) = (Backend::start("a", vice), Backend::start("b", vice::echo()));
            let lines = "RetryOn connect stale reset timeout invalid 503";
            let host = Host::start(kind, in_order(&[&a, &b]).with(lines));
            let response = host.client().get("/app");
            assert_eq!((response.status, a.requests(), b.requests()), (status, 1, 0), "{name}: {response:?}");
        }
    });
}

#[test]
fn the_last_answer_of_a_server_is_passed_on() {
    for_each_host(|kind| {
        let (busy, gone) =
            (Backend::start("busy", answers("503 Busy")), Backend::start("gone", answers("502 Gone")));
        let closes = Backend::start("closes", vice::reads_and_leaves(Next::Close));
        let silent = Backend::start("silent", vice::never_answers());
        let refuses = Backend::refuses("refuses");
        for (servers, count, from) in [
            (&[&busy, &gone][..], 2, (503, "busy", "gone")),
            (&[&gone, &busy], 2, (502, "gone", "busy")),
            (&[&busy, &gone], 0, (503, "busy", "")),
            (&[&busy, &refuses], 2, (503, "busy", "")),
            (&[&busy, &closes], 2, (503, "busy", "")),
            (&[&busy, &silent], 2, (503, "busy", "")),
            (&[&busy], 2, (503, "busy", "")),
            (&[&refuses, &gone, &closes, &refuses], 2, (502, "gone", "")),
        ] {
            let conf = in_order(servers).with("RetryOn connect stale reset 502 503");
            let host = Host::start(kind, conf.with(&format!("RetryCount {count}")).with("HostHeader server"));
            // The newest answer, wherever another server gave one as well.
            let (first, name, second) = from;
            let (status, name) = match second {
                "" => (first, name),
                "gone" => (502, second),
                _ => (503, second),
            };
            let mut client = host.client();
            for method in ["GET", "HEAD", "GET", "PUT"] {
                let response = client.ask(method, "/app", "", b"").expect(status);
                let case = format!("{method} of {servers:?}: {response:?}");
                assert_eq!(response.backend(), name, "{case}");
                if method != "HEAD" {
                    assert!(response.text().starts_with(&format!("{name} says {status}")), "{case}");
                }
            }
        }
    });
}

#[test]
fn a_long_answer_is_passed_on_whole() {
    const LENGTH: usize = 500_000;
    for_each_host(|kind| {
        let long = vice::answering(|conn, _| {
            let mut bytes = conn.head_with("503 Busy", &format!("Content-Length: {LENGTH}\r\n"));
            bytes.extend_from_slice(&pattern(LENGTH));
            conn.send(&bytes)?;
            Ok(Next::Again)
        });
        let by_close = vice::answering(|conn, _| {
            let mut bytes = conn.head_with("503 Busy", "");
            bytes.extend_from_slice(&pattern(LENGTH));
            conn.send(&bytes)?;
            Ok(Next::Close)
        });
        for vice in [long, by_close] {
            let (a, b) = (Backend::start("a", vice), Backend::start("b", vice::never_answers()));
            let host = Host::start(kind, in_order(&[&a, &b]).with("RetryOn 503"));
            let mut client = host.client();
            for _ in 0..3 {
                let response = client.get("/app").expect(503);
                support::assert_bytes(&response.body, &pattern(LENGTH));
            }
            assert_eq!((a.requests(), b.requests()), (3, 3));
        }
    });
}

#[test]
fn an_answer_that_is_not_needed_is_let_go_of() {
    for_each_host(|kind| {
        let endless = vice::answering(|conn, _| {
            let head = conn.head_with("503 Busy", "Content-Length: 1099511627776\r\n");
            conn.send(&head)?;
            loop {
                conn.send(&pattern(64 * 1024))?;
            }
        });
        let a = Backend::start("a", endless);
        let (b, c) = (Backend::start("b", vice::echo()), Backend::start("c", vice::never_answers()));
        // Another server has a better one.
        let host = Host::start(kind, in_order(&[&a, &b]).with("RetryOn 503"));
        for _ in 0..5 {
            assert_eq!(host.get("/app").expect(200).backend(), "b");
        }
        expect_quiet(Duration::from_secs(3), &[&a]);
        let server = &host.statistics()["routes"][0]["backends"][0];
        assert_eq!((&server["status_5xx"], &server["active"]), (&5.into(), &0.into()), "{server:#}");
        // The client leaves.
        let host = Host::start(kind, in_order(&[&a, &c]).with("RetryOn 503").with("HeaderTimeOut 1m"));
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        eventually(Duration::from_secs(3), "both are asked", || (a.open(), c.requests()) == (1, 1));
        client.reset();
        expect_quiet(Duration::from_secs(3), &[&a, &c]);
    });
}

#[test]
fn no_server_is_asked_twice_however_many_tries_there_are_c5() {
    for_each_host(|kind| {
        let servers = ["a", "b", "c"].map(|name| Backend::start(name, answers("500 Broken")));
        let [a, b, c] = &servers;
        let conf = Conf::new().route("^/app", &[a, b, c, b, b]);
        let host = Host::start(kind, conf.with("RetryOn 500").with("RetryCount 100").with("RetryBudget 0"));
        host.get("/app").expect(500);
        assert_eq!(servers.each_ref().map(Backend::requests), [1, 1, 1]);
    });
}

#[test]
fn no_attempt_begins_when_the_time_is_over() {
    for_each_host(|kind| {
        for (limit, status, backend) in [("100ms", 504, ""), ("0", 200, "b"), ("10", 200, "b")] {
            let (a, b) = (Backend::start("a", vice::never_answers()), Backend::start("b", vice::echo()));
            let conf = in_order(&[&a, &b]).with("RetryOn timeout").with(&format!("RetryTimeOut {limit}"));
            let response = Host::start(kind, conf).get("/app").expect(status);
            assert_eq!(response.backend(), backend, "{limit}");
        }
    });
}

/// A number of the first route, or of one of its servers.
fn number(host: &Host, server: Option<usize>, field: &str) -> u64 {
    let statistics = host.statistics();
    let route = &statistics["routes"][0];
    let value: &Value = match server {
        Some(server) => &route["backends"][server][field],
        None => &route[field],
    };
    value.as_u64().unwrap_or_else(|| panic!("no {field} in {statistics:#}"))
}

#[test]
fn a_failing_farm_gets_little_more_than_its_load() {
    const REQUESTS: usize = 100;
    for_each_host(|kind| {
        let served = |lines: &[&str]| {
            let servers =
                ["a", "b", "c"].map(|name| Backend::start(name, vice::reads_and_leaves(Next::Close)));
            let [a, b, c] = &servers;
            let conf = Conf::new().with_statistics().route("^/app", &[a, b, c]);
            let conf = conf.with("AttemptsCount 0").with("PoisonGuard off");
            let conf = lines.iter().fold(conf, |conf, line| conf.with(line));
            let host = Setup::new(kind, conf).workers(4).start();
            std::thread::scope(|scope| {
                for client in 0..4 {
                    let host = &host;
                    scope.spawn(move || {
                        for i in 0..REQUESTS / 4 {
                            host.get(&format!("/app/{client}/{i}")).expect(502);
                        }
                    });
                }
            });
            let served: usize = servers.iter().map(Backend::requests).sum();
            assert_eq!(number(&host, None, "retries") as usize, served - REQUESTS, "{lines:?}");
            let by_server: u64 = (0..3).map(|server| number(&host, Some(server), "retries")).sum();
            assert_eq!(by_server, number(&host, None, "retries"));
            (served, number(&host, None, "retries_denied") as usize)
        };
        // No more than so many percent, and each request that got fewer is counted.
        let (all, denied) = served(&["RetryBudget 20", "RetryBudgetMin 0"]);
        assert!((REQUESTS + 10..=REQUESTS + REQUESTS / 5).contains(&all), "{all} of {REQUESTS}");
        assert!((REQUESTS - 20..=REQUESTS).contains(&denied), "{denied} of {REQUESTS}");
        // Two a second in ten seconds, which may come at once.
        let (all, _) = served(&["RetryBudget 1", "RetryBudgetMin 2"]);
        assert!((REQUESTS + 20..=REQUESTS + 40).contains(&all), "{all} of {REQUESTS}");
        assert_eq!(served(&["RetryBudget 0"]), (3 * REQUESTS, 0));
        assert_eq!(served(&["RetryBudget 0", "RetryCount 1"]), (2 * REQUESTS, 0));
        assert_eq!(served(&["RetryBudget 1", "RetryBudgetMin 1000"]), (3 * REQUESTS, 0));
    });
}

#[test]
fn failed_connects_cost_no_budget_c20() {
    for_each_host(|kind| {
        let (a, b) = (Backend::refuses("a"), Backend::start("b", vice::echo()));
        let conf = in_order(&[&a, &b]).with("RetryBudget 1").with("RetryBudgetMin 0").with("RetryCount 0");
        let host = Host::start(kind, conf);
        for _ in 0..30 {
            host.get("/app").expect(200);
        }
        assert_eq!((number(&host, Some(1), "retries"), number(&host, None, "retries_denied")), (30, 0));
    });
}

/// Breaks over requests that have the poison in their target, as long as `poisonous` says so.
fn breaks(how: Next, poisonous: &Arc<AtomicBool>) -> Vice {
    let poisonous = Arc::clone(poisonous);
    vice::answering(move |conn, seen| match seen.target.contains("poison") && poisonous.load(SeqCst) {
        true => Ok(how),
        false => conn.answer(seen, b"fine"),
    })
}

/// Three servers that break over the same requests.
struct Farm {
    servers: [Backend; 3],
    poisonous: Arc<AtomicBool>,
}

impl Farm {
    fn new(how: Next) -> Farm {
        let poisonous = Arc::new(AtomicBool::new(true));
        let servers = ["a", "b", "c"].map(|name| Backend::start(name, breaks(how, &poisonous)));
        Farm { servers, poisonous }
    }

    fn start(&self, kind: Kind, lines: &[&str]) -> Host {
        let [a, b, c] = &self.servers;
        let conf = Conf::new().with_statistics().route("^/app", &[a, b, c]);
        Host::start(kind, lines.iter().fold(conf, |conf, line| conf.with(line)))
    }

    /// Asks, and says how many servers got it.
    fn attempts(&self, host: &Host, method: &str, target: &str, status: u16) -> usize {
        let all = || self.servers.iter().map(Backend::requests).sum::<usize>();
        let before = all();
        host.client().ask(method, target, "Connection: close\r\n", b"").expect(status);
        all() - before
    }
}

#[test]
fn a_request_that_breaks_two_servers_does_not_meet_the_third() {
    for_each_host(|kind| {
        for how in [Next::Close, Next::Reset] {
            let farm = Farm::new(how);
            let host = farm.start(kind, &[]);
            // Idle connections are there, which are no witnesses.
            for _ in 0..6 {
                host.get("/app").expect(200);
            }
            assert_eq!(farm.attempts(&host, "GET", "/app/fine", 200), 1);
            let first = farm.attempts(&host, "GET", "/app/poison?1", 502);
            // At most: idle and new at the first, new at the second.
            assert!((2..=3).contains(&first), "{first} attempts");
            host.expect_output("'GET /app/poison' made two backends break");
            for query in 2..8 {
                let target = format!("/app/poison?{query}");
                assert_eq!(farm.attempts(&host, "GET", &target, 502), 1, "{target}");
            }
            // It is not held against any server but the first.
            let sum = |field| (0..3).map(|server| number(&host, Some(server), field)).sum::<u64>();
            assert_eq!((sum("failures"), sum("offline_count")), (1, 0));
            assert_eq!(number(&host, None, "poisoned"), 7);
            assert_eq!(farm.attempts(&host, "GET", "/app/fine", 200), 1);
            // Another method is another request.
            assert!(farm.attempts(&host, "HEAD", "/app/poison", 502) >= 2);
            assert_eq!(farm.attempts(&host, "HEAD", "/app/poison", 502), 1);
        }
    });
}

#[test]
fn without_the_guard_all_of_them_break() {
    for_each_host(|kind| {
        let farm = Farm::new(Next::Close);
        let host = farm.start(kind, &["PoisonGuard off", "AttemptsCount 100", "RetryBudget 0"]);
        for _ in 0..3 {
            assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 3);
        }
        assert_eq!((number(&host, None, "poisoned"), number(&host, Some(0), "failures")), (0, 3));
    });
}

#[test]
fn poison_is_forgotten_after_its_time() {
    for_each_host(|kind| {
        let farm = Farm::new(Next::Close);
        let lines = ["PoisonTimeOut 2", "AttemptsCount 100", "RetryBudget 0", "KeepAlive off"];
        let host = farm.start(kind, &lines);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 2);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 1);
        eventually(Duration::from_secs(6), "it is a request like any other", || {
            farm.attempts(&host, "GET", "/app/poison", 502) == 2
        });
        // For no time, it is stopped all the same.
        let host = farm.start(kind, &["PoisonTimeOut 0", "AttemptsCount 100", "RetryBudget 0"]);
        for _ in 0..3 {
            assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 2);
        }
    });
}

#[test]
fn an_answer_clears_a_request_of_suspicion() {
    for_each_host(|kind| {
        let farm = Farm::new(Next::Close);
        let host = farm.start(kind, &["AttemptsCount 100", "RetryBudget 0", "KeepAlive off"]);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 2);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 1);
        farm.poisonous.store(false, SeqCst);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 200), 1);
        farm.poisonous.store(true, SeqCst);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 2);
    });
}

#[test]
fn a_poisonous_request_still_gets_past_a_server_that_refuses() {
    for_each_host(|kind| {
        let farm = Farm::new(Next::Close);
        let [a, b, c] = &farm.servers;
        let refuses = Backend::refuses("refuses");
        let conf = in_order(&[&refuses, a, b, c]).with("KeepAlive off");
        let host = Host::start(kind, conf);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 2);
        assert_eq!(farm.attempts(&host, "GET", "/app/poison", 502), 1);
        // Each time, that one is blamed for it.
        assert_eq!(number(&host, Some(0), "failures"), 2);
    });
}

#[test]
fn servers_that_break_over_everything_still_go_offline() {
    for_each_host(|kind| {
        let (a, b) = (
            Backend::start("a", vice::accepts_and_closes()),
            Backend::start("b", vice::accepts_and_closes()),
        );
        let c = Backend::start("c", vice::echo());
        let conf = Conf::new().with_statistics().route("^/app", &[&a, &b, &c]);
        let host = Host::start(kind, conf.with("RetryBudget 0"));
        // The same request, over and over: what one answers is no poison, and so the others are to blame.
        let offline = |server| number(&host, Some(server), "offline_count") == 1;
        eventually(Duration::from_secs(5), "both are offline", || {
            host.get("/app");
            offline(0) && offline(1)
        });
        for _ in 0..5 {
            assert_eq!(host.get("/app").expect(200).backend(), "c");
        }
    });
}
