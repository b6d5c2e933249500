//! Answers that only the close ends, and which connections are used again: RFC 9112 sections 6.3, 9.3.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crate::support::{
    End, Framing, Next, assert_bytes, eventually, pattern,
    rules::{LIMIT, on_vice},
    vice, within,
};

/// R24 MUST: A body that the close ends arrives whole, in chunks or up to the close.
#[test]
fn r24_a_body_up_to_the_close_arrives_whole() {
    on_vice("R24", vice::until_close(200_000), |p| {
        for version in ["1.1", "1.0"] {
            let mut client = p.host.client();
            client.send(format!("GET /app HTTP/{version}\r\nHost: h\r\n\r\n"));
            let response = client.read("GET").expect(200);
            assert_bytes(&response.body, &pattern(200_000));
            let chunked = response.framing == Framing::Chunked;
            assert!(chunked && version == "1.1" || response.framing == Framing::UntilClose, "{response:?}");
        }
    });
}

/// R24c MUST: A reset in such a body is a cut.
#[test]
fn r24c_a_reset_is_a_cut() {
    let pieces = vec![b"HTTP/1.1 200 OK\r\n\r\nsome".to_vec(), b" more".to_vec()];
    on_vice("R24c", vice::pieces(pieces, Duration::from_millis(50), Next::Reset), |p| {
        let response = p.host.client().get("/app");
        assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
    });
}

/// R25 MUST: A connection with such a body is never used again.
#[test]
fn r25_such_a_connection_is_not_reused() {
    let poison = "HTTP/1.1 200 OK\r\n\r\nbodyHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";
    on_vice("R25", vice::raw(poison, Next::Close), |p| {
        for _ in 0..3 {
            let response = p.host.client().get("/app").expect(200);
            assert!(response.text().starts_with("bodyHTTP/1.1 200 OK"), "{response:?}");
        }
        assert_eq!(p.a.connections(), 3);
    });
}

fn answer10(fields: &str) -> String {
    format!("HTTP/1.0 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
}

/// R26 MUST: A connection of HTTP/1.0 is not used again unless keep-alive was said.
#[test]
fn r26_http10_is_not_reused() {
    on_vice("R26", vice::raw(answer10(""), Next::Again), |p| {
        let mut client = p.host.client();
        for _ in 0..4 {
            let response = client.get("/app").expect(200);
            assert_eq!((response.text().as_str(), response.version.as_str()), ("ok", "HTTP/1.1"));
        }
        assert_eq!(p.a.connections(), 4);
        assert!(within(LIMIT, || p.a.open() == 0), "kept open");
    });
}

/// R27 CHOICE: With keep-alive and a length it may be used again, and stays in step.
#[test]
fn r27_http10_with_keep_alive_stays_in_step() {
    on_vice("R27", vice::raw(answer10("Connection: keep-alive\r\n"), Next::Again), |p| {
        let mut client = p.host.client();
        for _ in 0..4 {
            assert_eq!(client.get("/app").expect(200).text(), "ok");
        }
        assert!((1..=4).contains(&p.a.connections()));
    });
}

/// R53 MUST: A 408 that comes on an idle connection is never the answer to the next request.
#[test]
fn r53_a_408_on_an_idle_connection_is_no_answer() {
    for (wait, next) in [(0, Next::Close), (0, Next::Again), (1, Next::Reset), (20, Next::Close)] {
        let said = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&said);
        let vice = vice::answering(move |conn, seen| {
            conn.answer(seen, b"fine")?;
            std::thread::sleep(Duration::from_millis(wait));
            conn.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")?;
            counted.fetch_add(1, SeqCst);
            Ok(next)
        });
        on_vice("R53", vice, |p| {
            let (mut client, before) = (p.host.client(), said.load(SeqCst));
            for round in 0..6 {
                assert_eq!(client.get("/app").expect(200).text(), "fine", "{wait} ms, round {round}");
                // The next request goes out as soon as the 408 is on the proxy's side.
                eventually(LIMIT, "the 408 is sent", || said.load(SeqCst) > before + round);
            }
        });
    }
}
