//! The configuration tree of a host in a folder of its own, and `proxy_reverse.conf` in it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::backends::Backend;

/// The text of a `proxy_reverse.conf`.
#[derive(Clone, Debug, Default)]
pub struct Conf {
    defaults: Vec<String>,
    entries: Vec<Vec<String>>,
}

impl Conf {
    /// Empty: no entry, and nothing in `[PROXY_DEFAULTS]`.
    pub fn new() -> Conf {
        Conf::default()
    }

    /// A line of `[PROXY_DEFAULTS]`.
    pub fn default_key(mut self, line: &str) -> Conf {
        self.defaults.push(line.into());
        self
    }

    /// An entry that sends what matches to these backends.
    pub fn route(self, pattern: &str, backends: &[&Backend]) -> Conf {
        let list: Vec<_> = backends.iter().map(|backend| backend.address()).collect();
        self.route_to(pattern, &list.join(" "))
    }

    /// An entry with a `ServerList` as text.
    pub fn route_to(self, pattern: &str, server_list: &str) -> Conf {
        self.entry(pattern, &format!("ServerList {server_list}"))
    }

    /// An entry with this line.
    pub fn entry(mut self, pattern: &str, line: &str) -> Conf {
        self.entries.push(vec![format!("Match {pattern}"), line.into()]);
        self
    }

    /// A further line of the newest entry.
    pub fn with(mut self, line: &str) -> Conf {
        self.entries.last_mut().expect("route() first").push(line.into());
        self
    }

    /// The page of statistics, for anybody on this machine.
    pub fn with_statistics(self) -> Conf {
        self.default_key(&format!("StatisticsURL {STATISTICS}"))
    }
}

impl From<Conf> for String {
    fn from(conf: Conf) -> String {
        let mut text = String::from("[PROXY_DEFAULTS]\n");
        for line in &conf.defaults {
            let _ = writeln!(text, "    {line}");
        }
        for entry in &conf.entries {
            text.push_str("\n[PROXY_ENTRY]\n");
            for line in entry {
                let _ = writeln!(text, "    {line}");
            }
        }
        text
    }
}

/// Where `Conf::with_statistics` puts the page.
pub const STATISTICS: &str = "/proxy-status";

/// A static page that every tree has, and its content.
pub const PAGE: (&str, &str) = ("page.html", "<html>a static page</html>\n");

/// What goes into `plugins.load`, and the values of `monkey.conf` that tests change.
pub struct Tree<'a> {
    /// For a server of the 1.8 family: other keys, and `[HANDLERS]`.
    pub modern: bool,
    /// Path of the transport plugin, for the real server.
    pub transport: Option<PathBuf>,
    /// Path of the logger plugin, for the real server.
    pub logger: Option<PathBuf>,
    /// Whether requests are logged, where a logger is there or built in.
    pub access_log: bool,
    /// Our library.
    pub plugin: &'a Path,
    /// Text of `proxy_reverse.conf`.
    pub proxy_conf: &'a str,
    /// Port; 0 lets the harness choose.
    pub port: u16,
    /// Worker threads.
    pub workers: usize,
    /// Further lines of `[SERVER]`.
    pub server_lines: &'a [String],
    /// Further files of the document root.
    pub files: &'a [(String, Vec<u8>)],
}

