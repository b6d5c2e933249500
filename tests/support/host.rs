//! A running host with the plugin loaded: the C harness, or the real servers that the
//! environment variables `MONKEY_1_5` and `MONKEY_1_8` name.
//!
//! A host is killed and reaped when dropped, and dropping it panics when it died by itself,
//! broke a host rule or upset a sanitizer, so no test has to look.

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, Once, OnceLock},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    build::{self, Flavour},
    certificate::Certificate,
    client::{self, Client, Response},
    conf::{STATISTICS, Tree},
    sockets::{LOOPBACK, Reserved},
    wait::{eventually, within},
};

/// How long a host may finish what is under way before it is asked a second time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which program plays the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The C harness of `tests/harness`, as 1.5.
    Harness,
    /// The real server named by `MONKEY_1_5`.
    Monkey15,
    /// The C harness, as 1.8.
    Harness18,
    /// The real server named by `MONKEY_1_8`.
    Monkey18,
}

impl Kind {
    /// Is it our own program?
    pub fn is_harness(self) -> bool {
        matches!(self, Kind::Harness | Kind::Harness18)
    }

    /// Does it play, or is it, a server of the 1.8 family?
    pub fn is_modern(self) -> bool {
        matches!(self, Kind::Harness18 | Kind::Monkey18)
    }

    /// The real server's binary, when it is named.
    pub fn binary(self) -> Option<PathBuf> {
        env::var_os(self.variable()?).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn variable(self) -> Option<&'static str> {
        match self {
            Kind::Harness | Kind::Harness18 => None,
            Kind::Monkey15 => Some("MONKEY_1_5"),
            Kind::Monkey18 => Some("MONKEY_1_8"),
        }
    }
}

/// Runs a test on every host there is; says aloud when a real server is not named. Those of the
/// 1.8 family take part as soon as the plugin exports what they look for.
pub fn for_each_host(test: impl Fn(Kind)) {
    run_on(Kind::Harness, &test);
    run_if_named(Kind::Monkey15, &test);
    if plugin_is_modern() {
        run_on(Kind::Harness18, &test);
        run_if_named(Kind::Monkey18, &test);
    }
}

/// Runs a test that needs something that only the harness can do, as 1.5.
pub fn harness_only(test: impl Fn(Kind)) {
    run_on(Kind::Harness, &test);
}

/// Runs a test that needs something that only the harness can do, as 1.8; nothing happens while
/// the plugin does not support that family.
pub fn harness_18_only(test: impl Fn(Kind)) {
    if plugin_is_modern() {
        run_on(Kind::Harness18, &test);
    }
}

fn run_on(kind: Kind, test: &impl Fn(Kind)) {
    // To look at one of them alone: MPR_HOST=Monkey18 cargo test ...
    if env::var("MPR_HOST").is_ok_and(|only| only != format!("{kind:?}")) {
        return;
    }
    let _on = OnFailure(kind);
    test(kind);
}

fn run_if_named(kind: Kind, test: &impl Fn(Kind)) {
    if kind.binary().is_some() {
        return run_on(kind, test);
    }
    static SAY: [Once; 2] = [Once::new(), Once::new()];
    SAY[usize::from(kind.is_modern())].call_once(|| {
        eprintln!("skipped: {} is not set", kind.variable().unwrap_or_default());
    });
}

/// Whether the library has the symbol that a server of the 1.8 family looks for.
pub fn plugin_is_modern() -> bool {
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| {
        let output = Command::new("nm").args(["-D", "--defined-only"]).arg(build::plugin()).output();
        let names = output.map(|output| output.stdout).unwrap_or_default();
        let names = String::from_utf8_lossy(&names);
        names.lines().any(|line| line.ends_with(" mk_plugin_proxy_reverse"))
    })
}

/// Names the host when the test fails on it.
struct OnFailure(Kind);

impl Drop for OnFailure {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("(this was on {:?})", self.0);
        }
    }
}

