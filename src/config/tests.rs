//! What files mean, and the exact message for each mistake.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;

mod servers;

use super::keys::{KEYS, KeyId, Kind};
use super::*;

fn read(text: &str) -> Result<Config, ConfigErrors> {
    from_text(Path::new("p.conf"), text.as_bytes(), &|name| match name {
        "HOST" => Some("10.0.0.1".to_owned()),
        "EMPTY" => Some(String::new()),
        "PAIR" => Some("a:1 b:2".to_owned()),
        _ => None,
    })
}

fn good(text: &str) -> Config {
    match read(text) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// The messages for `text`, which must be refused.
fn messages(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(|error| error.to_string()).collect()
}

/// The messages for an entry that is fine but for `line`, which is line 4.
fn messages_for(line: &str) -> Vec<String> {
    messages(&format!("[PROXY_ENTRY]\n Match x\n ServerList a:1\n{line}\n"))
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(|warning| warning.to_string()).collect()
}

fn servers(entry: &ProxyEntry) -> Vec<String> {
    entry.servers.iter().map(|server| server.to_string()).collect()
}

fn patterns(entry: &ProxyEntry) -> Vec<&str> {
    entry.patterns.iter().map(|pattern| pattern.text.as_str()).collect()
}

// --- What files mean -------------------------------------------------------------------

#[test]
fn a_small_file() {
    let config = good("[PROXY_ENTRY]\n    Match \\.php$ ^/app/\n    ServerList b:2 127.0.0.1 b:2\n");
    assert!(config.warnings.is_empty());
    let entry = &config.entries[0];
    assert_eq!(entry.line, 1);
    assert_eq!(
        entry.patterns,
        [
            Pattern { text: r"\.php$".to_owned(), line: 2, column: 11 },
            Pattern { text: "^/app/".to_owned(), line: 2, column: 18 },
        ]
    );
    assert_eq!(servers(entry), ["b:2", "127.0.0.1:80", "b:2"]);
    assert_eq!(entry.load_balancer, LoadBalancer::RoundRobin);
    assert_eq!(entry.settings, Settings::default());
    assert!(entry.settings.high_availability());
}

#[test]
fn every_key_is_understood() {
    let config = good(
        "[PROXY_ENTRY]\n Match x\n ServerList a\n LoadBalancer Least-Connections\n \
         AttemptsCount 5\n OfflineTimeOut 2m\n StatisticsURL /s\n ConnectTimeOut 250ms\n \
         SendTimeOut 1\n HeaderTimeOut 2\n ReadTimeOut 3s\n ClientTimeOut 0\n RetryCount 0\n \
         KeepAlive off\n PoolSize 7\n PoolIdleTimeOut 0\n BufferSize 1M\n MaxResponseHeader 64K\n \
         Upgrade Any\n TunnelTimeOut 0\n HostHeader app:81\n",
    );
    assert_eq!(config.entries[0].load_balancer, LoadBalancer::LeastConnections);
    assert_eq!(
        config.entries[0].settings,
        Settings {
            attempts_count: 5,
            offline_timeout: Duration::from_secs(120),
            statistics_url: Some("/s".to_owned()),
            connect_timeout: Some(Duration::from_millis(250)),
            send_timeout: Some(Duration::from_secs(1)),
            header_timeout: Some(Duration::from_secs(2)),
            read_timeout: Some(Duration::from_secs(3)),
            client_timeout: None,
            retries: Retries { count: 0, ..Retries::default() },
            keep_alive: false,
            pool_size: 7,
            pool_idle_timeout: None,
            buffer_size: 1 << 20,
            max_response_header: 64 << 10,
            upgrade: UpgradePolicy::Any,
            tunnel_timeout: None,
            heads: Heads { host: HostHeader::Literal("app:81".to_owned()), ..Heads::default() },
            ..Settings::default()
        }
    );
}

#[test]
fn every_key_about_retries_is_understood() {
    let config = good(
        "[PROXY_DEFAULTS]\n RetryOn 503 connect\n RetryBudget 5\n\
         [PROXY_ENTRY]\n Match x\n ServerList a\n RetryCount 1\n RetryTimeOut 500ms\n RetryNonIdempotent on\n \
         RetryKeyHeader X-Once\n RetryBudgetMin 0\n PoisonGuard off\n PoisonTimeOut 2m\n\
         [PROXY_ENTRY]\n Match y\n ServerList a\n RetryOn off\n RetryTimeOut 0\n RetryKeyHeader off\n",
    );
    let defaults = Retries { budget_percent: 5, ..Retries::default() };
    assert_eq!(
        config.entries[0].settings.retries,
        Retries {
            on: RetryOn::new([RetryCause::Connect, RetryCause::Status(503)]),
            count: 1,
            timeout: Some(Duration::from_millis(500)),
            non_idempotent: true,
            key_header: Some("X-Once".to_owned()),
            budget_min: 0,
            poison_guard: false,
            poison_timeout: Duration::from_secs(120),
            ..defaults.clone()
        }
    );
    let off = Retries { on: RetryOn::new([]), timeout: None, key_header: None, ..defaults };
    assert_eq!(config.entries[1].settings.retries, off);
}

#[test]
fn bad_values_about_retries() {
    const CAUSES: &str = "off, or some of connect, stale, reset, timeout, invalid, 429, 500, 502, 503, 504";
    let entry = |line: &str| format!("[PROXY_ENTRY]\n Match x\n ServerList a\n {line}\n");
    for (line, message) in [
        ("RetryOn connect 404", format!("p.conf:4:18: '404' is no value for RetryOn; write {CAUSES}")),
        ("RetryOn off reset", format!("p.conf:4:10: 'off' is no value for RetryOn; write {CAUSES}")),
        (
            "RetryKeyHeader a:b",
            "p.conf:4:17: 'a:b' is no value for RetryKeyHeader; write off, or the name of a header, as in \
             Idempotency-Key"
                .to_owned(),
        ),
        (
            "RetryBudget 20%",
            "p.conf:4:14: '20%' is no value for RetryBudget; write a whole number from 0 to 100".to_owned(),
        ),
    ] {
        assert_eq!(messages(&entry(line)), [message]);
    }
}

#[test]
fn every_key_about_failing_servers_is_understood() {
    let config = good(
        "[PROXY_ENTRY]\n Match x\n ServerList a\n FailOn connect 5xx 429\n WhenAllOffline static\n \
         OfflineBackoff 3\n OfflineMax 10m\n OfflineJitter 0\n ProbeOffline off\n ProbeInterval 500ms\n \
         SlowStart 0\n HealthCheck HEAD /up?x\n HealthInterval 1m\n HealthTimeOut 1\n HealthRise 1\n \
         HealthFall 5\n HealthStatus 204 3xx\n",
    );
    let expected = Health {
        fail_on: vec![Fault::Connect, Fault::Status(500..=599), Fault::Status(429..=429)],
        backoff: 3,
        offline_max: Duration::from_secs(600),
        offline_jitter: 0,
        probe_offline: false,
        probe_interval: Duration::from_millis(500),
        when_all_offline: WhenAllOffline::Static,
        slow_start: Duration::ZERO,
        check: HealthCheck::Http { method: "HEAD", target: "/up?x".to_owned() },
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(1),
        rise: 1,
        fall: 5,
        statuses: vec![204..=204, 300..=399],
    };
    assert_eq!(config.entries[0].settings.health, expected);
}

#[test]
fn wrong_values_about_failing_servers_are_told_with_the_remedy() {
    for (line, message) in [
        ("FailOn connect 2xx", "connect, timeout, reset, invalid, or statuses from 400 on"),
        ("WhenAllOffline 502", "try, 503 or static"),
        ("OfflineBackoff 0", "a whole number from 1 to 10"),
        ("OfflineJitter 51", "a whole number from 0 to 50"),
        ("ProbeInterval 0", "seconds up to 604800, or as in 250ms, 5s, 2m; at least 50 ms"),
        ("HealthCheck POST /x", "off, tcp, or GET or HEAD and a path, as in GET /health"),
        ("HealthRise 0", "a whole number from 1 to 1000"),
        ("HealthStatus 1xx", "statuses from 200 to 599, as in 200-399, 204 or 2xx"),
    ] {
        let told = messages_for(line).join("\n");
        let column = line.find(' ').unwrap_or(0) + 2;
        assert!(told.contains(&format!(":4:{column}: ")) && told.contains(message), "{told}");
    }
}

#[test]
fn every_key_about_heads_is_understood() {
    let config = good(
        "[PROXY_DEFAULTS]\n TrustedProxies private\n SetRequestHeader X-Default d\n CookiePath /d /e\n\
         [PROXY_ENTRY]\n Match x\n ServerList a\n HostHeader Server\n TrustedProxies 10.0.0.0/8 ::1\n \
         TrustedProxies 192.0.2.1\n ForwardedHeaders BOTH\n Via proxy-1\n StripPrefix /app/\n AddPrefix /v2\n \
         RewriteLocation off\n CookieDomain .I.example p.example\n CookieDomain j k\n CookiePath /v2 /\n \
         SetRequestHeader X-Site \t${scheme}://${host}  \n SetRequestHeader X-Who me and  you\n \
         RemoveRequestHeader X-A X-B\n RemoveRequestHeader X-C\n SetResponseHeader X-D ${PORT:-81}\n \
         RemoveResponseHeader Server\n[PROXY_ENTRY]\n Match y\n ServerList a\n TrustedProxies none\n StripPrefix /\n",
    );
    let text = |text: &str| Piece::Text(text.to_owned());
    let header = |name: &str, value: &[Piece]| Header { name: name.to_owned(), value: value.to_vec() };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        config.entries[0].settings.heads,
        Heads {
            host: HostHeader::Server,
            trusted_proxies: ["10.0.0.0/8", "::1/128", "192.0.2.1/32"]
                .map(|net| net.parse().unwrap())
                .to_vec(),
            forwarded: ForwardedHeaders::Both,
            via: Via::Named("proxy-1".to_owned()),
            strip_prefix: Some("/app".to_owned()),
            add_prefix: Some("/v2".to_owned()),
            rewrite_location: false,
            cookie_domains: vec![pair("i.example", "p.example"), pair("j", "k")],
            cookie_paths: vec![pair("/v2", "/")],
            set_request: vec![
                header("X-Site", &[Piece::Scheme, text("://"), Piece::Host]),
                header("X-Who", &[text("me and  you")]),
            ],
            remove_request: ["X-A", "X-B", "X-C"].map(str::to_owned).to_vec(),
            set_response: vec![header("X-D", &[text("81")])],
            remove_response: vec!["Server".to_owned()],
        }
    );
    let inherited = &config.entries[1].settings.heads;
    assert_eq!((inherited.trusted_proxies.len(), &inherited.strip_prefix), (0, &None));
    assert_eq!(inherited.set_request, [header("X-Default", &[text("d")])]);
    assert_eq!(inherited.cookie_paths, [pair("/d", "/e")]);
}

