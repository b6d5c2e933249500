//! Servers that are killed, stopped and started again under load, and servers that close idle
//! connections sooner than we do: no GET is lost, nothing runs twice, nobody gets another's answer.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, End, Host, Next,
    child::{self, ChildBackend},
    eventually, for_each_host,
    random::{Random, seconds, seed},
    vice, within,
};

/// Not a test: what this executable does when it is started as a backend.
#[test]
#[ignore = "a backend process, started by the tests"]
fn backend_process() {
    child::serve();
}

/// A load of GETs and POSTs, and what went wrong with it.
struct Load<'a> {
    host: &'a Host,
    seed: u64,
    stop: AtomicBool,
    answers: AtomicUsize,
    /// POSTs by target: whether they were answered with success.
    posts: Mutex<HashMap<String, bool>>,
    faults: Mutex<Vec<String>>,
}

impl Load<'_> {
    fn new(host: &Host, seed: u64) -> Load<'_> {
        Load {
            host,
            seed,
            stop: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            posts: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    /// One client: 70 GETs for 30 POSTs over a connection that is kept, with a new one now and then.
    fn run(&self, id: u64, pause: impl Fn(&mut Random) -> Duration) {
        let mut random = Random::of(self.seed, id);
        let mut client = self.host.client();
        for n in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            if n % 100 == 99 {
                client = self.host.client();
            }
            thread::sleep(pause(&mut random));
            let target = format!("/app/{id}/{n}");
            if !self.ask(&mut client, &target, &mut random) {
                client = self.host.client();
            }
            self.answers.fetch_add(1, SeqCst);
        }
    }

    /// Asks and judges; whether the connection may be used again.
    fn ask(&self, client: &mut Client, target: &str, random: &mut Random) -> bool {
        let (method, body) = match random.percent(30) {
            true => ("POST", support::pattern(1 + random.below(3000))),
            false => ("GET", Vec::new()),
        };
        client.send_request(method, target, "", &body);
        let answer = client.try_read(method);
        let right = matches!(&answer, Ok(response) if response.status == 200
            && response.end == End::Complete
            && response.body == child::answer(method, target, &body));
        if method == "POST" {
            self.posts.lock().unwrap().insert(target.to_owned(), right);
        }
        match answer {
            Ok(_) if right => {}
            // Nobody can know whether it was executed: that is what the client is told.
            Ok(response) if method == "POST" && (502..=504).contains(&response.status) => {}
            other => self.faults.lock().unwrap().push(format!("{method} {target}: {other:?}")),
        }
        right
    }

    /// Waits until so many more requests were answered.
    fn more(&self, requests: usize) {
        let from = self.answers.load(SeqCst);
        let went_on = within(Duration::from_secs(10), || self.answers.load(SeqCst) >= from + requests);
        if !went_on {
            self.faults.lock().unwrap().push("the load came to a standstill".into());
        }
    }

    /// Panics if something went wrong; `executed` tells how often each POST was executed.
    fn judge(&self, executed: &HashMap<String, usize>) {
        let faults = self.faults.lock().unwrap();
        let answers = self.answers.load(SeqCst);
        assert!(faults.is_empty(), "{} of {answers} failed: {:#?}", faults.len(), &faults[0]);
        let posts = self.posts.lock().unwrap();
        for (target, &answered) in posts.iter() {
            let times = executed.get(target).copied().unwrap_or(0);
            assert!(times <= 1, "POST {target} was executed {times} times");
            assert!(!answered || times == 1, "POST {target} was answered, not executed");
        }
        let answered = posts.values().filter(|&&answered| answered).count();
        assert!(answered * 10 > posts.len() * 8, "{answered} of {} POSTs were answered", posts.len());
    }
}

fn all_online(host: &Host) -> bool {
    let statistics = host.statistics();
    let backends = statistics["routes"][0]["backends"].as_array().unwrap();
    backends.iter().all(|backend| backend["state"] == "online")
}

