//! The log of requests, and what answers say of their way: `ProxyLog`, `RequestId`, `ProxyStatus`
//! and `X-Proxy-Explain`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sfv::{BareItem, List, ListEntry, Parser};
use support::black_hole::BlackHole;
use support::{Backend, Conf, Host, Kind, Next, Response, Setup, eventually, for_each_host, vice};

const LIMIT: Duration = Duration::from_secs(5);

/// A log in a folder of its own.
struct Log(tempfile::TempDir);

impl Log {
    fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        // The server may write it as somebody else.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Log(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("proxy.log")
    }

    fn key(&self) -> String {
        format!("ProxyLog {}", self.path().display())
    }

    /// Waits until there are so many lines.
    #[track_caller]
    fn lines(&self, count: usize) -> Vec<String> {
        lines_of(&self.path(), count)
    }

    /// Waits for the one line, as pairs.
    #[track_caller]
    fn pairs(&self) -> HashMap<String, String> {
        pairs(&self.lines(1)[0])
    }
}

#[track_caller]
fn lines_of(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    eventually(LIMIT, &format!("{count} lines"), || read().lines().count() >= count);
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// `key=value` and `key="a value"`, with nothing in between but blanks.
#[track_caller]
fn pairs(line: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=').unwrap_or_else(|| panic!("{rest:?} of {line:?}"));
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let end = quoted.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                let (value, behind) = quoted.split_at(end.unwrap_or_else(|| panic!("{line:?}")));
                (value, &behind[1..])
            }
            None => value.split_at(value.find(' ').unwrap_or(value.len())),
        };
        assert!(found.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice in {line:?}");
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    found
}

#[test]
fn a_line_says_who_asked_for_what_and_what_became_of_it() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::slow_echo(Duration::from_millis(30)));
        let conf = Conf::new()
            .entry("^/app", &format!("Server {} name=app-1", a.address()))
            .with(&log.key())
            .with("RequestId X-Request-Id");
        let host = Host::start(kind, conf);
        let answer = host.get("/app/x?q=\"1\"").expect(200);
        let line = log.pairs();
        let has = |key: &str| line[key].as_str();
        assert_eq!(has("client"), "127.0.0.1");
        assert_eq!(has("request"), "GET /app/x?q=\\\"1\\\" HTTP/1.1");
        assert_eq!((has("status"), has("server"), has("tries"), has("code")), ("200", "app-1", "1", "ok"));
        assert!(has("entry").starts_with("proxy_reverse.conf:"), "{line:?}");
        assert_eq!(has("id"), a.last_seen().header("X-Request-Id").unwrap());
        assert_eq!(has("id"), answer.header("X-Request-Id").unwrap());
        assert_eq!(has("body"), answer.body.len().to_string());
        let number = |key: &str| has(key).parse::<u64>().unwrap_or_else(|_| panic!("{key} of {line:?}"));
        assert!(number("sent") >= a.last_seen().head.len() as u64, "{line:?}");
        assert!(number("received") > number("body"), "{line:?}");
        assert!(number("header_us") >= 30_000 && number("total_us") >= number("header_us"), "{line:?}");
        assert!(number("connect_us") < number("total_us") && number("queue_us") < number("total_us"));
        assert!(has("time").len() == 20 && has("time").ends_with('Z'), "{line:?}");
        let mode = fs::metadata(log.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o137, 0, "{mode:o}");
    });
}

#[test]
fn a_line_of_json_says_the_same() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().route("^/app", &[&a]).with(&log.key()).with("ProxyLogFormat json");
        let host = Host::start(kind, conf);
        host.get("/app/\"").expect(200);
        let line: serde_json::Value = serde_json::from_str(&log.lines(1)[0]).unwrap();
        assert_eq!(
            (line["request"].as_str(), line["code"].as_str()),
            (Some("GET /app/\" HTTP/1.1"), Some("ok"))
        );
        assert_eq!((line["status"].as_u64(), line["id"].as_str()), (Some(200), None));
        assert!(line["total_us"].as_u64().unwrap() > 0, "{line:#}");
    });
}

