//! What a key is: its name, the form of its value, its default. All of them stand in `keys/table.rs`.

mod table;

use std::time::Duration;

pub use table::KEYS;

use super::heads::Side;
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
        matches!(
            self.kind,
            Kind::Servers
                | Kind::Server
                | Kind::Patterns
                | Kind::Networks
                | Kind::Viewers
                | Kind::Domains
                | Kind::Paths
                | Kind::Field { .. }
                | Kind::FieldNames { .. }
        )
    }
}

/// The keys by name, for an exhaustive `match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // see `Key::doc` of each
pub enum KeyId {
    ServerList,
    Server,
    LoadBalancer,
    Match,
    AttemptsCount,
    OfflineTimeOut,
    StatisticsUrl,
    StatisticsAllow,
    ConnectTimeOut,
    SendTimeOut,
    HeaderTimeOut,
    ReadTimeOut,
    ClientTimeOut,
    RetryOn,
    RetryCount,
    RetryTimeOut,
    RetryNonIdempotent,
    RetryKeyHeader,
    RetryBudget,
    RetryBudgetMin,
    PoisonGuard,
    PoisonTimeOut,
    KeepAlive,
    PoolSize,
    PoolIdleTimeOut,
    PoolMaxRequests,
    PoolMaxAge,
    PoolUnsafeIdle,
    PoolLearn,
    BufferSize,
    MaxResponseHeader,
    HostHeader,
    TrustedProxies,
    ForwardedHeaders,
    Via,
    Upgrade,
    TunnelTimeOut,
    StripPrefix,
    AddPrefix,
    RewriteLocation,
    CookieDomain,
    CookiePath,
    SetRequestHeader,
    RemoveRequestHeader,
    SetResponseHeader,
    RemoveResponseHeader,
    FailOn,
    WhenAllOffline,
    OfflineBackoff,
    OfflineMax,
    OfflineJitter,
    ProbeOffline,
    ProbeInterval,
    SlowStart,
    HealthCheck,
    HealthInterval,
    HealthTimeOut,
    HealthRise,
    HealthFall,
    HealthStatus,
    MaxConnections,
    QueueSize,
    QueueTimeOut,
    Explain,
    ProxyLog,
    ProxyLogFormat,
    RequestId,
    ProxyStatus,
}

/// The forms of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Server addresses, separated by blanks.
    Servers,
    /// A server address and options.
    Server,
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
    /// `auto` or a whole number.
    PoolSize {
        /// Largest value allowed.
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
    /// A whole number.
    Amount {
        /// Smallest value allowed.
        min: u32,
        /// Largest value allowed.
        max: u32,
    },
    /// Seconds, or a number with `ms`, `s`, `m` or `h`; never 0.
    Span {
        /// Shortest value allowed.
        min: Duration,
        /// Longest value allowed.
        max: Duration,
    },
    /// What a server is blamed for, separated by blanks.
    Faults,
    /// What becomes of requests when all servers are offline.
    AllOffline,
    /// What servers are asked for regularly.
    Check,
    /// Statuses and ranges of statuses, separated by blanks.
    Statuses,
    /// After what a request is asked again.
    Causes,
    /// The name of a header that marks requests, or `off`.
    KeyHeader,
    /// What goes out as `Host`.
    Host,
    /// Addresses and networks, separated by blanks.
    Networks,
    /// Addresses and networks, separated by blanks, or `any`.
    Viewers,
    /// Which forwarding fields are written.
    Forwarded,
    /// What we call ourselves.
    Pseudonym,
    /// Which protocols a connection may change to.
    Upgrade,
    /// Whose requests are explained.
    Audience,
    /// A file for a log, or `off`.
    LogFile,
    /// What the lines of a log look like.
    LogFormat,
    /// The name of a header that names requests, or `off`.
    IdHeader,
    /// A path of whole segments.
    PathPrefix,
    /// Two domains.
    Domains,
    /// Two paths.
    Paths,
    /// The name of a header field and its value.
    Field {
        /// Of which messages.
        side: Side,
    },
    /// Names of header fields, separated by blanks.
    FieldNames {
        /// Of which messages.
        side: Side,
    },
}

/// The key with this name or alias; letter case, `-` and `_` make no difference.
pub fn find(name: &str) -> Option<&'static Key> {
    let name = normalized(name);
    KEYS.iter()
        .find(|key| normalized(key.name) == name || key.alias.is_some_and(|alias| normalized(alias) == name))
}

/// The canonical spelling of a key.
pub fn name_of(id: KeyId) -> &'static str {
    KEYS.iter().find(|key| key.id == id).map_or("", |key| key.name)
}

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
        assert!(find("Servers").is_none());
    }
}
