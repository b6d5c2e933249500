//! Status lines, and what is no answer at all: RFC 9112 section 4, RFC 9110 section 15.

use crate::support::{
    Backend, Conf, Host, Next, for_each_host,
    rules::{bytes_of, each_is_a_502, for_each_answer, on_vice, table},
    vice,
};

const OK: &str = "Content-Length: 2\r\n\r\nok";

fn with_line(line: &str) -> Vec<u8> {
    bytes_of(&format!("{line}\r\n{OK}"))
}

/// R1 MUST: Odd but good status lines are taken; what is none of HTTP/1 is answered with 502.
#[test]
fn r1_odd_but_good_status_lines_are_taken() {
    let long = format!("HTTP/1.1 200 {}", "r".repeat(300));
    let lines = [
        "HTTP/1.1 200 ",
        "HTTP/1.1 200",
        "HTTP/1.0 200 OK",
        &long,
        "HTTP/1.1 200 \u{e9}\u{ff}",
        "HTTP/1.7 200 OK",
    ];
    let answers: Vec<_> = lines.iter().map(|line| (with_line(line), Next::Close)).collect();
    for_each_answer("R1", &answers, |_, row, got| {
        let response = got.unwrap_or_else(|end| panic!("{:?} gave {end:?}", lines[row]));
        let got = (response.status, response.version.as_str(), response.text());
        assert_eq!(got, (200, "HTTP/1.1", "ok".into()), "{:?}", lines[row]);
    });
}

/// R1 MUST: Odd but good status lines are taken; what is none of HTTP/1 is answered with 502.
#[test]
fn r1_bad_status_lines_are_a_502() {
    let lines = [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 -20 OK",
        "ICY 200 OK",
        "HTTPS/1.1 200 OK",
        "HTTP/ 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/2.0 200 OK",
        "HTTP/9.9 200 OK",
        "HTTP/11 200 OK",
        "HTTP/1.1 099 X",
        "HTTP/1.1 000 X",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1\t200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 2 00 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.10 200 OK",
    ];
    let answers: Vec<_> = lines.iter().map(|line| with_line(line)).collect();
    each_is_a_502("R1", &answers);
}

/// R2 CHOICE: An answer with bare LF is a 502, or leaves with CRLF; bare LF is never passed on.
#[test]
fn r2_bare_lf_is_never_passed_on() {
    let answers = [
        "HTTP/1.1 200 OK\nContent-Length: 2\nX-A: a\n\nok",
        "HTTP/1.1 200 OK\r\nX-A: a\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\nX-A: a\r\nContent-Length: 2\r\n\r\nok",
    ];
    on_vice("R2", table(&answers.map(|bytes| (bytes, Next::Close))), |p| {
        for row in 0..answers.len() {
            let mut client = p.host.client();
            client.send_request("GET", &format!("/app/{row}"), "Connection: close\r\n", b"");
            let (bytes, _) = client.read_all(crate::support::rules::LIMIT);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let good = text.starts_with("HTTP/1.1 200 ") && text.ends_with("\r\n\r\nok");
            assert!(good || text.starts_with("HTTP/1.1 502 "), "{row}: {text:?}");
            let head = text.split("\r\n\r\n").next().unwrap_or_default();
            assert!(!head.replace("\r\n", "").contains('\n'), "{row}: {head:?}");
        }
    });
}

/// R41 MUST: What is no HTTP/1 at all is a 502: text, HTTP/0.9, noise without a line end.
#[test]
fn r41_garbage_is_a_502() {
    let noise = "n".repeat(300_000);
    let answers = [
        "<html>hi</html>",
        "220 mail.example ESMTP ready\r\n\r\n",
        "hello\n\n",
        "\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        "{\"json\": true}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "H",
        &noise,
    ];
    each_is_a_502("R41", &answers);
}

/// R42 MUST: A close before any byte is a 502 after at most one try for each server.
#[test]
fn r42_a_close_before_any_byte_is_a_502() {
    let vice = || vice::reads_and_leaves(Next::Close);
    let (a, b) = (Backend::start("a", vice()), Backend::start("b", vice()));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().default_key("AttemptsCount 0").route("^/app", &[&a, &b]));
        let before = a.requests() + b.requests();
        assert_eq!(host.get("/app").status, 502);
        let tries = a.requests() + b.requests() - before;
        assert!((1..=2).contains(&tries), "{tries} tries");
    });
}

/// R43 MUST: A close within the head is a 502.
#[test]
fn r43_a_close_within_the_head_is_a_502() {
    let whole = "HTTP/1.1 200 OK\r\nX-A: a\r\nContent-Length: 0\r\n";
    let cut: Vec<_> = [1, 5, 9, 12, 15, 16, 17, 22, 25, 30, 43].map(|at| &whole[..at]).into();
    each_is_a_502("R43", &cut);
    each_is_a_502("R43", &[whole, "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r"]);
}

/// R46 MUST: Status, reason, body and Location are the backend's; no page of the server replaces them.
#[test]
fn r46_errors_of_a_backend_are_its_own() {
    let statuses = [
        200, 201, 202, 203, 206, 207, 226, 299, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 408,
        409, 410, 411, 413, 414, 418, 421, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 599,
    ];
    let answers = statuses.map(|status| {
        let fields = "Location: /elsewhere?x=1\r\nContent-Type: text/x\r\nContent-Length: 8\r\n";
        (format!("HTTP/1.1 {status} Reason (of) {status}\r\n{fields}\r\nbody {status}"), Next::Again)
    });
    for_each_answer("R46", &answers, |_, row, got| {
        let (response, status) = (got.unwrap(), statuses[row]);
        let got = (response.status, response.reason.as_str(), response.text());
        assert_eq!(got, (status, &*format!("Reason (of) {status}"), format!("body {status}")));
        assert_eq!(response.header("Location"), Some("/elsewhere?x=1"));
        assert_eq!(response.header("Content-Type"), Some("text/x"));
    });
}
