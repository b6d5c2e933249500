//! Interim answers: RFC 9110 section 15.2, RFC 8297.

use std::time::Duration;

use crate::support::{
    Next, Response,
    rules::{LIMIT, Probe, on_conf, on_vice},
    vice, within,
};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Early: 1\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";

#[track_caller]
fn is_the_final_one(response: Response) {
    let response = response.expect(200);
    assert_eq!(response.text(), "final");
    assert!(response.all("X-Early").is_empty() && response.all("Link").is_empty(), "{response:?}");
    assert!(response.interim.iter().all(|status| [102, 103].contains(status)), "{:?}", response.interim);
}

fn twice(p: &Probe) {
    let mut client = p.host.client();
    for _ in 0..2 {
        is_the_final_one(client.get("/app"));
    }
}

/// R3 MUST: An unasked 100 is swallowed.
#[test]
fn r3_an_unasked_100_is_swallowed() {
    on_vice("R3", vice::raw(format!("HTTP/1.1 100 Continue\r\n\r\n{FINAL}"), Next::Again), twice);
    on_vice("R3", vice::raw(format!("HTTP/1.1 100\r\nX-Early: 1\r\n\r\n{FINAL}"), Next::Again), twice);
}

/// R4 MUST: 103 is relayed to HTTP/1.1 clients or dropped, and its fields are not the answer's.
#[test]
fn r4_early_hints_are_relayed_or_dropped() {
    on_vice("R4", vice::raw(format!("{HINTS}{FINAL}"), Next::Again), |p| {
        twice(p);
        let mut client = p.host.client();
        client.send_request("GET", "/app", "Connection: close\r\n", b"");
        let (bytes, _) = client.read_all(LIMIT);
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("103 Early Hints") {
            assert!(text.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{text}");
            let (hints, rest) = text.split_once("\r\n\r\n").unwrap();
            assert!(hints.contains("Link: </a.css>; rel=preload"), "{hints}");
            assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{rest}");
        }
    });
}

/// R4b MUST: No interim answer reaches an HTTP/1.0 client.
#[test]
fn r4b_http10_gets_no_interim_answer() {
    for early in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", HINTS] {
        on_vice("R4b", vice::raw(format!("{early}{FINAL}"), Next::Again), |p| {
            let mut client = p.host.client();
            client.send("GET /app HTTP/1.0\r\nHost: h\r\n\r\n");
            let response = client.read("GET");
            assert!(response.interim.is_empty(), "{:?}", response.interim);
            is_the_final_one(response);
        });
    }
}

/// R5 MUST: Several interim answers in segments of their own come before the answer.
#[test]
fn r5_many_interim_answers_come_first() {
    let pieces = ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", HINTS, HINTS, FINAL];
    let pieces = pieces.map(|piece| piece.as_bytes().to_vec());
    on_vice("R5", vice::pieces(pieces.into(), Duration::from_millis(15), Next::Again), twice);
}

/// R5b MUST: 103 and a 50 kB answer in one burst arrive both.
#[test]
fn r5b_an_interim_answer_and_a_large_one_at_once() {
    let body = "b".repeat(50_000);
    let burst = format!("{HINTS}HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n{body}");
    on_vice("R5b", vice::raw(burst, Next::Again), |p| {
        let mut client = p.host.client();
        for _ in 0..2 {
            let response = client.get("/app").expect(200);
            assert!(response.text() == body && response.all("X-Early").is_empty());
        }
    });
}

/// R6 MUST: An interim answer and then the end is a 502.
#[test]
fn r6_only_an_interim_answer_is_a_502() {
    for early in ["HTTP/1.1 100 Continue\r\n\r\n", HINTS, "HTTP/1.1 103 Early"] {
        on_vice("R6", vice::raw(early, Next::Close), |p| {
            assert_eq!(p.host.get("/app").status, 502);
        });
    }
}

/// R6b SHOULD: Interim answers without an end are cut by their number or by the total time.
#[test]
fn r6b_endless_interim_answers_are_cut() {
    let endless = vice::answering(|conn, _| {
        loop {
            conn.send(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    on_conf("R6b", endless, &["HeaderTimeOut 1"], |p| {
        let mut client = p.host.client();
        client.send_request("GET", "/app", "", b"");
        let response = client.try_read("GET");
        let cut = response.as_ref().map_or(true, |response| matches!(response.status, 502 | 504));
        assert!(cut, "{response:?}");
        assert!(within(LIMIT, || p.a.open() == 0), "the backend still talks");
    });
}

/// R7 MUST: 101 without a forwarded Upgrade is a 502, and no tunnel.
#[test]
fn r7_an_unasked_101_is_no_tunnel() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\ntunnel";
    on_vice("R7", vice::raw(switch, Next::Again), |p| {
        for fields in ["", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n"] {
            let mut client = p.host.client();
            let response = client.ask("GET", "/app", fields, b"");
            assert_eq!(response.status, 502, "{fields:?}: {response:?}");
            let _ = client.try_send("GET /page.html HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let (rest, _) = client.read_all(LIMIT);
            assert!(!String::from_utf8_lossy(&rest).contains("tunnel"));
        }
        assert!(within(LIMIT, || p.a.open() == 0), "kept open");
    });
}
