//! Entries that can be used, and are probably not meant as they stand. What is said is true of
//! every request; what might be meant passes. Patterns that hide each other: `shadows.rs`.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::error::{ErrorKind, Problems, Span};
use super::health::HealthCheck;
use super::hints;
use super::keys::{self, KeyId};
use super::model::{LoadBalancer, Pattern, PoolSize, Settings, UpgradePolicy};
use super::origins::Origins;
use super::retries::{RetryCause, RetryOn};
use super::servers::Server;
use super::shadows;

/// An entry with all that it inherits, and where it stands.
pub(super) struct Doubtful<'a> {
    pub span: &'a Span,
    pub patterns: &'a [Pattern],
    /// One for each of `patterns`; empty if they are inherited.
    pub pattern_spans: &'a [Span],
    pub servers: &'a [Server],
    pub load_balancer: LoadBalancer,
    pub settings: &'a Settings,
    pub origins: &'a Origins,
}

/// Warns of what is probably not meant.
pub(super) fn warn(entries: &[Doubtful], problems: &mut Problems) {
    for entry in entries {
        servers(entry, problems);
    }
    if problems.has_errors() {
        return; // what seems to be missing may stand in a line that is wrong
    }
    // A line of [PROXY_DEFAULTS] is for all entries that inherit it: it is in order if it makes
    // sense in one of them.
    let mut lines: BTreeMap<(usize, &str), (&Span, Option<ErrorKind>)> = BTreeMap::new();
    for entry in entries {
        for (key, rule) in RULES {
            let Some(place) = entry.origins.place(*key) else { continue };
            let doubt = rule(entry);
            let line = lines.entry((place.span.order, keys::name_of(*key)));
            let found = line.or_insert_with(|| (&place.span, doubt.clone()));
            if doubt.is_none() {
                found.1 = None;
            }
        }
    }
    for (span, doubt) in lines.into_values() {
        if let Some(kind) = doubt {
            problems.add(span, kind);
        }
    }
}

/// Warns of a pattern that can be used.
pub(super) fn warn_of_pattern(pattern: &str, span: &Span, problems: &mut Problems) {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let is_quoted = |quote: char| pattern.len() > 1 && pattern.starts_with(quote) && pattern.ends_with(quote);
    let owned = pattern.to_owned();
    let extension = pattern.strip_prefix('.').map(|rest| rest.strip_suffix('$').unwrap_or(rest));
    if is_quoted('"') || is_quoted('\'') {
        problems.add(span, ErrorKind::QuotedPattern);
    } else if let Some(meant) = hints::glob(pattern).filter(|meant| meant != "^/") {
        problems.add(span, ErrorKind::GlobPattern { pattern: owned, meant });
    } else if let Some(extension) = extension.filter(|text| !text.is_empty() && plain(text)) {
        let meant = format!(r"\.{extension}$");
        problems.add(span, ErrorKind::PlainDot { pattern: owned, meant });
    } else if pattern.len() > 1 && pattern.starts_with('/') && pattern.split('/').all(plain) {
        problems.add(span, ErrorKind::LoosePrefix { pattern: owned });
    }
}

fn servers(entry: &Doubtful, problems: &mut Problems) {
    let (list, capacity) = (entry.servers, &entry.settings.capacity);
    if !list.is_empty() && list.iter().all(|server| server.disabled) {
        problems.add(entry.span, ErrorKind::AllDisabled);
    } else if !list.is_empty() && list.iter().all(|server| server.disabled || server.backup) {
        problems.add(entry.span, ErrorKind::AllBackup);
    }
    let is_limited = |server: &Server| server.max.unwrap_or(capacity.max_connections) > 0;
    if capacity.queue_size > 0 && !list.iter().any(is_limited) {
        problems.add(entry.span, ErrorKind::QueueWithoutLimit);
    }
}

type Rule = fn(&Doubtful) -> Option<ErrorKind>;

