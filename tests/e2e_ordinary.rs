//! What most requests are like: kept connections, small answers and some long ones, each balancer,
//! all that clients of different kinds write into a head. Every answer has to be the right one.
//!
//! It is also what the compiler learns from (`packaging/pgo.sh`): `MPR_SECONDS=10` goes on for longer.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
    time::Instant,
};

use support::{
    Backend, Conf, Host, Next, assert_bytes, for_each_host, pattern,
    random::{Random, seconds, seed},
    vice::{Vice, custom},
};

/// Clients at a time.
const CLIENTS: usize = 8;
/// Requests of one connection.
const KEPT: usize = 100;

/// An entry for each balancer, and the part of the requests in a hundred that it gets.
const BALANCERS: [(&str, usize); 6] = [
    ("Round-Robin", 60),
    ("Least-Connections", 15),
    ("Source-Hash", 10),
    ("First-Alive", 5),
    ("Locking-Round-Robin", 5),
    ("Naive", 5),
];

/// What clients write besides Host: a script, curl, a browser.
const HEADS: [&str; 3] = [
    "",
    "User-Agent: curl/8.5.0\r\nAccept: */*\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
     Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
     Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
     Referer: http://example.org/shop/list?page=2\r\nConnection: keep-alive\r\n\
     Cookie: session=6f1c0c2a9d5e4b7f8a3e; theme=dark; _seen=1717171717.42\r\n\
     Upgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n",
];

/// What application servers write into theirs.
const FIELDS: &str = "Server: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 03:01:17 GMT\r\n\
                      Content-Type: text/html; charset=utf-8\r\nConnection: keep-alive\r\n\
                      Cache-Control: max-age=60\r\nETag: \"65f1-3039\"\r\nVary: Accept-Encoding\r\n";

const LONG: usize = 100 * 1024;
const CHUNK: usize = 4096;

/// `/.../small`, `/.../long`, `/.../chunks`; a body comes back.
fn shop() -> Vice {
    let long = pattern(LONG);
    custom(move |conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        let asked = conn.body(&seen)?;
        let body = match seen.target.rsplit('/').next().unwrap_or_default() {
            "long" => &long[..],
            "chunks" => {
                let mut bytes = conn.head_with("200 OK", &format!("{FIELDS}Transfer-Encoding: chunked\r\n"));
                for chunk in long[..4 * CHUNK].chunks(CHUNK) {
                    bytes.extend_from_slice(format!("{CHUNK:x}\r\n").as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
                conn.send(&bytes)?;
                return Ok(Next::Again);
            }
            _ if asked.is_empty() => b"ok\n",
            _ => &asked[..],
        };
        let mut bytes = conn.head_with("200 OK", &format!("{FIELDS}Content-Length: {}\r\n", body.len()));
        if seen.method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

fn conf(backends: &[&Backend]) -> Conf {
    BALANCERS.iter().fold(Conf::new(), |conf, (name, _)| {
        conf.route(&format!("^/{name}/"), backends).with(&format!("LoadBalancer {name}"))
    })
}

/// One client until the time is over; how many answers it got.
fn shops(host: &Host, number: u64, until: Instant) -> usize {
    let mut random = Random::of(seed(1), number);
    let mut answers = 0;
    while Instant::now() < until {
        let mut client = host.client();
        let fields = HEADS[random.below(HEADS.len())];
        for _ in 0..KEPT {
            let entry = entry(&mut random);
            let ask = |kind: &str| format!("/{entry}/{kind}");
            match random.below(100) {
                0..=3 => {
                    let response = client.ask("GET", &ask("long"), fields, b"").expect(200);
                    assert_bytes(&response.body, &pattern(LONG));
                }
                4..=7 => {
                    let response = client.ask("GET", &ask("chunks"), fields, b"").expect(200);
                    assert_bytes(&response.body, &pattern(LONG)[..4 * CHUNK]);
                }
                8..=9 => {
                    let response = client.ask("HEAD", &ask("small"), fields, b"").expect(200);
                    assert_bytes(&response.body, b"");
                }
                10..=19 => {
                    let most = if random.percent(20) { 16 * 1024 } else { 200 };
                    let sent = pattern(1 + random.below(most));
                    let response = client.ask("POST", &ask("small"), fields, &sent).expect(200);
                    assert_bytes(&response.body, &sent);
                }
                _ => {
                    let response = client.ask("GET", &ask("small"), fields, b"").expect(200);
                    assert_bytes(&response.body, b"ok\n");
                }
            }
            answers += 1;
        }
    }
    answers
}

fn entry(random: &mut Random) -> &'static str {
    let mut left = random.below(100);
    for (name, part) in BALANCERS {
        match left.checked_sub(part) {
            Some(rest) => left = rest,
            None => return name,
        }
    }
    unreachable!("the parts make a hundred")
}

#[test]
fn ordinary_requests_get_the_right_answers() {
    let [a, b, c] = ["a", "b", "c"].map(|name| Backend::start(name, shop()));
    for_each_host(|kind| {
        let host = Host::start(kind, conf(&[&a, &b, &c]));
        let until = Instant::now() + seconds(1.0);
        let answers = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..CLIENTS as u64 {
                let (host, answers) = (&host, &answers);
                scope.spawn(move || answers.fetch_add(shops(host, number, until), SeqCst));
            }
        });
        let answers = answers.into_inner();
        assert!(answers >= CLIENTS * KEPT, "{answers}");
        eprintln!("{kind:?}: {answers} answers");
    });
}
