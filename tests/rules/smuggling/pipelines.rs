//! Pipelines that are right and have to work, and bodies that are cut off.

use std::{sync::Arc, time::Duration};

use super::range::{Wire, recorder};
use crate::support::{
    Client,
    limits::{host_limit, is_limited},
    rules::{LIMIT, Probe, on_echo, on_vice},
};

const GET: &str = "GET /app/two HTTP/1.1\r\nHost: h\r\n\r\n";

fn first(method: &str, fields: &str, body: &str) -> String {
    format!("{method} /app/one HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_good_pipelines_work() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let pipelines = [
        ("GET", first("GET", "", "")),
        ("POST", first("POST", "Content-Length: 5\r\n", "hello")),
        ("POST", first("POST", "Content-Length: 0\r\n", "")),
        ("GET", first("GET", "Content-Length: 5\r\n", "hello")),
        ("DELETE", first("DELETE", "Content-Length: 5\r\n", "hello")),
        ("POST", first("POST", chunked, "5\r\nhello\r\n0\r\n\r\n")),
        ("POST", first("POST", "Content-Length: 5\r\n", "hello\r\n")),
        ("GET", first("GET", chunked, "0\r\n\r\n")),
    ];
    on_echo("S9", |p| {
        for (method, one) in &pipelines {
            let before = p.a.requests();
            let mut client = p.host.client().with_deadline(patience(p));
            client.send(format!("{one}{GET}"));
            let answered = answers(&mut client, method);
            let targets: Vec<_> = p.a.seen()[before..].iter().map(|seen| seen.target.clone()).collect();
            assert!(["/app/one", "/app/two"].starts_with(&targets.iter().map(|t| &**t).collect::<Vec<_>>()));
            assert_eq!(answered, targets.len(), "{one:?}");
            if answered < 2 {
                rest_is_refused(p, &mut client, one, answered);
            }
        }
        p.no_complaints();
    });
}

/// Where the server is known to lose the second request, there is no need to wait for it.
fn patience(p: &Probe) -> Duration {
    if is_limited("S9", p.host.kind) { Duration::from_millis(700) } else { LIMIT }
}

/// How many good answers come; anything else ends it.
#[track_caller]
fn answers(client: &mut Client, method: &str) -> usize {
    for (answered, want) in ["/app/one", "/app/two"].into_iter().enumerate() {
        match client.try_read(method) {
            Ok(response) if response.status == 200 => {
                assert!(response.text().contains(want), "{response:?}");
            }
            _ => return answered,
        }
    }
    2
}

#[track_caller]
fn rest_is_refused(p: &Probe, client: &mut Client, one: &str, answered: usize) {
    if is_limited("S9", p.host.kind) {
        host_limit("S9", p.host.kind);
        return;
    }
    // GET with chunks may be refused; all others have to work.
    assert!(one.contains("GET") && one.contains("chunked"), "{answered} answers to {one:?}");
    assert!(client.closed_within(LIMIT), "left open after {one:?}");
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_cut_bodies_are_never_complete() {
    let wire = Arc::new(Wire::default());
    on_vice("S9", recorder(&wire), |p| {
        for (fields, body) in [
            ("Content-Length: 500\r\n", "abc"),
            ("Content-Length: 500\r\n", ""),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
            ("Transfer-Encoding: chunked\r\n", "ff\r\nhello"),
        ] {
            for method in ["POST", "GET", "DELETE"] {
                let mut client = p.host.client();
                client.send(first(method, fields, body));
                client.half_close();
                client.read_all(Duration::from_millis(150));
                drop(client);
                assert_eq!(p.host.get("/app/after").expect(200).text(), "GET /app/after\n");
                assert_eq!(wire.complete("/app/one"), 0, "{method} {fields:?} {body:?} looks complete");
            }
        }
    });
}
