//! Who asks whom: Host, X-Forwarded-*, Forwarded, Via, Max-Forwards. RFC 9112 section 3.2,
//! RFC 9110 sections 7.2 and 7.6, RFC 7239.

use crate::support::{
    Seen,
    limits::host_limit,
    rules::{Probe, get, on_conf, on_echo},
    vice,
};

fn with_host(line: &str) -> String {
    format!("GET /app HTTP/1.1\r\n{line}\r\nX-Z: z\r\n\r\n")
}

/// F6 MUST: Host arrives as the client sent it, port and case included.
#[test]
fn f6_host_arrives_unchanged() {
    on_echo("F6", |p| {
        for host in ["example.com:8080", "example.com", "EXAMPLE.com", "a-b.c_d.example:1", "127.0.0.1:81"] {
            let seen = p.forwarded(with_host(&format!("Host: {host}")));
            assert_eq!(seen.header("Host"), Some(host));
        }
        match p.forwarded_unless_limited(with_host("hOST:\t h:8 \t")) {
            Some(seen) => assert_eq!(seen.header("Host"), Some("h:8")),
            None => drop(host_limit("F6", p.host.kind)),
        }
    });
}

/// F6 MUST: Host arrives as the client sent it, port and case included.
#[test]
fn f6_host_follows_the_configuration() {
    for (policy, want) in
        [("client", Some("h:99")), ("literal.example:1", Some("literal.example:1")), ("server", None)]
    {
        on_conf("F6", vice::echo(), &[&format!("HostHeader {policy}")], |p| {
            let seen = p.forwarded(with_host("Host: h:99"));
            let server = p.a.address();
            assert_eq!(seen.header("Host"), Some(want.unwrap_or(&server)), "{policy}");
        });
    }
}

/// F6b MUST: An IPv6 literal in Host arrives unchanged, with and without a port.
#[test]
fn f6b_ipv6_hosts_arrive_unchanged() {
    on_echo("F6b", |p| {
        for host in ["[::1]", "[2001:db8::1]:8080"] {
            match p.forwarded_unless_limited(with_host(&format!("Host: {host}"))) {
                Some(seen) => assert_eq!(seen.header("Host"), Some(host)),
                None => drop(host_limit("F6b", p.host.kind)),
            }
        }
    });
}