#[test]
fn each_end_of_a_request_has_its_code_and_its_error() {
    /// What the servers do, further lines, what is asked; code, status, and error of RFC 9209.
    type Case = (&'static str, fn() -> Backend, &'static str, &'static str, &'static str, u16, &'static str);
    let cases: [Case; 9] = [
        (
            "refuses",
            || Backend::refuses("a"),
            "AttemptsCount 0",
            "",
            "connect_refused",
            502,
            "connection_refused",
        ),
        (
            "offline",
            || Backend::refuses("a"),
            "WhenAllOffline 503\nAttemptsCount 1",
            "",
            "all_offline",
            503,
            "destination_unavailable",
        ),
        (
            "closes",
            || Backend::start("a", vice::reads_and_leaves(Next::Close)),
            "PoisonGuard off",
            "",
            "closed",
            502,
            "connection_terminated",
        ),
        (
            "resets",
            || Backend::start("a", vice::reads_and_leaves(Next::Reset)),
            "PoisonGuard off",
            "",
            "reset",
            502,
            "connection_terminated",
        ),
        (
            "in head",
            || Backend::start("a", vice::leaves_in_head(Next::Close)),
            "",
            "",
            "closed_in_head",
            502,
            "http_response_incomplete",
        ),
        (
            "garbage",
            || Backend::start("a", vice::garbage()),
            "",
            "",
            "invalid_response",
            502,
            "http_protocol_error",
        ),
        (
            "large",
            || Backend::start("a", vice::huge_head(40_000)),
            "",
            "",
            "response_too_large",
            502,
            "http_response_header_section_size",
        ),
        (
            "silent",
            || Backend::start("a", vice::never_answers()),
            "HeaderTimeOut 100ms",
            "",
            "header_timeout",
            504,
            "http_response_timeout",
        ),
        (
            "loop",
            || Backend::start("a", vice::echo()),
            "Via here",
            "Via: 1.1 here\r\n",
            "loop",
            508,
            "proxy_loop_detected",
        ),
    ];
    for_each_host(|kind| {
        for (name, start, lines, fields, code, status, error) in &cases {
            let log = Log::new();
            let a = start();
            let mut conf = Conf::new().route("^/app", &[&a]).with(&log.key()).with("ProxyStatus on");
            for line in lines.lines() {
                conf = conf.with(line);
            }
            // Two workers may write their lines in another order than that of their answers.
            let host = Setup::new(kind, conf).workers(1).start();
            let mut requests = 1;
            if *name == "offline" {
                host.get("/app").expect(502);
                requests += 1;
            }
            let answer = host.client().ask("GET", "/app", fields, b"").expect(*status);
            let said = proxy_status(&answer);
            assert_eq!(
                said.last().unwrap().get("error").map(String::as_str),
                Some(*error),
                "{name}: {said:?}"
            );
            let line = pairs(log.lines(requests).last().unwrap());
            assert_eq!(
                (line["code"].as_str(), line["status"].as_str()),
                (*code, status.to_string().as_str()),
                "{name}"
            );
        }
    });
}

#[test]
fn no_connection_in_time_is_told_apart_from_a_refusal() {
    for_each_host(|kind| {
        let (log, hole) = (Log::new(), BlackHole::new());
        let conf = Conf::new()
            .route_to("^/app", &hole.addr().to_string())
            .with(&log.key())
            .with("ProxyStatus on")
            .with("ConnectTimeOut 100ms");
        let host = Host::start(kind, conf);
        let answer = host.get("/app").expect(504);
        assert_eq!(proxy_status(&answer)[0]["error"], "connection_timeout");
        assert_eq!(log.pairs()["code"], "connect_timeout");
    });
}

#[test]
fn a_client_that_leaves_and_an_answer_that_is_cut_have_lines_too() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::never_answers());
        let b = Backend::start("b", vice::closes_mid_body(1000, 100, Next::Close));
        let conf = Conf::new().default_key(&log.key()).route("^/app", &[&a]).route("^/cut", &[&b]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        eventually(LIMIT, "the backend has it", || a.requests() == 1);
        drop(client);
        assert_eq!(log.pairs()["code"], "client_left");
        let mut client = host.client();
        client.send_request("GET", "/cut", "", b"");
        let _ = client.read_all(LIMIT);
        let line = pairs(&log.lines(2)[1]);
        assert_eq!((line["code"].as_str(), line["status"].as_str()), ("cut", "200"));
    });
}

