//! `RequestId` in the server's own log: a line that a request is the reason for names it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::Duration;

use support::{Backend, Conf, Host, Next, Response, eventually, for_each_host, vice};

const LIMIT: Duration = Duration::from_secs(10);

const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
const NAMED: &str = "RequestId X-Request-Id";

/// An entry whose servers go offline at the first failure, and stay so.
fn strict(pattern: &str, backends: &[&Backend]) -> Conf {
    Conf::new()
        .route(pattern, backends)
        .with("AttemptsCount 1")
        .with("OfflineTimeOut 60")
        .with("ProbeOffline off")
        .with(NAMED)
}

fn id(answer: &Response) -> String {
    answer.header("X-Request-Id").unwrap().to_owned()
}

/// What stands in brackets behind the reason.
fn subject(request: &str, id: &str) -> String {
    format!(" (entry proxy_reverse.conf:3, request '{request}' id={id})")
}

/// The line that tells of this; waits for it.
#[track_caller]
fn line(host: &Host, told: &str) -> String {
    let find = || host.output().lines().find(|line| line.contains(told)).map(str::to_owned);
    eventually(LIMIT, told, || find().is_some());
    find().unwrap()
}

#[test]
fn what_set_a_server_offline_is_named_and_its_query_is_not_told() {
    /// What the server does, a further line, the reason that is given.
    type Case = (fn() -> Backend, &'static str, &'static str);
    let cases: [Case; 6] = [
        (|| Backend::refuses("a"), "", "cannot connect: "),
        (|| Backend::start("a", vice::garbage()), "", "not an HTTP/1.x response"),
        (
            || Backend::start("a", vice::never_answers()),
            "HeaderTimeOut 100ms",
            "no response head within HeaderTimeOut",
        ),
        (
            || Backend::start("a", vice::reads_and_leaves(Next::Reset)),
            "PoisonGuard off",
            "the connection broke before an answer",
        ),
        (|| Backend::start("a", vice::raw(BUSY, Next::Close)), "FailOn 503", "it answered 503"),
        // The client has its answer by then, cut.
        (
            || Backend::start("a", vice::closes_mid_body(1000, 100, Next::Close)),
            "",
            "the response body was cut short",
        ),
    ];
    for_each_host(|kind| {
        for (start, further, reason) in &cases {
            let a = start();
            let mut conf = strict("^/app", &[&a]);
            if !further.is_empty() {
                conf = conf.with(further);
            }
            let host = Host::start(kind, conf);
            let mut client = host.client();
            client.send_request("GET", "/app?secret=1", "Connection: close\r\n", b"");
            let (bytes, _) = client.read_all(LIMIT);
            let id = head_field(&bytes, "X-Request-Id: ");
            let line = line(&host, "is offline for 60 s");
            assert!(line.contains(&format!("is offline for 60 s: {reason}")), "{line}");
            assert!(line.trim_end().ends_with(&subject("GET /app", &id)), "{id} in {line}");
            assert!(!host.output().contains("secret"), "{}", host.output());
        }
    });
}

#[test]
fn events_of_a_server_name_the_latest_request_that_they_are_about() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::raw(BUSY, Next::Close));
        let b = Backend::refuses("b");
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).with("FailOn 503").with(NAMED);
        let conf = conf.with("AttemptsCount 0").route("^/named", &[&b]).with(NAMED).route("^/not", &[&b]);
        let host = Host::start(kind, conf);
        let event = |entry: usize| host.statistics()["routes"][entry]["backends"][0]["last_error"].clone();
        for (entry, path, status) in [(0, "/app/x", 503), (1, "/named/x", 502)] {
            let answer = host.get(path).expect(status);
            let attempt = event(entry)["attempt"].clone();
            assert_eq!(attempt["id"], id(&answer), "{attempt}");
            assert_eq!(attempt["request"], format!("GET {path}"));
        }
        host.get("/not/x").expect(502);
        assert_eq!(event(2)["attempt"]["request"], "GET /not/x");
        assert!(event(2)["attempt"].get("id").is_none(), "{}", event(2));
    });
}

#[test]
fn what_brought_a_server_back_is_named() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = Conf::new()
            .route("^/app", &[&a])
            .with("AttemptsCount 1")
            .with("OfflineTimeOut 1")
            .with("ProbeOffline off")
            .with(NAMED);
        let host = Host::start(kind, conf);
        host.get("/app").expect(502);
        a.restart(vice::echo());
        let answer = host.get("/app/back").expect(200);
        let line = line(&host, "is back online");
        assert!(line.trim_end().ends_with(&subject("GET /app/back", &id(&answer))), "{line}");
    });
}

#[test]
fn without_a_name_the_lines_are_as_they_were() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = Conf::new().route("^/app", &[&a]).with("AttemptsCount 1").with("ProbeOffline off");
        let conf = conf.route_to("^/nowhere", "nowhere.invalid:80");
        let host = Host::start(kind, conf);
        host.get("/app").expect(502);
        let offline = line(&host, "is offline for 60 s");
        assert!(offline.trim_end().ends_with(" (entry proxy_reverse.conf:3)"), "{offline}");
        assert!(host.get("/nowhere").status >= 502);
        let lack = line(&host, "backend nowhere.invalid:80: cannot connect");
        assert!(!lack.contains("entry") && !lack.contains("id="), "{lack}");
    });
}

#[test]
fn a_request_that_meets_a_lack_or_makes_two_servers_break_is_named() {
    for_each_host(|kind| {
        let breaks = || Backend::start("a", vice::reads_and_leaves(Next::Close));
        let conf = Conf::new().route_to("^/nowhere", "nowhere.invalid:80").with(NAMED);
        let (a, b) = (breaks(), breaks());
        let conf = conf.route("^/poison", &[&a, &b]).with(NAMED).with("AttemptsCount 100");
        let host = Host::start(kind, conf);
        let answer = host.get("/nowhere/x");
        assert!(answer.status >= 502);
        let lack = line(&host, "backend nowhere.invalid:80: cannot connect");
        assert!(lack.trim_end().ends_with(&subject("GET /nowhere/x", &id(&answer))), "{lack}");
        let answer = host.get("/poison?1").expect(502);
        let poison = line(&host, "'GET /poison' made two backends break");
        let named = format!(", id={})", id(&answer));
        assert!(
            poison.contains(" (entry proxy_reverse.conf:") && poison.trim_end().ends_with(&named),
            "{poison}"
        );
    });
}

#[test]
fn the_name_that_a_trusted_proxy_has_given_is_the_one_in_the_log() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let host = Host::start(kind, strict("^/app", &[&a]).with("TrustedProxies 127.0.0.1"));
        let mut client = host.client();
        client.ask("POST", "/app", "X-Request-Id: from-front-1\r\n", b"").expect(502);
        let line = line(&host, "is offline for 60 s");
        assert!(line.trim_end().ends_with(&subject("POST /app", "from-front-1")), "{line}");
    });
}

/// The value of a field in a head that came.
fn head_field(bytes: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
}