#[test]
fn headers_that_cannot_be_changed() {
    for (line, message) in [
        (
            "X-A: b",
            "SetRequestHeader 'X-A:': not the name of a header; write letters, digits and '-', without a colon, as in X-Frame-Options",
        ),
        ("X-A", "SetRequestHeader 'X-A': no value follows the name; write one, or RemoveRequestHeader X-A"),
        ("X-A ${LINES}", "SetRequestHeader 'X-A': a control character in the value; write printable text"),
        ("Host a", "SetRequestHeader 'Host': another key decides about it; write HostHeader"),
        ("via a", "SetRequestHeader 'via': another key decides about it; write Via"),
        (
            "Content_Length 5",
            "SetRequestHeader 'Content_Length': it says where a message ends, which the proxy alone knows; remove this line",
        ),
        (
            "TE trailers",
            "SetRequestHeader 'TE': it is about one connection and not passed on, the proxy writes its own; remove this line",
        ),
        (
            "Expect x",
            "SetRequestHeader 'Expect': it is about one connection and not passed on, the proxy writes its own; remove this line",
        ),
        ("Date x", "SetRequestHeader 'Date': it is said by whoever made the message; remove this line"),
        (
            "Proxy x",
            "SetRequestHeader 'Proxy': programs would take it for the address of their own proxy; write another name",
        ),
    ] {
        let text = format!("[PROXY_ENTRY]\n Match x\n ServerList a:1\n SetRequestHeader {line}\n");
        let errors = from_text(Path::new("p.conf"), text.as_bytes(), &|name| {
            (name == "LINES").then(|| "a\r\nHost: b".to_owned())
        });
        let found: Vec<String> = errors.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("p.conf:4:19: {message}")]);
    }
    assert_eq!(
        messages_for(
            " RemoveRequestHeader X-A Host x-a\n RemoveResponseHeader Upgrade Via Host Connection\n SetResponseHeader A 1\n SetResponseHeader a 2"
        ),
        [
            "p.conf:4:26: RemoveRequestHeader 'Host': another key decides about it; write HostHeader",
            "p.conf:4:31: RemoveRequestHeader 'x-a': it stands already at line 4; keep one of the two lines",
            "p.conf:5:23: RemoveResponseHeader 'Upgrade': another key decides about it; write Upgrade",
            "p.conf:5:40: RemoveResponseHeader 'Connection': it is about one connection and not passed on, the proxy writes its own; remove this line",
            "p.conf:7:20: SetResponseHeader 'a': it stands already at line 6; keep one of the two lines",
        ]
    );
}

