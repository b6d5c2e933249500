//! What each key comes to.

use super::*;

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
            pool_size: PoolSize::Most(7),
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
fn the_statistics_are_for_this_machine_unless_somebody_else_is_named() {
    let config = good(
        "[PROXY_DEFAULTS]\n StatisticsAllow 10.0.0.0/8\n[PROXY_ENTRY]\n Match x\n ServerList a\n\
         [PROXY_ENTRY]\n Match y\n ServerList a\n StatisticsAllow ::1 192.0.2.7\n StatisticsAllow any\n",
    );
    let shown = |settings: &Settings| {
        settings.statistics_allow.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown(&Settings::default()), "127.0.0.0/8 ::1/128");
    assert_eq!(shown(&config.entries[0].settings), "10.0.0.0/8");
    assert_eq!(shown(&config.entries[1].settings), "::1/128 192.0.2.7/32 0.0.0.0/0 ::/0");
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
