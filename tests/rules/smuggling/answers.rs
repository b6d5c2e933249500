//! Answers that try to be two: "response queue poisoning".

use std::time::Duration;

use crate::support::{
    Next,
    rules::{LIMIT, Probe, on_vice},
    vice::{self, Vice},
    within,
};

const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

/// Bad answers, by the last part of the target.
const BAD: [(&str, &str); 12] = [
    ("GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n"),
    ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"),
    ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("GET", "HTTP/1.1 304 Not Modified\r\n\r\n"),
];

/// A bad answer and an answer that nobody asked for behind it, at once or `later`; good otherwise.
fn poisoner(later: bool) -> Vice {
    vice::answering(move |conn, seen| {
        let Some(bad) = seen.target.strip_prefix("/app/bad/") else {
            return conn.answer(seen, format!("{} {}\n", seen.method, seen.target).as_bytes());
        };
        let bytes = BAD[bad.parse::<usize>().unwrap()].1;
        if later {
            conn.send(bytes.as_bytes())?;
            conn.send(POISON.as_bytes())?;
        } else {
            conn.send(format!("{bytes}{POISON}").as_bytes())?;
        }
        Ok(Next::Again)
    })
}

/// S10 MUST: What comes behind an answer, or without a request, is nobody's answer.
#[test]
fn s10_surplus_answers_are_nobodys() {
    for later in [false, true] {
        on_vice("S10", poisoner(later), |p| {
            for (bad, (method, _)) in BAD.iter().enumerate() {
                let mut client = p.host.client().with_deadline(LIMIT);
                let sent = p.a.sent();
                client.send_request(method, &format!("/app/bad/{bad}"), "", b"");
                if let Ok(response) = client.try_read(method) {
                    assert!(!response.text().contains("POISON"), "{bad}: {response:?}");
                }
                let all = BAD[bad].1.len() + POISON.len();
                assert!(within(LIMIT, || p.a.sent() >= sent + all), "{bad}: the poison is not sent");
                client.send_request("GET", "/app/same", "", b"");
                if let Ok(response) = client.try_read("GET") {
                    assert_eq!(response.text(), "GET /app/same\n", "{bad}, on the same connection");
                }
                innocents(p, bad);
            }
        });
    }
}

/// S10 MUST: What comes behind an answer, or without a request, is nobody's answer.
#[test]
fn s10_a_408_is_nobodys_answer() {
    let vice = vice::answering(|conn, seen| {
        conn.answer(seen, format!("{} {}\n", seen.method, seen.target).as_bytes())?;
        conn.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 6\r\n\r\nPOISON")?;
        conn.hangup_within(Duration::from_millis(50));
        Ok(Next::Close)
    });
    on_vice("S10", vice, |p| {
        for round in 0..6 {
            assert_eq!(p.host.get(&format!("/app/{round}")).text(), format!("GET /app/{round}\n"));
            assert!(within(LIMIT, || p.a.open() == 0), "kept open");
        }
    });
}

/// Other clients, right behind it: each gets its own answer.
#[track_caller]
fn innocents(p: &Probe, bad: usize) {
    for n in 0..3 {
        let target = format!("/app/innocent/{bad}/{n}");
        assert_eq!(p.host.get(&target).expect(200).text(), format!("GET {target}\n"));
    }
}