#[test]
fn backends_that_are_killed_or_stopped_under_load_cost_no_get_and_repeat_no_post() {
    let (seed, time) = (seed(11), seconds(0.0));
    for_each_host(|kind| {
        let journals = tempfile::tempdir().unwrap();
        let backends = ["a", "b", "c"].map(|name| ChildBackend::start(name, journals.path()));
        let list: Vec<_> = backends.iter().map(ChildBackend::address).collect();
        let host = Host::start(kind, Conf::new().with_statistics().route_to("^/app", &list.join(" ")));
        let load = Load::new(&host, seed);
        let begun = Instant::now();
        thread::scope(|scope| {
            for id in 0..8 {
                let load = &load;
                scope.spawn(move || load.run(id, |_| Duration::ZERO));
            }
            let mut random = Random::new(seed);
            let mut turn = 0;
            while turn < 2 || begun.elapsed() < time {
                let victim = &backends[random.below(3)];
                load.more(150);
                match turn % 2 {
                    0 => victim.kill(),
                    _ => victim.stop_gently(),
                }
                load.more(150);
                victim.restart();
                if !within(Duration::from_secs(5), || all_online(&host)) {
                    load.faults.lock().unwrap().push("not all are back online".into());
                }
                turn += 1;
            }
            load.more(150);
            load.stop.store(true, SeqCst);
        });
        load.judge(&child::executions(&backends.each_ref()));
        eprintln!("{kind:?}: {} requests", load.answers.load(SeqCst));
    });
}

#[test]
fn backends_that_close_idle_connections_soon_cost_no_get_and_repeat_no_post() {
    let seed = seed(12);
    for_each_host(|kind| {
        // Shorter than our own time, and some as short as the pauses of the clients.
        let limits = [1000, 300, 100, 40, 15].map(Duration::from_millis);
        let backends = limits.map(|limit| Backend::start(&format!("{limit:?}"), impatient(limit)));
        let host = Host::start(kind, Conf::new().route("^/app", &backends.each_ref()));
        let load = Load::new(&host, seed);
        thread::scope(|scope| {
            for id in 0..12 {
                let load = &load;
                // At about the moment at which one of them closes.
                let pause = move |random: &mut Random| {
                    let limit = limits[random.below(if id < 3 { 5 } else { 4 }).max(usize::from(id > 3))];
                    limit.mul_f64(0.9 + random.below(200) as f64 / 1000.0)
                };
                scope.spawn(move || load.run(id, pause));
            }
            thread::sleep(seconds(3.0));
            load.stop.store(true, SeqCst);
        });
        let mut executed = HashMap::new();
        for backend in &backends {
            for seen in backend.seen().iter().filter(|seen| seen.method == "POST") {
                *executed.entry(seen.target.clone()).or_default() += 1;
            }
        }
        load.judge(&executed);
    });
}

/// Gives right answers, and closes a connection on which no request comes for a while. Every other
/// connection is closed a moment too late: just when the next request has come, and half of those
/// when it was executed.
fn impatient(limit: Duration) -> vice::Vice {
    vice::custom(move |conn| {
        let late = conn.id % 2 == 1;
        if !late {
            conn.stream.set_read_timeout(Some(limit))?;
        }
        let begun = Instant::now();
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        let is_first = conn.take_note();
        let over = !is_first && begun.elapsed() > limit;
        if over && conn.id % 4 == 1 {
            return Ok(Next::Reset);
        }
        let body = conn.body(&seen)?;
        conn.record(&seen);
        if over {
            return Ok(Next::Reset);
        }
        conn.answer(&seen, &child::answer(&seen.method, &seen.target, &body))
    })
}

#[test]
fn all_backends_killed_at_once_are_back_without_a_restart_of_the_host() {
    for_each_host(|kind| {
        let journals = tempfile::tempdir().unwrap();
        let backends = ["a", "b"].map(|name| ChildBackend::start(name, journals.path()));
        let list: Vec<_> = backends.iter().map(ChildBackend::address).collect();
        let host = Host::start(kind, Conf::new().route_to("^/app", &list.join(" ")));
        host.get("/app").expect(200);
        backends.iter().for_each(ChildBackend::kill);
        for _ in 0..10 {
            let begun = Instant::now();
            let response = host.get("/app");
            assert!((502..=503).contains(&response.status), "{response:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
        }
        backends.iter().for_each(ChildBackend::restart);
        eventually(Duration::from_secs(3), "they serve again", || host.get("/app").status == 200);
        let mut client = host.client();
        for _ in 0..20 {
            client.get("/app").expect(200);
        }
    });
}
