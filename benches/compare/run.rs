//! The order of things: in each round all servers are started anew, and take turns within each
//! scenario, so that what disturbs the machine for a while disturbs all of them.

use std::path::Path;

use super::backends::Backends;
use super::idle::{Idle, affordable};
use super::load::{self, Figures};
use super::memory::{self, Memory};
use super::options::{MEMORY, Options, WORKERS};
use super::scenarios::{self, Clients, SCENARIOS, Scenario};
use super::servers::{ALL, Contender, Over, Server};
use super::support::{Certificate, Client};

/// What came out.
#[derive(Default)]
pub struct Results {
    /// Who took part: name, and whether it is the plugin.
    pub names: Vec<(String, bool)>,
    /// What a reader has to know about this run.
    pub notes: Vec<String>,
    /// The scenarios, with the median of each server, or why it has none.
    pub rows: Vec<(&'static Scenario, Vec<Result<Figures, String>>)>,
    /// Processor time for each request, in microseconds, with one worker and with two.
    pub two_workers: Vec<(String, Result<[f64; 2], String>)>,
    /// Memory of each server.
    pub memory: Vec<Result<Memory, String>>,
}

/// The figures of one server in one scenario so far, or why there are none.
type Taken = Result<Vec<Figures>, String>;

/// One run.
pub struct Run<'a> {
    options: &'a Options,
    backends: &'a Backends,
    contenders: Vec<Contender>,
    certificate: Result<Certificate, String>,
    /// What came out so far.
    pub results: Results,
}