#[test]
fn variables_of_a_request_stand_in_headers_alone() {
    assert_eq!(
        messages_for(" Via x${host}\n Match a${client_ip} ${scheme:-b}"),
        [
            "p.conf:4:6: ${host} is known only when a request comes; it stands in SetRequestHeader and SetResponseHeader alone",
            "p.conf:5:8: ${client_ip} is known only when a request comes; it stands in SetRequestHeader and SetResponseHeader alone",
        ]
    );
}

#[test]
fn entries_inherit_from_the_defaults_wherever_those_stand() {
    let config = good(
        "[PROXY_ENTRY]\n Match a\n Match b\n\
         [PROXY_ENTRY]\n ServerList y:1\n ServerList z:1\n AttemptsCount 0\n\
         [PROXY_DEFAULTS]\n ServerList x:1 x:2\n ServerList x:3\n Match d\n AttemptsCount 9\n LoadBalance naive\n",
    );
    let [first, second] = &config.entries[..] else { panic!() };
    assert_eq!(patterns(first), ["a", "b"]);
    assert_eq!(servers(first), ["x:1", "x:2", "x:3"]);
    assert_eq!(first.settings.attempts_count, 9);
    assert_eq!(first.load_balancer, LoadBalancer::Naive);
    assert_eq!(patterns(second), ["d"]);
    assert_eq!(servers(second), ["y:1", "z:1"]);
    assert_eq!(second.settings.attempts_count, 0);
    assert!(!second.settings.high_availability());
    assert_eq!(config.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn spelling_and_layout_are_free() {
    let long = "x".repeat(10_000);
    let config = good(&format!(
        "\u{feff}# comment\r\n  [proxy-entry] # comment\r\nMATCH\t\t{long}\r\n\t  # comment\r\n \t\r\n      \
         Server_List   a:1 \t b:2  \r\n\tload-balancer locking round_ROBIN\r\n"
    ));
    assert!(config.warnings.is_empty());
    let entry = &config.entries[0];
    assert_eq!(patterns(entry), [long]);
    assert_eq!(servers(entry), ["a:1", "b:2"]);
    assert_eq!(entry.load_balancer, LoadBalancer::LockingRoundRobin);
}

#[test]
fn variables_are_replaced() {
    let config = good(
        "[PROXY_ENTRY]\n Match ä${EMPTY}b ^$ a$|b $x ${NO:-a|b}\n \
         ServerList ${HOST}:${PORT:-81} ${PAIR} ${EMPTY:-c:3}\n",
    );
    let entry = &config.entries[0];
    assert_eq!(patterns(entry), ["äb", "^$", "a$|b", "$x", "a|b"]);
    assert_eq!(servers(entry), ["10.0.0.1:81", "a:1", "b:2", "c:3"]);
    let columns: Vec<_> = entry.patterns.iter().map(|pattern| pattern.column).collect();
    assert_eq!(columns, [8, 19, 22, 27, 30]);
}

#[test]
fn balancer_names_go_both_ways() {
    for balancer in LoadBalancer::ALL {
        assert_eq!(LoadBalancer::from_name(&balancer.to_string()), Some(balancer));
        assert_eq!(LoadBalancer::from_name(&format!("{balancer:?}")), Some(balancer));
    }
    assert_eq!(LoadBalancer::from_name(""), None);
}

#[test]
fn the_table_and_the_model_have_the_same_defaults() {
    let mut text = "[PROXY_ENTRY]\n Match x\n ServerList a\n".to_owned();
    for key in KEYS {
        if let Some(default) = key.default {
            text += &format!(" {} {default}\n", key.name);
        }
    }
    let config = good(&text);
    assert_eq!(config.entries[0].settings, Settings::default());
    assert_eq!(config.entries[0].load_balancer, LoadBalancer::default());
}

#[test]
fn every_example_in_the_table_is_right() {
    let text: String = KEYS.iter().map(|key| format!(" {} {}\n", key.name, key.example)).collect();
    assert!(good(&format!("[PROXY_ENTRY]\n{text}")).warnings.is_empty());
}

// --- Messages: files and lines ---------------------------------------------------------

#[test]
fn nothing_in_the_file() {
    for text in ["", "\n \r\n", "\u{feff}"] {
        assert_eq!(
            messages(text),
            ["p.conf: the file is empty; write at least one [PROXY_ENTRY] with Match and ServerList"]
        );
    }
    for text in ["# x\n", "[PROXY_DEFAULTS]\n ServerList a\n"] {
        assert_eq!(
            messages(text),
            ["p.conf: there is no [PROXY_ENTRY]; write at least one with Match and ServerList"]
        );
    }
}

#[test]
fn bytes_that_are_no_text() {
    let text = b"[PROXY_ENTRY]\n Match \xff\n\xc3\xa4\0\n ServerList a\n";
    let errors = from_text(Path::new("p.conf"), text, &|_| None).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "p.conf:2:8: byte 0xff is not UTF-8; save the file as UTF-8 text\n\
         p.conf:3:2: NUL byte; save the file as UTF-8 text"
    );
}

#[test]
fn sections() {
    assert_eq!(
        messages_for("[PROXY_ENTRIES]\n Foo 1\n[MAIN]\n[PROXY_DEFAULTS\n Bar"),
        [
            "p.conf:4:1: unknown section [PROXY_ENTRIES]; did you mean [PROXY_ENTRY]?",
            "p.conf:6:1: unknown section [MAIN]; the sections are [PROXY_DEFAULTS] and [PROXY_ENTRY]",
            "p.conf:7:1: section line without ']'; write [PROXY_DEFAULTS] or [PROXY_ENTRY]",
        ]
    );
    assert_eq!(
        messages_for("[PROXY_DEFAULTS]\n KeepAlive on\n[proxy_defaults]\n KeepAlive yes"),
        [
            "p.conf:6:1: [PROXY_DEFAULTS] stands already at line 4; keep one and move the keys there",
            "p.conf:7:12: 'yes' is no value for KeepAlive; write on or off",
        ]
    );
    assert_eq!(
        warnings("[PROXY_ENTRY] x\n Match x\n ServerList a"),
        ["p.conf:1:15: text after ']' is ignored; put it on a line of its own"]
    );
}

#[test]
fn keys_in_the_wrong_place_or_unknown() {
    assert_eq!(
        messages(" Match x\n[PROXY_ENTRY]\n Match x\n ServerList a"),
        [
            "p.conf:1:2: key 'Match' stands before any section; write [PROXY_DEFAULTS] or [PROXY_ENTRY] above it"
        ]
    );
    assert_eq!(
        messages_for("  OflineTimeout 3"),
        ["p.conf:4:3: unknown key 'OflineTimeout'; did you mean 'OfflineTimeOut'?"]
    );
    assert_eq!(
        messages_for("Colour blue"),
        [
            "p.conf:4:1: unknown key 'Colour'; the keys are Match, ServerList, LoadBalancer, AttemptsCount, OfflineTimeOut, FailOn, WhenAllOffline, OfflineBackoff, OfflineMax, OfflineJitter, ProbeOffline, ProbeInterval, SlowStart, HealthCheck, HealthInterval, HealthTimeOut, HealthRise, HealthFall, HealthStatus, RetryOn, RetryCount, RetryTimeOut, RetryNonIdempotent, RetryKeyHeader, RetryBudget, RetryBudgetMin, PoisonGuard, PoisonTimeOut, StatisticsURL, ConnectTimeOut, SendTimeOut, HeaderTimeOut, ReadTimeOut, ClientTimeOut, KeepAlive, PoolSize, PoolIdleTimeOut, PoolMaxRequests, PoolMaxAge, PoolUnsafeIdle, PoolLearn, BufferSize, MaxResponseHeader, HostHeader, TrustedProxies, ForwardedHeaders, Via, Upgrade, TunnelTimeOut, StripPrefix, AddPrefix, RewriteLocation, CookieDomain, CookiePath, SetRequestHeader, RemoveRequestHeader, SetResponseHeader, RemoveResponseHeader"
        ]
    );
    // The missing Match isn't held against an entry that misspells it.
    assert_eq!(
        messages("[PROXY_ENTRY]\n Macth x\n ServerList a"),
        ["p.conf:2:2: unknown key 'Macth'; did you mean 'Match'?"]
    );
}

#[test]
fn keys_twice_or_without_value() {
    assert_eq!(
        messages_for(" LoadBalance naive\n LoadBalancer naive"),
        ["p.conf:5:2: key 'LoadBalancer' stands already at line 4; keep one of the two lines"]
    );
    for line in [" PoolSize", " PoolSize  ", " PoolSize ${EMPTY}", " PoolSize ${X:-}"] {
        assert_eq!(
            messages_for(line),
            ["p.conf:4:2: key 'PoolSize' has no value; write one, as in 'PoolSize 32'"]
        );
    }
    for (line, sign) in [(" PoolSize=3", '='), (" PoolSize = 3", '='), (" PoolSize: 3", ':')] {
        assert_eq!(
            messages_for(line),
            [format!(
                "p.conf:4:2: '{sign}' follows the key 'PoolSize'; a blank alone separates key and value"
            )]
        );
    }
}

#[test]
fn an_entry_without_its_essentials() {
    assert_eq!(
        messages("[PROXY_ENTRY]\n KeepAlive on"),
        [
            r"p.conf:1:1: [PROXY_ENTRY] has no Match, nothing would reach it; write one, as in 'Match \.php$'",
            "p.conf:1:1: [PROXY_ENTRY] has no servers; write ServerList here or in [PROXY_DEFAULTS], as in 'ServerList 127.0.0.1:8081'",
        ]
    );
}

#[test]
fn comments_behind_values() {
    assert_eq!(
        warnings("[PROXY_ENTRY]\n Match a#b #c\n ServerList a"),
        ["p.conf:2:12: '#' inside a value does not begin a comment; put the comment on a line of its own"]
    );
    assert_eq!(
        messages_for(" PoolSize 3 # three"),
        [
            "p.conf:4:11: '3 # three' is no value for PoolSize; write a whole number from 0 to 65535",
            "p.conf:4:13: '#' inside a value does not begin a comment; put the comment on a line of its own",
        ]
    );
}

#[test]
fn variables() {
    assert_eq!(
        messages_for(" PoolSize ${NOT}\n Match ${1} ${a"),
        [
            "p.conf:4:11: environment variable 'NOT' is not set; set it, or write ${NOT:-default}",
            "p.conf:5:8: '${1}' is not a variable; write ${NAME} or ${NAME:-default}",
            "p.conf:5:13: '${a' is not a variable; write ${NAME} or ${NAME:-default}",
        ]
    );
}

// --- Messages: values ------------------------------------------------------------------

#[test]
fn bad_values() {
    for (line, message) in [
        ("PoolSize -1", "'-1' is no value for PoolSize; write a whole number from 0 to 65535"),
        ("RetryCount 101", "'101' is no value for RetryCount; write a whole number from 0 to 100"),
        (
            "ReadTimeOut 1d",
            "'1d' is no value for ReadTimeOut; write seconds from 0 to 604800, or as in 250ms, 5s, 2m, 1h",
        ),
        (
            "BufferSize 512",
            "'512' is no value for BufferSize; write bytes from 1024 to 1048576, or as in 16K, 1M",
        ),
        ("KeepAlive true", "'true' is no value for KeepAlive; write on or off"),
        (
            "StatisticsURL stats",
            "'stats' is no value for StatisticsURL; write a path that begins with / and has no blank, ? or #, as in /proxy/statistics",
        ),
        (
            "HostHeader http://a",
            "'http://a' is no value for HostHeader; write client, server, or a host name with or without a port, as in app.example.com:8080",
        ),
        (
            "TrustedProxies 10.0.0.0/33",
            "'10.0.0.0/33' is no value for TrustedProxies; write none, private, or addresses and networks, as in 10.0.0.0/8 2001:db8::1",
        ),
        (
            "TrustedProxies none private",
            "'none' is no value for TrustedProxies; write none, private, or addresses and networks, as in 10.0.0.0/8 2001:db8::1",
        ),
        ("ForwardedHeaders yes", "'yes' is no value for ForwardedHeaders; write on, off, rfc7239 or both"),
        (
            "Via a b",
            "'a b' is no value for Via; write on, off, or a name of letters, digits and '-', as in proxy-1",
        ),
        ("Upgrade h2c", "'h2c' is no value for Upgrade; write websocket, any or off"),
        (
            "MaxResponseHeader 512K",
            "'512K' is no value for MaxResponseHeader; write bytes from 1024 to 262144, or as in 16K, 1M",
        ),
        (
            "StripPrefix app",
            "'app' is no value for StripPrefix; write a path that begins with / and has no blank, ?, #, ; or empty or dotted segment, as in /app",
        ),
        (
            "CookieDomain a",
            "'a' is no value for CookieDomain; write two host names, as in internal.example public.example",
        ),
        (
            "CookiePath /a b",
            "'/a b' is no value for CookiePath; write two paths that begin with /, as in /v2 /app",
        ),
        (
            "LoadBalancer best one",
            "unknown load balancer 'best one'; write one of Naive, First-Alive, Round-Robin, Locking-Round-Robin, Least-Connections, Source-Hash",
        ),
        ("ServerList http://a:80/", "server 'http://a:80/': a server is an address, not a URL; write 'a:80'"),
        (
            "ServerList a:65536",
            "server 'a:65536': not a port; write a number from 1 to 65535 after the colon",
        ),
        ("ServerList a:0", "server 'a:0': not a port; write a number from 1 to 65535 after the colon"),
        (
            "Match (a",
            r"pattern '(a' is not usable: unclosed group; write a regular expression without look-around and back-references, and \ before a character that stands for itself",
        ),
    ] {
        let column = line.find(' ').unwrap() + 2;
        assert_eq!(messages_for(line), [format!("p.conf:4:{column}: {message}")]);
    }
}

#[test]
fn patterns_are_checked_one_by_one() {
    let found = messages_for(r" Match ok a(?=b) [[:alpha:]] (a)\1 ä x{1000}{1000}");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("p.conf:4:11: pattern 'a(?=b)' is not usable: look-around"));
    assert!(found[1].starts_with(r"p.conf:4:30: pattern '(a)\1' is not usable: backreferences"));
    assert!(found[2].contains("it takes more than 1048576 bytes when compiled"));
    assert!(found.iter().all(|message| !message.contains('\n')));
}

