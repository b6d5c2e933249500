//! A backend that misbehaves in each way that we could think of, under clients that leave when
//! they like: a 200 is the right and whole answer or visibly cut, and nothing is left behind.
//!
//! `MPR_SECONDS=300 MPR_SEED=7 cargo test --test e2e_mischief` goes on for longer, with other choices.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Response, client, eventually, for_each_host,
    host::expect_quiet,
    mischief::{self, Way, right_body, way},
    pattern,
    random::{Random, seconds, seed},
    usage::cpu,
    within,
};

const SECOND: Duration = Duration::from_secs(1);

/// Clients at a time.
const CLIENTS: usize = 20;

/// What became of requests, by the way in which they were treated.
type Outcomes = BTreeMap<(Way, String), usize>;

struct Play<'a> {
    host: &'a Host,
    seed: u64,
    /// The number of the next request; no two have the same.
    next: AtomicU64,
    outcomes: Mutex<Outcomes>,
}

impl Play<'_> {
    /// One client until the time is over.
    fn run(&self, until: Instant) {
        let mut client = self.host.client();
        let mut asked = 0;
        while Instant::now() < until {
            let number = self.next.fetch_add(1, SeqCst);
            let mut random = Random::of(self.seed, number.wrapping_mul(3));
            let (method, body) = match random.below(10) {
                0 => ("HEAD", Vec::new()),
                1..=3 => ("POST", pattern(random.below(60_000))),
                _ => ("GET", Vec::new()),
            };
            let target = format!("/app/{number}");
            asked += 1;
            // A server has a limit of its own.
            if asked % 200 == 0 {
                client = self.host.client();
            }
            let bytes = client::request(method, &target, client.host(), "", &body);
            let goes_on = match random.below(10) {
                0 => {
                    leave(self.host, &bytes, &mut random);
                    self.count(way(self.seed, number), "left".into());
                    true
                }
                1 => {
                    let mut slow = Client::connect_narrow(self.host.addr());
                    let _ = slow.try_send(&bytes);
                    thread::sleep(Duration::from_millis(random.next() % 50));
                    self.judge(number, method, slow.try_read(method));
                    true
                }
                _ => {
                    let _ = client.try_send(&bytes);
                    self.judge(number, method, client.try_read(method))
                }
            };
            if !goes_on {
                client = self.host.client();
            }
        }
    }

    fn count(&self, way: Way, outcome: String) {
        *self.outcomes.lock().unwrap().entry((way, outcome)).or_default() += 1;
    }

    /// Panics at what must not be; tells whether the connection goes on.
    fn judge(&self, number: u64, method: &str, answer: Result<Response, client::NoAnswer>) -> bool {
        let way = way(self.seed, number);
        let case = format!("request {number} of seed {}, {method}, {way:?}", self.seed);
        let response = match answer {
            Ok(response) => response,
            // A cut may overtake what it cuts.
            Err(none) if none.end == End::Reset && none.bytes.is_empty() && may_be_cut(way) => {
                self.count(way, "reset".into());
                return false;
            }
            Err(none) => panic!("{case}: {none:?}"),
        };
        let whole = response.end == End::Complete;
        let cut = matches!(response.end, End::Truncated | End::Reset);
        let right = if method == "HEAD" { Vec::new() } else { right_body(self.seed, number) };
        let is_right = match response.status {
            200 if whole => response.body == right,
            200 => cut && right.starts_with(&response.body) && !is_right_always(way),
            204 => whole && way == Way::BodyWithout,
            413 => way == Way::EarlyAnswer && (cut || response.body == b"big" || method == "HEAD"),
            // A POST may meet a connection that was closed behind an earlier answer.
            502..=504 => whole && (method == "POST" || !is_right_always(way)),
            _ => false,
        };
        assert!(is_right, "{case}: {response:?}");
        self.count(way, format!("{}{}", response.status, if cut { " cut" } else { "" }));
        whole && response.header("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"))
    }
}

