//! The system calls of one request: a server that makes one more for each is slower for all, and
//! no other test would see it. They are counted by `strace`; without it this says that it skipped.

#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use support::{Backend, Client, Conf, Kind, Next, Setup, for_each_host, vice, within};

/// Requests that are counted, and before them those that open and fill what is kept.
const COUNTED: usize = 600;
const WARM_UP: usize = 50;
/// Room for what comes once in a while, on a slow machine too: less than one call more each.
const SLACK: f64 = 0.9;
/// What all other calls together may come to for each request: timers, and a new connection.
const OTHERS: f64 = 0.5;

/// Calls of a server and the plugin in it for each request of the only client, which keeps its
/// connection, for a small answer over a pooled connection. With more clients it is less: one
/// `epoll_wait` serves many. docs/PERFORMANCE.md says what each is for.
fn budget(kind: Kind) -> Vec<(&'static str, f64)> {
    let ours = [("recvfrom", 2.0), ("sendto", 2.0)];
    let theirs: &[(&str, f64)] = match kind {
        Kind::Monkey15 => &[("read", 1.0), ("newfstatat", 1.0), ("epoll_ctl", 3.0), ("epoll_wait", 4.0)],
        Kind::Monkey18 => &[("recvfrom", 3.0), ("newfstatat", 1.0), ("epoll_wait", 3.0)],
        // The harness writes a log, and asks more, to be sure of its rules: what is unread?
        Kind::Harness => &[
            ("read", 1.0),
            ("newfstatat", 1.0),
            ("epoll_ctl", 3.0),
            ("epoll_wait", 4.0),
            ("getpeername", 1.0),
            ("write", 1.0),
        ],
        Kind::Harness18 => &[("recvfrom", 3.0), ("newfstatat", 1.0), ("epoll_wait", 3.0), ("ioctl", 2.0)],
    };
    // Where both make it, `theirs` has the sum.
    theirs.iter().chain(&ours).copied().collect()
}

#[test]
fn no_request_costs_a_call_more_than_it_did() {
    for_each_host(|kind| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
        let backends = ["a", "b", "c"].map(|name| Backend::start(name, vice::raw(answer, Next::Again)));
        let [a, b, c] = &backends;
        let host = Setup::new(kind, Conf::new().route("^/", &[a, b, c])).workers(1).start();
        let mut client = host.client();
        ask(&mut client, WARM_UP);
        let Some(trace) = Trace::of(host.pid(), &host.root().join("calls")) else { return };
        ask(&mut client, COUNTED);
        let calls = trace.end();
        let (budget, mut others) = (budget(kind), 0.0);
        for (name, count) in &calls {
            let each = *count as f64 / COUNTED as f64;
            match budget.iter().find(|(known, _)| known == name) {
                Some((_, most)) => {
                    assert!(each <= most + SLACK, "{kind:?}: {name} {each:.2} times, not {most}; {calls:?}");
                }
                None => others += each,
            }
        }
        assert!(others <= OTHERS, "{kind:?}: {others:.2} calls that nobody expects; {calls:?}");
    });
}

fn ask(client: &mut Client, times: usize) {
    for _ in 0..times {
        client.get("/a/page.txt").expect(200);
    }
}

/// `strace` beside a process.
struct Trace {
    strace: Child,
    table: PathBuf,
}

impl Trace {
    /// Attaches to all threads of a process. `None`, and said aloud, where that is not possible.
    fn of(pid: u32, table: &Path) -> Option<Trace> {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(table).args(["-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = match command.spawn() {
            Ok(strace) => strace,
            Err(error) => {
                eprintln!("skipped: strace: {error}");
                return None;
            }
        };
        let said = Arc::new(Mutex::new(String::new()));
        let from = strace.stderr.take().unwrap();
        let into = Arc::clone(&said);
        thread::spawn(move || {
            let mut lines = BufReader::new(from);
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(1..)) {
                into.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let mut trace = Trace { strace, table: table.into() };
        let attached = within(Duration::from_secs(10), || {
            said.lock().unwrap().contains(" attached") || trace.strace.try_wait().unwrap().is_some()
        });
        let said = said.lock().unwrap().clone();
        if attached && said.contains(" attached") {
            return Some(trace);
        }
        eprintln!("skipped: strace may not attach: {said}");
        None
    }

    /// Lets go of the process; how often each call was made.
    fn end(mut self) -> BTreeMap<String, u64> {
        // As a terminal would: it detaches and writes its table.
        let pid = self.strace.id().to_string();
        let _ = Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status();
        assert!(
            within(Duration::from_secs(10), || self.strace.try_wait().unwrap().is_some()),
            "strace does not end"
        );
        let text = fs::read_to_string(&self.table).unwrap();
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            let (calls, name) = (words.next()?.parse().ok()?, words.next()?);
            (name != "total").then(|| (name.to_owned(), calls))
        };
        let calls: BTreeMap<String, u64> = text.lines().filter_map(row).collect();
        assert!(!calls.is_empty(), "strace wrote no table:\n{text}");
        calls
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