#[test]
fn servers_are_checked_one_by_one_and_counted() {
    assert_eq!(
        messages_for(" ServerList ok a:x ok ::1"),
        [
            "p.conf:4:16: server 'a:x': not a port; write a number from 1 to 65535 after the colon",
            "p.conf:4:23: server '::1': an IPv6 address stands in brackets; write [::1] or [::1]:port",
        ]
    );
    let line = " ServerList".to_owned() + &" a".repeat(4096);
    assert_eq!(
        messages_for(&line),
        ["p.conf:4:8203: more than 4096 servers in one list; split them over several entries"]
    );
}

#[test]
fn entries_that_come_too_late() {
    let entry = |patterns: &str| format!("[PROXY_ENTRY]\n Match {patterns}\n ServerList a\n");
    assert_eq!(
        warnings(&[entry("a b a"), entry("b a"), entry("c b")].concat()),
        [
            "p.conf:4:1: this [PROXY_ENTRY] can never match, the entry at line 1 has the same patterns and comes first; remove one of them",
            "p.conf:8:10: pattern 'b' can never match here, the entry at line 1 has it too and comes first; remove one of them",
        ]
    );
}

#[test]
fn values_in_messages_are_short_and_printable() {
    let found = messages_for(&format!(" PoolSize \u{1b}[2J{}", "x".repeat(100_000)));
    assert!(found[0].starts_with(r"p.conf:4:11: '\u{1b}[2Jxxx"), "{}", found[0]);
    assert!(found[0].len() < 250);
}