/// What is done to the configuration folder before the start.
type Prepare = Box<dyn Fn(&Path)>;

/// What a host is started with.
pub struct Setup {
    kind: Kind,
    proxy_conf: String,
    workers: usize,
    args: Vec<OsString>,
    envs: Vec<(String, String)>,
    flavour: Flavour,
    logger: bool,
    access_log: bool,
    server_lines: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    stop_limit: Duration,
    may_panic: bool,
    ulimits: Vec<String>,
    prepare: Option<Prepare>,
    plugin: Option<PathBuf>,
}

impl Setup {
    /// Two workers and this `proxy_reverse.conf`.
    pub fn new(kind: Kind, proxy_conf: impl Into<String>) -> Setup {
        Setup {
            kind,
            proxy_conf: proxy_conf.into(),
            workers: 2,
            args: Vec::new(),
            envs: Vec::new(),
            flavour: Flavour::Plain,
            logger: false,
            access_log: true,
            server_lines: Vec::new(),
            files: Vec::new(),
            stop_limit: Duration::from_secs(5),
            may_panic: false,
            ulimits: Vec::new(),
            prepare: None,
            plugin: None,
        }
    }

    /// Loads this file instead of what cargo built, or `MPR_PLUGIN` names.
    pub fn plugin(mut self, file: PathBuf) -> Setup {
        self.plugin = Some(file);
        self
    }

    /// Does something to the configuration folder before the start.
    pub fn prepare(mut self, prepare: impl Fn(&Path) + 'static) -> Setup {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// Starts it under a limit of the shell's `ulimit`, soft and hard: `-n 64`.
    pub fn ulimit(mut self, limit: &str) -> Setup {
        self.ulimits.push(limit.into());
        self
    }

    /// A panic of the plugin is what the test wants; any other is a failure.
    pub fn may_panic(mut self) -> Setup {
        self.may_panic = true;
        self
    }

    /// How many worker threads.
    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// A further argument of the program.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Setup {
        self.args.push(arg.into());
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// The harness with AddressSanitizer and a clean exit that lets it look for leaks.
    pub fn asan(mut self) -> Setup {
        self.flavour = Flavour::Asan;
        self.stop_limit = Duration::from_secs(20);
        self.env("HARNESS_CLEAN_EXIT", "1")
    }

    /// The real 1.5's own logger plugin too; nothing else has one.
    pub fn logger(mut self) -> Setup {
        self.logger = true;
        self
    }

    /// No request is logged, not even by the harness.
    pub fn no_access_log(mut self) -> Setup {
        self.access_log = false;
        self
    }

    /// A further line of `[SERVER]` in `monkey.conf`.
    pub fn server_line(mut self, line: &str) -> Setup {
        self.server_lines.push(line.into());
        self
    }

    /// A file of the document root.
    pub fn file(mut self, name: &str, content: &[u8]) -> Setup {
        self.files.push((name.into(), content.into()));
        self
    }

    /// Speaks TLS instead, with this certificate. Only a real 1.8 can, and not each one.
    pub fn tls(mut self, certificate: &Certificate) -> Setup {
        for (option, path) in [("--tls-cert", certificate.chain()), ("--tls-key", certificate.key())] {
            self = self.arg(format!("{option}={}", path.display()));
        }
        self.arg("--https")
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Host {
        for _ in 0..5 {
            if let Some(host) = self.try_start() {
                return host;
            }
        }
        panic!("no free port in five tries");
    }

    /// `None` when somebody took the port that was chosen.
    fn try_start(&self) -> Option<Host> {
        let root = tempfile::Builder::new().prefix("mpr-").tempdir().unwrap();
        let plugin = self.plugin.clone().unwrap_or_else(build::plugin);
        // The harness chooses its port itself; the real server cannot.
        let port = (!self.kind.is_harness()).then(|| Reserved::everywhere().unwrap());
        let real = self.kind == Kind::Monkey15;
        let conf = Tree {
            modern: self.kind.is_modern(),
            transport: real.then(|| real_plugin("liana")),
            logger: (real && self.logger).then(|| real_plugin("logger")),
            access_log: self.access_log,
            plugin: &plugin,
            proxy_conf: &self.proxy_conf,
            port: port.as_ref().map_or(0, |port| port.addr().port()),
            workers: self.workers,
            server_lines: &self.server_lines,
            files: &self.files,
        };
        let conf = conf.write(root.path()).unwrap();
        if let Some(prepare) = &self.prepare {
            prepare(&conf);
        }
        let mut command = match self.kind.binary() {
            Some(server) => Command::new(server),
            None => {
                let harness = build::harness(self.flavour).expect("ask has_asan() first");
                let mut command = Command::new(harness);
                let family = if self.kind.is_modern() { "1.8" } else { "1.5" };
                command.args(["-a", family, "-p", "0", "-w", &self.workers.to_string()]);
                command
            }
        };
        command.arg("-c").arg(&conf).args(&self.args);
        let mut command = self.limited(command);
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let host = Host::new(child, self, root, port);
        host.wait_until_ready()
    }
}

impl Setup {
    /// The same program under its limits; the shell becomes the program, so its id stays.
    fn limited(&self, command: Command) -> Command {
        if self.ulimits.is_empty() {
            return command;
        }
        let limits: Vec<_> = self.ulimits.iter().map(|limit| format!("ulimit {limit}")).collect();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{} && exec \"$0\" \"$@\"", limits.join(" && "))]);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }
}

