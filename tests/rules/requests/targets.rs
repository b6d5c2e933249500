//! Methods and targets: RFC 9110 section 9, RFC 9112 section 3, RFC 3986.

use crate::support::{
    Backend, Conf, Seen, Setup, for_each_host,
    limits::host_limit,
    rules::{Probe, bytes_of, on_echo},
    vice,
};

/// A request whose first line is this one.
fn line(first: &str) -> Vec<u8> {
    bytes_of(&format!("{first}\r\nHost: h\r\nX-Z: z\r\n\r\n"))
}

fn first_line(seen: &Seen) -> String {
    seen.head.split("\r\n").next().unwrap_or_default().to_owned()
}

/// F25 MUST: A method is forwarded letter for letter or refused; a part of a name is another name.
#[test]
fn f25_methods_are_forwarded_by_the_letter_or_refused() {
    on_echo("F25", |p| {
        for method in [
            "PATCH", "PROPFIND", "M-SEARCH", "XYZZY", "get", "Get", "GE", "PO", "H", "G", "HEA", "GETX",
            "POSTS",
        ] {
            if let Some(seen) = p.forwarded_or_refused(line(&format!("{method} /app HTTP/1.1"))) {
                assert_eq!(first_line(&seen), format!("{method} /app HTTP/1.1"));
            }
        }
        p.no_complaints();
    });
}

/// F25C MUST: CONNECT is refused, in each form of its target.
#[test]
fn f25c_connect_is_refused() {
    on_echo("F25C", |p| {
        for target in ["h:80", "/app", "http://h/app", "app:80"] {
            let seen = p.forwarded_or_denied(line(&format!("CONNECT {target} HTTP/1.1")));
            assert!(seen.is_none(), "{seen:?}");
        }
    });
}

/// F26 MUST: A method that is no token is refused.
#[test]
fn f26_methods_that_are_no_tokens_are_refused() {
    on_echo("F26", |p| {
        for method in [
            "G(T",
            "G{T",
            "G\u{1}T",
            "G\0T",
            "G\u{e9}T",
            "G:T",
            "G\tT",
            "G\"T",
            "G/T",
            "\u{7f}GET",
            "(",
            "GET\r",
        ] {
            p.refused(line(&format!("{method} /app HTTP/1.1")));
        }
    });
}

/// F27 MUST: An absolute target becomes a path and decides about Host, or is refused.
#[test]
fn f27_absolute_targets_decide_about_host() {
    on_echo("F27", |p| {
        for host in ["Host: other", "Host: abs.example:81"] {
            let bytes = format!("GET http://abs.example:81/app/p?q HTTP/1.1\r\n{host}\r\n\r\n");
            if let Some(seen) = p.forwarded_or_denied(bytes) {
                assert_eq!((seen.target.as_str(), seen.header("Host")), ("/app/p?q", Some("abs.example:81")));
            }
        }
    });
}

/// F28 CHOICE: `OPTIONS *` is never forwarded as something else.
#[test]
fn f28_options_star_is_not_rewritten() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new().default_key("AttemptsCount 0").route(".*", &[&a]);
        let host = Setup::new(kind, conf).workers(1).start();
        let before = a.requests();
        let mut client = host.client().with_deadline(crate::support::rules::LIMIT);
        client.send(line("OPTIONS * HTTP/1.1"));
        let answer = client.try_read("OPTIONS");
        let seen = a.seen().split_off(before);
        assert!(seen.iter().all(|seen| seen.target == "*"), "{seen:?}");
        assert!(answer.is_ok_and(|answer| answer.status >= 400 || !seen.is_empty() || answer.status == 200));
    });
}

/// F29 MUST: A target that is no path is refused.
#[test]
fn f29_targets_that_are_no_paths_are_refused() {
    on_echo("F29", |p| {
        for target in ["app/x", "?x", "@evil/app", "app", ":80/app", "\\app", "*app", "%2Fapp", "."] {
            p.refused(line(&format!("GET {target} HTTP/1.1")));
        }
    });
}

/// F30 MUST: A target is forwarded byte for byte; what is encoded stays as it is.
#[test]
fn f30_targets_arrive_byte_for_byte() {
    on_echo("F30", |p| {
        for target in [
            "/app/a%2Fb%2fc%20d%41",
            "/app//a///b;p=1",
            "/app/x?",
            "/app/x??a=b?/./c",
            "/app/?a=1&b=%26&c=[]{}|^\"<>`\\",
            "/app/a+b%2Bc",
            "/app/~!$&'()*,;=:@-._",
            "/app/%e4%b8%ad?%E4",
            "/app?/app?",
        ] {
            let seen = p.forwarded(line(&format!("GET {target} HTTP/1.1")));
            assert_eq!(first_line(&seen), format!("GET {target} HTTP/1.1"));
        }
        for target in ["/app/a%zz", "/app/%", "/app/a%0d%0aX:%20y", "/app/x?a=../c", "/app/%7f", "/app/a%5cb"]
        {
            exact_or_refused(p, target);
        }
    });
}

