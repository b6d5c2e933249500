//! Backends that are processes of their own: what the system does with the sockets of a process
//! that is killed, no thread can play.
//!
//! The process is the running test executable once more. A test file that uses them has a
//! function `backend_process`, a test that is ignored and calls `serve`.

use std::{
    collections::HashMap,
    env, fs,
    fs::{File, OpenOptions},
    io::{Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use super::{
    Backend, Next, eventually,
    sockets::{LOOPBACK, Reserved},
    vice,
};

/// Tells a process that it is a backend: its name, address and journal.
const VARIABLE: &str = "MPR_BACKEND_PROCESS";

/// How long it works on each request, so that a sudden death meets some.
const WORK: Duration = Duration::from_millis(2);

/// How long a backend that is asked to stop waits for its connections.
const PATIENCE: Duration = Duration::from_secs(2);

/// A backend process; killed when dropped.
pub struct ChildBackend {
    name: &'static str,
    port: Reserved,
    journal: PathBuf,
    child: Mutex<Option<Child>>,
}

impl ChildBackend {
    /// Starts one that writes what it executes into a journal in this folder.
    pub fn start(name: &'static str, folder: &Path) -> ChildBackend {
        let port = Reserved::new(LOOPBACK).unwrap();
        let backend = ChildBackend { name, port, journal: folder.join(name), child: Mutex::new(None) };
        backend.restart();
        backend
    }

    /// Starts it (again) on the same address, and waits until it listens.
    pub fn restart(&self) {
        let told = format!("{} {} {}", self.name, self.port.addr(), self.journal.display());
        let child = Command::new(env::current_exe().unwrap())
            .args(["backend_process", "--exact", "--ignored", "--nocapture"])
            .env(VARIABLE, told)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        *self.child.lock().unwrap() = Some(child);
        let listens = || std::net::TcpStream::connect(self.port.addr()).is_ok();
        eventually(Duration::from_secs(10), "the backend process listens", listens);
    }

    /// `kill -9`: the system closes its sockets, with a reset where something was unread.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to stop; it goes when its connections have ended.
    pub fn stop_gently(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            drop(child.stdin.take());
            assert!(child.wait().unwrap().success(), "{} did not end well", self.name);
        }
    }

    /// Its address as the configuration writes it.
    pub fn address(&self) -> String {
        self.port.addr().to_string()
    }
}

impl Drop for ChildBackend {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How often each request that does something was executed, by any of these backends.
pub fn executions(backends: &[&ChildBackend]) -> HashMap<String, usize> {
    let mut times = HashMap::new();
    for backend in backends {
        for line in fs::read_to_string(&backend.journal).unwrap_or_default().lines() {
            *times.entry(line.to_owned()).or_default() += 1;
        }
    }
    times
}

/// The answer of such a backend.
pub fn answer(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("{method} {target}\n").into_bytes();
    answer.extend_from_slice(body);
    answer.extend_from_slice(&super::pattern(500 + target.len() * 37 % 800));
    answer
}

/// Serves if this process was started as a backend.
pub fn serve() {
    let Ok(told) = env::var(VARIABLE) else { return };
    let mut words = told.splitn(3, ' ');
    let (name, addr, journal) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let addr: SocketAddr = addr.parse().unwrap();
    let journal = OpenOptions::new().append(true).create(true).open(journal).unwrap();
    let stopping = Arc::new(AtomicBool::new(false));
    let backend = Backend::start_at(name, addr, work(journal, Arc::clone(&stopping)));
    // Whoever started it holds the other end.
    let _ = super::steadily(|| std::io::stdin().read(&mut [0]));
    stopping.store(true, SeqCst);
    backend.stop_gently(PATIENCE);
}

fn work(journal: File, stopping: Arc<AtomicBool>) -> vice::Vice {
    vice::answering(move |conn, seen| {
        if seen.method == "POST" {
            (&journal).write_all(format!("{}\n", seen.target).as_bytes())?;
        }
        // Death finds requests that are executed and not answered.
        thread::sleep(WORK);
        let stops = stopping.load(SeqCst);
        let body = answer(&seen.method, &seen.target, &seen.body);
        let closing = if stops { "Connection: close\r\n" } else { "" };
        let fields = format!("{closing}Content-Length: {}\r\n", body.len());
        let bytes = [conn.head_with("200 OK", &fields), body].concat();
        conn.send(&bytes)?;
        Ok(if stops { Next::Close } else { Next::Again })
    })
}