#[test]
fn a_request_that_is_asked_again_says_how_often_and_who_answered() {
    for_each_host(|kind| {
        let log = Log::new();
        let (a, b) = (Backend::refuses("a"), Backend::start("b", vice::echo()));
        let conf = Conf::new()
            .route("^/app", &[&a, &b])
            .with("LoadBalancer First-Alive")
            .with("Explain loopback")
            .with(&log.key());
        let host = Host::start(kind, conf);
        let answer = host.client().ask("GET", "/app", "X-Proxy-Explain: 1\r\n", b"").expect(200);
        let line = log.pairs();
        assert_eq!(
            (line["tries"].as_str(), line["server"].clone(), line["code"].as_str()),
            ("2", b.address(), "ok")
        );
        let explained = pairs(answer.header("X-Proxy-Explain").unwrap());
        assert_eq!(explained["failed"], format!("{}:connect_refused", a.address()));
        assert_eq!(explained["servers"], format!("{}:chosen,{}:not-in-turn", a.address(), b.address()));
        assert_eq!((explained["server"].clone(), explained["tries"].as_str()), (b.address(), "2"));
        assert_eq!(explained["entry"], line["entry"]);
        assert_eq!(explained["pattern"], "^/app");
        assert!(explained["pattern_at"].starts_with("proxy_reverse.conf:"), "{explained:?}");
        assert!(explained["total_us"].parse::<u64>().unwrap() > 0);
    });
}

#[test]
fn only_who_may_ask_is_told_and_no_server_gets_to_see_the_question() {
    for_each_host(|kind| {
        let a = Backend::start(
            "a",
            vice::raw("HTTP/1.1 200 OK\r\nX-Proxy-Explain: forged\r\nContent-Length: 0\r\n\r\n", Next::Again),
        );
        let conf = Conf::new()
            .route("^/off", &[&a])
            .route("^/loopback", &[&a])
            .with("Explain loopback")
            .route("^/any", &[&a])
            .with("Explain any");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for (path, question, told) in [
            ("/off", "X-Proxy-Explain: 1\r\n", Some("forged")),
            ("/loopback", "", None),
            ("/loopback", "X-Proxy-Explain: 0\r\n", None),
            ("/loopback", "X-Proxy-Explain: 1\r\nX-Forwarded-For: 192.0.2.1\r\n", None),
            ("/any", "x-proxy-explain: 1\r\n", Some("entry=")),
            ("/loopback", "X-Proxy-Explain: 1\r\n", Some("entry=")),
        ] {
            let answer = client.ask("GET", path, question, b"").expect(200);
            let got = answer.all("X-Proxy-Explain");
            assert_eq!(got.len(), usize::from(told.is_some()), "{path} {question:?}: {got:?}");
            assert!(told.is_none_or(|told| got[0].starts_with(told)), "{got:?}");
            assert_eq!(a.last_seen().header("X-Proxy-Explain"), None);
        }
    });
}

#[test]
fn errors_of_the_proxy_are_explained_as_well() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = Conf::new().route("^/app", &[&a]).with("Explain any").with("AttemptsCount 0");
        let host = Host::start(kind, conf);
        let answer = host.client().ask("GET", "/app", "X-Proxy-Explain: 1\r\n", b"").expect(502);
        let explained = pairs(answer.header("X-Proxy-Explain").unwrap());
        assert_eq!((explained["code"].as_str(), explained["tries"].as_str()), ("connect_refused", "1"));
    });
}

#[test]
fn requests_get_names_and_only_a_trusted_proxy_may_give_them() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new()
            .default_key("RequestId X-Request-Id")
            .route("^/open", &[&a])
            .route("^/behind", &[&a])
            .with("TrustedProxies 127.0.0.1")
            .with("SetRequestHeader X-Copy <${request_id}>");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        let mut ask = |path: &str, fields: &str| {
            let answer = client.ask("GET", path, fields, b"").expect(200);
            let (seen, got) = (a.last_seen(), answer.all("X-Request-Id"));
            assert_eq!(seen.all("X-Request-Id"), got, "{path} {fields:?}");
            assert_eq!((got.len(), seen.header("X_Request_Id")), (1, None));
            if path == "/behind" {
                assert_eq!(seen.header("X-Copy").unwrap(), format!("<{}>", got[0]));
            }
            got[0].to_owned()
        };
        let mut own = HashSet::new();
        for (path, fields) in [
            ("/open", ""),
            ("/open", "X-Request-Id: mine\r\n"),
            ("/open", "X_Request_Id: mine\r\n"),
            ("/behind", ""),
            ("/behind", "X-Request-Id: a b\r\n"),
            ("/behind", "X-Request-Id: \r\n"),
            ("/behind", "X-Request-Id: one\r\nX-Request-Id: two\r\n"),
        ] {
            let id = ask(path, fields);
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{fields:?} became {id:?}");
            assert!(own.insert(id), "a name came twice");
        }
        let long = format!("X-Request-Id: {}\r\n", "x".repeat(129));
        assert_eq!(ask("/behind", &long).len(), 32);
        assert_eq!(ask("/behind", "x-request-id: From-Front_1\r\n"), "From-Front_1");
    });
}