/// What may be wrong with a line that says what this key is.
const RULES: &[(KeyId, Rule)] = &[
    (KeyId::HealthInterval, |entry| unchecked(entry, KeyId::HealthInterval)),
    (KeyId::HealthTimeOut, |entry| unchecked(entry, KeyId::HealthTimeOut)),
    (KeyId::HealthRise, |entry| unchecked(entry, KeyId::HealthRise)),
    (KeyId::HealthFall, |entry| unchecked(entry, KeyId::HealthFall)),
    (KeyId::HealthStatus, |entry| match entry.settings.health.check {
        HealthCheck::Tcp => Some(no_effect(
            KeyId::HealthStatus,
            "HealthCheck tcp asks for no answer",
            "write HealthCheck GET and a path",
        )),
        _ => unchecked(entry, KeyId::HealthStatus),
    }),
    (KeyId::QueueTimeOut, |entry| {
        let never = entry.settings.capacity.queue_size == 0;
        never.then(|| {
            no_effect(
                KeyId::QueueTimeOut,
                "QueueSize is 0, nobody waits",
                "write QueueSize, as in 'QueueSize 200'",
            )
        })
    }),
    (KeyId::PoolSize, |entry| unpooled(entry, KeyId::PoolSize)),
    (KeyId::PoolIdleTimeOut, |entry| unpooled(entry, KeyId::PoolIdleTimeOut).or_else(|| long_idle(entry))),
    (KeyId::PoolMaxRequests, |entry| unpooled(entry, KeyId::PoolMaxRequests)),
    (KeyId::PoolMaxAge, |entry| unpooled(entry, KeyId::PoolMaxAge)),
    (KeyId::PoolUnsafeIdle, |entry| unpooled(entry, KeyId::PoolUnsafeIdle)),
    (KeyId::PoolLearn, |entry| unpooled(entry, KeyId::PoolLearn)),
    (KeyId::OfflineTimeOut, |entry| never_offline(entry, KeyId::OfflineTimeOut)),
    (KeyId::OfflineBackoff, |entry| never_offline(entry, KeyId::OfflineBackoff)),
    (KeyId::OfflineMax, offline_max),
    (KeyId::OfflineJitter, |entry| never_offline(entry, KeyId::OfflineJitter)),
    (KeyId::ProbeInterval, |entry| {
        let never = !entry.settings.probes_offline() && entry.settings.health.check == HealthCheck::Off;
        never.then(|| {
            no_effect(
                KeyId::ProbeInterval,
                "offline servers are not probed",
                "remove it, or write ProbeOffline on",
            )
        })
    }),
    (KeyId::SlowStart, slow_start),
    (KeyId::RetryOn, retry_on_timeout),
    (KeyId::RetryCount, |entry| unrepeated(entry, KeyId::RetryCount).or_else(|| retry_count(entry))),
    (KeyId::RetryTimeOut, |entry| unrepeated(entry, KeyId::RetryTimeOut)),
    (KeyId::RetryNonIdempotent, |entry| unrepeated(entry, KeyId::RetryNonIdempotent)),
    (KeyId::RetryKeyHeader, |entry| {
        let all = entry.settings.retries.non_idempotent;
        let needless = || {
            no_effect(
                KeyId::RetryKeyHeader,
                "RetryNonIdempotent is on, every request counts as safe to repeat",
                "remove one of the two",
            )
        };
        unrepeated(entry, KeyId::RetryKeyHeader).or_else(|| all.then(needless))
    }),
    (KeyId::RetryBudget, |entry| unrepeated(entry, KeyId::RetryBudget)),
    (KeyId::RetryBudgetMin, |entry| {
        let no_limit = entry.settings.retries.budget_percent == 0;
        let needless = || {
            no_effect(
                KeyId::RetryBudgetMin,
                "RetryBudget 0 sets no limit",
                "remove it, or write RetryBudget, as in 'RetryBudget 20'",
            )
        };
        unrepeated(entry, KeyId::RetryBudgetMin).or_else(|| no_limit.then(needless))
    }),
    (KeyId::PoisonTimeOut, |entry| {
        let never = !entry.settings.retries.poison_guard;
        never.then(|| {
            no_effect(KeyId::PoisonTimeOut, "PoisonGuard is off", "remove it, or write PoisonGuard on")
        })
    }),
    (KeyId::TunnelTimeOut, |entry| {
        let never = entry.settings.upgrade == UpgradePolicy::Off;
        never.then(|| {
            no_effect(KeyId::TunnelTimeOut, "Upgrade is off", "remove it, or write Upgrade websocket")
        })
    }),
    (KeyId::ConnectTimeOut, connect_timeout),
    (KeyId::StatisticsUrl, statistics_url),
    (KeyId::StatisticsAllow, |entry| {
        let key = KeyId::StatisticsAllow;
        let remedy = "write StatisticsURL, as in 'StatisticsURL /proxy/statistics'";
        entry.settings.statistics_url.is_none().then(|| no_effect(key, "there is no StatisticsURL", remedy))
    }),
    (KeyId::ProxyLogFormat, |entry| {
        let remedy = "write ProxyLog, as in 'ProxyLog /var/log/monkey/proxy.log'";
        entry
            .settings
            .tracing
            .log
            .is_none()
            .then(|| no_effect(KeyId::ProxyLogFormat, "ProxyLog is off", remedy))
    }),
    (KeyId::StripPrefix, |entry| {
        let prefix = entry.settings.heads.strip_prefix.as_deref()?;
        let never = |pattern: &Pattern| shadows::is_never_below(pattern, prefix);
        let because = format!("no path that Match takes here is {prefix} or lies below it");
        let remedy = "write the beginning of those paths, or remove it".to_owned();
        let key = keys::name_of(KeyId::StripPrefix).to_owned();
        let is_certain = !entry.patterns.is_empty() && entry.patterns.iter().all(never);
        is_certain.then_some(ErrorKind::NoEffect { key, because, remedy })
    }),
    (KeyId::TrustedProxies, |entry| {
        let everybody = entry.settings.heads.trusted_proxies.iter().any(|network| network.prefix_len() == 0);
        everybody.then_some(ErrorKind::EverybodyTrusted)
    }),
];

fn no_effect(key: KeyId, because: &str, remedy: &str) -> ErrorKind {
    let (because, remedy) = (because.to_owned(), remedy.to_owned());
    ErrorKind::NoEffect { key: keys::name_of(key).to_owned(), because, remedy }
}

