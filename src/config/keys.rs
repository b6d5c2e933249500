//! The table of keys: the single source for the parser, its hints, and the documentation
//! (`tests/docs.rs` compares it with `docs/CONFIG.md`).

use std::time::Duration;

use super::suggest::normalized;

/// One key of `[PROXY_DEFAULTS]` and `[PROXY_ENTRY]`.
#[derive(Debug, Clone)]
pub struct Key {
    /// Which key it is.
    pub id: KeyId,
    /// The canonical spelling.
    pub name: &'static str,
    /// A second name that means the same.
    pub alias: Option<&'static str>,
    /// The form of its value.
    pub kind: Kind,
    /// The value without the key, as it would be written; `None` if there is none.
    pub default: Option<&'static str>,
    /// A value to show in a message.
    pub example: &'static str,
    /// What it means, in one line.
    pub doc: &'static str,
}

impl Key {
    /// Whether the key may stand several times in a section; its lines then add up.
    pub fn is_repeatable(&self) -> bool {
        matches!(self.kind, Kind::Servers | Kind::Patterns)
    }
}

/// The keys by name, for an exhaustive `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // see `Key::doc` of each
pub enum KeyId {
    ServerList,
    LoadBalancer,
    Match,
    AttemptsCount,
    OfflineTimeOut,
    StatisticsUrl,
    ConnectTimeOut,
    SendTimeOut,
    HeaderTimeOut,
    ReadTimeOut,
    ClientTimeOut,
    RetryCount,
    KeepAlive,
    PoolSize,
    PoolIdleTimeOut,
    BufferSize,
}

/// The forms of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Server addresses, separated by blanks.
    Servers,
    /// The name of a load balancer.
    Balancer,
    /// Regular expressions, separated by blanks.
    Patterns,
    /// The path part of a URL.
    UrlPath,
    /// `on` or `off`.
    Switch,
    /// A whole number.
    Number {
        /// Largest value allowed; the smallest is 0.
        max: u32,
    },
    /// Seconds, or a number with `ms`, `s`, `m` or `h`.
    Time {
        /// Longest value allowed; the shortest is 0.
        max: Duration,
    },
    /// Bytes, or a number with `K` or `M`.
    Size {
        /// Smallest value allowed, in bytes.
        min: usize,
        /// Largest value allowed, in bytes.
        max: usize,
    },
}

/// The key with this name or alias; letter case, `-` and `_` make no difference.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = normalized(name);
    KEYS.iter()
        .find(|key| normalized(key.name) == name || key.alias.is_some_and(|alias| normalized(alias) == name))
}

/// All names, for a message.
pub fn names() -> String {
    KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key {
        id: KeyId::Match,
        name: "Match",
        alias: None,
        kind: Kind::Patterns,
        default: None,
        example: r"\.php$",
        doc: "regular expressions; the entry takes requests whose path one of them matches",
    },
    Key {
        id: KeyId::ServerList,
        name: "ServerList",
        alias: None,
        kind: Kind::Servers,
        default: None,
        example: "127.0.0.1:8081",
        doc: "the servers behind an entry; one that is repeated gets that many shares",
    },
    Key {
        id: KeyId::LoadBalancer,
        name: "LoadBalancer",
        alias: Some("LoadBalance"),
        kind: Kind::Balancer,
        default: Some("Round-Robin"),
        example: "Round-Robin",
        doc: "how a server is chosen for a request",
    },
    Key {
        id: KeyId::AttemptsCount,
        name: "AttemptsCount",
        alias: None,
        kind: Kind::Number { max: 65_535 },
        default: Some("2"),
        example: "2",
        doc: "failures in a row that set a server offline; 0 = never",
    },
    Key {
        id: KeyId::OfflineTimeOut,
        name: "OfflineTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "how long a server stays offline before it is tried again; 0 = never offline",
    },
    Key {
        id: KeyId::RetryCount,
        name: "RetryCount",
        alias: None,
        kind: Kind::Number { max: 100 },
        default: Some("2"),
        example: "2",
        doc: "further servers to ask when one broke the connection before it answered; failed connects do not count",
    },
    Key {
        id: KeyId::StatisticsUrl,
        name: "StatisticsURL",
        alias: None,
        kind: Kind::UrlPath,
        default: None,
        example: "/proxy/statistics",
        doc: "the path that answers with the statistics page",
    },
    Key {
        id: KeyId::ConnectTimeOut,
        name: "ConnectTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("3"),
        example: "3",
        doc: "longest wait for a connection to a server; 0 = no limit",
    },
    Key {
        id: KeyId::SendTimeOut,
        name: "SendTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "longest pause of a server that takes the request; 0 = no limit",
    },
    Key {
        id: KeyId::HeaderTimeOut,
        name: "HeaderTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "longest wait for the head of the response; 0 = no limit",
    },
    Key {
        id: KeyId::ReadTimeOut,
        name: "ReadTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "longest pause of a server inside the response; 0 = no limit",
    },
    Key {
        id: KeyId::ClientTimeOut,
        name: "ClientTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "longest pause of a client that takes the response; 0 = no limit",
    },
    Key {
        id: KeyId::KeepAlive,
        name: "KeepAlive",
        alias: None,
        kind: Kind::Switch,
        default: Some("on"),
        example: "on",
        doc: "whether connections to servers are kept for further requests",
    },
    Key {
        id: KeyId::PoolSize,
        name: "PoolSize",
        alias: None,
        kind: Kind::Number { max: 65_535 },
        default: Some("32"),
        example: "32",
        doc: "idle connections kept for each server by each worker thread; 0 = none",
    },
    Key {
        id: KeyId::PoolIdleTimeOut,
        name: "PoolIdleTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("4"),
        example: "4",
        doc: "how long an idle connection is kept; 0 = no limit",
    },
    Key {
        id: KeyId::BufferSize,
        name: "BufferSize",
        alias: None,
        kind: Kind::Size { min: 1 << 10, max: 1 << 20 },
        default: Some("16K"),
        example: "16K",
        doc: "most bytes held for one request while a client is slower than its server",
    },
];

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_spelling_and_differ() {
        for key in KEYS {
            assert_eq!(find(key.name).map(|k| k.id), Some(key.id));
            assert_eq!(find(&key.name.to_uppercase()).map(|k| k.id), Some(key.id));
        }
        assert_eq!(find("load_balance").map(|k| k.id), Some(KeyId::LoadBalancer));
        assert_eq!(find("offline-time-out").map(|k| k.id), Some(KeyId::OfflineTimeOut));
        assert!(find("Server").is_none());
    }
}