#[test]
fn names_are_unique_across_workers() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().route("^/app", &[&a]).with("RequestId X-Request-Id");
        let host = Setup::new(kind, conf).workers(3).start();
        let mut clients: Vec<_> = (0..12).map(|_| host.client()).collect();
        let mut ids = HashSet::new();
        for n in 0..60 {
            let answer = clients[n % 12].get("/app").expect(200);
            assert!(ids.insert(answer.header("X-Request-Id").unwrap().to_owned()));
        }
    });
}

#[test]
fn answers_that_are_passed_on_say_so_behind_what_others_have_said() {
    for_each_host(|kind| {
        let head =
            "HTTP/1.1 404 Not Found\r\nProxy-Status: inner; error=dns_timeout\r\nContent-Length: 0\r\n\r\n";
        let a = Backend::start("a", vice::raw(head, Next::Again));
        let conf = Conf::new()
            .entry("^/app", &format!("Server {} name=app-1", a.address()))
            .with("ProxyStatus on")
            .with("Via outer")
            .entry("^/plain", &format!("ServerList {}", a.address()))
            .with("ProxyStatus on")
            .entry("^/off", &format!("ServerList {}", a.address()));
        let host = Host::start(kind, conf);
        let said = proxy_status(&host.get("/app").expect(404));
        assert_eq!(said.len(), 2, "{said:?}");
        assert_eq!((said[0][""].as_str(), said[0]["error"].as_str()), ("inner", "dns_timeout"));
        let ours = &said[1];
        assert_eq!((ours[""].as_str(), ours["received-status"].as_str()), ("outer", "404"));
        assert_eq!((ours["next-hop"].as_str(), ours.get("error")), ("app-1", None));
        let plain = host.get("/plain").expect(404);
        assert!(!plain.all("Proxy-Status").concat().contains("127.0.0.1"), "an address is nobody's business");
        assert_eq!(proxy_status(&host.get("/off").expect(404)).len(), 1);
    });
}

#[test]
fn a_log_that_is_moved_away_is_begun_anew() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]).with(&log.key()));
        host.get("/app/1").expect(200);
        log.lines(1);
        let moved = log.path().with_extension("1");
        fs::rename(log.path(), &moved).unwrap();
        host.get("/app/2").expect(200);
        assert!(log.lines(1)[0].contains("/app/2"));
        assert!(lines_of(&moved, 1)[0].contains("/app/1"));
    });
}

#[test]
fn what_was_logged_last_is_on_the_disk_when_the_server_has_ended() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]).with(&log.key()));
        let mut client = host.client();
        for n in 0..50 {
            client.get(&format!("/app/{n}")).expect(200);
        }
        drop(client);
        let _ = host.stop();
        let text = fs::read_to_string(log.path()).unwrap();
        assert_eq!(text.lines().count(), 50, "{text}");
    });
}

#[test]
fn a_log_that_cannot_be_written_is_told_of_once_and_keeps_nobody_waiting() {
    for_each_host(|kind| {
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().route("^/app", &[&a]).with("ProxyLog /nowhere/at/all/proxy.log");
        let host = Host::start(kind, conf);
        for _ in 0..20 {
            host.get("/app").expect(200);
        }
        let told = "ProxyLog /nowhere/at/all/proxy.log: No such file or directory";
        if prints(kind) {
            host.expect_output(told);
            assert_eq!(host.output().matches(told).count(), 1);
        }
    });
}

