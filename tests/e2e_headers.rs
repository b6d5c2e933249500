//! Header fields on their way to a backend and back.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use support::{Backend, Conf, Host, Kind, Next, for_each_host, vice};

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

#[test]
fn forwarding_fields_arrive_once_f10_f12_f14() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.get("/app").expect(200);
        let seen = a.last_seen();
        assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
        assert_eq!(seen.header("X-Forwarded-Host"), Some(client.host()));
        let via = seen.header("Via").unwrap_or_default().to_owned();
        assert!(via.starts_with("1.1 "), "Via: {via:?}");
    });
}

#[test]
fn forwarding_fields_of_an_untrusted_client_are_replaced_f11_f12() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let lies = "X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7, 8.8.8.8\r\n\
                    X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n";
        let mut client = host.client();
        client.ask("GET", "/app", lies, b"").expect(200);
        let seen = a.last_seen();
        assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
        assert_eq!(seen.header("X-Forwarded-Host"), Some(client.host()));
    });
}

#[test]
fn hop_by_hop_fields_stay_here_f1_f2_f5() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let fields = "Connection: keep-alive, X-Hop\r\nX-Hop: s\r\nKeep-Alive: timeout=7\r\n\
                      Proxy-Connection: keep-alive\r\nTE: trailers, gzip\r\nProxy: x\r\n\
                      X-Stays: 1\r\n";
        host.client().ask("GET", "/app", fields, b"").expect(200);
        let seen = a.last_seen();
        for name in ["X-Hop", "Keep-Alive", "Proxy-Connection", "Upgrade", "Proxy"] {
            assert!(seen.all(name).is_empty(), "{name} reached the backend: {}", seen.head);
        }
        assert!(!seen.head.contains("gzip"), "{}", seen.head);
        assert!(!seen.all("Connection").join(",").contains("X-Hop"), "{}", seen.head);
        assert_eq!(seen.header("X-Stays"), Some("1"));
    });
}

#[test]
fn connection_cannot_nominate_what_frames_or_identifies_f4() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        let fields = "Connection: Host, Content-Length, X-Forwarded-For, Cookie, Authorization\r\n\
             Cookie: c=1\r\nAuthorization: Basic eA==\r\n";
        let mut client = host.client();
        let response = client.ask("POST", "/app", fields, b"12345");
        if response.status == 400 {
            assert_eq!(a.requests(), before);
            return;
        }
        response.expect(200);
        let seen = a.last_seen();
        assert_eq!(seen.header("Host"), Some(client.host()));
        assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(seen.body, b"12345");
    });
}

#[test]
fn host_is_kept_with_its_port_f6_h15() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for name in ["example.com:8080", "example.com"] {
            let mut client = host.client();
            client.send(format!("GET /app HTTP/1.1\r\nHost: {name}\r\n\r\n"));
            client.read("GET").expect(200);
            assert_eq!(a.last_seen().header("Host"), Some(name));
        }
    });
}

#[test]
fn ordinary_fields_pass_in_order_and_in_their_case_f45_f46() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let fields = "X-R: one\r\nCookie: a=1\r\nAccept: text/html\r\nX-R: two\r\n\
                      If-None-Match: \"e\"\r\nRange: bytes=0-3\r\nX-Quoted: \"x, \\\"y\"\r\n\
                      Authorization: Basic eA==\r\n";
        host.client().ask("GET", "/app", fields, b"").expect(200);
        let seen = a.last_seen();
        assert_eq!(seen.all("X-R").join(", "), "one, two");
        assert_eq!(seen.header("Cookie"), Some("a=1"));
        assert_eq!(seen.header("Accept"), Some("text/html"));
        assert_eq!(seen.header("If-None-Match"), Some("\"e\""));
        assert_eq!(seen.header("Range"), Some("bytes=0-3"));
        assert_eq!(seen.header("X-Quoted"), Some("\"x, \\\"y\""));
        assert_eq!(seen.header("Authorization"), Some("Basic eA=="));
    });
}

/// Monkey 1.5 itself refuses a field without a value, before any plugin is asked.
#[test]
fn an_empty_value_is_kept_or_refused_by_the_host_f46() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        let response = host.client().ask("GET", "/app", "X-Empty:\r\nX-Next: n\r\n", b"");
        if response.status == 400 {
            assert_eq!(a.requests(), before);
        } else {
            response.expect(200);
            let seen = a.last_seen();
            assert_eq!((seen.header("X-Empty"), seen.header("X-Next")), (Some(""), Some("n")));
        }
    });
}

#[test]
fn a_get_without_a_body_has_no_framing_f18() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        app(kind, &a).client().get("/app").expect(200);
        let seen = a.last_seen();
        assert_eq!((seen.header("Content-Length"), seen.header("Transfer-Encoding")), (None, None));
    });
}

#[test]
fn forty_fields_and_a_long_one_arrive_f37_f38() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut fields: String = (0..40).map(|i| format!("X-Field-{i}: value {i}\r\n")).collect();
        let long = "l".repeat(4000);
        fields.push_str(&format!("X-Long: {long}\r\n"));
        host.client().ask("GET", "/app", &fields, b"").expect(200);
        let seen = a.last_seen();
        for i in 0..40 {
            assert_eq!(seen.header(&format!("X-Field-{i}")), Some(&*format!("value {i}")));
        }
        assert_eq!(seen.header("X-Long"), Some(&*long));
    });
}

#[test]
fn fields_of_an_answer_come_once_and_hop_by_hop_ones_not_at_all_r34_r36() {
    let answer = "HTTP/1.1 200 OK\r\nX-Backend: a\r\nServer: toy\r\n\
                  Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/x-toy\r\n\
                  Connection: keep-alive, X-Hop\r\nX-Hop: s\r\nKeep-Alive: timeout=99\r\n\
                  Proxy-Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    let a = Backend::start("a", vice::raw(answer, Next::Again));
    for_each_host(|kind| {
        let response = app(kind, &a).client().get("/app").expect(200);
        assert_eq!(response.header("Date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(response.header("Content-Type"), Some("text/x-toy"));
        assert_eq!(response.header("Content-Length"), Some("2"));
        assert!(response.header("Server").is_some());
        assert!(response.all("X-Hop").is_empty() && response.all("Proxy-Connection").is_empty());
        assert!(!response.all("Keep-Alive").contains(&"timeout=99"), "{response:?}");
        assert!(response.all("Connection").len() <= 1, "{response:?}");
    });
}

#[test]
fn repeated_fields_of_an_answer_stay_separate_r35() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\n\
                  Set-Cookie: c=3\r\nContent-Length: 0\r\n\r\n";
    let a = Backend::start("a", vice::raw(answer, Next::Again));
    for_each_host(|kind| {
        let response = app(kind, &a).client().get("/app").expect(200);
        assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2; Path=/", "c=3"]);
        assert!(response.all("Content-Type").is_empty(), "R36b: none is invented");
    });
}

#[test]
fn connection_close_of_a_backend_is_obeyed_and_not_relayed_c2() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let a = Backend::start("a", vice::raw(answer, Next::Close));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for _ in 0..5 {
            assert_eq!(client.get("/app").expect(200).text(), "ok");
        }
    });
}
