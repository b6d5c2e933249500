//! What a configuration says, in its final form: checked, complete, immutable.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::error::{ConfigError, cleaned};
use super::heads::{self, Heads};
use super::health::{Health, HealthCheck};
use super::origins::Origins;
use super::retries::Retries;
use super::servers::{Capacity, Server};
use super::suggest::normalized;
use super::tracing::Tracing;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that was read first, as it was named to us.
    pub path: Arc<Path>,
    /// The entries, in file order: the first that matches a request takes it.
    pub entries: Vec<ProxyEntry>,
    /// Where the values of each entry come from, in the same order.
    pub origins: Vec<Origins>,
    /// What is probably not meant as it stands.
    pub warnings: Vec<ConfigError>,
}

impl Config {
    /// How messages name a place in one of its files: `file:line`, the file seen from the folder
    /// of the first one.
    pub fn place(&self, path: &Path, line: usize) -> String {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let path = folder.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
        format!("{}:{line}", cleaned(&path.to_string_lossy()))
    }
}

/// One `[PROXY_ENTRY]`, with everything it inherits: the plan of a route and its cluster.
#[derive(Debug, Clone)]
pub struct ProxyEntry {
    /// The file that it stands in, which another may include.
    pub path: Arc<Path>,
    /// Line of the `[PROXY_ENTRY]` in that file, counted from 1.
    pub line: usize,
    /// Regular expressions that were compiled once to check them; never empty.
    pub patterns: Vec<Pattern>,
    /// Servers in the order of the file; never empty.
    pub servers: Vec<Server>,
    /// How a server is chosen.
    pub load_balancer: LoadBalancer,
    /// Everything else.
    pub settings: Settings,
}

/// One regular expression of a `Match` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The expression as written, environment variables replaced. Compiles with
    /// `regex::bytes`, case-insensitive, without Unicode, within
    /// [`PATTERN_SIZE_LIMIT`](super::PATTERN_SIZE_LIMIT).
    pub text: String,
    /// The file that it stands in.
    pub path: Arc<Path>,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
}

/// Where a server listens. Names are resolved by whoever uses the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An IPv4 or IPv6 address with port.
    Socket(SocketAddr),
    /// A host name to be resolved, in lower case.
    Name {
        /// The name.
        host: String,
        /// The TCP port, 1 to 65535.
        port: u16,
    },
    /// The absolute path of a Unix domain socket.
    Unix(PathBuf),
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Socket(address) => address.fmt(f),
            ServerAddress::Name { host, port } => write!(f, "{host}:{port}"),
            ServerAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The ways to choose a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LoadBalancer {
    /// Starts from the client's connection number.
    Naive,
    /// The first online server of the list.
    FirstAlive,
    /// In turn, without a lock.
    #[default]
    RoundRobin,
    /// In turn, exactly.
    LockingRoundRobin,
    /// The server with the fewest requests in flight.
    LeastConnections,
    /// The same server for the same client address.
    SourceHash,
}

impl LoadBalancer {
    /// All of them, in the order of the documentation.
    pub const ALL: [LoadBalancer; 6] = [
        LoadBalancer::Naive,
        LoadBalancer::FirstAlive,
        LoadBalancer::RoundRobin,
        LoadBalancer::LockingRoundRobin,
        LoadBalancer::LeastConnections,
        LoadBalancer::SourceHash,
    ];

    /// The canonical spelling.
    pub fn name(self) -> &'static str {
        match self {
            LoadBalancer::Naive => "Naive",
            LoadBalancer::FirstAlive => "First-Alive",
            LoadBalancer::RoundRobin => "Round-Robin",
            LoadBalancer::LockingRoundRobin => "Locking-Round-Robin",
            LoadBalancer::LeastConnections => "Least-Connections",
            LoadBalancer::SourceHash => "Source-Hash",
        }
    }

    /// The load balancer of that name; letter case, `-`, `_` and blanks make no difference.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = normalized(&name.replace([' ', '\t'], ""));
        Self::ALL.into_iter().find(|balancer| normalized(balancer.name()) == name)
    }
}

