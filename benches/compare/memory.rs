//! What a server needs in memory: alone, and for each client. Each figure is of a process of its
//! own, since what was needed once is often kept.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::backends::Backends;
use super::idle::Idle;
use super::load;
use super::process::resident_kb;
use super::scenarios::{Clients, Scenario};
use super::servers::{Contender, Over, Server};

/// In KB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Behind a few requests.
    pub alone: f64,
    /// More for each client that keeps its connection and asks nothing.
    pub per_idle: f64,
    /// The same of the server around the plugin, which answers by itself; `None` for other proxies.
    pub per_idle_alone: Option<f64>,
    /// More for each client that is served, 100 KB at a time, when it is most.
    pub per_busy: f64,
}

/// What the busy ones ask for.
const BUSY: Scenario = Scenario {
    id: "memory",
    title: "",
    path: "/100k",
    length: 100 * 1024,
    connections: 1000,
    clients: Clients::Get,
    tls: false,
};

/// Measures one server.
pub fn measure(contender: Contender, backends: &Backends, idle: usize) -> Result<Memory, String> {
    let warm = |server: &Server| Idle::open(server.addr, 20).map(drop);
    let with_idle = |server: Server| {
        warm(&server)?;
        let alone = resident_kb(server.pid) as f64;
        let clients = Idle::open(server.addr, idle)?;
        let each = (resident_kb(server.pid) as f64 - alone) / idle as f64;
        match clients.lost() {
            0 => Ok((alone, each)),
            lost => Err(format!("{lost} of {idle} idle connections were closed")),
        }
    };
    let (alone, per_idle) = with_idle(contender.start(backends, 1, Over::Tcp)?)?;
    let per_idle_alone = contender.start_host_alone().map(with_idle).transpose()?.map(|(_, each)| each);

    let server = contender.start(backends, 1, Over::Tcp)?;
    warm(&server)?;
    let before = resident_kb(server.pid) as f64;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (done, pid) = (AtomicBool::new(false), server.pid);
    let (figures, most) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = resident_kb(pid).max(most);
                thread::sleep(Duration::from_millis(20));
            }
            most
        });
        let figures = load::run(&BUSY, BUSY.connections, 2, server.addr, pid, folder.path());
        done.store(true, Ordering::Relaxed);
        (figures, watch.join().unwrap_or_default())
    });
    figures?;
    Ok(Memory { alone, per_idle, per_idle_alone, per_busy: (most as f64 - before) / BUSY.connections as f64 })
}