/// F30.nul MUST: `%00` in a path is forwarded as it is or refused; nothing is cut there.
#[test]
fn f30nul_an_encoded_zero_cuts_nothing() {
    on_echo("F30.nul", |p| {
        for target in ["/app/a%00b/tail", "/app%00/x", "/app/x%00", "/app/x?a%00b"] {
            exact_or_refused(p, target);
        }
    });
}

#[track_caller]
fn exact_or_refused(p: &Probe, target: &str) {
    if let Some(seen) = p.forwarded_or_refused(line(&format!("GET {target} HTTP/1.1"))) {
        assert_eq!(first_line(&seen), format!("GET {target} HTTP/1.1"));
    }
}

/// F32 MUST: Dot segments never carry a request past the route that it was checked against.
#[test]
fn f32_dot_segments_do_not_leave_the_route() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/one/", &[&a]).route("^/dead/", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        for target in [
            "/one/../dead/x",
            "/one/%2e%2e/dead/x",
            "/one/./../dead/x",
            "/one/.%2E/dead/x",
            "/one/x/../../dead/x",
            "/one/..%2fdead/x",
            "/one/%252e%252e/../../dead/x",
        ] {
            let response = host.get(target);
            assert!(response.backend() != "a", "{target} was answered by a: {response:?}");
        }
        assert_eq!(a.requests(), 0, "{:?}", a.seen());
    });
}

/// F33 MUST: A fragment is cut off, or the request refused.
#[test]
fn f33_fragments_are_refused_or_cut() {
    on_echo("F33", |p| {
        for target in ["/app/a#f", "/app/a#f?x", "/app/a?x#f", "/app#"] {
            if let Some(seen) = p.forwarded_or_refused(line(&format!("GET {target} HTTP/1.1"))) {
                assert_eq!(seen.target, target.split('#').next().unwrap_or_default());
            }
        }
    });
}

/// F34 MUST: Blanks and controls in a target are refused, and so are two versions.
#[test]
fn f34_blanks_and_controls_are_refused() {
    on_echo("F34", |p| {
        for target in [
            "/app/a b",
            "/app?x y",
            "/app/a\tb",
            "/app?\tx",
            "/app/a\0b",
            "/app?x\0y",
            "/app/a\u{1}b",
            "/app?\u{7f}",
            "/app/\u{1b}[m",
            "/app?x HTTP/1.0",
            "/app?x\rX: y",
            "/app?x\r",
            "/app/\u{b}",
            "/app/x\u{c}",
            "/app ",
        ] {
            p.refused(line(&format!("GET {target} HTTP/1.1")));
        }
        p.refused(line("GET  /app HTTP/1.1"));
        p.refused(line("GET\t/app HTTP/1.1"));
        p.refused(line("GET /app\tHTTP/1.1"));
    });
}

/// F34b SHOULD: Bytes above 0x7f in a target are forwarded unchanged or refused.
#[test]
fn f34b_high_bytes_are_unchanged_or_refused() {
    on_echo("F34b", |p| {
        for target in ["/app/\u{e9}", "/app?\u{80}\u{ff}", "/app/\u{c3}\u{a9}/x"] {
            exact_or_refused(p, target);
        }
    });
}

/// F35 MUST: A long target is forwarded whole, or refused when it is very long.
#[test]
fn f35_long_targets_arrive_whole_or_not_at_all() {
    on_echo("F35", |p| {
        for len in [2000, 7000, 30_000, 100_000] {
            for start in ["/app/", "/app?"] {
                let target: String =
                    start.chars().chain((0..len).map(|i| char::from(b'a' + (i % 23) as u8))).collect();
                let bytes = line(&format!("GET {target} HTTP/1.1"));
                let seen = match len {
                    ..10_000 => p.forwarded_unless_limited(bytes),
                    _ => p.forwarded_or_refused(bytes),
                };
                match seen {
                    Some(seen) => assert!(seen.target == target, "{len}: cut"),
                    None if len < 10_000 => drop(host_limit("F35", p.host.kind)),
                    None => {}
                }
            }
        }
    });
}
