//! Several requests at once on a connection that was in use before, where the first of them is
//! taken out of the kernel together with what follows it.

use std::{fmt::Write as _, thread, time::Duration};

use crate::support::{
    Backend, Client, Conf, End, Host, Kind, Setup,
    conf::{PAGE, STATISTICS},
    eventually, for_each_host,
    host::has_asan,
    rules::LIMIT,
    vice::{self, Vice},
    within,
};

/// One request of a burst, and what comes back.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    target: String,
    bytes: String,
}

fn get(target: &str) -> Asked {
    let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    Asked { method: "GET", target: target.into(), bytes }
}

fn post(target: &str, length: usize) -> Asked {
    let body = "x".repeat(length);
    let bytes = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
    Asked { method: "POST", target: target.into(), bytes }
}

fn chunked(target: &str) -> Asked {
    let bytes = format!(
        "POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    );
    Asked { method: "POST", target: target.into(), bytes }
}

fn in_one_piece(burst: &[Asked]) -> String {
    burst.iter().map(|asked| &*asked.bytes).collect()
}

/// A connection that was in use before.
fn used(host: &Host) -> Client {
    let mut client = host.client().with_deadline(LIMIT);
    client.get("/app/warm").expect(200);
    client
}

#[track_caller]
fn all_answered(client: &mut Client, burst: &[Asked], how: &str) {
    for (number, asked) in burst.iter().enumerate() {
        let response = match client.try_read(asked.method) {
            Ok(response) => response.expect(200),
            Err(none) => panic!("{how}: no answer to request {number} ({}): {none:?}", asked.target),
        };
        match &*asked.target {
            "/page.html" => assert_eq!(response.text(), PAGE.1, "{how}"),
            STATISTICS => {}
            target => {
                let first = format!("{} {target}\n", asked.method);
                assert!(response.text().starts_with(&first), "{how}: {first:?}: {}", response.text());
                assert_eq!(response.header("connection"), None, "{how}: {target}");
            }
        }
    }
}

/// The backend was asked for these and no others, in order.
#[track_caller]
fn asked_for(a: &Backend, before: usize, burst: &[Asked], how: &str) {
    let seen: Vec<_> = a.seen()[before..].iter().map(|seen| seen.target.clone()).collect();
    let want: Vec<_> = burst.iter().map(|asked| &*asked.target).filter(|t| t.starts_with("/app")).collect();
    assert_eq!(seen, want, "{how}");
}

/// All hosts, and the two whose clients come through a transport that is not the plain one.
fn for_each_transport(vice: impl Fn() -> Vice, test: impl Fn(&Host, &Backend)) {
    let run = |kind, change: &dyn Fn(Setup) -> Setup| {
        // Of its own: what it has seen is looked through again and again.
        let a = Backend::start("a", vice());
        let conf = Conf::new().with_statistics().route("^/app", &[&a]);
        let setup = Setup::new(kind, conf).workers(1).server_line("MaxKeepAliveRequest 5000");
        test(&change(setup).start(), &a);
    };
    for_each_host(|kind| {
        run(kind, &|setup| setup);
        if kind.is_harness() {
            run(kind, &|setup| setup.env("HARNESS_TRANSPORT", "fake-tls"));
        }
        // On 32-bit processors that one is refused.
        if kind == Kind::Harness && cfg!(target_pointer_width = "64") {
            run(kind, &|setup| setup.arg("-V").arg("1.5.5"));
        }
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_mixed_first_burst_on_a_used_connection_was_answered_in_part() {
    for_each_transport(vice::echo, |host, a| {
        let bursts = [
            vec![get("/app/1"), post("/app/2", 5), get("/app/3")],
            vec![post("/app/1", 5), get("/app/2"), chunked("/app/3"), get("/app/4")],
            vec![get("/app/1"), get("/page.html"), post("/app/2", 0), get(STATISTICS), get("/app/3")],
            vec![get("/page.html"), post("/app/1", 3), get("/page.html"), get("/page.html"), get("/app/2")],
        ];
        for (burst, is_used) in
            bursts.iter().flat_map(|burst| [(burst.clone(), true), (burst.clone(), false)])
        {
            host.get("/app/another").expect(200);
            let before = a.requests() + usize::from(is_used);
            let mut client = if is_used { used(host) } else { host.client().with_deadline(LIMIT) };
            for round in 1..=2 {
                client.send(in_one_piece(&burst));
                all_answered(&mut client, &burst, &format!("round {round}"));
            }
            asked_for(a, before, &[burst.clone(), burst].concat(), "");
            client.get("/app/behind").expect(200);
        }
        assert_eq!(a.complaints(), Vec::<String>::new());
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_mixed_burst_is_answered_wherever_it_is_cut() {
    for_each_transport(vice::echo, |host, a| {
        let burst = [
            get("/app/1"),
            post("/app/2", 5),
            get("/page.html"),
            chunked("/app/3"),
            get("/app/4"),
            post("/app/5", 1),
        ];
        let bytes = in_one_piece(&burst);
        for at in 1..bytes.len() {
            let before = a.requests() + 1;
            let mut client = used(host);
            client.send(&bytes[..at]);
            thread::sleep(Duration::from_millis(1)); // Nobody tells what has been read.
            client.send(&bytes[at..]);
            let how = format!("cut at {at}");
            all_answered(&mut client, &burst, &how);
            asked_for(a, before, &burst, &how);
        }
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_thousand_requests_in_one_burst_are_answered() {
    for_each_transport(vice::echo, |host, a| {
        let burst: Vec<_> = (0..500)
            .flat_map(|i| [post(&format!("/app/{i}/post"), i % 7), get(&format!("/app/{i}/get"))])
            .collect();
        let before = a.requests() + 1;
        let mut client = used(host);
        let mut sender = client.sender();
        let bytes = in_one_piece(&burst);
        thread::scope(|scope| {
            scope.spawn(move || std::io::Write::write_all(&mut sender, bytes.as_bytes()));
            all_answered(&mut client, &burst, "a thousand");
        });
        asked_for(a, before, &burst, "a thousand");
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_client_that_leaves_inside_its_burst_disturbs_nobody() {
    for_each_transport(
        || vice::slow_echo(Duration::from_millis(3)),
        |host, a| {
            let (descriptors, start) = (host.descriptors(), a.seen().len());
            for round in 0..30 {
                let mut bytes = String::new();
                for i in 0..20 {
                    let _ = write!(
                        bytes,
                        "{}{}",
                        get(&format!("/app/{round}/{i}/get")).bytes,
                        post(&format!("/app/{round}/{i}/post"), 5).bytes
                    );
                }
                let mut client = used(host);
                client.send(bytes);
                for method in ["GET", "POST", "GET"].iter().take(round % 4) {
                    client.read(method).expect(200);
                }
                if round % 2 == 0 {
                    client.reset()
                } else {
                    drop(client)
                }
                // The next client gets its number, and nothing of what was left.
                let mut next = used(host);
                let burst = [get("/app/next/1"), post("/app/next/2", 5), get("/app/next/3")];
                next.send(in_one_piece(&burst));
                all_answered(&mut next, &burst, &format!("round {round}"));
                // What was asked of the burst is its beginning.
                let of_round = |target: &&String| target.starts_with(&format!("/app/{round}/"));
                let seen: Vec<_> = a.seen()[start..].iter().map(|seen| seen.target.clone()).collect();
                let left: Vec<_> = seen.iter().filter(of_round).collect();
                let whole =
                    (0..20).flat_map(|i| [format!("/app/{round}/{i}/get"), format!("/app/{round}/{i}/post")]);
                assert!(left.iter().zip(whole).all(|(seen, sent)| **seen == sent), "{left:?}");
            }
            eventually(LIMIT, "the backend is left alone", || a.open() <= 2);
            let settled = within(LIMIT, || host.descriptors() <= descriptors + 6);
            assert!(settled, "{descriptors} before, now {}: {}", host.descriptors(), host.open_files());
        },
    );
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_client_that_sends_a_burst_and_its_end_gets_all_answers() {
    for_each_transport(vice::echo, |host, _| {
        let burst = [get("/app/1"), post("/app/2", 5), get("/app/3"), post("/app/4", 2)];
        let mut client = used(host);
        client.send(in_one_piece(&burst));
        client.half_close();
        all_answered(&mut client, &burst, "half closed");
        assert!(client.closed_within(LIMIT), "left open");
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_a_client_that_left_in_the_middle_of_a_burst_was_registered_once_more() {
    // So that what comes behind the first answer is there when it is sent.
    for_each_transport(
        || vice::slow_echo(Duration::from_millis(20)),
        |host, _| {
            for (rest, ends) in [("GET /app", true), ("GET  /app/3 HTTP/1.1\r\nHost: h\r\n\r\n", false)] {
                for _ in 0..5 {
                    let burst = [post("/app/2", 5)];
                    let mut client = used(host);
                    client.send(format!("{}{rest}", burst[0].bytes));
                    if ends {
                        client.half_close();
                    } else {
                        thread::sleep(Duration::from_millis(5)); // Nobody tells what has been read.
                        client.send("x");
                    }
                    assert_eq!(client.read("POST").expect(200).text(), "POST /app/2\n");
                    let (_, end) = client.read_all(LIMIT);
                    assert_ne!(end, End::TimedOut, "{rest:?}");
                    // The next client has the same number.
                    used(host).get("/app/4").expect(200);
                }
            }
        },
    );
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_what_the_server_refuses_itself_does_not_stop_a_burst() {
    for_each_transport(vice::echo, |host, _| {
        let mut client = used(host);
        client.send(in_one_piece(&[get("/app/1"), post("/app/2", 5), get("/missing.html"), get("/app/3")]));
        let burst = [get("/app/1"), post("/app/2", 5)];
        all_answered(&mut client, &burst, "before");
        assert_eq!(client.read("GET").status, 404);
        // The server decides whether its own errors end a connection.
        match client.try_read("GET") {
            Ok(response) => assert_eq!(response.expect(200).text(), "GET /app/3\n"),
            Err(_) => assert!(client.closed_within(LIMIT), "neither answered nor closed"),
        }
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_many_clients_with_bursts_at_once_are_not_mixed_up() {
    for_each_transport(vice::echo, |host, _| {
        let mut clients: Vec<_> = (0..16).map(|_| used(host)).collect();
        for round in 0..5 {
            let bursts: Vec<_> = (0..clients.len())
                .map(|c| {
                    let target = |i: usize| format!("/app/{c}/{round}/{i}");
                    [
                        get(&target(1)),
                        post(&target(2), c),
                        get("/page.html"),
                        post(&target(3), 1),
                        get(&target(4)),
                    ]
                })
                .collect();
            for (client, burst) in clients.iter_mut().zip(&bursts) {
                client.send(in_one_piece(burst));
            }
            for (client, burst) in clients.iter_mut().zip(&bursts) {
                all_answered(client, burst, &format!("round {round}"));
            }
        }
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_behind_chunks_that_are_read_in_two_ways_nothing_is_a_request() {
    for_each_transport(vice::echo, |host, a| {
        let head = "PUT /app/1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        for chunks in ["3;x=y\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nX: y\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n"]
        {
            let whole = format!("{head}{chunks}");
            let cuts: Vec<_> = (head.len() - 1..whole.len()).collect();
            let before = a.requests();
            // All at once: each of them is lingered over.
            let mut clients: Vec<_> = cuts.iter().map(|_| used(host)).collect();
            for (client, &at) in clients.iter_mut().zip(&cuts) {
                client.send(&whole[..at]);
                thread::sleep(Duration::from_millis(1)); // Nobody tells what has been read.
                client.send(format!("{}{}", &whole[at..], get("/app/2").bytes));
            }
            for (client, at) in clients.iter_mut().zip(&cuts) {
                let response = client.read("PUT").expect(200);
                assert_eq!(response.header("connection"), Some("close"), "{chunks:?} cut at {at}");
                let (more, end) = client.read_all(LIMIT);
                let more = String::from_utf8_lossy(&more).into_owned();
                assert!(more.is_empty() && end != End::TimedOut, "{chunks:?} cut at {at}: {end:?} {more:?}");
            }
            assert_eq!(a.requests(), before + 2 * cuts.len(), "{chunks:?}");
        }
    });
}

/// S9 MUST: Pipelines that are right are answered in order, or the rest is refused with a close.
#[test]
fn s9_bursts_leave_the_sanitizer_silent() {
    if !has_asan() {
        return;
    }
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        if !kind.is_harness() {
            return;
        }
        let conf = Conf::new().with_statistics().route("^/app", &[&a]);
        let host = Setup::new(kind, conf).asan().start();
        let burst = [get("/app/1"), post("/app/2", 5), get("/page.html"), chunked("/app/3"), get(STATISTICS)];
        for round in 0..20 {
            let mut client = used(&host);
            client.send(in_one_piece(&burst));
            if round % 3 == 0 {
                client.reset();
                continue;
            }
            all_answered(&mut client, &burst, &format!("round {round}"));
        }
        let (status, output) = host.stop();
        assert!(status.success(), "{status}:\n{output}");
    });
}
