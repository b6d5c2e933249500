//! A client that has closed its sending side is still a client while it takes its answer.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{thread, time::Duration};

use support::{Backend, Client, Conf, End, Host, assert_bytes, for_each_host, pattern, vice};

const LEN: usize = 12_000_000;

/// Asks, pauses for longer than the five seconds that a silent backend gets, and reads.
fn takes_its_time(host: &Host, half_closed: bool) {
    let mut client = Client::connect_narrow(host.addr()).with_deadline(Duration::from_secs(20));
    client.send_request("GET", "/app", "", b"");
    if half_closed {
        client.half_close();
    }
    thread::sleep(Duration::from_millis(6500));
    let response = client.read("GET");
    assert_eq!(response.end, End::Complete, "{} of {LEN} bytes came", response.body.len());
    assert_bytes(&response.body, &pattern(LEN));
}

#[test]
fn a_half_closed_client_that_pauses_has_its_whole_client_time_out() {
    let a = Backend::start("a", vice::fixed(LEN));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/app", &[&a]).with("ClientTimeOut 30"));
        thread::scope(|scope| {
            scope.spawn(|| takes_its_time(&host, false));
            takes_its_time(&host, true);
        });
    });
}
