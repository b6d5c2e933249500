//! Where a body ends, and bodies that do not exist: RFC 9112 section 6, RFC 9110 section 15.

use std::time::Duration;

use crate::support::{
    End, Framing, Next, assert_bytes, eventually, pattern,
    rules::{LIMIT, Probe, each_is_a_502, for_each_answer, none_looks_complete, on_vice, post, table},
    vice, within,
};

fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")
}

/// Asks for these rows over one client connection: nothing leaks from one answer into the next.
#[track_caller]
fn in_step(p: &Probe, asks: &[(&str, usize)], check: impl Fn(usize, &crate::support::Response)) {
    let mut client = p.host.client().with_deadline(LIMIT);
    for (method, row) in asks {
        let response = client.ask(method, &format!("/app/{row}"), "", b"");
        assert_eq!(response.end, End::Complete, "{response:?}");
        check(*row, &response);
    }
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";

/// R9 MUST: 204 and 304 have no body whatever their fields say, and the connection goes on.
#[test]
fn r9_204_and_304_have_no_body() {
    let answers = [
        ("HTTP/1.1 204 No Content\r\n\r\n", Next::Again),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n", Next::Again),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Next::Again),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Next::Again),
        (GOOD, Next::Again),
    ];
    on_vice("R9", table(&answers), |p| {
        in_step(p, &[("GET", 0), ("GET", 4), ("GET", 1), ("GET", 4), ("GET", 0)], |row, response| {
            let want = [204, 304, 0, 0, 200][row];
            assert_eq!(response.status, want);
            let framing = response.all("Content-Length").len() + response.all("Transfer-Encoding").len();
            assert!(want != 204 || framing == 0, "{response:?}");
        });
        assert_eq!(p.a.connections(), 1, "R9: not reused");
        for row in [2, 3] {
            let mut client = p.host.client().with_deadline(LIMIT);
            let response = client.get(&format!("/app/{row}"));
            assert!(matches!(response.status, 204 | 304 | 502), "{response:?}");
            assert!(response.all("Transfer-Encoding").is_empty() || response.status == 304, "{response:?}");
            assert_eq!(client.get("/app/4").expect(200).text(), "good");
        }
    });
}

/// R9b MUST: A body behind 204 leaks nowhere, and that connection is dropped.
#[test]
fn r9b_a_body_behind_204_leaks_nowhere() {
    let answers = [
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", Next::Again),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Next::Again),
        (GOOD, Next::Again),
    ];
    on_vice("R9b", table(&answers), |p| {
        in_step(
            p,
            &[("GET", 0), ("GET", 2), ("GET", 1), ("GET", 2), ("GET", 0), ("GET", 2)],
            |row, response| {
                assert_eq!(
                    (response.status, response.text().as_str()),
                    [(204, ""), (304, ""), (200, "good")][row]
                );
                assert!(row != 0 || response.all("Content-Length").is_empty(), "{response:?}");
            },
        );
        assert!(p.a.connections() >= 4, "a connection with a body left over was used again");
    });
}

/// R10 MUST: 304 with a length has no body, and the next answer is in step.
#[test]
fn r10_304_with_a_length_has_no_body() {
    let answers =
        [("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", Next::Again), (GOOD, Next::Again)];
    on_vice("R10", table(&answers), |p| {
        in_step(p, &[("GET", 0), ("GET", 1), ("GET", 0), ("GET", 1)], |row, response| {
            assert_eq!((response.status, response.text().as_str()), [(304, ""), (200, "good")][row]);
        });
    });
}

/// R11 MUST: The answer to HEAD keeps its length, has no body, and the connection is reused.
#[test]
fn r11_head_keeps_the_length() {
    on_vice("R11", vice::fixed(1234), |p| {
        let mut client = p.host.client();
        for method in ["HEAD", "GET", "HEAD", "HEAD", "GET"] {
            let response = client.ask(method, "/app", "", b"").expect(200);
            assert_eq!(response.header("Content-Length"), Some("1234"), "{method}");
            assert_eq!(response.body.len(), if method == "GET" { 1234 } else { 0 });
        }
        assert_eq!(p.a.connections(), 1);
    });
}

/// R11b MUST: A body behind the answer to HEAD is dropped, together with its connection.
#[test]
fn r11b_a_body_behind_head_is_dropped() {
    let answers = [(answer("Content-Length: 5\r\n", "hello"), Next::Again), (GOOD.into(), Next::Again)];
    on_vice("R11b", table(&answers), |p| {
        in_step(p, &[("HEAD", 0), ("GET", 1), ("HEAD", 0), ("HEAD", 0), ("GET", 1)], |row, response| {
            assert_eq!(response.text(), if row == 0 { "" } else { "good" });
        });
        assert!(p.a.connections() >= 3, "a connection with a body left over was used again");
    });
}

/// R12 MUST: The answer to HEAD has no chunk bytes.
#[test]
fn r12_head_has_no_chunks() {
    on_vice("R12", vice::chunked(1000), |p| {
        let mut client = p.host.client();
        for method in ["HEAD", "GET", "HEAD", "GET"] {
            let response = client.ask(method, "/app", "", b"").expect(200);
            assert_eq!(response.body.len(), if method == "GET" { 1000 } else { 0 });
        }
    });
}

/// R12b MUST: 205 is framed like any other answer.
#[test]
fn r12b_205_is_framed_like_200() {
    let answers = [
        ("HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Next::Again),
        ("HTTP/1.1 205 Reset Content\r\nContent-Length: 4\r\n\r\nbody", Next::Again),
        ("HTTP/1.1 205 Reset Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Next::Again),
        (GOOD, Next::Again),
    ];
    on_vice("R12b", table(&answers), |p| {
        in_step(
            p,
            &[("GET", 0), ("GET", 3), ("GET", 1), ("GET", 3), ("GET", 2), ("GET", 3)],
            |row, response| {
                let want = [(205, ""), (205, "body"), (205, ""), (200, "good")][row];
                assert_eq!((response.status, response.text().as_str()), want);
            },
        );
    });
}

/// R14 MUST: 3 MB arrive with their length unchanged.
#[test]
fn r14_a_large_body_keeps_its_length() {
    on_vice("R14", vice::fixed(3_000_000), |p| {
        let response = p.host.client().get("/app").expect(200);
        assert_eq!(response.framing, Framing::Length(3_000_000));
        assert_bytes(&response.body, &pattern(3_000_000));
    });
}

/// R15 MUST: Bytes behind a body are cut off, and that connection is never used again.
#[test]
fn r15_surplus_is_cut_off() {
    on_vice("R15", vice::surplus_after_body(None), |p| {
        let mut client = p.host.client();
        for _ in 0..5 {
            assert_eq!(client.get("/app").expect(200).text(), "hello");
        }
        assert_eq!(p.a.connections(), 5);
    });
}

/// R15b MUST: Bytes that come while a connection is idle are never read as an answer.
#[test]
fn r15b_surplus_on_an_idle_connection_is_no_answer() {
    for wait in [0, 1, 30] {
        on_vice("R15b", vice::surplus_after_body(Some(Duration::from_millis(wait))), |p| {
            let mut client = p.host.client();
            let mut sent = p.a.sent();
            for round in 0..6 {
                assert_eq!(client.get("/app").expect(200).text(), "hello", "{wait} ms, round {round}");
                // The next request goes out as soon as the surplus is on the proxy's side.
                sent += "HTTP/1.1 200 OK\r\nX-Backend: a\r\nContent-Length: 5\r\n\r\nhello".len();
                sent += "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON".len();
                eventually(LIMIT, "the surplus is sent", || p.a.sent() >= sent);
            }
        });
    }
}

/// R16 MUST: A body that ends early is visibly cut, for HTTP/1.0 clients too.
#[test]
fn r16_a_short_body_is_visibly_cut() {
    for how in [Next::Close, Next::Reset] {
        on_vice("R16", vice::closes_mid_body(10_000, 1000, how), |p| {
            for version in ["1.1", "1.0"] {
                let mut client = p.host.client();
                client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n\r\n"));
                let response = client.read("GET");
                assert_eq!(response.framing, Framing::Length(10_000), "{response:?}");
                assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
                assert_bytes(&response.body, &pattern(1000)[..response.body.len()]);
            }
        });
    }
}

/// R29 CHOICE: Two equal lengths are one length, or a 502.
#[test]
fn r29_two_equal_lengths_are_one_or_a_502() {
    let answers = ["Content-Length: 2\r\nContent-Length: 2\r\n", "Content-Length: 2, 2\r\n"];
    for_each_answer("R29", &answers.map(|fields| (answer(fields, "ok"), Next::Close)), |_, row, got| {
        let response = got.unwrap();
        if response.status != 502 {
            assert_eq!(
                (response.header("Content-Length"), response.text().as_str()),
                (Some("2"), "ok"),
                "{row}"
            );
        }
    });
}

/// R30 MUST: Lengths that differ or are no number are a 502; `+5` and an empty one should be.
#[test]
fn r30_impossible_lengths_are_a_502() {
    let lengths = [
        "5\r\nContent-Length: 6",
        "5, 6",
        "-5",
        "5x",
        "foo",
        "18446744073709551621",
        "0x5",
        "+5",
        "",
        "5 5",
        "5,",
        ",5",
        "\"5\"",
        "5.0",
        "5\u{b}",
        "5;a",
        "0\r\nContent-Length: 5",
    ];
    each_is_a_502("R30", &lengths.map(|length| answer(&format!("Content-Length: {length}\r\n"), "hello")));
}

/// R31 MUST: A length together with chunks is a 502, or the chunks count and the connection ends.
#[test]
fn r31_a_length_with_chunks_is_refused_or_dropped() {
    let both = [
        "Content-Length: 30\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    ];
    let answers = both.map(|fields| (answer(fields, "5\r\nhello\r\n0\r\n\r\n"), Next::Again));
    on_vice("R31", table(&answers), |p| {
        let mut client = p.host.client().with_deadline(LIMIT);
        for turn in 0..4 {
            let response = client.get(&format!("/app/{}", turn % 2));
            if response.status != 502 {
                assert_eq!((response.text().as_str(), response.end), ("hello", End::Complete));
                assert!(response.all("Content-Length").is_empty(), "{response:?}");
            }
        }
        assert_eq!(p.a.connections(), 4, "used again");
        assert!(within(LIMIT, || p.a.open() == 0));
    });
}

/// R32 MUST: A transfer coding other than exactly one `chunked` is a 502, or visibly cut.
#[test]
fn r32_odd_codings_are_a_502() {
    let codings = [
        "gzip",
        "chunked, gzip",
        "xchunked",
        "chunkedx",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked, chunked",
        "identity",
        ",chunked",
        "\u{b}chunked",
        "\"chunked\"",
        "gzip, chunked",
        "chunked;q=1",
        "identity, chunked",
        "chunked, identity",
        "chunked\r\nTransfer-Encoding: identity",
        "",
        "chu\0nked",
        "'chunked'",
        "x",
    ];
    let framed =
        |coding: &str| answer(&format!("Transfer-Encoding: {coding}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    none_looks_complete("R32", &codings.map(framed));
    let good = ["chunked", "Chunked", "CHUNKED", " chunked \t"];
    for_each_answer("R32", &good.map(|coding| (framed(coding), Next::Again)), |_, _, got| {
        assert_eq!(got.unwrap().expect(200).text(), "hello");
    });
}

/// R33 SHOULD: Chunks in an answer of HTTP/1.0 are a 502, or the connection ends with it.
#[test]
fn r33_chunks_of_http10_are_not_trusted() {
    let bytes = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    on_vice("R33", vice::raw(bytes, Next::Again), |p| {
        for _ in 0..3 {
            let response = p.host.get("/app");
            assert!(response.status == 502 || response.text() == "hello", "{response:?}");
        }
        assert_eq!(p.a.connections(), 3, "used again");
    });
}

/// R45b MUST: An early answer that claims to stay open leaves its connection in step or closed.
#[test]
fn r45b_an_early_answer_leaves_nobody_out_of_step() {
    let early = vice::custom(|conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        conn.answer(&seen, format!("{} {}", seen.method, seen.target).as_bytes())?;
        // Only now the body, if it still comes: the next thing here has to be a head.
        conn.body(&seen)?;
        Ok(Next::Again)
    });
    on_vice("R45b", early, |p| {
        let body = pattern(900_000);
        for round in 0..3 {
            let mut client = p.host.client();
            let _ = client.try_send(post(&format!("Content-Length: {}\r\n", body.len()), &body));
            if let Ok(response) = client.try_read("POST") {
                assert_eq!(response.text(), "POST /app", "{response:?}");
            }
            drop(client);
            assert_eq!(p.host.get(&format!("/app/{round}")).expect(200).text(), format!("GET /app/{round}"));
        }
        let out_of_step: Vec<_> =
            p.a.seen().into_iter().filter(|seen| !seen.target.starts_with("/app")).collect();
        assert!(out_of_step.is_empty(), "{out_of_step:?}");
    });
}
