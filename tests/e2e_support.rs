//! The test bed itself: the raw client against the toy backends, without any host.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{net::TcpStream, time::Duration};

use support::{
    Backend, Client, End, Framing, Next, assert_bytes, eventually, pattern,
    sockets::{LOOPBACK, Reserved},
    vice,
};

const SOON: Duration = Duration::from_secs(2);

#[test]
fn echo_answers_on_one_connection_and_records() {
    let a = Backend::start("a", vice::echo());
    let mut client = Client::connect(a.addr());
    let first = client.get("/one?q=1").expect(200);
    assert_eq!((first.backend(), first.text().as_str()), ("a", "GET /one?q=1\n"));
    let second = client.ask("POST", "/two", "X-A: b\r\n", b"body").expect(200);
    assert_eq!(second.text(), "POST /two\nbody");
    assert_eq!((a.connections(), a.requests(), a.open()), (1, 2, 1));
    let seen = a.last_seen();
    assert_eq!((seen.header("x-a"), seen.body.as_slice()), (Some("b"), b"body".as_slice()));
    drop(client);
    eventually(SOON, "the connection is counted down", || a.open() == 0);
}

#[test]
fn every_framing_is_read_back_byte_for_byte() {
    let cases = [
        (vice::fixed(300_000), Framing::Length(300_000)),
        (vice::chunked(300_000), Framing::Chunked),
        (vice::until_close(300_000), Framing::UntilClose),
        (vice::http10(300_000), Framing::Length(300_000)),
    ];
    for (vice, framing) in cases {
        let a = Backend::start("a", vice);
        let response = Client::connect(a.addr()).get("/").expect(200);
        assert_eq!(response.framing, framing);
        assert_bytes(&response.body, &pattern(300_000));
    }
}

#[test]
fn truncations_are_told_from_ends() {
    let a = Backend::start("a", vice::closes_mid_body(1000, 10, Next::Close));
    let response = Client::connect(a.addr()).get("/");
    assert_eq!((response.end, response.body.len()), (End::Truncated, 10));
    a.restart(vice::closes_mid_body(1000, 10, Next::Reset));
    let response = Client::connect(a.addr()).get("/");
    assert_eq!((response.end, response.body.len()), (End::Reset, 10));
    a.restart(vice::closes_mid_chunks(1000, Next::Close));
    assert_eq!(Client::connect(a.addr()).get("/").end, End::Truncated);
    a.restart(vice::reads_and_leaves(Next::Close));
    let mut client = Client::connect(a.addr());
    client.send_request("GET", "/", "", b"");
    assert_eq!(client.try_read("GET").unwrap_err().end, End::Truncated);
    a.restart(vice::never_answers());
    let mut client = Client::connect(a.addr()).with_deadline(Duration::from_millis(100));
    client.send_request("GET", "/", "", b"");
    assert_eq!(client.try_read("GET").unwrap_err().end, End::TimedOut);
}

#[test]
fn a_stopped_backend_refuses_and_comes_back_on_the_same_port() {
    let a = Backend::start("a", vice::echo());
    let mut client = Client::connect(a.addr());
    client.get("/").expect(200);
    a.stop();
    assert!(client.closed_within(SOON));
    assert!(TcpStream::connect(a.addr()).is_err());
    a.restart(vice::echo());
    Client::connect(a.addr()).get("/").expect(200);
}

#[test]
fn a_reserved_port_refuses() {
    let a = Backend::refuses("a");
    assert!(TcpStream::connect(a.addr()).is_err());
}

#[test]
fn a_black_hole_takes_no_connection() {
    let hole = support::black_hole::BlackHole::new();
    let refused = TcpStream::connect_timeout(&hole.addr(), Duration::from_millis(200));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn the_backend_notices_a_client_that_resets_or_leaves() {
    let a = Backend::start("a", vice::never_answers());
    let mut client = Client::connect(a.addr());
    client.send_request("GET", "/", "", b"");
    eventually(SOON, "the request is there", || a.requests() == 1);
    client.reset();
    eventually(SOON, "the reset is noticed", || a.open() == 0);
    let mut client = Client::connect(a.addr());
    client.send_request("GET", "/", "", b"");
    client.half_close();
    eventually(SOON, "the polite close is noticed", || a.requests() == 2 && a.open() == 0);
}

#[test]
fn a_backend_complains_about_what_is_no_request() {
    let a = Backend::start("a", vice::echo());
    let mut client = Client::connect(a.addr());
    client.send("GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc");
    eventually(SOON, "the backend complains", || a.complaints().len() == 1);
    assert_eq!(a.requests(), 0);
}

#[test]
fn unix_and_ipv6_backends_answer() {
    let dir = tempfile::tempdir().unwrap();
    let unix = Backend::start_unix("u", &dir.path().join("s"), vice::echo());
    std::os::unix::net::UnixStream::connect(dir.path().join("s")).unwrap();
    eventually(SOON, "the unix connection is counted", || unix.connections() == 1);
    if let Some(six) = Backend::start_v6("six", vice::echo()) {
        assert_eq!(Client::connect(six.addr()).get("/").expect(200).backend(), "six");
    }
}

#[test]
fn reserved_ports_are_different_and_can_be_listened_on() {
    let ports: Vec<_> = (0..20).map(|_| Reserved::new(LOOPBACK).unwrap()).collect();
    let mut numbers: Vec<_> = ports.iter().map(|port| port.addr().port()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), ports.len());
    let _listening = ports[0].listen(1).unwrap();
    TcpStream::connect(ports[0].addr()).unwrap();
}
