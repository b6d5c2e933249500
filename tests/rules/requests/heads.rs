//! Versions and the sequence of requests on one connection: RFC 9112 sections 2.2, 9.3 and 9.6.

use crate::support::{
    Framing,
    limits::{host_limit, is_limited},
    rules::{LIMIT, on_echo, on_vice},
    vice,
};

/// F49 MUST: An HTTP/1.0 client gets no chunks, and a close unless keep-alive was asked and granted.
#[test]
fn f49_http10_gets_no_chunks() {
    on_vice("F49", vice::chunked(5000), |p| {
        for fields in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
            let mut client = p.host.client();
            client.send(format!("GET /app HTTP/1.0\r\nHost: h\r\n{fields}\r\n"));
            let response = client.read("GET").expect(200);
            assert!(response.all("Transfer-Encoding").is_empty(), "{response:?}");
            assert_eq!(response.body.len(), 5000);
            if response.framing == Framing::UntilClose {
                continue; // It has just closed.
            }
            let granted = response.all("Connection").join(",").to_lowercase().contains("keep-alive");
            assert!(granted || client.closed_within(LIMIT), "left open: {response:?}");
        }
    });
}

/// F50 MUST: Five requests at once are answered in order, each by a request of its own.
#[test]
fn f50_pipelined_requests_are_answered_in_order() {
    on_echo("F50", |p| {
        let burst: String = (0..5).map(|i| format!("GET /app/{i} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(burst);
        let mut answers = 0;
        while let Ok(response) = client.try_read("GET") {
            assert_eq!(response.expect(200).text(), format!("GET /app/{answers}\n"));
            answers += 1;
            if answers == 5 {
                break;
            }
        }
        let targets: Vec<_> = p.a.seen().into_iter().map(|seen| seen.target).collect();
        let want: Vec<_> = (0..5).map(|i| format!("/app/{i}")).collect();
        if is_limited("F50", p.host.kind) {
            host_limit("F50", p.host.kind);
            assert!(answers > 0 && targets == want[..answers], "{answers} answers, {targets:?}");
            assert!(client.closed_within(LIMIT), "requests are lost, and the connection left open");
        } else {
            assert_eq!((answers, targets), (5, want));
        }
    });
}

/// F51 SHOULD: One empty line before a request is skipped.
#[test]
fn f51_an_empty_line_before_a_request_is_skipped() {
    on_echo("F51", |p| {
        let request = "GET /app HTTP/1.1\r\nHost: h\r\n\r\n";
        match p.forwarded_unless_limited(format!("\r\n{request}")) {
            Some(seen) => assert!(seen.head.starts_with("GET /app HTTP/1.1\r\n"), "{:?}", seen.head),
            None => drop(host_limit("F51", p.host.kind)),
        }
        let mut client = p.host.client().with_deadline(LIMIT);
        client.send(request);
        client.read("GET").expect(200);
        client.send(format!("\r\n{request}"));
        match client.try_read("GET") {
            Ok(response) if response.status == 200 => {}
            other => assert!(is_limited("F51", p.host.kind), "{other:?}"),
        }
        p.no_complaints();
    });
}