impl fmt::Display for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The numbers and switches of an entry. `None` for a time-out means no limit (`0` in the
/// file). `default()` is what the table in [`keys`](super::keys) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Failures in a row that set a server offline; 0 turns High-Availability off.
    pub attempts_count: u32,
    /// How long a server stays offline; zero turns High-Availability off.
    pub offline_timeout: Duration,
    /// Path of the statistics page, begins with `/`; `None` if there is none.
    pub statistics_url: Option<String>,
    /// Who may see it.
    pub statistics_allow: Vec<IpNet>,
    /// Longest wait for a connection to a server.
    pub connect_timeout: Option<Duration>,
    /// Longest pause of a server that takes the request.
    pub send_timeout: Option<Duration>,
    /// Longest wait for the head of the response, from the last byte of the request on.
    pub header_timeout: Option<Duration>,
    /// Longest pause of a server inside the body of the response.
    pub read_timeout: Option<Duration>,
    /// Longest pause of a client that takes the response.
    pub client_timeout: Option<Duration>,
    /// When a request is asked again.
    pub retries: Retries,
    /// Whether connections to servers are kept for further requests.
    pub keep_alive: bool,
    /// Idle connections kept for each server by each worker.
    pub pool_size: PoolSize,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Option<Duration>,
    /// Requests that one connection carries; `None` for any number.
    pub pool_max_requests: Option<u32>,
    /// How long after its connect a connection is used.
    pub pool_max_age: Option<Duration>,
    /// A request that must not run twice takes only a connection that was idle
    /// for less; zero for none.
    pub pool_unsafe_idle: Duration,
    /// Whether the servers have a say in how long idle connections are kept.
    pub pool_learn: bool,
    /// Bytes held for one exchange, 1 KiB to 1 MiB.
    pub buffer_size: usize,
    /// Bytes that the head of a response may have, 1 KiB to 256 KiB.
    pub max_response_header: usize,
    /// Which protocols a connection may change to.
    pub upgrade: UpgradePolicy,
    /// Longest silence of both sides once it has changed.
    pub tunnel_timeout: Option<Duration>,
    /// What is changed in heads.
    pub heads: Heads,
    /// When a server counts as failing, and how it comes back.
    pub health: Health,
    /// How much servers take at a time.
    pub capacity: Capacity,
    /// What is told of single requests.
    pub tracing: Tracing,
}

/// How many idle connections to a server are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PoolSize {
    /// As many as are needed.
    Auto,
    /// So many at most; 0 for none.
    Most(usize),
}

impl fmt::Display for PoolSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolSize::Auto => f.pad("auto"),
            PoolSize::Most(most) => most.fmt(f),
        }
    }
}

/// Which protocols a client's connection may change to with `Upgrade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpgradePolicy {
    /// WebSocket alone.
    #[default]
    WebSocket,
    /// All but `h2c`.
    Any,
    /// None.
    Off,
}

impl UpgradePolicy {
    /// Whether a client may switch to this protocol.
    pub fn allows(self, protocol: &str) -> bool {
        match self {
            UpgradePolicy::Off => false,
            UpgradePolicy::WebSocket => protocol.eq_ignore_ascii_case("websocket"),
            UpgradePolicy::Any => !protocol.eq_ignore_ascii_case("h2c"),
        }
    }

    /// The policy of that name; letter case makes no difference.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "websocket" => Some(UpgradePolicy::WebSocket),
            "any" => Some(UpgradePolicy::Any),
            "off" => Some(UpgradePolicy::Off),
            _ => None,
        }
    }
}

impl Settings {
    /// Whether servers that fail are set offline: neither of the two keys that decide it
    /// (`AttemptsCount`, `OfflineTimeOut`) is 0.
    pub fn high_availability(&self) -> bool {
        self.attempts_count > 0 && !self.offline_timeout.is_zero()
    }

    /// Whether servers that failed requests have taken offline are asked for a connection now and
    /// then, to see whether they are back.
    pub fn probes_offline(&self) -> bool {
        self.high_availability() && self.health.probe_offline
    }

    /// Whether servers can be offline at all, for whatever reason.
    pub fn can_go_offline(&self) -> bool {
        self.high_availability() || self.health.check != HealthCheck::Off
    }
}

impl Default for Settings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Settings {
            attempts_count: 2,
            offline_timeout: minute,
            statistics_url: None,
            statistics_allow: heads::this_machine(),
            connect_timeout: Some(Duration::from_secs(3)),
            send_timeout: Some(minute),
            header_timeout: Some(minute),
            read_timeout: Some(minute),
            client_timeout: Some(minute),
            retries: Retries::default(),
            keep_alive: true,
            pool_size: PoolSize::Auto,
            pool_idle_timeout: Some(Duration::from_secs(4)),
            pool_max_requests: Some(1000),
            pool_max_age: Some(Duration::from_secs(3600)),
            pool_unsafe_idle: Duration::from_secs(1),
            pool_learn: true,
            buffer_size: 16 * 1024,
            max_response_header: 16 * 1024,
            upgrade: UpgradePolicy::WebSocket,
            tunnel_timeout: Some(Duration::from_secs(300)),
            heads: Heads::default(),
            health: Health::default(),
            capacity: Capacity::default(),
            tracing: Tracing::default(),
        }
    }
}
