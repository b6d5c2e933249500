//! Header fields on their way to a backend: RFC 9110 section 7.6, RFC 9112 section 5.

use crate::support::{
    End, Next, Seen,
    limits::{host_limit, is_limited},
    rules::{LIMIT, bytes_of, get, on_echo, on_vice, post},
    vice,
};

/// All values of a field in order, as one list.
fn joined(seen: &Seen, name: &str, separator: &str) -> String {
    seen.all(name).join(separator)
}

#[track_caller]
fn none_of(seen: &Seen, names: &[&str]) {
    for name in names {
        assert!(seen.all(name).is_empty(), "{name} reached the backend: {}", seen.head);
    }
}

/// F1 MUST: What Connection names is not forwarded, and neither is that option.
#[test]
fn f1_nominated_fields_stay_behind() {
    on_echo("F1", |p| {
        for fields in [
            "Connection: keep-alive, X-Hop\r\nX-Hop: s\r\nX-Stays: 1\r\n",
            "X-Hop: s\r\nX-Stays: 1\r\nconnection: x-hop\r\n",
            "Connection: keep-alive\r\nX-HOP: s\r\nConnection: ,, x-Hop ,\r\nX-Stays: 1\r\nX-Hop: t\r\n",
            "Connection: X-Hop\r\nConnection: close\r\nX-Hop: s\r\nX-Stays: 1\r\n",
        ] {
            let seen = p.forwarded(get(fields));
            none_of(&seen, &["X-Hop"]);
            assert!(!joined(&seen, "Connection", ",").to_lowercase().contains("x-hop"), "{}", seen.head);
            assert_eq!(seen.header("X-Stays"), Some("1"));
        }
    });
}

/// F2 MUST: Fields of the connection are removed even if Connection does not name them.
#[test]
fn f2_fields_of_the_connection_stay_behind() {
    on_echo("F2", |p| {
        let fields =
            "Keep-Alive: timeout=7\r\nProxy-Connection: keep-alive\r\nkeep-alive: max=3\r\nX-Z: z\r\n";
        let seen = p.forwarded(get(fields));
        none_of(&seen, &["Keep-Alive", "Proxy-Connection"]);
        assert_eq!(seen.header("X-Z"), Some("z"));
    });
}

/// F3 MUST: A client's close ends its own connection and none of a backend.
#[test]
fn f3_close_of_a_client_is_its_own() {
    on_echo("F3", |p| {
        let mut connections = Vec::new();
        for option in ["close", "Close", "x-a, close"] {
            let mut client = p.host.client();
            client.send(get(&format!("Connection: {option}\r\n")));
            client.read("GET").expect(200);
            assert!(client.closed_within(LIMIT), "left open after {option:?}");
            let seen = p.a.last_seen();
            let options = joined(&seen, "Connection", ",").to_lowercase();
            assert!(!options.contains("close"), "{}", seen.head);
            connections.push(seen.connection);
        }
        assert!(connections.iter().all(|id| *id == connections[0]), "{connections:?}");
    });
}

/// F4 MUST: Naming a field in Connection removes nothing that frames, routes or identifies.
#[test]
fn f4_nothing_essential_can_be_nominated() {
    on_echo("F4", |p| {
        let options = "Host, Content-Length, X-Forwarded-For, Cookie, Authorization, Via, Transfer-Encoding";
        let fields = format!(
            "Connection: {options}\r\nCookie: c=1\r\nAuthorization: Basic eA==\r\nContent-Length: 5\r\n"
        );
        if let Some(seen) = p.forwarded_or_refused(post(&fields, "12345")) {
            assert_eq!(seen.header("Host"), Some("h"));
            assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(seen.body, b"12345");
        }
        p.no_complaints();
    });
}

