//! Chunks of an answer: RFC 9112 section 7.1.

use std::fmt::Write as _;

use crate::support::{
    End, Next, assert_bytes, pattern,
    rules::{LIMIT, for_each_answer, none_looks_complete, on_vice, table},
    vice,
};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunked(wire: &str) -> String {
    format!("{HEAD}{wire}")
}

/// R17 MUST: Sizes in any case and with zeros in front, extensions, and any number of chunks are good.
#[test]
fn r17_good_chunks_are_taken() {
    let mut many = String::new();
    for i in 0..1000 {
        let _ = write!(many, "{:x}\r\n{}\r\n", i % 40 + 1, "m".repeat(i % 40 + 1));
    }
    let rows = [
        ("5\r\nhello\r\n0\r\n\r\n", 5),
        ("B\r\nhello world\r\n0\r\n\r\n", 11),
        ("0000000b\r\nhello world\r\n000\r\n\r\n", 11),
        ("5;a=\"x;y\\\"z\"\r\nhello\r\n0;last\r\n\r\n", 5),
        ("5;a\r\nhello\r\n1;b=c;d\r\n!\r\n0\r\n\r\n", 6),
        ("0\r\n\r\n", 0),
        (&format!("{many}0\r\n\r\n"), 20_500),
    ];
    let answers: Vec<_> = rows.iter().map(|(wire, _)| (chunked(wire), Next::Again)).collect();
    for_each_answer("R17", &answers, |_, row, got| {
        assert_eq!(
            got.unwrap().expect(200).body.len(),
            rows[row].1,
            "{:?}",
            &rows[row].0[..20.min(rows[row].0.len())]
        );
    });
    let bytes: Vec<_> = chunked(rows[3].0).bytes().map(|byte| vec![byte]).collect();
    on_vice("R17", vice::pieces(bytes, std::time::Duration::from_micros(200), Next::Again), |p| {
        let mut client = p.host.client();
        for _ in 0..2 {
            assert_eq!(client.get("/app").expect(200).text(), "hello");
        }
    });
}

/// R18 MUST: A chunk line has a limit: too many digits, or an extension without an end, are an error.
#[test]
fn r18_chunk_lines_are_limited() {
    let long = "e".repeat(100_000);
    none_looks_complete(
        "R18",
        &[
            chunked("10000000000000000\r\nhello\r\n0\r\n\r\n"),
            chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
            chunked(&format!("5;{long}\r\nhello\r\n0\r\n\r\n")),
            chunked(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(100_000))),
        ],
    );
}

/// R19 MUST: A chunk size that is none, or a chunk without its line end, never looks complete.
#[test]
fn r19_bad_chunks_never_look_complete() {
    let sizes = [
        "g",
        "-5",
        "+5",
        "0x5",
        "",
        "0_5",
        "00000000000000000000000000g",
        "ffffffffffffffff",
        "8000000000000000",
        "5 5",
        " 5",
        "\t5",
        "5x",
        "5,",
        "5.",
        "\u{b}5",
        "-0",
        "5\u{0}",
    ];
    none_looks_complete("R19", &sizes.map(|size| chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n"))));
    none_looks_complete(
        "R19",
        &[
            chunked("5\r\nhelloo\r\n0\r\n\r\n"),
            chunked("5\r\nhello0\r\n\r\n"),
            chunked("5\r\nhell\r\n0\r\n\r\n"),
            chunked("5\r\nhelloXX0\r\n\r\n"),
        ],
    );
}

/// R20 MUST: Bare LF between chunks is an error or repaired, never passed on.
#[test]
fn r20_bare_lf_between_chunks_is_not_passed_on() {
    let rows = [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\nhello\n0\n\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
    ];
    for_each_answer("R20", &rows.map(|wire| (chunked(wire), Next::Close)), |_, row, got| {
        let Ok(response) = got else { return };
        let whole = response.text() == "hello" && response.status == 200;
        let cut = matches!(response.end, End::Truncated | End::Reset);
        assert!(whole || cut || response.status == 502, "{:?}: {response:?}", rows[row]);
        assert_ne!(response.end, End::Malformed, "{:?}", rows[row]);
    });
}

/// R21 MUST: Chunks without the last one are visibly cut; HTTP/1.0 gets at least a close.
#[test]
fn r21_chunks_without_an_end_are_visibly_cut() {
    for how in [Next::Close, Next::Reset] {
        on_vice("R21", vice::closes_mid_chunks(1000, how), |p| {
            let response = p.host.client().get("/app");
            assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
            let mut old = p.host.client().with_deadline(LIMIT);
            old.send("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
            let response = old.read("GET");
            assert!(response.all("Transfer-Encoding").is_empty(), "{response:?}");
            assert_ne!(response.end, End::TimedOut, "{response:?}");
        });
    }
    none_looks_complete("R21", &[chunked("5\r\nhel"), chunked("5\r\nhello\r\n"), chunked("5"), chunked("")]);
}

/// R22 SHOULD: An end behind the last chunk but before the final line end is a cut.
#[test]
fn r22_the_final_line_end_belongs_to_it() {
    none_looks_complete(
        "R22",
        &[
            chunked("5\r\nhello\r\n0\r\n"),
            chunked("5\r\nhello\r\n0"),
            chunked("5\r\nhello\r\n0\r\nX-T: t\r\n"),
        ],
    );
}

/// R23 MUST: Trailers are read to their end and dropped, or relayed to whom asked; never merged.
#[test]
fn r23_trailers_stay_trailers() {
    let wire = "5\r\nhello\r\n0\r\nX-T: t\r\nContent-Length: 99\r\nSet-Cookie: evil=1\r\n\r\n";
    on_vice("R23", table(&[(chunked(wire), Next::Again)]), |p| {
        let mut client = p.host.client();
        for fields in ["", "TE: trailers\r\nConnection: TE\r\n", ""] {
            let response = client.ask("GET", "/app/0", fields, b"").expect(200);
            assert_eq!(response.text(), "hello");
            for name in ["X-T", "Set-Cookie", "Content-Length"] {
                assert!(
                    !response.all(name).iter().any(|value| ["t", "evil=1", "99"].contains(value)),
                    "{response:?}"
                );
            }
            assert!(!fields.is_empty() || response.trailers.is_empty(), "{:?}", response.trailers);
            assert!(response.trailers.iter().all(|line| !line.starts_with("Content-Length")));
        }
        assert_eq!(p.a.connections(), 1, "out of step");
    });
}

/// R28 MUST: Chunks are decoded for HTTP/1.0 clients.
#[test]
fn r28_http10_gets_no_chunks() {
    on_vice("R28", vice::chunked(200_000), |p| {
        for fields in ["", "Connection: keep-alive\r\n"] {
            let mut client = p.host.client();
            client.send(format!("GET /app HTTP/1.0\r\nHost: h\r\n{fields}\r\n"));
            let response = client.read("GET").expect(200);
            assert!(response.all("Transfer-Encoding").is_empty(), "{response:?}");
            assert_bytes(&response.body, &pattern(200_000));
        }
    });
}