/// F7a MUST: HTTP/1.1 without Host is refused.
#[test]
fn f7a_http11_needs_a_host() {
    on_echo("F7a", |p| {
        p.refused("GET /app HTTP/1.1\r\n\r\n");
        p.refused("GET /app HTTP/1.1\r\nX-Host: h\r\nAccept: */*\r\n\r\n");
        p.refused("POST /app HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    });
}

/// F7b SHOULD: HTTP/1.0 without Host is served, and the backend is given some Host.
#[test]
fn f7b_http10_needs_no_host() {
    on_echo("F7b", |p| {
        let seen = p.forwarded("GET /app HTTP/1.0\r\nX-Z: z\r\n\r\n");
        assert!(seen.version == "HTTP/1.0" || seen.all("Host").len() == 1, "{}", seen.head);
        assert!(seen.all("Host").iter().all(|host| !host.is_empty()), "{}", seen.head);
    });
}

/// F8 MUST: Two lines of Host are refused, equal or not.
#[test]
fn f8_two_hosts_are_refused() {
    on_echo("F8", |p| {
        for lines in
            ["Host: a\r\nHost: b", "Host: h\r\nHost: h", "Host: h\r\nX-A: a\r\nhost: h", "Host: h\r\nHost:"]
        {
            p.refused(with_host(lines));
        }
    });
}

/// F9 SHOULD: A Host that is none is refused: blank, `/`, `@`, `?`, `,`, controls inside.
#[test]
fn f9_impossible_hosts_are_refused() {
    on_echo("F9", |p| {
        for host in [
            "a b", "a/b", "a@b", "a?b", "a,b", "a\u{1}b", "a\tb", "a#b", "a\u{7f}", "a\\b", "a:b", "a:80:81",
            "<a>",
        ] {
            p.refused(with_host(&format!("Host: {host}")));
        }
    });
}

/// F10 MUST: The backend learns the client's address, once.
#[test]
fn f10_the_clients_address_arrives_once() {
    on_echo("F10", |p| {
        assert_eq!(p.forwarded(get("")).header("X-Forwarded-For"), Some("127.0.0.1"));
    });
}

/// F11 MUST: What a client claims in X-Forwarded-For is never the last address.
#[test]
fn f11_claimed_addresses_are_never_last() {
    const LIES: &str = "X-Forwarded-For: 1.1.1.1\r\nX-A: a\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n";
    let chain = |seen: &Seen| seen.all("X-Forwarded-For").join(", ").replace(' ', "");
    on_echo("F11", |p| {
        let got = chain(&p.forwarded(get(LIES)));
        assert!(["127.0.0.1", "1.1.1.1,2.2.2.2,3.3.3.3,127.0.0.1"].contains(&&*got), "{got}");
    });
}

/// F11 MUST: What a client claims in X-Forwarded-For is never the last address.
#[test]
fn f11_a_trusted_proxy_is_appended_to() {
    const CHAIN: &str = "X-Forwarded-For: 1.1.1.1\r\nX-A: a\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n";
    for (trusted, want) in [("127.0.0.1", "1.1.1.1,2.2.2.2,3.3.3.3,127.0.0.1"), ("10.0.0.0/8", "127.0.0.1")] {
        on_conf("F11", vice::echo(), &[&format!("TrustedProxies {trusted}")], |p| {
            let seen = p.forwarded(get(CHAIN));
            assert_eq!(seen.all("X-Forwarded-For").join(",").replace(' ', ""), want, "{trusted}");
        });
    }
}

/// F12 MUST: X-Real-IP and X-Forwarded-Proto, -Host and -Port are never the client's own text.
#[test]
fn f12_claims_of_a_client_are_replaced() {
    on_echo("F12", |p| {
        let lies = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n\
                    x-forwarded-port: 6666\r\nX-Forwarded-Proto: wss\r\nX-Real-IP: 6.6.6.6\r\n";
        let seen = p.forwarded(get(lies));
        for (name, lie) in [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Port", "6666"),
            ("X-Real-IP", "6.6.6.6"),
        ] {
            assert!(seen.all(name).len() <= 1, "{}", seen.head);
            assert!(!seen.all(name).contains(&lie), "{name}: {}", seen.head);
        }
    });
}

/// F13 CHOICE: `Forwarded` is written as RFC 7239 says, where it is asked for.
#[test]
fn f13_forwarded_is_written_by_configuration() {
    for (policy, rfc7239, other) in
        [("off", false, false), ("on", false, true), ("rfc7239", true, false), ("both", true, true)]
    {
        on_conf("F13", vice::echo(), &[&format!("ForwardedHeaders {policy}")], |p| {
            let seen = p.forwarded("GET /app HTTP/1.1\r\nHost: a:8080\r\nForwarded: for=6.6.6.6\r\n\r\n");
            assert_eq!(seen.all("X-Forwarded-For").len(), usize::from(other), "{policy}: {}", seen.head);
            let own = seen.all("Forwarded").join(",");
            assert!(!own.ends_with("6.6.6.6"), "{policy}: {own}");
            if rfc7239 {
                forwarded_says(&own);
            }
        });
    }
}

fn forwarded_says(own: &str) {
    let own = own.to_ascii_lowercase();
    let element = own.rsplit(',').next().unwrap_or_default();
    let pairs: Vec<_> = element.split(';').map(str::trim).collect();
    for pair in ["for=127.0.0.1", "host=\"a:8080\"", "proto=http"] {
        assert!(pairs.contains(&pair), "no {pair} in {own}");
    }
}

/// F14 CHOICE: Via names this proxy unless it is switched off; a loop is answered with 508 or 502.
#[test]
fn f14_via_names_the_proxy_and_shows_a_loop() {
    on_echo("F14", |p| {
        let seen = p.forwarded(get("Via: 1.0 before\r\n"));
        let via = seen.all("Via").join(", ");
        assert!(via.starts_with("1.0 before, 1.1 "), "{via}");
        let own = via.rsplit(", ").next().unwrap().to_owned();
        let before = p.a.requests();
        let response = p.host.client().ask("GET", "/app", &format!("Via: 1.0 before, {own}\r\n"), b"");
        assert!(matches!(response.status, 502 | 508), "{response:?}");
        assert_eq!(p.a.requests(), before);
    });
}

/// F14 CHOICE: Via names this proxy unless it is switched off; a loop is answered with 508 or 502.
#[test]
fn f14_via_follows_the_configuration() {
    for (policy, want) in [("off", None), ("edge-7", Some("1.1 edge-7"))] {
        on_conf("F14", vice::echo(), &[&format!("Via {policy}")], |p| {
            assert_eq!(p.forwarded(get("")).header("Via"), want, "{policy}");
            let old = p.forwarded("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
            assert_eq!(old.header("Via"), want.map(|_| "1.0 edge-7"), "{policy}");
        });
    }
}

/// F15 CHOICE: TRACE is refused, and a request with Max-Forwards: 0 goes no further.
#[test]
fn f15_trace_and_the_last_hop_stay_here() {
    on_echo("F15", |p| {
        no_further(p, "TRACE", "");
        no_further(p, "TRACE", "Max-Forwards: 0\r\n");
        no_further(p, "OPTIONS", "Max-Forwards: 0\r\n");
        let seen = p.forwarded("OPTIONS /app HTTP/1.1\r\nHost: h\r\nMax-Forwards: 3\r\n\r\n");
        assert!(seen.all("Max-Forwards").iter().all(|left| *left == "2"), "{}", seen.head);
    });
}

#[track_caller]
fn no_further(p: &Probe, method: &str, fields: &str) {
    let before = p.a.received();
    let response = p.host.client().ask(method, "/app", fields, b"");
    assert!(response.status == 200 && method == "OPTIONS" || response.status >= 400, "{response:?}");
    assert_eq!(p.a.received(), before, "{method} {fields:?} was forwarded");
}
