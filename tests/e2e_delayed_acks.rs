//! Who sends a message in several writes, and lets the system gather small ones (Nagle's algorithm,
//! RFC 896), waits for an acknowledgement that the other system may delay by 40 ms (RFC 1122 4.2.3.2).
//! Neither a client nor a backend has to wait for ours.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use support::{Backend, Conf, End, Host, Next, for_each_host, vice};

/// Exchanges over one connection. Of the first of a connection nothing is delayed.
const MANY: u32 = 100;

/// What a delay takes.
const DELAY: Duration = Duration::from_millis(40);

/// Fails when half of the exchanges were delayed.
#[track_caller]
fn expect_no_delays(begun: Instant) {
    let took = begun.elapsed();
    assert!(took < DELAY * MANY / 2, "{MANY} exchanges took {took:?}");
}

/// Asks a backend that sends each answer in these writes.
fn ask_backend(writes: fn(head: &[u8]) -> Vec<Vec<u8>>) {
    let vice = vice::answering(move |conn, _| {
        conn.stream.set_nodelay(false)?;
        let head = conn.head_with("200 OK", "Content-Length: 6\r\n");
        writes(&head).iter().try_for_each(|write| conn.send(write))?;
        Ok(Next::Again)
    });
    let a = Backend::start("a", vice);
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        let mut client = host.client();
        let begun = Instant::now();
        for _ in 0..MANY {
            assert_eq!(client.get("/app").expect(200).text(), "two\nx\n");
        }
        expect_no_delays(begun);
    });
}

#[test]
fn a_backend_with_an_answer_in_several_writes_was_kept_waiting() {
    ask_backend(|head| vec![head.to_vec(), b"two\n".to_vec(), b"x\n".to_vec()]);
}

#[test]
fn a_backend_with_a_head_in_two_writes_was_kept_waiting() {
    ask_backend(|head| vec![head[..20].to_vec(), [&head[20..], b"two\nx\n"].concat()]);
}

#[test]
fn a_client_with_a_request_in_several_writes_was_kept_waiting() {
    let a = Backend::start("a", vice::echo());
    let parts: [&[&str]; 3] = [
        &["POST /app HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "body"],
        &["POST /app HTTP/1.1\r\nHost: h\r\nContent-", "Length: 4\r\n\r\n", "body"],
        &[
            "POST /app HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\nbo",
            "dy\r\n",
            "0\r\n\r\n",
        ],
    ];
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]));
        for parts in parts {
            let mut client = host.client();
            client.stream.set_nodelay(false).unwrap();
            let begun = Instant::now();
            for _ in 0..MANY {
                for part in parts {
                    client.send(part);
                }
                let answer = client.read("POST").expect(200);
                assert!(answer.end == End::Complete && answer.text().contains("body"), "{}", answer.text());
            }
            expect_no_delays(begun);
        }
    });
}