/// Whether this compiler can build the AddressSanitizer flavour; says so when not.
pub fn has_asan() -> bool {
    build::harness(Flavour::Asan).is_some()
}

/// A running host.
pub struct Host {
    /// Which program it is.
    pub kind: Kind,
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    root: tempfile::TempDir,
    port: Option<Reserved>,
    addr: SocketAddr,
    stop_limit: Duration,
    stopped: bool,
    may_panic: bool,
}

impl Host {
    /// Starts one with two workers and this `proxy_reverse.conf`.
    pub fn start(kind: Kind, proxy_conf: impl Into<String>) -> Host {
        Setup::new(kind, proxy_conf).start()
    }

    fn new(mut child: Child, setup: &Setup, root: tempfile::TempDir, port: Option<Reserved>) -> Host {
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = collect(child.stdout.take().unwrap(), &output);
        let stderr = collect(child.stderr.take().unwrap(), &output);
        Host {
            kind: setup.kind,
            child,
            output,
            readers: vec![stdout, stderr],
            root,
            addr: port.as_ref().map_or(LOOPBACK, Reserved::addr),
            port,
            stop_limit: setup.stop_limit,
            stopped: false,
            may_panic: setup.may_panic,
        }
    }

    fn wait_until_ready(mut self) -> Option<Host> {
        let limit = Duration::from_secs(10);
        let mut died = false;
        let ready = within(limit, || {
            died = self.child.try_wait().unwrap().is_some();
            died || self.is_listening()
        });
        if died || !ready {
            self.stop_now();
            let output = self.output();
            let lost_port =
                ["Cannot listen on", "in use", "is busy"].iter().any(|complaint| output.contains(complaint));
            if !self.kind.is_harness() && lost_port {
                return None;
            }
            panic!("the host did not start:\n{output}");
        }
        Some(self)
    }