#[test]
fn messages_are_bounded() {
    let found = messages_for(&"x\n".repeat(1000));
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "p.conf: 800 further problems are not shown; correct the ones above first");
}

#[test]
fn many_warnings_hide_no_error() {
    let text = "[PROXY_ENTRY]\n ServerList a\n".to_owned() + &" Match a #\n".repeat(300);
    let config = good(&text);
    assert_eq!(config.warnings.len(), 201);
    assert!(config.warnings.iter().all(|warning| warning.is_warning()));
    let errors = read(&(text + " PoolSize x")).unwrap_err();
    assert_eq!(errors.iter().filter(|error| !error.is_warning()).count(), 1);
}

// --- Files on disk ---------------------------------------------------------------------

#[test]
fn load_reads_the_file_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.conf");
    assert_eq!(
        load(&path).unwrap_err().to_string(),
        format!(
            "{}: the file cannot be read (No such file or directory (os error 2)); check that it exists and that the server's user may read it",
            path.display()
        )
    );
    fs::write(&path, "[PROXY_ENTRY]\n Match x\n ServerList a\n").unwrap();
    assert_eq!(load(&path).unwrap().entries.len(), 1);
}

#[test]
fn included_files_stand_in_for_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("servers"), " ServerList b:2\n").unwrap();
    fs::write(root.join("sub/more"), "@INCLUDE ../servers\n[PROXY_ENTRY]\n Match y\n").unwrap();
    fs::write(
        root.join("p.conf"),
        "[PROXY_ENTRY]\n Match x\n ServerList a:1\n @include ${DIR:-sub}/more\n ServerList c:3",
    )
    .unwrap();
    let config = load(&root.join("p.conf")).unwrap();
    assert_eq!(servers(&config.entries[0]), ["a:1", "b:2"]);
    assert_eq!(servers(&config.entries[1]), ["c:3"]);
}

