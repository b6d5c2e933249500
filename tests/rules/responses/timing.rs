//! When bytes of an answer come: segments, streams, answers that are early. RFC 9112 sections 7 and 9.3.

use std::time::{Duration, Instant};

use crate::support::{
    Backend, Next, Setup, assert_bytes, for_each_host, pattern,
    rules::{LIMIT, Probe, conf_of, on_vice, post},
    vice::{self, Vice},
};

/// R45 MUST: An early 413 with close is relayed while the upload is still under way.
#[test]
fn r45_an_early_refusal_is_relayed() {
    let a = Backend::start("a", vice::early_answer());
    for_each_host(|kind| {
        let host = Setup::new(kind, conf_of(&a)).workers(1).server_line("MaxRequestSize 30000").start();
        for len in [100_000, 900_000, 5_000_000] {
            let body = pattern(len);
            let mut client = host.client();
            let _ = client.try_send(post(&format!("Content-Length: {len}\r\n"), &body));
            let response = client.read("POST");
            assert_eq!((response.status, response.text().as_str()), (413, "big"), "{len}");
        }
        host.get("/page.html").expect(200);
    });
}

/// R47 MUST: An answer may be cut into segments anywhere.
#[test]
fn r47_any_segmentation_is_good() {
    on_vice("R47", vice::one_byte_at_a_time(700), |p| {
        let mut client = p.host.client();
        for _ in 0..2 {
            assert_bytes(&client.get("/app").expect(200).body, &pattern(700));
        }
    });
    on_vice("R47", cut_where_the_target_says(), |p| {
        let mut client = p.host.client();
        for at in (1..WIRE.len()).step_by(2) {
            let response = client.get(&format!("/app/{at}")).expect(200);
            assert_eq!(response.text(), "hello world", "cut at {at}");
        }
    });
}

const WIRE: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: t\r\n\r\n";

fn cut_where_the_target_says() -> Vice {
    vice::answering(|conn, seen| {
        let at = seen.target.rsplit('/').next().and_then(|at| at.parse().ok()).unwrap_or(1);
        conn.send(&WIRE[..at])?;
        std::thread::sleep(Duration::from_millis(4));
        conn.send(&WIRE[at..])?;
        Ok(Next::Again)
    })
}

/// R48 MUST: 100 MB stream through in bounded memory.
#[test]
fn r48_a_hundred_megabytes_need_little_memory() {
    const LEN: usize = 100 << 20;
    let stream = vice::answering(|conn, _| {
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n").as_bytes())?;
        let piece = pattern(1 << 20);
        for _ in 0..100 {
            conn.send(&piece)?;
        }
        Ok(Next::Again)
    });
    on_vice("R48", stream, |p| {
        p.host.get("/page.html").expect(200);
        let before = peak_memory(p);
        let mut client = p.host.client().with_deadline(Duration::from_secs(60));
        let response = client.get("/app").expect(200);
        assert_eq!(response.body.len(), LEN);
        assert!(response.body.chunks(1 << 20).all(|piece| piece == &response.body[..1 << 20]));
        let grown = peak_memory(p) - before;
        assert!(grown < 20_000, "grown by {grown} kB");
    });
}

/// The most memory that the host ever had, in kB.
fn peak_memory(p: &Probe) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", p.host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// R49 SHOULD: The first piece of a stream reaches the client within a second.
#[test]
fn r49_the_first_piece_comes_at_once() {
    for framing in [
        "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        "\r\ndata: 1\n\n",
        "Content-Length: 99\r\n\r\ndata: 1\n\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}");
        let vice = vice::answering(move |conn, _| {
            conn.send(bytes.as_bytes())?;
            conn.wait_for_hangup();
            Ok(Next::Close)
        });
        on_vice("R49", vice, |p| {
            let mut client = p.host.client();
            let begun = Instant::now();
            client.send_request("GET", "/app", "", b"");
            let mut got = Vec::new();
            while !got.windows(7).any(|window| window == b"data: 1") && begun.elapsed() < LIMIT {
                got.extend(client.read_all(Duration::from_millis(20)).0);
            }
            assert!(
                begun.elapsed() < Duration::from_secs(1),
                "{framing:?}: {}",
                String::from_utf8_lossy(&got)
            );
        });
    }
}