fn unchecked(entry: &Doubtful, key: KeyId) -> Option<ErrorKind> {
    let remedy = "write HealthCheck, as in 'HealthCheck GET /health'";
    (entry.settings.health.check == HealthCheck::Off).then(|| no_effect(key, "HealthCheck is off", remedy))
}

fn unpooled(entry: &Doubtful, key: KeyId) -> Option<ErrorKind> {
    if !entry.settings.keep_alive {
        return Some(no_effect(key, "KeepAlive is off", "remove it, or write KeepAlive on"));
    }
    let no_pool = entry.settings.pool_size == PoolSize::Most(0) && key != KeyId::PoolSize;
    no_pool.then(|| no_effect(key, "PoolSize is 0", "remove it, or write PoolSize auto"))
}

fn long_idle(entry: &Doubtful) -> Option<ErrorKind> {
    let idle = entry.settings.pool_idle_timeout;
    let is_long = idle.is_none_or(|idle| idle > COMMON_KEEP_ALIVE);
    (is_long && !entry.settings.pool_learn).then_some(ErrorKind::LongIdle)
}

fn never_offline(entry: &Doubtful, key: KeyId) -> Option<ErrorKind> {
    let because = match () {
        () if entry.settings.attempts_count == 0 => "AttemptsCount is 0, no failure sets a server offline",
        () if key != KeyId::OfflineTimeOut && entry.settings.offline_timeout.is_zero() => {
            "OfflineTimeOut is 0, no failure sets a server offline"
        }
        () => return None,
    };
    Some(no_effect(key, because, "remove one of the two"))
}

fn offline_max(entry: &Doubtful) -> Option<ErrorKind> {
    let key = KeyId::OfflineMax;
    never_offline(entry, key).or_else(|| match () {
        () if entry.settings.health.backoff == 1 => Some(no_effect(
            key,
            "with OfflineBackoff 1 the offline time does not grow",
            "remove one of the two",
        )),
        () if entry.settings.health.offline_max < entry.settings.offline_timeout => Some(ErrorKind::NoGrowth),
        () => None,
    })
}

fn slow_start(entry: &Doubtful) -> Option<ErrorKind> {
    if entry.settings.health.slow_start.is_zero() {
        return None;
    }
    let because = match () {
        () if entry.load_balancer == LoadBalancer::FirstAlive => "First-Alive does not share requests",
        () if usable(entry.servers) == 1 => "there is one server only",
        () if !entry.settings.can_go_offline() => "no server goes offline",
        () => return None,
    };
    Some(no_effect(KeyId::SlowStart, because, "remove it"))
}

fn unrepeated(entry: &Doubtful, key: KeyId) -> Option<ErrorKind> {
    let never = entry.settings.retries.on == RetryOn::new([]);
    never.then(|| {
        no_effect(key, "RetryOn is off", "remove it, or write RetryOn, as in 'RetryOn connect stale reset'")
    })
}

fn retry_count(entry: &Doubtful) -> Option<ErrorKind> {
    let (count, servers) = (entry.settings.retries.count as usize, usable(entry.servers));
    let most = servers.saturating_sub(1);
    (count > servers).then_some(ErrorKind::TooManyRetries { count, servers, most })
}

/// The time-outs that end an attempt for being slow, and the time in which there may be another.
fn retry_on_timeout(entry: &Doubtful) -> Option<ErrorKind> {
    let settings = entry.settings;
    let ends_later = |timeout: Option<Duration>| is_longer(timeout, settings.retries.timeout);
    let too_late = ends_later(settings.header_timeout) && ends_later(settings.send_timeout);
    (settings.retries.on.has(RetryCause::TimeOut) && too_late).then_some(ErrorKind::RetryTooLate)
}

fn connect_timeout(entry: &Doubtful) -> Option<ErrorKind> {
    let settings = entry.settings;
    let too_late = is_longer(settings.connect_timeout, settings.retries.timeout);
    (settings.retries.on.has(RetryCause::Connect) && usable(entry.servers) > 1 && too_late)
        .then_some(ErrorKind::ConnectTooLate)
}

fn statistics_url(entry: &Doubtful) -> Option<ErrorKind> {
    let url = entry.settings.statistics_url.as_deref()?;
    // What patterns and this are compared with has none of these any more.
    let odd = url.contains("//") || url.split('/').any(|segment| matches!(segment, "." | ".."));
    odd.then_some(ErrorKind::OddStatisticsUrl)
}

/// Whether a time-out ends when the other one is over.
fn is_longer(timeout: Option<Duration>, other: Option<Duration>) -> bool {
    match (timeout, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(timeout), Some(other)) => timeout >= other,
    }
}

/// How many servers requests can go to.
fn usable(servers: &[Server]) -> usize {
    servers
        .iter()
        .filter(|server| !server.disabled)
        .map(|server| &server.address)
        .collect::<HashSet<_>>()
        .len()
}

/// How long Node, Apache and others leave an idle connection open.
const COMMON_KEEP_ALIVE: Duration = Duration::from_secs(5);
