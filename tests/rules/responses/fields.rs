//! Header fields on their way to a client: RFC 9110 sections 5 and 7.6, RFC 9112 section 5.

use std::fmt::Write as _;

use crate::support::{
    Next,
    rules::{LIMIT, bytes_of, for_each_answer, on_conf, on_vice, show, table},
    vice,
};

fn answer(fields: &str) -> Vec<u8> {
    bytes_of(&format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"))
}

/// R34 MUST: Fields of the backend's connection, and what Connection names, are removed.
#[test]
fn r34_fields_of_the_connection_stay_behind() {
    let fields = "Connection: keep-alive, X-Hop\r\nX-Hop: s\r\nKeep-Alive: timeout=99\r\n\
                  Proxy-Connection: keep-alive\r\nconnection: x-two\r\nX-TWO: t\r\nX-Z: z\r\n";
    on_vice("R34", vice::raw(answer(fields), Next::Again), |p| {
        let response = p.host.client().get("/app").expect(200);
        for name in ["X-Hop", "X-Two", "Proxy-Connection"] {
            assert!(response.all(name).is_empty(), "{response:?}");
        }
        assert!(!response.all("Keep-Alive").contains(&"timeout=99"), "{response:?}");
        let options = response.all("Connection").join(",").to_lowercase();
        assert!(!options.contains("x-hop") && !options.contains("x-two"), "{options}");
        assert_eq!(response.header("X-Z"), Some("z"));
    });
}

/// R35 MUST: Repeated fields keep all their lines, separate and in order.
#[test]
fn r35_repeated_fields_stay_separate() {
    let names = ["Set-Cookie", "Link", "WWW-Authenticate", "X-R"];
    let lines: String = ["a=1", "b=2; Path=/, x", "c=3"]
        .iter()
        .flat_map(|value| names.map(|name| format!("{name}: {value}\r\n")))
        .collect();
    on_vice("R35", vice::raw(answer(&lines), Next::Again), |p| {
        let response = p.host.client().get("/app").expect(200);
        assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2; Path=/, x", "c=3"]);
        for name in names {
            assert_eq!(response.all(name).join(", "), "a=1, b=2; Path=/, x, c=3", "{name}");
        }
    });
}

/// R36 MUST: Date, Content-Length, Content-Type, Server and Connection come once, as the backend says.
#[test]
fn r36_the_backends_fields_come_once() {
    let own = [
        ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("Last-Modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ("Content-Type", "text/x-toy"),
        ("Accept-Ranges", "none"),
        ("Cache-Control", "max-age=7"),
        ("ETag", "\"e\""),
        ("Vary", "Cookie"),
    ];
    let fields: String = own.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    on_vice("R36", vice::raw(answer(&format!("Server: toy\r\n{fields}")), Next::Again), |p| {
        for version in ["1.1", "1.0"] {
            let mut client = p.host.client();
            client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n\r\n"));
            let response = client.read("GET").expect(200);
            for (name, value) in own {
                assert_eq!(response.header(name), Some(value), "{version}");
            }
            assert_eq!(response.header("Content-Length"), Some("2"));
            assert_eq!(response.all("Server").len(), 1, "{response:?}");
            assert!(response.all("Connection").len() <= 1, "{response:?}");
        }
    });
}

/// R36b MUST: No Content-Type is invented.
#[test]
fn r36b_no_content_type_is_invented() {
    on_vice("R36b", vice::raw(answer("X-A: a\r\n"), Next::Again), |p| {
        for target in ["/app", "/app/x.html", "/app/x.css"] {
            let response = p.host.client().get(target).expect(200);
            assert!(response.all("Content-Type").is_empty(), "{response:?}");
        }
    });
}

/// R37 MUST: A field line that is none is a 502, removed or repaired; it is never passed on raw.
#[test]
fn r37_bad_field_lines_are_never_passed_on() {
    let lines = [
        "nocolon",
        "X-A : v",
        "X-A\t: v",
        "X(A: v",
        ": v",
        "X-A: a\0b",
        "X-A: a\rb",
        "X\u{e9}A: v",
        "X-A: a\r\n b",
        " X-A: v",
        "X A: v",
        "X-A: a\rX-B: b",
        "X-A: a\u{1}b",
        "Content-Length : 3",
        "X\0: v",
    ];
    let answers: Vec<_> =
        lines.iter().map(|line| (answer(&format!("{line}\r\nX-Z: z\r\n")), Next::Close)).collect();
    on_vice("R37", table(&answers), |p| {
        for (row, line) in lines.iter().enumerate() {
            let mut client = p.host.client();
            client.send_request("GET", &format!("/app/{row}"), "Connection: close\r\n", b"");
            let (bytes, _) = client.read_all(LIMIT);
            let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
            assert!(
                text.starts_with("HTTP/1.1 200 ") || text.starts_with("HTTP/1.1 502 "),
                "{line:?}: {text:?}"
            );
            assert!(!text.contains(&format!("\r\n{line}\r\n")), "{line:?} was passed on: {}", show(&bytes));
            let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n", "");
            assert!(!head.contains(['\r', '\n', '\0']), "{line:?}: {}", show(&bytes));
        }
    });
}

/// R40 MUST: A head of 60 kB arrives whole or is a 502; one of 2 MB is a 502.
#[test]
fn r40_long_heads_arrive_whole_or_not() {
    let heads = [1000, 7000, 15_000, 60_000, 2_000_000].map(|len| {
        let filler: String = (0..len).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
        (filler.clone(), answer(&format!("X-Filler: {filler}\r\nX-Z: z\r\n")))
    });
    let answers = heads.clone().map(|(_, bytes)| (bytes, Next::Close));
    for_each_answer("R40", &answers, |_, row, got| {
        let (response, len) = (got.unwrap(), heads[row].0.len());
        if response.status == 502 {
            assert!(len > 7000, "{len}");
            return;
        }
        assert!(len < 2_000_000 && response.header("X-Filler") == Some(&heads[row].0), "{len}: cut");
        assert_eq!(response.header("X-Z"), Some("z"));
    });
}

/// R40 MUST: A head of 60 kB arrives whole or is a 502; one of 2 MB is a 502.
#[test]
fn r40_the_limit_follows_the_configuration() {
    let vice = || vice::raw(answer(&format!("X-Filler: {}\r\n", "f".repeat(30_000))), Next::Close);
    on_conf("R40", vice(), &["MaxResponseHeader 64K"], |p| {
        assert_eq!(p.host.get("/app").expect(200).header("X-Filler").map(str::len), Some(30_000));
    });
    on_conf("R40", vice(), &["MaxResponseHeader 16K"], |p| assert_eq!(p.host.get("/app").status, 502));
}

/// R40b MUST: 500 fields arrive all, or the answer is a 502.
#[test]
fn r40b_many_fields_arrive_all_or_none() {
    let heads = [50, 100, 500].map(|count| {
        let mut fields = String::new();
        for i in 0..count {
            let _ = write!(fields, "X-{i}: v\r\n");
        }
        (answer(&fields), Next::Close)
    });
    for_each_answer("R40b", &heads, |_, row, got| {
        let (response, count) = (got.unwrap(), [50, 100, 500][row]);
        if response.status != 502 || count == 50 {
            let got = (0..count).filter(|i| response.header(&format!("X-{i}")) == Some("v")).count();
            assert_eq!((response.status, got), (200, count));
        }
    });
}

/// R50 MUST: An encoded body is not touched, even if the client did not ask for it.
#[test]
fn r50_encoded_bodies_are_untouched() {
    let body = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0xff, b'\r', b'\n', 0, b'x'];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    on_vice("R50", vice::raw([head.as_bytes(), &body].concat(), Next::Again), |p| {
        for fields in ["", "Accept-Encoding: gzip\r\n", "Accept-Encoding: identity\r\n"] {
            let response = p.host.client().ask("GET", "/app", fields, b"").expect(200);
            assert_eq!(response.body, body);
            assert_eq!(response.header("Content-Encoding"), Some("gzip"));
        }
    });
}
