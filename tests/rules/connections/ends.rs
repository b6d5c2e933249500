//! The end of the server.

use std::{
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Backend, Client, Conf, End, Kind, Next, Setup,
    conf::STATISTICS,
    eventually, for_each_host,
    rules::LIMIT,
    steadily,
    vice::{self, Vice},
    within,
};

/// C22 MUST: A server that ends finishes the answers under way; at least none looks whole that is not.
#[test]
fn c22_the_end_of_the_server_finishes_answers() {
    let a = Backend::start("a", in_two_halves(Duration::from_millis(400)));
    for_each_host(|kind| {
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).workers(2).start();
        settle(kind);
        // One answer has begun, of another nothing has come yet; one connection is idle.
        let [mut begun, mut silent, mut idle] = [0; 3].map(|_| host.client().with_deadline(LIMIT));
        idle.get("/page.html").expect(200);
        begun.send_request("GET", "/app", "", b"");
        wait_for_a_byte(&begun);
        let before = a.requests();
        silent.send_request("GET", "/app/silent", "", b"");
        eventually(LIMIT, "it is asked", || a.requests() > before);
        host.terminate();
        for client in [&mut begun, &mut silent] {
            let response = client.read("GET").expect(200);
            assert_eq!((response.end, &*response.text()), (End::Complete, "halfmore"));
            assert!(client.closed_within(LIMIT));
        }
        assert!(idle.closed_within(LIMIT));
        let (status, output) = host.stop();
        ended_well(kind, status, &output);
        assert!(within(LIMIT, || a.open() == 0), "the backend's connection is left");
    });
}

/// C22 MUST: A server that ends finishes the answers under way; at least none looks whole that is not.
#[test]
fn c22_requests_that_come_during_the_end_are_the_last_of_their_connections() {
    let a = Backend::start("a", in_two_halves(Duration::from_millis(900)));
    let b = Backend::start("b", vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new().with_statistics().route("^/app", &[&a]).route("^/quick", &[&b]);
        let host = Setup::new(kind, conf).workers(1).start();
        settle(kind);
        let mut slow = host.client().with_deadline(LIMIT);
        let mut kept: Vec<_> = (0..3).map(|_| host.client().with_deadline(LIMIT)).collect();
        for client in &mut kept {
            assert_eq!(client.get("/quick").expect(200).header("connection"), None);
        }
        slow.send_request("GET", "/app", "", b"");
        wait_for_a_byte(&slow);
        host.terminate();
        thread::sleep(Duration::from_millis(100)); // Nobody tells when a signal has arrived.
        for (client, target) in kept.iter_mut().zip(["/quick", STATISTICS, "/quick/again"]) {
            let response = client.get(target).expect(200);
            assert_eq!(response.header("connection"), Some("close"), "{target}");
            assert!(client.closed_within(LIMIT), "{target}");
        }
        assert_eq!(slow.read("GET").expect(200).text(), "halfmore");
        let (status, output) = host.stop();
        ended_well(kind, status, &output);
    });
}

/// C22 MUST: A server that ends finishes the answers under way; at least none looks whole that is not.
#[test]
fn c22_an_answer_that_never_ends_does_not_hold_up_the_end() {
    let a = Backend::start("a", vice::stalls_mid_body(1000, 10));
    for_each_host(|kind| {
        for hurry in [false, true] {
            let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).workers(1).start();
            settle(kind);
            let mut client = host.client().with_deadline(3 * LIMIT);
            client.send_request("GET", "/app", "", b"");
            wait_for_a_byte(&client);
            let begun = Instant::now();
            host.terminate();
            if hurry {
                thread::sleep(Duration::from_millis(300)); // Two at once would be one.
                host.terminate();
            }
            let end = client.try_read("GET").map_or_else(|none| none.end, |response| response.end);
            assert!(!matches!(end, End::Complete | End::TimedOut), "{end:?}");
            let took = begun.elapsed();
            let limit = if hurry { 0..2000 } else { 4900..8000 };
            assert!(limit.contains(&took.as_millis()), "{took:?}");
            let (status, output) = host.stop();
            ended_well(kind, status, &output);
        }
    });
}

/// The halves of an answer, and what may happen in between.
fn in_two_halves(pause: Duration) -> Vice {
    vice::answering(move |conn, seen| {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        let silent = seen.target.ends_with("silent");
        if !silent {
            conn.send(head)?;
        }
        thread::sleep(pause);
        if silent {
            conn.send(head)?;
        }
        conn.send(b"4\r\nmore\r\n0\r\n\r\n")?;
        Ok(Next::Again)
    })
}

/// Monkey 1.5.6 unloads its plugins while its workers run, and may abort for that, with or
/// without this plugin (docs/HOST_ABI.md).
#[track_caller]
fn ended_well(kind: Kind, status: ExitStatus, output: &str) {
    let hosts_own_end = kind == Kind::Monkey15 && status.signal() == Some(libc::SIGABRT);
    assert!(status.success() || hosts_own_end, "{status}:\n{output}");
}

/// A real server takes connections before it has dropped its privileges; a signal in between
/// finds its main thread inside `setegid`, and 1.8.9 may then wait for itself, without a plugin too.
fn settle(kind: Kind) {
    if !kind.is_harness() {
        thread::sleep(Duration::from_millis(400));
    }
}

fn wait_for_a_byte(client: &Client) {
    client.stream.set_read_timeout(Some(LIMIT)).unwrap();
    steadily(|| client.stream.peek(&mut [0; 1])).unwrap();
}
