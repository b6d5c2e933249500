//! The table of keys: the single source for the parser, its hints, and the documentation
//! (`tests/docs.rs` compares it with `docs/CONFIG.md`).

use std::time::Duration;

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
                | Kind::Patterns
                | Kind::Networks
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
    /// What goes out as `Host`.
    Host,
    /// Addresses and networks, separated by blanks.
    Networks,
    /// Which forwarding fields are written.
    Forwarded,
    /// What we call ourselves.
    Pseudonym,
    /// Which protocols a connection may change to.
    Upgrade,
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
        id: KeyId::PoolMaxRequests,
        name: "PoolMaxRequests",
        alias: None,
        kind: Kind::Number { max: 1_000_000 },
        default: Some("1000"),
        example: "1000",
        doc: "requests that go out over one connection to a server; 0 = any number",
    },
    Key {
        id: KeyId::PoolMaxAge,
        name: "PoolMaxAge",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("3600"),
        example: "3600",
        doc: "how long after its connect a connection is used; 0 = no limit",
    },
    Key {
        id: KeyId::PoolUnsafeIdle,
        name: "PoolUnsafeIdle",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("1"),
        example: "1",
        doc: "a request that must not run twice takes only a connection that was idle for less; 0 = a new one each time",
    },
    Key {
        id: KeyId::PoolLearn,
        name: "PoolLearn",
        alias: None,
        kind: Kind::Switch,
        default: Some("on"),
        example: "on",
        doc: "whether idle connections are kept as briefly as their server announces, or shows by closing them",
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
    Key {
        id: KeyId::MaxResponseHeader,
        name: "MaxResponseHeader",
        alias: None,
        kind: Kind::Size { min: 1 << 10, max: 256 << 10 },
        default: Some("16K"),
        example: "16K",
        doc: "most bytes that the head of a response may have; a longer one is a 502",
    },
    Key {
        id: KeyId::HostHeader,
        name: "HostHeader",
        alias: None,
        kind: Kind::Host,
        default: Some("client"),
        example: "client",
        doc: "what goes out as Host: that of the client, the name of the server, or a fixed one",
    },
    Key {
        id: KeyId::TrustedProxies,
        name: "TrustedProxies",
        alias: None,
        kind: Kind::Networks,
        default: Some("none"),
        example: "private",
        doc: "whose X-Forwarded-* and Forwarded are believed and continued",
    },
    Key {
        id: KeyId::ForwardedHeaders,
        name: "ForwardedHeaders",
        alias: None,
        kind: Kind::Forwarded,
        default: Some("on"),
        example: "on",
        doc: "which headers tell a server about the client: X-Forwarded-*, Forwarded, both or none",
    },
    Key {
        id: KeyId::Via,
        name: "Via",
        alias: None,
        kind: Kind::Pseudonym,
        default: Some("on"),
        example: "on",
        doc: "the proxy's name in Via, by which it notices requests that go round in circles",
    },
    Key {
        id: KeyId::Upgrade,
        name: "Upgrade",
        alias: None,
        kind: Kind::Upgrade,
        default: Some("websocket"),
        example: "websocket",
        doc: "which protocols a connection may change to",
    },
    Key {
        id: KeyId::TunnelTimeOut,
        name: "TunnelTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("300"),
        example: "300",
        doc: "longest silence of both sides once a connection has changed its protocol; 0 = no limit",
    },
    Key {
        id: KeyId::StripPrefix,
        name: "StripPrefix",
        alias: None,
        kind: Kind::PathPrefix,
        default: None,
        example: "/app",
        doc: "what is taken off the path before a request is sent on",
    },
    Key {
        id: KeyId::AddPrefix,
        name: "AddPrefix",
        alias: None,
        kind: Kind::PathPrefix,
        default: None,
        example: "/v2",
        doc: "what is put in front of the path before a request is sent on",
    },
    Key {
        id: KeyId::RewriteLocation,
        name: "RewriteLocation",
        alias: None,
        kind: Kind::Switch,
        default: Some("on"),
        example: "on",
        doc: "whether redirects that name the server are made to lead back to the proxy",
    },
    Key {
        id: KeyId::CookieDomain,
        name: "CookieDomain",
        alias: None,
        kind: Kind::Domains,
        default: None,
        example: "internal.example public.example",
        doc: "the domain of cookies, and what it becomes",
    },
    Key {
        id: KeyId::CookiePath,
        name: "CookiePath",
        alias: None,
        kind: Kind::Paths,
        default: None,
        example: "/v2 /app",
        doc: "the path of cookies, and what it becomes",
    },
    Key {
        id: KeyId::SetRequestHeader,
        name: "SetRequestHeader",
        alias: None,
        kind: Kind::Field { side: Side::Request },
        default: None,
        example: "X-Site ${host}",
        doc: "a header that servers get instead of the client's of that name",
    },
    Key {
        id: KeyId::RemoveRequestHeader,
        name: "RemoveRequestHeader",
        alias: None,
        kind: Kind::FieldNames { side: Side::Request },
        default: None,
        example: "X-Debug",
        doc: "headers that servers do not get",
    },
    Key {
        id: KeyId::SetResponseHeader,
        name: "SetResponseHeader",
        alias: None,
        kind: Kind::Field { side: Side::Response },
        default: None,
        example: "X-Frame-Options DENY",
        doc: "a header that clients get instead of the server's of that name",
    },
    Key {
        id: KeyId::RemoveResponseHeader,
        name: "RemoveResponseHeader",
        alias: None,
        kind: Kind::FieldNames { side: Side::Response },
        default: None,
        example: "X-Powered-By",
        doc: "headers that clients do not get",
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
