//! A panic inside the plugin: the worker that it happened in gives up proxying,
//! everybody else goes on, and nothing hangs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{fs, thread, time::Duration};

use support::{
    Backend, Client, Conf, Host, Next, Setup, build, conf::PAGE, for_each_host, vice, wait::eventually,
};

const LIMIT: Duration = Duration::from_secs(5);
/// Enough for both workers to have some, whichever way the kernel spreads them.
const STALLED: usize = 16;

/// `/app/lie` is answered with what the preloaded `recv` stumbles over, `/app/stall` never.
fn liar() -> Backend {
    let act = vice::answering(|conn, seen| match seen.target.as_str() {
        "/app/lie" => {
            conn.send(&conn.head_with("200 OK", "X-Lie: recv\r\nContent-Length: 0\r\n"))?;
            Ok(Next::Again)
        }
        "/app/stall" => {
            conn.wait_for_hangup();
            Ok(Next::Close)
        }
        _ => conn.answer(seen, b"well"),
    });
    Backend::start("a", act)
}

/// Processor time of a process so far, in clock ticks.
fn ticks(host: &Host) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// The statuses that `/app` gives to `count` new clients; 0 for a close without an answer.
fn statuses(host: &Host, count: usize) -> Vec<u16> {
    let ask = |_| {
        let mut client = host.client();
        client.send_request("GET", "/app/x", "", b"");
        client.try_read("GET").map_or(0, |response| response.status)
    };
    (0..count).map(ask).collect()
}

#[test]
fn a_panic_costs_one_worker_and_hangs_nobody() {
    for_each_host(|kind| {
        let Some(preload) = build::preload("lying_recv") else { return };
        let backend = liar();
        let conf = Conf::new().default_key("AttemptsCount 0").route("^/app", &[&backend]);
        let mut host =
            Setup::new(kind, conf).env("LD_PRELOAD", preload.to_str().unwrap()).may_panic().start();

        // Clients in service on both workers.
        let mut stalled: Vec<Client> = (0..STALLED).map(|_| host.client()).collect();
        for client in &mut stalled {
            client.send_request("GET", "/app/stall", "", b"");
        }
        eventually(LIMIT, "all exchanges in service", || backend.open() >= STALLED);

        let mut victim = host.client();
        victim.send_request("GET", "/app/lie", "", b"");
        // Its worker has no state left to answer from; but it is not left to wait.
        if let Ok(response) = victim.try_read("GET") {
            assert_eq!(response.status, 503, "{response:?}");
        }
        host.expect_output("internal error, please report it");
        host.expect_output("restart the server");

        // Clients in service there are cut.
        eventually(LIMIT, "connections of the lost worker are closed", || backend.open() < STALLED);
        let lost = stalled.iter_mut().map(|client| client.closed_within(Duration::from_millis(300)));
        let lost = lost.filter(|&lost| lost).count();
        // With luck of the draw all of them were on the one worker.
        assert!(lost >= 1, "none of {STALLED} stalled clients were cut");

        // The other worker serves; the lost one says so at once.
        let seen = statuses(&host, 24);
        assert!(seen.contains(&200), "{seen:?}");
        assert!(seen.iter().all(|status| matches!(status, 0 | 200 | 503)), "{seen:?}");
        assert!(seen.iter().any(|&status| status != 200), "{seen:?}");

        // Monkey's own files are served by both.
        for _ in 0..6 {
            assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
        }

        // Nothing is reported for ever.
        let before = ticks(&host);
        thread::sleep(Duration::from_millis(500));
        let spent = ticks(&host) - before;
        assert!(spent <= 10, "{spent} ticks of processor time in half a second of silence");

        // The second worker may panic as well.
        for _ in 0..24 {
            let mut client = host.client();
            client.send_request("GET", "/app/lie", "", b"");
            let _ = client.try_read("GET");
        }
        let seen = statuses(&host, 6);
        assert!(seen.iter().all(|status| matches!(status, 0 | 503)), "{seen:?}");
        assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
        assert!(host.is_alive());
    });
}