#[test]
fn includes_that_fail() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("bad"), " PoolSize x\n PoolSize 3\n@INCLUDE p.conf\n").unwrap();
    fs::write(
        root.join("p.conf"),
        "[PROXY_ENTRY]\n @INCLUDE none\n PoolSize 1\n @INCLUDE\n @INCLUDE bad\n @USE x\n PoolSize 4\n",
    )
    .unwrap();
    let text = load(&root.join("p.conf")).unwrap_err().to_string();
    let text = text.replace(&format!("{}/", root.display()), "");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            "p.conf:2:11: included file 'none' cannot be read (No such file or directory (os error 2)); check that it exists, relative to this file's folder, and that the server's user may read it",
            "p.conf:4:2: @INCLUDE names no file; write '@INCLUDE file', relative to this file's folder",
            "bad:1:2: key 'PoolSize' stands already at p.conf:3; keep one of the two lines",
            "bad:1:11: 'x' is no value for PoolSize; write a whole number from 0 to 65535",
            "bad:2:2: key 'PoolSize' stands already at p.conf:3; keep one of the two lines",
            "bad:3:10: 'p.conf' is being read already, it includes itself; remove this @INCLUDE",
            "p.conf:6:2: unknown directive '@USE'; the only one is '@INCLUDE file'",
            "p.conf:7:2: key 'PoolSize' stands already at line 3; keep one of the two lines",
        ]
    );
}