    fn is_listening(&mut self) -> bool {
        if !self.kind.is_harness() {
            return Client::try_connect(self.addr).is_ok();
        }
        let output = self.output();
        let line = output.lines().find_map(|line| line.strip_prefix("listening on "));
        match line.and_then(|addr| addr.trim().parse().ok()) {
            Some(addr) => {
                self.addr = addr;
                true
            }
            None => false,
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A new client connection.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        client::get(self.addr, target)
    }

    /// The statistics as JSON.
    #[track_caller]
    pub fn statistics(&self) -> serde_json::Value {
        let response = self.get(&format!("{STATISTICS}?format=json")).expect(200);
        serde_json::from_slice(&response.body)
            .unwrap_or_else(|error| panic!("{error} in {}", response.text()))
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Waits until it printed `text`.
    #[track_caller]
    pub fn expect_output(&self, text: &str) {
        let came = within(Duration::from_secs(3), || self.output().contains(text));
        assert!(came, "{text:?} was not printed; but:\n{}", self.output());
    }

    /// The folder with `conf`, `htdocs` and `logs`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors it holds.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// What its descriptors lead to, for messages.
    pub fn open_files(&self) -> String {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        names.map(|name| name.display().to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Still there?
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGTERM; returns how it ended and what it printed. Complains as drop does.
    #[track_caller]
    pub fn stop(mut self) -> (ExitStatus, String) {
        let status = self.stop_now();
        self.stopped = true;
        let output = self.output();
        if let Some(complaint) = self.complaint(&output) {
            panic!("{complaint}; the host printed:\n{output}");
        }
        (status, output)
    }

    /// Waits for the end that somebody else brings about.
    pub fn wait(mut self) -> ExitStatus {
        self.stopped = true;
        self.child.wait().unwrap()
    }

    fn complaint(&self, output: &str) -> Option<&'static str> {
        ["HARNESS VIOLATION", "AddressSanitizer", "LeakSanitizer", "panicked at"]
            .into_iter()
            .filter(|complaint| !(self.may_panic && *complaint == "panicked at"))
            .find(|complaint| output.contains(complaint))
    }

    /// SIGTERM, and nothing else.
    pub fn terminate(&self) {
        // std can only send SIGKILL, and our crates deny `unsafe` to tests.
        let _ = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.pid().to_string()]).status();
    }

    fn stop_now(&mut self) -> ExitStatus {
        let mut status = self.child.try_wait().unwrap();
        if status.is_none() {
            // What is under way is waited for; who asks twice does not want that.
            for limit in [PATIENCE.min(self.stop_limit), self.stop_limit] {
                self.terminate();
                within(limit, || {
                    status = self.child.try_wait().unwrap();
                    status.is_some()
                });
                if status.is_some() {
                    break;
                }
            }
        }
        let status = status.unwrap_or_else(|| {
            let _ = self.child.kill();
            self.child.wait().unwrap()
        });
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        status
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        let died = self.child.try_wait().ok().flatten();
        self.stop_now();
        let output = self.output();
        if thread::panicking() {
            let from = output.len().saturating_sub(4000);
            let from = (from..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(0);
            eprintln!("the host ({:?}, died by itself: {died:?}) printed:\n{}", self.kind, &output[from..]);
            return;
        }
        if let Some(status) = died {
            panic!("the host died by itself: {status}; it printed:\n{output}");
        }
        if let Some(complaint) = self.complaint(&output) {
            panic!("{complaint}; the host printed:\n{output}");
        }
    }
}

fn collect(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).into_owned();
            into.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_str(&text);
            line.clear();
        }
    })
}

/// A plugin of the real 1.5: in `MONKEY_1_5_PLUGINS`, or beside the binary as built.
fn real_plugin(name: &str) -> PathBuf {
    let dir = match env::var_os("MONKEY_1_5_PLUGINS") {
        Some(dir) => PathBuf::from(dir),
        None => Kind::Monkey15.binary().unwrap().parent().unwrap().join("../plugins"),
    };
    let file = format!("monkey-{name}.so");
    let candidates = [dir.join(name).join(&file), dir.join(&file)];
    let found = candidates.iter().find_map(|path| path.canonicalize().ok());
    found.unwrap_or_else(|| panic!("no {file} in {}: set MONKEY_1_5_PLUGINS", dir.display()))
}

/// Waits until nobody is connected to these backends any more.
pub fn expect_quiet(limit: Duration, backends: &[&super::Backend]) {
    for backend in backends {
        eventually(limit, &format!("{} is left alone", backend.name()), || backend.open() == 0);
    }
}