impl Tree<'_> {
    /// Writes everything below `root`; returns the configuration folder.
    pub fn write(&self, root: &Path) -> io::Result<PathBuf> {
        let conf = root.join("conf");
        let htdocs = root.join("htdocs");
        for dir in ["conf/sites", "conf/plugins/proxy_reverse", "conf/plugins/logger"] {
            fs::create_dir_all(root.join(dir))?;
        }
        fs::create_dir_all(&htdocs)?;
        fs::create_dir_all(root.join("logs"))?;

        fs::write(htdocs.join(PAGE.0), PAGE.1)?;
        fs::write(htdocs.join("index.html"), "<html>the index</html>\n")?;
        for (name, content) in self.files {
            let path = htdocs.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&htdocs))?;
            fs::write(path, content)?;
        }

        let plugin = root.join("monkey-proxy_reverse.so");
        let _ = fs::remove_file(&plugin);
        std::os::unix::fs::symlink(self.plugin, &plugin)?;

        fs::write(conf.join("monkey.conf"), self.monkey_conf(root))?;
        fs::write(conf.join("monkey.mime"), MIME)?;
        fs::write(conf.join("sites/default"), self.site(root))?;
        fs::write(conf.join("plugins.load"), self.plugins_load(&plugin))?;
        fs::write(conf.join("plugins/proxy_reverse/proxy_reverse.conf"), self.proxy_conf)?;
        let logs = root.join("logs");
        fs::write(
            conf.join("plugins/logger/logger.conf"),
            format!("[LOGGER]\n    FlushTimeout 1\n    MasterLog {}/master.log\n", logs.display()),
        )?;
        Ok(conf)
    }

    fn monkey_conf(&self, root: &Path) -> String {
        let (port, workers, user) = (self.port, self.workers, user());
        let (listen, transport) = match self.modern {
            false => (format!("Port {port}"), "TransportLayer liana"),
            true => (format!("Listen 127.0.0.1:{port}"), "FDT off"),
        };
        let mut text = format!(
            "[SERVER]\n    {listen}\n    Workers {workers}\n    Timeout 15\n    \
             PidFile {}/monkey.pid\n    UserDir public_html\n    Indexfile index.html\n    \
             HideVersion off\n    Resume on\n    User {user}\n    KeepAlive on\n    \
             KeepAliveTimeout 5\n    MaxKeepAliveRequest 1000\n    MaxRequestSize 1024\n    \
             SymLink Off\n    {transport}\n    DefaultMimeType text/plain\n",
            root.display()
        );
        for line in self.server_lines {
            // The first of two lines counts.
            let key = line.split_whitespace().next().unwrap_or_default().to_owned() + " ";
            let is_other = |old: &&str| !old.trim_start().starts_with(&key);
            text = text.lines().filter(is_other).map(|old| old.to_owned() + "\n").collect();
            let _ = writeln!(text, "    {line}");
        }
        text
    }

    fn site(&self, root: &Path) -> String {
        let root = root.display();
        let mut text = format!("[HOST]\n    ServerName 127.0.0.1\n    DocumentRoot {root}/htdocs\n");
        if self.access_log {
            let _ = write!(
                text,
                "\n[LOGGER]\n    AccessLog {root}/logs/access.log\n    ErrorLog {root}/logs/error.log\n"
            );
        }
        if self.modern {
            text.push_str("\n[HANDLERS]\n");
            for pattern in self.handlers() {
                let _ = writeln!(text, "    Match {pattern} proxy_reverse");
            }
        }
        text
    }

    /// What 1.8 has to hand to the plugin: all that its own configuration may want.
    fn handlers(&self) -> BTreeSet<String> {
        let lines = self.proxy_conf.lines().filter_map(|line| line.trim().split_once(' '));
        let patterns = lines.filter_map(|(key, value)| match key.to_ascii_lowercase().as_str() {
            "match" => Some(handler_pattern(value.trim())),
            "statisticsurl" => Some(handler_pattern(&format!("^{}", value.trim()))),
            _ => None,
        });
        // There letter case counts.
        patterns.flat_map(|pattern| [pattern.to_ascii_lowercase(), pattern]).collect()
    }

    fn plugins_load(&self, plugin: &Path) -> String {
        let mut text = String::from("[PLUGINS]\n");
        let all = [self.transport.as_deref(), Some(plugin), self.logger.as_deref()];
        for path in all.into_iter().flatten() {
            let _ = writeln!(text, "    Load {}", path.display());
        }
        text
    }
}

/// The beginning of a `Match` pattern up to its first special character, in the small pattern
/// language of 1.8, which knows neither groups nor alternatives; everything when that is empty.
fn handler_pattern(pattern: &str) -> String {
    let anchored = pattern.strip_prefix('^').unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-~%@,;=<>".contains(c);
    let literal: String = anchored.chars().take_while(|&c| plain(c)).collect();
    // What may be absent or repeated is no part of the beginning.
    let repeated = anchored[literal.len()..].starts_with(['?', '*', '{']);
    let literal = if repeated { &literal[..literal.len() - 1] } else { &literal[..] };
    if literal.is_empty() { ".*".into() } else { format!("^{literal}") }
}

/// The server drops to this user; naming the current one changes nothing.
fn user() -> String {
    let id = Command::new("id").arg("-un").output().map(|out| out.stdout).unwrap_or_default();
    let name = String::from_utf8_lossy(&id).trim().to_owned();
    if name.is_empty() { "root".into() } else { name }
}

const MIME: &str = "[MIMETYPES]\n    html text/html\n    txt text/plain\n    css text/css\n";