#[test]
fn includes_go_eight_levels_deep() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for level in 0..9 {
        fs::write(root.join(level.to_string()), format!("@INCLUDE {}\n", level + 1)).unwrap();
    }
    fs::write(root.join("8"), "[PROXY_ENTRY]\n Match x\n ServerList a\n").unwrap();
    assert_eq!(load(&root.join("0")).unwrap().entries.len(), 1);
    fs::write(root.join("8"), "@INCLUDE 9\n").unwrap();
    let text = load(&root.join("0")).unwrap_err().to_string();
    assert!(
        text.ends_with("is included more than 8 levels deep; include it from a file further up"),
        "{text}"
    );
}

#[test]
fn includes_are_bounded_in_number() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "@INCLUDE b\n".repeat(257)).unwrap();
    fs::write(folder.path().join("b"), "# nothing\n").unwrap();
    let errors = load(&folder.path().join("a")).unwrap_err();
    assert!(matches!(errors.iter().next().unwrap().kind(), ErrorKind::IncludeCount { limit: 256, .. }));
}

// --- Properties ------------------------------------------------------------------------

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = from_text(Path::new("p.conf"), &text, &|_| None);
    }

    #[test]
    fn no_lines_make_it_panic(lines in prop::collection::vec(line(), 0..12)) {
        let result = read(&lines.join("\n"));
        if let Err(errors) = result {
            let shown = errors.to_string();
            prop_assert!(!shown.is_empty());
            prop_assert_eq!(shown.lines().count(), errors.iter().count());
        }
    }

    #[test]
    fn positions_lie_inside_the_file(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        let lines: Vec<&str> = text.split('\n').collect();
        for error in read(&text).err().iter().flatten() {
            prop_assert!(error.line() <= lines.len());
            if error.line() > 0 {
                let length = lines[error.line() - 1].chars().count();
                prop_assert!((1..=length + 1).contains(&error.column()), "{}", error);
            }
        }
    }
}

/// Lines that look like a configuration.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(KEYS).prop_map(|key| key.name.to_owned());
    prop_oneof![
        Just("[PROXY_ENTRY]".to_owned()),
        Just("[PROXY_DEFAULTS]".to_owned()),
        (key, "[ \t]{0,2}", "[-a-z0-9.:/\\[\\]\\\\${}#=ä \t]{0,20}").prop_map(|(k, b, v)| k + &b + &v),
        (prop::sample::select(KEYS), 0..3u8).prop_map(|(key, n)| match key.id {
            KeyId::Match => format!("{} a{n}", key.name),
            _ => format!("{} {}", key.name, key.example),
        }),
        "[@\\[ \t]{0,2}\\PC{0,20}".prop_filter("no files", |line| !line.contains('@')),
    ]
}

#[test]
fn kinds_say_what_they_expect() {
    for key in KEYS {
        assert!(!key.kind.expected().is_empty());
        assert!(!(key.is_repeatable() && matches!(key.kind, Kind::Switch | Kind::Balancer)));
    }
}
