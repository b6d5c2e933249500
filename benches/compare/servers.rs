//! Who is compared, and how each is set up: one worker, connections to the backends kept, no
//! access log. What a distribution's package is configured with otherwise stays.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::backends::{Backends, nginx, nginx_conf, wait_for};
use super::process::Program;
use super::support::sockets::{LOOPBACK, Reserved};
use super::support::{Certificate, Conf, Host, Kind, Setup};

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// Another proxy.
    Nginx,
    /// Another proxy.
    HaProxy,
    /// Another proxy.
    Lighttpd,
    /// The plugin in this host.
    Plugin(Kind, Build),
}

/// How the plugin was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// By `cargo build --release`.
    Plain,
    /// By `packaging/pgo.sh`: the file that `MPR_PGO` names.
    Profiled,
}

/// All there are, ours first.
pub const ALL: [Contender; 9] = [
    Contender::Plugin(Kind::Monkey15, Build::Profiled),
    Contender::Plugin(Kind::Monkey18, Build::Profiled),
    Contender::Plugin(Kind::Monkey15, Build::Plain),
    Contender::Plugin(Kind::Monkey18, Build::Plain),
    Contender::Plugin(Kind::Harness, Build::Plain),
    Contender::Plugin(Kind::Harness18, Build::Plain),
    Contender::Nginx,
    Contender::HaProxy,
    Contender::Lighttpd,
];

/// What its clients speak.
#[derive(Clone, Copy)]
pub enum Over<'a> {
    /// HTTP alone.
    Tcp,
    /// HTTP over TLS; this is what the server shows.
    Tls(&'a Certificate),
}

/// A running server.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its first process.
    pub pid: u32,
    _running: Running,
    _port: Option<Reserved>,
}