/// Whether the head of an answer may be out before it turns out to be bad.
fn may_be_cut(way: Way) -> bool {
    use Way::*;
    matches!(
        way,
        CloseInBody
            | ResetInBody
            | CloseInChunks
            | ResetInChunks
            | ResetBeforeClose
            | SilenceInBody
            | BadChunkSize
            | LongChunk
            | HugeChunkSize
            | BadLength
            | EarlyAnswer
    )
}

/// Whether nothing is wrong with the answer, so that each client has to get it.
fn is_right_always(way: Way) -> bool {
    use Way::*;
    matches!(way, Length | Chunks | Close | CloseBehind | Surplus | LateSurplus | Drip)
}

/// A client that leaves: within its request, behind it, or within the answer.
fn leave(host: &Host, bytes: &[u8], random: &mut Random) {
    let mut client = host.client();
    let part = match random.below(3) {
        0 => random.below(bytes.len()),
        _ => bytes.len(),
    };
    let _ = client.try_send(&bytes[..part]);
    let _ = client.stream.set_read_timeout(Some(Duration::from_millis(1 + random.next() % 10)));
    if random.percent(50) {
        let mut some = vec![0; 1 + random.below(30_000)];
        let _ = client.stream.read(&mut some);
    }
    if random.percent(50) {
        client.reset();
    }
}

#[test]
fn a_backend_that_misbehaves_in_every_way_deceives_nobody_and_leaves_nothing_behind() {
    let (seed, time) = (seed(1), seconds(1.5));
    for_each_host(|kind| {
        let a = Backend::start("a", mischief::good(seed));
        // Offline it would play no tricks. Silence is not to take the whole time.
        let conf = Conf::new()
            .with_statistics()
            .route("^/app", &[&a])
            .with("AttemptsCount 0")
            .with("HeaderTimeOut 1500ms")
            .with("ReadTimeOut 1500ms")
            .with("PoolIdleTimeOut 1");
        let host = Host::start(kind, conf);
        let play = Play { host: &host, seed, next: AtomicU64::new(0), outcomes: Mutex::default() };
        clean(&host, seed);
        expect_quiet(5 * SECOND, &[&a]);
        // Without what a worker makes that begins late.
        let sockets = || host.open_files().matches("socket:").count();
        let before = sockets();

        a.restart(mischief::backend(seed));
        let until = Instant::now() + time;
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| play.run(until));
            }
        });
        for (number, times) in executed(&a) {
            assert!(times <= 1, "POST {number} of seed {seed} was executed {times} times");
        }

        a.restart(mischief::good(seed));
        clean(&host, seed);
        expect_quiet(10 * SECOND, &[&a]);
        let settled = within(5 * SECOND, || sockets() <= before + 1);
        assert!(settled, "{before} sockets before, now {}", host.open_files());
        eventually(SECOND, "nothing is in flight", || {
            host.statistics()["routes"][0]["backends"][0]["active"] == 0
        });
        let used = cpu(&host);
        thread::sleep(SECOND / 4);
        let used = cpu(&host) - used;
        assert!(used < SECOND / 10, "{used:?} of processor time in a quarter of a second of idleness");
        let outcomes = play.outcomes.lock().unwrap();
        eprintln!("{kind:?}: {} requests of seed {seed}: {outcomes:?}", play.next.load(SeqCst));
    });
}

/// A hundred requests, all of them answered as they should be; over so many connections that each
/// worker gets some, and has begun.
fn clean(host: &Host, seed: u64) {
    thread::scope(|scope| {
        for part in 0..20 {
            scope.spawn(move || {
                let mut client = host.client();
                for number in part * 5..part * 5 + 5 {
                    let response = client.get(&format!("/app/{number}")).expect(200);
                    support::assert_bytes(&response.body, &right_body(seed, number));
                }
            });
        }
    });
}

/// How often each POST came whole to the backend.
fn executed(a: &Backend) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for seen in a.seen().iter().filter(|seen| seen.method == "POST") {
        *times.entry(seen.target.clone()).or_default() += 1;
    }
    times
}
