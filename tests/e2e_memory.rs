//! Memory: what clients that stand still cost is bounded by the configuration, however much they
//! ask for or send.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    io,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, Host, Next, Setup,
    backends::Conn,
    eventually, for_each_host,
    host::expect_quiet,
    pattern,
    usage::{memory, peak_memory},
    vice,
};

const SECOND: Duration = Duration::from_secs(1);

/// Clients of each sort.
const CLIENTS: usize = 150;

/// What one of them may cost: two times `BufferSize`, since a buffer grows by doubling, and some KiB
/// for the request, the exchange and what the host itself has for a connection.
const MOST_FOR_EACH: usize = 40 * 1024;

/// What is kept of a head that comes in pieces.
const LONGEST_HEAD: usize = 64 * 1024;

/// What the system may take for reasons of its own: stacks of threads, arenas of the allocator.
const MOST_BESIDES: usize = 4 << 20;

/// Starts and takes one of each sort, so that buffers of the workers exist.
fn warm(host: &Host) {
    for _ in 0..8 {
        host.get("/warm").expect(200);
        host.client().ask("POST", "/warm", "", &pattern(100_000)).expect(200);
    }
}

#[track_caller]
fn expect_small(host: &Host, before: usize, clients: usize, what: &str) {
    expect_at_most(MOST_FOR_EACH, host, before, clients, what);
}

#[track_caller]
fn expect_at_most(most_for_each: usize, host: &Host, before: usize, clients: usize, what: &str) {
    let now = memory(host);
    let grown = now.saturating_sub(before);
    let each = grown / clients;
    eprintln!("{:?}: {what}: {clients} clients, {} KiB, {each} bytes for each", host.kind, grown / 1024);
    let most = clients * most_for_each + MOST_BESIDES;
    assert!(grown <= most, "{what}: {clients} clients cost {grown} bytes, that is {each} for each");
}

/// Waits until a count stands still.
fn standstill(what: &str, mut count: impl FnMut() -> usize) {
    let mut last = (count(), Instant::now());
    eventually(10 * SECOND, what, || {
        let now = count();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > SECOND / 4
    });
}

#[test]
fn clients_that_stand_still_cost_a_buffer_each() {
    for_each_host(|kind| {
        let endless = Backend::start("endless", vice::endless());
        let listens = Arc::new(AtomicBool::new(false));
        let deaf = Backend::start("deaf", deaf(&listens));
        let drips = Backend::start("drips", endless_heads());
        let warm_up = Backend::start("warm", vice::fixed(200_000));
        let conf = Conf::new()
            .default_key("HeaderTimeOut 60")
            .route("^/endless", &[&endless])
            .route("^/deaf", &[&deaf])
            .route("^/drips", &[&drips])
            .route("^/warm", &[&warm_up]);
        let host = Setup::new(kind, conf).start();
        warm(&host);
        let before = memory(&host);

        // Big answers that nobody takes.
        let narrow = |_| Client::connect_narrow(host.addr());
        let mut stalled: Vec<Client> = (0..CLIENTS).map(narrow).collect();
        for client in &mut stalled {
            client.send_request("GET", "/endless", "", b"");
        }
        standstill("the answers stand still", || endless.sent());
        expect_small(&host, before, CLIENTS, "answers that nobody takes");

        // Big bodies that nobody takes.
        let mut uploads: Vec<Client> = (0..CLIENTS).map(|_| host.client()).collect();
        let piece = pattern(64 * 1024);
        for client in &mut uploads {
            client.send("POST /deaf HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
            client.stream.set_nonblocking(true).unwrap();
        }
        standstill("the uploads stand still", || {
            let mut sent = 0;
            for client in &mut uploads {
                while let Ok(n @ 1..) = client.stream.write(&piece) {
                    sent += n;
                }
            }
            sent
        });
        expect_small(&host, before, 2 * CLIENTS, "bodies that nobody takes");

        // Heads that never end, of requests and of answers.
        let mut heads: Vec<Client> = (0..CLIENTS).map(|_| host.client()).collect();
        for client in &mut heads {
            client.send("GET /drips HTTP/1.1\r\nHost: h\r\n\r\n");
        }
        eventually(5 * SECOND, "they have begun", || drips.open() == CLIENTS);
        expect_small(&host, before, 3 * CLIENTS, "heads that do not end");

        // Heads of requests that do not end: of those as much is kept as a head may have.
        let before = memory(&host);
        let mut begun: Vec<Client> = (0..CLIENTS).map(|_| host.client()).collect();
        for client in &mut begun {
            client.send(format!("GET /endless HTTP/1.1\r\nHost: h\r\nX-Filler: {}", "f".repeat(60_000)));
        }
        thread::sleep(SECOND / 4);
        let most = LONGEST_HEAD + MOST_FOR_EACH;
        expect_at_most(most, &host, before, CLIENTS, "heads of requests that do not end");

        // In between somebody is served.
        host.get("/warm").expect(200);
        drop((stalled, uploads, heads, begun));
        listens.store(true, SeqCst);
        expect_quiet(10 * SECOND, &[&endless, &deaf, &drips]);
        host.get("/warm").expect(200);
    });
}

/// Takes the head of a request, and nothing of its body before it is told to.
fn deaf(listens: &Arc<AtomicBool>) -> vice::Vice {
    let listens = Arc::clone(listens);
    vice::custom(move |conn| {
        conn.head()?;
        while !listens.load(SeqCst) {
            thread::sleep(SECOND / 20);
        }
        conn.wait_for_hangup();
        Ok(Next::Close)
    })
}

/// Begins a head with 15 KiB and does not go on.
fn endless_heads() -> vice::Vice {
    vice::answering(|conn, _| {
        let begun = format!("HTTP/1.1 200 OK\r\nX-Filler: {}", "f".repeat(15_000));
        conn.send(begun.as_bytes())?;
        conn.wait_for_hangup();
        Ok(Next::Close)
    })
}

#[test]
fn a_flood_of_large_bodies_does_not_end_a_host_whose_memory_is_limited() {
    const LENGTH: usize = 4_000_000;
    const FLOOD: usize = 40;
    let a = Backend::start("a", vice::custom(counts_body));
    for_each_host(|kind| {
        // Address space for the host, its libraries and the stacks of its threads.
        let host = Setup::new(kind, Conf::new().route("^/app", &[&a])).ulimit("-v 400000").start();
        let body = pattern(LENGTH);
        thread::scope(|scope| {
            for _ in 0..FLOOD {
                let (host, body) = (&host, &body);
                scope.spawn(move || {
                    let response = host.client().ask("POST", "/app", "", body).expect(200);
                    assert_eq!(response.text(), LENGTH.to_string());
                });
            }
        });
        let peak = peak_memory(&host);
        eprintln!("{kind:?}: at most {} KiB for {} KiB", peak / 1024, FLOOD * LENGTH / 1024);
        assert!(peak < FLOOD * LENGTH / 4, "{peak} bytes");
    });
}

/// Answers with the length of the body, and keeps nothing of it.
fn counts_body(conn: &mut Conn) -> io::Result<Next> {
    let Some(seen) = conn.head()? else { return Ok(Next::Close) };
    let length: usize = seen.header("Content-Length").and_then(|length| length.parse().ok()).unwrap();
    let mut came = 0;
    while came < length {
        match conn.piece()?.len() {
            0 => return Ok(Next::Close),
            n => came += n,
        }
    }
    conn.answer(&seen, came.to_string().as_bytes())
}