/// Ended when dropped.
enum Running {
    Program(#[expect(dead_code, reason = "held")] Program),
    Host(#[expect(dead_code, reason = "held")] Box<Host>),
}

impl Contender {
    /// Its name for readers, with its version; why it cannot take part.
    pub fn name(self) -> Result<String, String> {
        match self {
            Contender::Nginx => version("nginx", "-v", "nginx/"),
            Contender::HaProxy => version("haproxy", "-v", "HAProxy version "),
            Contender::Lighttpd => version("lighttpd", "-v", "lighttpd/"),
            Contender::Plugin(kind, build) => {
                let host = match kind {
                    Kind::Harness => "the harness, 1.5".into(),
                    Kind::Harness18 => "the harness, 1.8".into(),
                    Kind::Monkey15 => monkey("MONKEY_1_5")?,
                    Kind::Monkey18 => monkey("MONKEY_1_8")?,
                };
                build.file()?;
                let how = if build == Build::Profiled { ", profiled" } else { "" };
                Ok(format!("plugin in {host}{how}"))
            }
        }
    }

    /// Whether it can be set up here to speak TLS. Of the plugin's hosts one has that built in; with
    /// lighttpd it is a package of its own.
    pub fn speaks_tls(self) -> bool {
        matches!(self, Contender::Plugin(Kind::Monkey18, _) | Contender::Nginx | Contender::HaProxy)
    }

    /// Whether it is the plugin.
    pub fn is_ours(self) -> bool {
        matches!(self, Contender::Plugin(..))
    }

    /// Starts the server that the plugin would be in, with a file for `/3` of its own; `None` for
    /// other proxies.
    pub fn start_host_alone(self) -> Option<Server> {
        let Contender::Plugin(kind, _) = self else { return None };
        let nobody = Conf::new().route_to("^/nobody/asks/this", "127.0.0.1:1");
        Some(host(Setup::new(kind, nobody).file("3", b"ok\n"), 1))
    }

    /// Starts it with so many workers, and waits until it listens.
    pub fn start(self, backends: &Backends, workers: usize, over: Over<'_>) -> Result<Server, String> {
        match (self, over) {
            (Contender::Plugin(kind, build), over) => {
                let mut setup = plugin(kind, backends);
                if let Some(file) = build.file()? {
                    setup = setup.plugin(file);
                }
                if let Over::Tls(certificate) = over {
                    setup = setup.tls(certificate);
                }
                return Ok(host(setup, workers));
            }
            (Contender::Nginx | Contender::HaProxy | Contender::Lighttpd, _) => {}
        }
        let port = Reserved::new(LOOPBACK).map_err(|error| error.to_string())?;
        let addr = port.addr();
        let folder = tempfile::Builder::new().prefix("compare-").tempdir().unwrap();
        let command = match self {
            Contender::Nginx => {
                let http = nginx_proxy(addr, backends, over);
                fs::write(
                    folder.path().join("nginx.conf"),
                    nginx_conf(folder.path(), backends.descriptors, workers, &http),
                )
                .unwrap();
                nginx(folder.path())
            }
            Contender::HaProxy => {
                let conf = folder.path().join("haproxy.cfg");
                fs::write(&conf, haproxy(addr, backends, workers, over)).unwrap();
                let mut command = Command::new("haproxy");
                command.arg("-db").arg("-f").arg(conf);
                command
            }
            _ => {
                let conf = folder.path().join("lighttpd.conf");
                fs::write(&conf, lighttpd(folder.path(), addr, backends)).unwrap();
                let mut command = Command::new("lighttpd");
                command.arg("-D").arg("-f").arg(conf);
                command
            }
        };
        let mut program = Program::start(command, folder)?;
        wait_for(addr, &mut program)?;
        Ok(Server { addr, pid: program.pid(), _running: Running::Program(program), _port: Some(port) })
    }
}

impl Build {
    /// The library, if it is not what cargo just built.
    fn file(self) -> Result<Option<PathBuf>, String> {
        match self {
            Build::Plain => Ok(None),
            Build::Profiled => {
                let file = env::var_os("MPR_PGO").filter(|path| !path.is_empty()).map(PathBuf::from);
                let file = file.ok_or("the plugin as packaging/pgo.sh builds it: MPR_PGO is not set")?;
                // Hosts are started in folders of their own.
                Ok(Some(file.canonicalize().map_err(|error| format!("MPR_PGO={}: {error}", file.display()))?))
            }
        }
    }
}

/// The program's own words about its version, from `prefix` on.
fn version(program: &str, argument: &str, prefix: &str) -> Result<String, String> {
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let number = said.split(prefix).nth(1).unwrap_or_default();
    let number = number.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    let name = prefix.split(['/', ' ']).next().unwrap_or(program);
    Ok(format!("{name} {number}"))
}

fn monkey(variable: &str) -> Result<String, String> {
    let binary = env::var_os(variable).filter(|path| !path.is_empty());
    let binary = binary.ok_or(format!("a real Monkey: {variable} is not set"))?;
    let output = Command::new(binary).arg("-v").output().map_err(|error| format!("{variable}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let words = said.split(|c: char| !c.is_ascii_digit() && c != '.');
    let number = words.filter(|word| word.starts_with("1.")).max_by_key(|word| word.len());
    Ok(format!("Monkey {}", number.unwrap_or("of unknown version")))
}

fn plugin(kind: Kind, backends: &Backends) -> Setup {
    let list = |all: &[SocketAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let conf = Conf::new().route_to("^/toy/", &list(&backends.toys)).route_to("^/", &list(&backends.files));
    Setup::new(kind, conf)
}

fn host(setup: Setup, workers: usize) -> Server {
    let host = setup
        .workers(workers)
        .no_access_log()
        .server_line("MaxKeepAliveRequest 100000000")
        .server_line("KeepAliveTimeout 300")
        .server_line("Timeout 300")
        .server_line("MaxRequestSize 1024")
        .start();
    Server { addr: host.addr(), pid: host.pid(), _running: Running::Host(Box::new(host)), _port: None }
}

/// Its disk is left out: what a client takes slowly stays with the backend, and what it sends has
/// room in memory.
fn nginx_proxy(addr: SocketAddr, backends: &Backends, over: Over<'_>) -> String {
    let (ssl, certificate) = match over {
        Over::Tcp => ("", String::new()),
        Over::Tls(it) => (
            " ssl",
            format!(
                "ssl_certificate {}; ssl_certificate_key {};\n",
                it.chain().display(),
                it.key().display()
            ),
        ),
    };
    let upstream = |name: &str, all: &[SocketAddr]| {
        let servers: String = all.iter().map(|server| format!("server {server}; ")).collect();
        format!("upstream {name} {{ {servers}keepalive 4096; keepalive_requests 100000000; }}\n")
    };
    format!(
        "{}{}server {{ listen {addr}{ssl} backlog=4096; {certificate}\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_max_temp_file_size 0;\n\
         client_body_buffer_size 64k;\n\
         location / {{ proxy_pass http://files; }} location /toy/ {{ proxy_pass http://toys; }} }}\n",
        upstream("files", &backends.files),
        upstream("toys", &backends.toys)
    )
}

/// By itself it gives up idle connections to backends when a quarter of its descriptors is in use,
/// and here clients alone may take half of them.
fn haproxy(addr: SocketAddr, backends: &Backends, workers: usize, over: Over<'_>) -> String {
    let tls = match over {
        Over::Tcp => String::new(),
        Over::Tls(it) => format!(" ssl crt {}", it.chain_and_key().display()),
    };
    let farm = |name: &str, all: &[SocketAddr]| {
        let servers = all.iter().zip(1..).map(|(server, nth)| format!("  server s{nth} {server}\n"));
        format!("backend {name}\n  balance roundrobin\n{}", servers.collect::<String>())
    };
    format!(
        "global\n  nbthread {workers}\n  maxconn {}\n  no strict-limits\n  \
         tune.pool-low-fd-ratio 90\n  tune.pool-high-fd-ratio 95\n\
         defaults\n  mode http\n  option forwardfor\n  http-reuse always\n  timeout connect 5s\n  \
         timeout client 300s\n  timeout server 60s\n\
         frontend f\n  bind {addr}{tls}\n  use_backend toys if {{ path_beg /toy/ }}\n  default_backend files\n\
         {}{}",
        backends.descriptors,
        farm("files", &backends.files),
        farm("toys", &backends.toys)
    )
}

/// It passes answers on as they come, as the others do; without that it would write long ones into
/// files. It opens a connection to a backend for each request: its mod_proxy keeps none.
fn lighttpd(folder: &Path, addr: SocketAddr, backends: &Backends) -> String {
    let hosts = |all: &[SocketAddr]| {
        let each =
            all.iter().map(|server| format!("( \"host\" => \"127.0.0.1\", \"port\" => {} )", server.port()));
        format!("( \"\" => ( {} ) )", each.collect::<Vec<_>>().join(", "))
    };
    format!(
        "server.modules = ( \"mod_proxy\" )\n\
         server.document-root = \"{folder}\"\nserver.upload-dirs = ( \"{folder}\" )\n\
         server.errorlog = \"{folder}/error.log\"\n\
         server.bind = \"127.0.0.1\"\nserver.port = {port}\n\
         server.max-fds = {descriptors}\nserver.max-connections = {clients}\n\
         server.listen-backlog = 4096\n\
         server.max-keep-alive-requests = 100000000\nserver.max-keep-alive-idle = 300\n\
         server.stream-response-body = 2\n\
         proxy.balance = \"round-robin\"\nproxy.server = {files}\n\
         $HTTP[\"url\"] =~ \"^/toy/\" {{ proxy.server = {toys} }}\n",
        folder = folder.display(),
        port = addr.port(),
        descriptors = backends.descriptors,
        // More than half of them it does not take.
        clients = backends.descriptors / 2,
        files = hosts(&backends.files),
        toys = hosts(&backends.toys),
    )
}
