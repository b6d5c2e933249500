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
        id: KeyId::FailOn,
        name: "FailOn",
        alias: None,
        kind: Kind::Faults,
        default: Some("connect timeout reset invalid"),
        example: "connect timeout 5xx",
        doc: "what counts as a failure of a server; statuses count too when they stand here",
    },
    Key {
        id: KeyId::WhenAllOffline,
        name: "WhenAllOffline",
        alias: None,
        kind: Kind::AllOffline,
        default: Some("try"),
        example: "503",
        doc: "what becomes of requests when all servers are offline: try, 503, or static files",
    },
    Key {
        id: KeyId::OfflineBackoff,
        name: "OfflineBackoff",
        alias: None,
        kind: Kind::Amount { min: 1, max: 10 },
        default: Some("2"),
        example: "2",
        doc: "by this the offline time grows with each trial that fails; 1 = it stays the same",
    },
    Key {
        id: KeyId::OfflineMax,
        name: "OfflineMax",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("300"),
        example: "300",
        doc: "the offline time does not grow beyond this",
    },
    Key {
        id: KeyId::OfflineJitter,
        name: "OfflineJitter",
        alias: None,
        kind: Kind::Number { max: 50 },
        default: Some("10"),
        example: "10",
        doc: "by up to so many percent a grown offline time is shortened at random",
    },
    Key {
        id: KeyId::ProbeOffline,
        name: "ProbeOffline",
        alias: None,
        kind: Kind::Switch,
        default: Some("on"),
        example: "on",
        doc: "whether offline servers are asked for a connection now and then, to find out sooner that they are back",
    },
    Key {
        id: KeyId::ProbeInterval,
        name: "ProbeInterval",
        alias: None,
        kind: Kind::Span { min: SHORTEST, max: WEEK },
        default: Some("1"),
        example: "1",
        doc: "how soon and how often at first; the pauses grow to ten seconds",
    },
    Key {
        id: KeyId::SlowStart,
        name: "SlowStart",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("5"),
        example: "5",
        doc: "in this time a server that is back gets its full share again; 0 = at once",
    },
    Key {
        id: KeyId::HealthCheck,
        name: "HealthCheck",
        alias: None,
        kind: Kind::Check,
        default: Some("off"),
        example: "GET /health",
        doc: "what all servers are asked for regularly: off, tcp, GET or HEAD and a path",
    },
    Key {
        id: KeyId::HealthInterval,
        name: "HealthInterval",
        alias: None,
        kind: Kind::Span { min: SHORTEST, max: WEEK },
        default: Some("5"),
        example: "5",
        doc: "how often",
    },
    Key {
        id: KeyId::HealthTimeOut,
        name: "HealthTimeOut",
        alias: None,
        kind: Kind::Span { min: SHORTEST, max: WEEK },
        default: Some("2"),
        example: "2",
        doc: "how long a server may take for it",
    },
    Key {
        id: KeyId::HealthRise,
        name: "HealthRise",
        alias: None,
        kind: Kind::Amount { min: 1, max: 1000 },
        default: Some("2"),
        example: "2",
        doc: "checks passed in a row that bring a server back",
    },
    Key {
        id: KeyId::HealthFall,
        name: "HealthFall",
        alias: None,
        kind: Kind::Amount { min: 1, max: 1000 },
        default: Some("3"),
        example: "3",
        doc: "checks failed in a row that take a server offline",
    },
    Key {
        id: KeyId::HealthStatus,
        name: "HealthStatus",
        alias: None,
        kind: Kind::Statuses,
        default: Some("200-399"),
        example: "200-299 304",
        doc: "statuses that pass the check",
    },
    Key {
        id: KeyId::RetryOn,
        name: "RetryOn",
        alias: None,
        kind: Kind::Causes,
        default: Some("connect stale reset"),
        example: "connect stale reset",
        doc: "after which failures a request is asked again; off = none",
    },
    Key {
        id: KeyId::RetryCount,
        name: "RetryCount",
        alias: None,
        kind: Kind::Number { max: 100 },
        default: Some("2"),
        example: "2",
        doc: "further servers that a request may be sent to when one failed it; failed connects do not count",
    },
    Key {
        id: KeyId::RetryTimeOut,
        name: "RetryTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("10"),
        example: "10",
        doc: "how long after its first attempt a request may be asked again; 0 = no limit",
    },
    Key {
        id: KeyId::RetryNonIdempotent,
        name: "RetryNonIdempotent",
        alias: None,
        kind: Kind::Switch,
        default: Some("off"),
        example: "off",
        doc: "whether requests are sent again that may do something twice, such as POST",
    },
    Key {
        id: KeyId::RetryKeyHeader,
        name: "RetryKeyHeader",
        alias: None,
        kind: Kind::KeyHeader,
        default: Some("Idempotency-Key"),
        example: "Idempotency-Key",
        doc: "the header that makes a request safe to repeat, whatever its method; off = none",
    },
    Key {
        id: KeyId::RetryBudget,
        name: "RetryBudget",
        alias: None,
        kind: Kind::Number { max: 100 },
        default: Some("20"),
        example: "20",
        doc: "most requests sent again, in percent of all requests of the last 10 seconds; 0 = no limit",
    },
    Key {
        id: KeyId::RetryBudgetMin,
        name: "RetryBudgetMin",
        alias: None,
        kind: Kind::Number { max: 65_535 },
        default: Some("3"),
        example: "3",
        doc: "requests sent again for each of these seconds whatever RetryBudget says",
    },
    Key {
        id: KeyId::PoisonGuard,
        name: "PoisonGuard",
        alias: None,
        kind: Kind::Switch,
        default: Some("on"),
        example: "on",
        doc: "whether a request that made two servers break is kept from the others",
    },
    Key {
        id: KeyId::PoisonTimeOut,
        name: "PoisonTimeOut",
        alias: None,
        kind: Kind::Time { max: WEEK },
        default: Some("60"),
        example: "60",
        doc: "how long such a request is remembered; 0 = not at all",
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

/// A thread that does this more often would do nothing else.
const SHORTEST: Duration = Duration::from_millis(50);

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