#[test]
fn an_answer_that_changes_the_protocol_has_a_name_and_a_line() {
    for_each_host(|kind| {
        let log = Log::new();
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let a = Backend::start("a", vice::raw(head, Next::Close));
        let conf = Conf::new()
            .route("^/app", &[&a])
            .with(&log.key())
            .with("RequestId X-Request-Id")
            .with("ProxyStatus on");
        let host = Host::start(kind, conf);
        let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
        let answer = host.client().ask("GET", "/app", fields, b"");
        assert_eq!(answer.status, 101);
        let line = log.pairs();
        assert_eq!(answer.header("X-Request-Id"), Some(line["id"].as_str()));
        assert_eq!(proxy_status(&answer)[0]["received-status"], "101");
        assert_eq!((line["status"].as_str(), line["code"].as_str()), ("101", "ok"));
    });
}

#[test]
fn a_request_that_was_turned_away_at_the_end_of_the_server_left_no_line() {
    for_each_host(|kind| {
        let log = Log::new();
        let a = Backend::start("a", vice::slow_echo(Duration::from_millis(2500)));
        let b = Backend::start("b", vice::echo());
        let conf = Conf::new()
            .default_key(&log.key())
            .default_key("RequestId X-Request-Id")
            .default_key("ProxyStatus on")
            .route("^/slow", &[&a])
            .route("^/quick", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        let mut slow = host.client().with_deadline(LIMIT);
        let mut kept: Vec<_> = (0..40).map(|_| host.client().with_deadline(LIMIT)).collect();
        for client in &mut kept {
            client.get("/quick/before").expect(200);
        }
        if !kind.is_harness() {
            // It takes connections before it has dropped its privileges; a signal in between may be its last.
            std::thread::sleep(Duration::from_millis(400));
        }
        slow.send_request("GET", "/slow", "", b"");
        eventually(LIMIT, "the backend has it", || a.requests() == 1);
        host.terminate();
        // For a second they are answered still.
        let refused = eventually_some(&mut kept, |client| {
            let answer = client.get("/quick/late");
            (answer.status != 200).then_some(answer)
        })
        .expect(503);
        assert_eq!(proxy_status(&refused)[0]["error"], "proxy_internal_response");
        slow.read("GET").expect(200);
        drop(kept);
        host.stop();
        let text = fs::read_to_string(log.path()).unwrap();
        let told: Vec<_> = text.lines().map(pairs).filter(|line| line["status"] != "200").collect();
        let [line] = &told[..] else { panic!("{text}") };
        assert_eq!((line["status"].as_str(), line["code"].as_str()), ("503", "server_ends"));
        assert_eq!((line["server"].as_str(), line["tries"].as_str()), ("-", "0"));
        assert_eq!(line["request"], "GET /quick/late HTTP/1.1");
        assert_eq!(Some(line["id"].as_str()), refused.header("X-Request-Id"));
    });
}

/// What becomes of one after the other, with pauses, until it is something.
#[track_caller]
fn eventually_some<T, R>(all: &mut [T], mut of: impl FnMut(&mut T) -> Option<R>) -> R {
    let mut found = None;
    let mut all = all.iter_mut();
    eventually(LIMIT, "one of them", || {
        std::thread::sleep(Duration::from_millis(50));
        found = of(all.next().expect("there are enough"));
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_server_that_goes_offline_is_named_with_the_cause_in_one_line() {
    for_each_host(|kind| {
        let a = Backend::refuses("a");
        let conf = Conf::new().route("^/app", &[&a]).with("AttemptsCount 1").with("OfflineTimeOut 60");
        let host = Host::start(kind, conf);
        host.get("/app").expect(502);
        if prints(kind) {
            let told =
                format!("backend {} is offline for 60 s: cannot connect: Connection refused", a.address());
            host.expect_output(&told);
        }
    });
}

/// Whether what the plugin says can be read in `Host::output`.
fn prints(kind: Kind) -> bool {
    kind.is_harness()
}

/// The members of `Proxy-Status`, each with its parameters; the name is the one without a key.
#[track_caller]
fn proxy_status(answer: &Response) -> Vec<HashMap<String, String>> {
    let text = answer.all("Proxy-Status").join(", ");
    let list: List = Parser::new(&text).parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    let shown = |item: &BareItem| match item {
        BareItem::Token(token) => token.as_str().to_owned(),
        BareItem::String(string) => string.as_str().to_owned(),
        BareItem::Integer(number) => number.to_string(),
        other => panic!("{other:?} in {text}"),
    };
    let member = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("a list inside of {text}") };
        let mut found = HashMap::from([(String::new(), shown(&item.bare_item))]);
        found.extend(item.params.iter().map(|(key, value)| (key.as_str().to_owned(), shown(value))));
        found
    };
    list.iter().map(member).collect()
}