impl<'a> Run<'a> {
    /// Looks who is there.
    pub fn new(options: &'a Options, backends: &'a Backends) -> Run<'a> {
        let mut run = Run {
            options,
            backends,
            contenders: Vec::new(),
            certificate: Certificate::new(),
            results: Results::default(),
        };
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or_default();
        run.note(format!("Load of the machine by others, before the run: {load}."));
        for contender in ALL {
            match contender.name() {
                Ok(name) => {
                    run.contenders.push(contender);
                    run.results.names.push((name, contender.is_ours()));
                }
                Err(why) => run.note(format!("Not there: {why}.")),
            }
        }
        if let Some(Clients::Beside(wanted)) = SCENARIOS.iter().map(|it| it.clients).find(is_beside) {
            let count = affordable(wanted, backends.descriptors);
            if count < wanted {
                run.note(format!(
                    "{count} idle connections instead of {wanted}: the limit of descriptors is {}.",
                    backends.descriptors
                ));
            }
        }
        run
    }

    /// Runs what is wanted: in each round with processes of their own, since one process may be
    /// luckier than another with where it comes to lie.
    pub fn scenarios(&mut self) -> Result<(), String> {
        let wanted: Vec<_> = SCENARIOS.iter().filter(|scenario| self.options.wants(scenario.id)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let nothing = || self.contenders.iter().map(|_| Ok(Vec::new())).collect();
        let mut taken: Vec<Vec<Taken>> = wanted.iter().map(|_| nothing()).collect();
        for round in 0..self.options.rounds {
            let [tcp, tls] = [false, true].map(|tls| {
                let needed = wanted.iter().any(|scenario| scenario.tls == tls);
                if needed { self.start_all(tls) } else { Vec::new() }
            });
            for (scenario, taken) in wanted.iter().zip(&mut taken) {
                let servers = if scenario.tls { &tls } else { &tcp };
                eprintln!("round {} of {}: {}", round + 1, self.options.rounds, scenario.title);
                for nth in 0..servers.len() {
                    // Nobody comes always first.
                    let at = (nth + round) % servers.len();
                    let Ok(figures) = &mut taken[at] else { continue };
                    let server = servers[at].as_ref().map_err(String::clone);
                    let one = server.and_then(|server| {
                        probe(scenario, server)?;
                        self.once(scenario, server, folder.path())
                    });
                    match one {
                        Ok(one) => figures.push(one),
                        Err(why) => taken[at] = Err(why),
                    }
                }
            }
        }
        for (scenario, taken) in wanted.into_iter().zip(taken) {
            let row: Vec<_> = taken.into_iter().map(|all| all.map(|all| median(&all))).collect();
            self.tell(scenario, &row);
            self.results.rows.push((scenario, row));
        }
        Ok(())
    }

    fn start_all(&self, tls: bool) -> Vec<Result<Server, String>> {
        let start = |contender: &Contender| {
            let over = match &self.certificate {
                _ if !tls => Over::Tcp,
                _ if !contender.speaks_tls() => return Err("not over TLS here".into()),
                Ok(certificate) => Over::Tls(certificate),
                Err(why) => return Err(why.clone()),
            };
            contender.start(self.backends, 1, over).map_err(|why| format!("did not start: {why}"))
        };
        self.contenders.iter().map(start).collect()
    }

    fn tell(&self, scenario: &Scenario, row: &[Result<Figures, String>]) {
        eprintln!("{}", scenario.title);
        for (one, (name, _)) in row.iter().zip(&self.results.names) {
            match one {
                Ok(one) => eprintln!(
                    "    {name:28} {:9.0}/s  p99 {:8.2} ms  {:8.1} us  {} errors",
                    one.rate, one.latency_ms[1], one.cpu_us, one.errors
                ),
                Err(why) => eprintln!("    {name:28} {why}"),
            }
        }
    }

    fn once(&self, scenario: &Scenario, server: &Server, folder: &Path) -> Result<Figures, String> {
        let idle = match scenario.clients {
            Clients::Beside(wanted) => {
                Some(Idle::open(server.addr, affordable(wanted, self.backends.descriptors))?)
            }
            _ => None,
        };
        let seconds = self.options.seconds;
        let mut figures =
            load::run(scenario, scenario.connections, seconds, server.addr, server.pid, folder)?;
        figures.errors += idle.map_or(0, |idle| idle.lost() as u64);
        Ok(figures)
    }

    /// Measures what a second worker adds, if that is wanted.
    pub fn two_workers(&mut self) -> Result<(), String> {
        if !self.options.wants(WORKERS) {
            return Ok(());
        }
        eprintln!("two workers");
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        for (contender, (name, _)) in self.contenders.iter().zip(&self.results.names) {
            if *contender == Contender::Lighttpd {
                continue;
            }
            let figures = self.one_and_two(*contender, folder.path());
            eprintln!("    {name:28} {figures:.1?}");
            self.results.two_workers.push((name.clone(), figures));
        }
        Ok(())
    }

    fn one_and_two(&self, contender: Contender, folder: &Path) -> Result<[f64; 2], String> {
        let servers = [1, 2].map(|workers| contender.start(self.backends, workers, Over::Tcp));
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..self.options.rounds {
            for (server, taken) in servers.iter().zip(&mut taken) {
                let server = server.as_ref().map_err(String::clone)?;
                let scenario = &scenarios::WORKERS;
                taken.push(load::run(
                    scenario,
                    scenario.connections,
                    self.options.seconds,
                    server.addr,
                    server.pid,
                    folder,
                )?);
            }
        }
        Ok(taken.map(|all| median(&all).cpu_us))
    }

    /// Measures memory, if that is wanted.
    pub fn memory(&mut self) {
        if !self.options.wants(MEMORY) {
            return;
        }
        eprintln!("memory");
        let idle = affordable(if self.options.quick { 1000 } else { 10_000 }, self.backends.descriptors);
        for (contender, (name, _)) in self.contenders.iter().zip(&self.results.names) {
            let memory = memory::measure(*contender, self.backends, idle);
            eprintln!("    {name:28} {memory:.1?}");
            self.results.memory.push(memory);
        }
    }

    /// Says it once: two may be missing for the same reason.
    fn note(&mut self, text: String) {
        if !self.results.notes.contains(&text) {
            eprintln!("{text}");
            self.results.notes.push(text);
        }
    }
}

fn is_beside(clients: &Clients) -> bool {
    matches!(clients, Clients::Beside(_))
}

/// Whether the answer is the right one at all. Over TLS the load alone can ask.
fn probe(scenario: &Scenario, server: &Server) -> Result<(), String> {
    if scenario.tls {
        return Ok(());
    }
    let mut client = Client::try_connect(server.addr).map_err(|error| error.to_string())?;
    let (method, body): (_, &[u8]) = match scenario.clients {
        Clients::Post => ("POST", &[b'x'; 16 * 1024]),
        _ => ("GET", b""),
    };
    client.send_request(method, scenario.path, "", body);
    match client.try_read(method) {
        Ok(response) if response.status == 200 && response.body.len() == scenario.length => Ok(()),
        Ok(response) => Err(format!("wrong answer: {} with {} bytes", response.status, response.body.len())),
        Err(none) => Err(format!("no answer: {none:?}")),
    }
}

/// The median of each figure; the sum of errors.
fn median(all: &[Figures]) -> Figures {
    let middle = |of: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        (low + high) / 2.0
    };
    Figures {
        rate: middle(&|it| it.rate),
        latency_ms: [0, 1, 2].map(|nth| middle(&|it| it.latency_ms[nth])),
        cpu_us: middle(&|it| it.cpu_us),
        cpu_us_per_mb: middle(&|it| it.cpu_us_per_mb),
        errors: all.iter().map(|it| it.errors).sum(),
    }
}