/// F5 MUST: TE goes no further, or only as `trailers` together with the option TE.
#[test]
fn f5_te_stays_behind() {
    on_echo("F5", |p| {
        for fields in ["TE: trailers, gzip\r\n", "TE: gzip;q=1\r\nConnection: TE\r\n", "te: trailers\r\n"] {
            let seen = p.forwarded(get(fields));
            assert!(!seen.head.contains("gzip"), "{}", seen.head);
            if !seen.all("TE").is_empty() {
                assert_eq!(seen.header("TE"), Some("trailers"));
                assert!(joined(&seen, "Connection", ",").contains("TE"), "{}", seen.head);
            }
        }
    });
}

/// F5b MUST: The framing of a request is the proxy's own, never a copied Transfer-Encoding.
#[test]
fn f5b_the_framing_is_our_own() {
    on_echo("F5b", |p| {
        for coding in ["chunked", "Chunked", "CHUNKED \t"] {
            let bytes = post(&format!("Transfer-Encoding: {coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
            let Some(seen) = p.forwarded_unless_limited(bytes) else {
                host_limit("F5b", p.host.kind);
                continue;
            };
            let (codings, lengths) = (seen.all("Transfer-Encoding"), seen.all("Content-Length"));
            assert_eq!(codings.len() + lengths.len(), 1, "{}", seen.head);
            assert!(codings.iter().all(|own| *own == "chunked"), "{}", seen.head);
            assert_eq!(seen.body, b"hello");
        }
        p.no_complaints();
    });
}

/// F5c SHOULD: Credentials for a proxy are not handed to a backend.
#[test]
fn f5c_proxy_credentials_stay_behind() {
    on_echo("F5c", |p| {
        let seen = p.forwarded(get("Proxy-Authorization: Basic eA==\r\nAuthorization: Basic eQ==\r\n"));
        none_of(&seen, &["Proxy-Authorization"]);
        assert_eq!(seen.header("Authorization"), Some("Basic eQ=="));
    });
}

/// F37 MUST: Many fields arrive all, or the request is refused; none is lost on the way.
#[test]
fn f37_many_fields_arrive_all() {
    on_echo("F37", |p| {
        for count in [40, 90, 200, 1000] {
            let fields: String = (0..count).map(|i| format!("X-Field-{i}: value {i}\r\n")).collect();
            let seen = match count {
                40 => Some(p.forwarded(get(&fields))),
                90 => p.forwarded_unless_limited(get(&fields)),
                _ => p.forwarded_or_refused(get(&fields)),
            };
            let Some(seen) = seen else {
                assert!(count > 90 || !host_limit("F37", p.host.kind).is_empty());
                continue;
            };
            for i in 0..count {
                assert_eq!(seen.header(&format!("X-Field-{i}")), Some(&*format!("value {i}")), "{count}");
            }
        }
    });
}

/// F37b MUST: A head that is too long gets one answer and a close.
#[test]
fn f37b_a_head_too_long_gets_one_answer() {
    on_echo("F37b", |p| {
        let fields: String = (0..4000).map(|i| format!("X-Field-{i}: value {i} {i}\r\n")).collect();
        let mut client = p.host.client();
        let _ = client.try_send(get(&fields));
        let (answer, end) = client.read_all(LIMIT);
        let answers = String::from_utf8_lossy(&answer).matches("HTTP/1.1 ").count();
        assert_eq!(p.a.requests(), 0);
        if is_limited("F37b", p.host.kind) {
            host_limit("F37b", p.host.kind);
            return;
        }
        assert!(answers <= 1, "{answers} answers: {}", String::from_utf8_lossy(&answer));
        assert!(!matches!(end, End::TimedOut), "left open after {answers} answers");
    });
}

/// F38 MUST: A long field arrives whole, or the request is refused.
#[test]
fn f38_a_long_field_arrives_whole() {
    on_echo("F38", |p| {
        for len in [4000, 7000, 20_000, 200_000] {
            let long: String = (0..len).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
            let bytes = get(&format!("X-Long: {long}\r\nX-Z: z\r\n"));
            let seen =
                if len < 10_000 { p.forwarded_unless_limited(bytes) } else { p.forwarded_or_refused(bytes) };
            if let Some(seen) = seen {
                assert!(seen.header("X-Long") == Some(&*long), "{len}: cut");
                assert_eq!(seen.header("X-Z"), Some("z"));
            }
        }
    });
}

/// F39 MUST: Folded lines are refused.
#[test]
fn f39_folded_lines_are_refused() {
    on_echo("F39", |p| {
        for fields in ["X-A: a\r\n b\r\nX-Z: z\r\n", "X-A: a\r\n\tb\r\n", "X-A:\r\n b\r\n", "X-A: a\r\n \r\n"]
        {
            p.refused(get(fields));
        }
        p.refused("GET /app HTTP/1.1\r\n X-A: a\r\nHost: h\r\n\r\n");
        p.refused("GET /app HTTP/1.1\r\n Host: h\r\n\r\n");
    });
}

/// F40 MUST: Bare LF as line end is refused, or leaves as CRLF.
#[test]
fn f40_bare_lf_is_never_passed_on() {
    on_echo("F40", |p| {
        for bytes in [
            "GET /app HTTP/1.1\nHost: h\nX-A: a\n\n",
            "GET /app HTTP/1.1\r\nHost: h\nX-A: a\r\n\r\n",
            "GET /app HTTP/1.1\nHost: h\r\nX-A: a\r\n\r\n",
            "GET /app HTTP/1.1\r\nHost: h\r\nX-A: a\n\r\n",
        ] {
            if let Some(seen) = p.forwarded_or_refused(bytes) {
                assert!(!seen.head.replace("\r\n", "").contains('\n'), "{:?}", seen.head);
                assert_eq!((seen.header("Host"), seen.header("X-A")), (Some("h"), Some("a")));
            }
        }
        p.no_complaints();
    });
}

/// F42 MUST: NUL, CR and LF inside a value are refused or blanked; other controls should be, too.
#[test]
fn f42_controls_in_values_are_refused() {
    on_echo("F42", |p| {
        for value in ["a\0b", "\0", "a\rb", "a\rX-B: b", "a\r"] {
            if let Some(seen) = p.forwarded_or_refused(get(&format!("X-A: {value}\r\nX-Z: z\r\n"))) {
                let text = seen.head.replace("\r\n", "");
                assert!(!text.contains(['\0', '\r', '\n']), "{text:?}");
                assert_eq!((seen.all("X-B").len(), seen.header("X-Z")), (0, Some("z")));
            }
        }
        for value in ["a\u{1}b", "a\u{7f}b", "a\u{b}b", "a\u{1b}[0m", "a\u{8}"] {
            p.refused(get(&format!("X-A: {value}\r\nX-Z: z\r\n")));
        }
        p.no_complaints();
    });
}

/// F43 MUST: A field name that is no token is refused or removed; the line behind it is not lost.
#[test]
fn f43_bad_names_are_refused() {
    on_echo("F43", |p| {
        for line in [
            "X-A : v",
            "X-A\t: v",
            ": v",
            "nocolon",
            "X(A: v",
            "X\0A: v",
            "X\u{e9}A: v",
            " X-A: v",
            "\tX-A: v",
            "X A: v",
            "X@A: v",
            "X\"A: v",
            "X\u{1}A: v",
            "X\u{7f}A: v",
            "X/A: v",
            "=: v",
        ] {
            let bytes = bytes_of(&format!("GET /app HTTP/1.1\r\nHost: h\r\n{line}\r\nX-Z: z\r\n\r\n"));
            if let Some(seen) = p.forwarded_or_refused(bytes) {
                assert!(!seen.head.contains(line), "{line:?} reached the backend: {:?}", seen.head);
                assert_eq!(seen.header("X-Z"), Some("z"), "after {line:?}");
            }
        }
        p.no_complaints();
    });
}

/// F44 CHOICE: Names with `_` that read like a field of the proxy's own are dropped or refused.
#[test]
fn f44_look_alikes_of_our_fields_are_dropped() {
    on_echo("F44", |p| {
        let lines = "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Forwarded_For: 6.6.6.6\r\n\
                     X_Forwarded_Proto: https\r\nX-Forwarded_Host: evil\r\nX-Z: z\r\n";
        if let Some(seen) = p.forwarded_or_refused(get(lines)) {
            let names = ["Content_Length", "Transfer_Encoding", "X_Forwarded_For", "X_Forwarded_Proto"];
            none_of(&seen, &names);
            none_of(&seen, &["X-Forwarded_Host"]);
            assert_eq!(seen.header("X-Z"), Some("z"));
        }
    });
}

/// F45 MUST: Fields that come in several lines arrive with all values in order.
#[test]
fn f45_repeated_fields_keep_all_values() {
    on_echo("F45", |p| {
        for (name, separator) in [
            ("Cookie", "; "),
            ("Accept", ", "),
            ("Accept-Charset", ", "),
            ("Accept-Encoding", ", "),
            ("Accept-Language", ", "),
            ("Cache-Control", ", "),
            ("If-None-Match", ", "),
            ("X-R", ", "),
        ] {
            let seen =
                p.forwarded(get(&format!("{name}: a=1\r\nX-Between: b\r\n{name}: c=3\r\n{name}: d=4\r\n")));
            assert_eq!(
                joined(&seen, name, separator),
                ["a=1", "c=3", "d=4"].join(separator),
                "{}",
                seen.head
            );
        }
    });
}

/// F46 MUST: Values are kept byte for byte: empty, quoted, with blanks inside, and above 0x7f.
#[test]
fn f46_values_are_kept() {
    on_echo("F46", |p| {
        let high: String = (0x80..=0xffu8).map(char::from).collect();
        for value in
            ["a  b \t c", "\"x, \\\"y\"", "a:b::c", "a\tb", "!#$%&'*+-.^_`|~()<>@,;:\\/[]?={}", &high]
        {
            let seen =
                p.forwarded(bytes_of(&format!("GET /app HTTP/1.1\r\nHost: h\r\nX-V: {value}\r\n\r\n")));
            assert_eq!(seen.header("X-V"), Some(value));
        }
        for fields in ["X-V:\r\nX-Z: z\r\n", "X-V: \t \r\nX-Z:z\r\n"] {
            let Some(seen) = p.forwarded_unless_limited(get(fields)) else {
                host_limit("F46", p.host.kind);
                continue;
            };
            assert_eq!((seen.header("X-V"), seen.header("X-Z")), (Some(""), Some("z")));
        }
    });
}

/// F46b SHOULD: Field names keep their case, and lines their order.
#[test]
fn f46b_names_keep_case_and_order() {
    on_echo("F46b", |p| {
        let names = ["X-First", "x-second", "X-THIRD", "Accept", "cookie", "x-FouRTh"];
        let seen = p.forwarded(get(&names.map(|name| format!("{name}: v\r\n")).concat()));
        let got: Vec<_> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
        let is_ours = |name: &&str| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        let got: Vec<_> = got.into_iter().filter(is_ours).collect();
        if is_limited("F46b", p.host.kind) {
            host_limit("F46b", p.host.kind);
            assert!(got.iter().zip(names).all(|(a, b)| a.eq_ignore_ascii_case(b)), "{got:?}");
            return;
        }
        assert_eq!(got, names, "{}", seen.head);
    });
}

/// F48 MUST: Range and conditions go through, and nobody but the backend applies them.
#[test]
fn f48_conditions_are_the_backends() {
    let answer = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                  Content-Length: 10\r\n\r\n0123456789";
    on_vice("F48", vice::raw(answer, Next::Again), |p| {
        for (name, value) in [
            ("Range", "bytes=0-3"),
            ("If-None-Match", "\"e\""),
            ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("If-Match", "\"other\""),
            ("Accept-Encoding", "gzip, br"),
            ("Authorization", "Basic eA=="),
        ] {
            let (response, seen) = p.answered(get(&format!("{name}: {value}\r\n")));
            assert_eq!(seen.header(name), Some(value));
            assert_eq!(response.text(), "0123456789", "{name}");
        }
    });
}
