//! Builds what all workers share out of a configuration. The only place that
//! may take its time.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::ending::Ending;
use super::endpoint::Endpoint;
use super::poison::Poison;
use super::probing::Bell;
use super::record::{EXPLAIN, IdSource, Logs};
use super::seldom::Changes;
use super::shared::{Route, Shared, StatisticsPage};
use crate::balancer::{Algorithm, Backoff, Cluster, ConnectionNumbers, HealthPolicy, LastResort, Plan, draw};
use crate::config::{
    self, Audience, Config, ConfigErrors, ForwardedHeaders, Header, Heads, HostHeader, LoadBalancer,
    ProxyEntry, Server, Settings, Tracing, Via, WhenAllOffline,
};
use crate::http::claims::Viewers;
use crate::http::cookie::CookieRules;
use crate::http::prefix::{Prefix, Prefixes};
use crate::http::router::{BadPatterns, Router};
use crate::http::rules::{FieldRules, ForwardedFields, HostPolicy, Piece, Rules, SetField};
use crate::stats::{Recorder, RouteCounters, Tallies};

/// Why the plugin cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The configuration file has errors, all of them told.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// All patterns together are more than the matcher takes.
    #[error(transparent)]
    Patterns(#[from] BadPatterns),
}

/// Reads the configuration file and builds everything from it. Warnings are logged.
///
/// # Errors
/// [`SetupError`] with text for the operator.
pub fn load(path: &Path) -> Result<Shared, SetupError> {
    let config = config::load(path)?;
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    Ok(build(&config, &pseudonym(path.parent()))?)
}

/// A name in `Via` that no other installation has, and that a restart does not change.
fn pseudonym(folder: Option<&Path>) -> String {
    let mut hasher = DefaultHasher::new();
    rustix::system::uname().nodename().hash(&mut hasher);
    folder.hash(&mut hasher);
    format!("monkey-{:08x}", hasher.finish() >> 32)
}

/// Builds everything from a configuration. `pseudonym` is our name in `Via`
/// where the configuration gives no other.
///
/// # Errors
/// [`BadPatterns`] when all patterns together are too large.
pub fn build(config: &Config, pseudonym: &str) -> Result<Shared, BadPatterns> {
    let mut endpoints = Endpoints::default();
    // Another one in each process: two proxies are not to come back to a server at the same moment.
    let seed = RandomState::new().hash_one(pseudonym);
    let mut routes: Vec<Arc<Route>> = Vec::new();
    let mut backends = 0;
    let mut logs = Logs::default();
    for (entry, nth) in config.entries.iter().zip(0..) {
        let rows = (routes.len(), backends);
        let mut route = route((config, entry), pseudonym, draw(seed, nth), rows, &mut endpoints);
        let tracing = &entry.settings.tracing;
        route.log = tracing.log.as_ref().map(|path| logs.file(path, tracing.log_format));
        backends += route.endpoints.len();
        routes.push(Arc::new(route));
    }
    let patterns =
        config.entries.iter().enumerate().flat_map(|(index, entry)| {
            entry.patterns.iter().map(move |pattern| (pattern.text.as_str(), index))
        });
    let router = Router::new(patterns)?;
    let statistics = statistics_pages(&routes);
    let tallies = Arc::new(Tallies::new(backends, routes.len()));
    Ok(Shared {
        tallies,
        router,
        routes,
        endpoints: endpoints.list,
        statistics,
        poison: Poison::new(),
        numbers: ConnectionNumbers::new(),
        bell: Bell::default(),
        ending: Ending::default(),
        logs,
        ids: IdSource::new([0, 1].map(|nth| RandomState::new().hash_one(nth))),
        seed,
    })
}

/// The endpoints so far; equal addresses are one endpoint with one pool.
#[derive(Default)]
struct Endpoints {
    list: Vec<Arc<Endpoint>>,
    by_label: HashMap<String, usize>,
}

impl Endpoints {
    fn index_of(&mut self, address: &config::ServerAddress) -> usize {
        let list = &mut self.list;
        *self.by_label.entry(address.to_string()).or_insert_with(|| {
            list.push(Arc::new(Endpoint::new(address)));
            list.len() - 1
        })
    }
}

fn route(
    (config, entry): (&Config, &ProxyEntry),
    pseudonym: &str,
    seed: u64,
    (index, first_row): (usize, usize),
    endpoints: &mut Endpoints,
) -> Route {
    // Backends in the order of their first mention; the lists repeat them by weight.
    let mut backends = Vec::new();
    let (mut names, mut labels, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut primary, mut backup) = (Vec::new(), Vec::new());
    for server in &entry.servers {
        let endpoint = endpoints.index_of(&server.address);
        let index = backends.iter().position(|&e| e == endpoint).unwrap_or_else(|| {
            backends.push(endpoint);
            names.push(server.name.clone());
            labels.push(label(server));
            limits.push(server.max.unwrap_or(entry.settings.capacity.max_connections));
            backends.len() - 1
        });
        let list = if server.backup { &mut backup } else { &mut primary };
        if !server.disabled {
            list.extend(std::iter::repeat_n(index, server.weight as usize));
        }
    }
    let algorithm = algorithm(entry.load_balancer);
    let policy = health_policy(&entry.settings, seed);
    let plan = Plan { primary: &primary, backup: &backup, backends: backends.len(), limits: &limits };
    let cluster = Arc::new(Cluster::new(algorithm, &plan, policy));
    Route {
        line: entry.line,
        place: config.place(&entry.path, entry.line),
        patterns: entry.patterns.iter().map(|pattern| pattern.text.clone()).collect(),
        pattern_places: entry
            .patterns
            .iter()
            .map(|pattern| format!("{}:{}", config.place(&pattern.path, pattern.line), pattern.column))
            .collect(),
        load_balancer: entry.load_balancer.to_string(),
        algorithm,
        cluster,
        index,
        first_row,
        recorders: backends.iter().map(|_| Recorder::default()).collect(),
        changes: backends.iter().map(|_| Changes::default()).collect(),
        endpoints: backends,
        names,
        labels,
        totals: RouteCounters::default(),
        budget: Budget::new(entry.settings.retries.budget_percent, entry.settings.retries.budget_min),
        is_traced: !entry.settings.tracing.is_off(),
        askers: askers(entry.settings.tracing.explain),
        log: None,
        replaced: replaced(&entry.settings.tracing),
        rules: rules(&entry.settings.heads, pseudonym),
        settings: entry.settings.clone(),
    }
}

/// Whose requests are explained.
fn askers(audience: Audience) -> Option<Viewers> {
    let networks: &[&str] = match audience {
        Audience::Off => return None,
        Audience::Loopback => &["127.0.0.0/8", "::1/128"],
        Audience::Any => &["0.0.0.0/0", "::/0"],
    };
    Some(Viewers::new(networks.iter().filter_map(|network| network.parse().ok()).collect()))
}

/// Fields of answers that are ours alone to say.
fn replaced(tracing: &Tracing) -> Vec<Box<str>> {
    let id = tracing.request_id.as_deref().map(Box::from);
    let explain = (tracing.explain != Audience::Off).then(|| EXPLAIN.into());
    id.into_iter().chain(explain).collect()
}

/// What messages call a server.
fn label(server: &Server) -> String {
    match &server.name {
        Some(name) => format!("{name} ({})", server.address),
        None => server.address.to_string(),
    }
}

fn health_policy(settings: &Settings, seed: u64) -> HealthPolicy {
    let health = &settings.health;
    HealthPolicy {
        attempts: settings.attempts_count,
        offline_ms: milliseconds(settings.offline_timeout),
        backoff: Backoff {
            factor: health.backoff,
            longest_ms: milliseconds(health.offline_max),
            jitter_percent: health.offline_jitter,
            seed,
        },
        slow_start_ms: milliseconds(health.slow_start),
        last_resort: match health.when_all_offline {
            WhenAllOffline::Try => LastResort::Try,
            // A request that was not left to the host in time cannot be given back any more.
            WhenAllOffline::Refuse | WhenAllOffline::Static => LastResort::Refuse,
        },
    }
}

fn algorithm(name: LoadBalancer) -> Algorithm {
    match name {
        LoadBalancer::Naive => Algorithm::Naive,
        LoadBalancer::FirstAlive => Algorithm::FirstAlive,
        LoadBalancer::RoundRobin => Algorithm::RoundRobin,
        LoadBalancer::LockingRoundRobin => Algorithm::LockingRoundRobin,
        LoadBalancer::LeastConnections => Algorithm::LeastConnections,
        LoadBalancer::SourceHash => Algorithm::SourceHash,
    }
}

fn rules(heads: &Heads, pseudonym: &str) -> Rules {
    let prefix = |text: &Option<String>| text.as_deref().and_then(Prefix::new);
    let mut cookies = CookieRules::default();
    heads.cookie_domains.iter().for_each(|(from, to)| cookies.rename_domain(from, to));
    heads.cookie_paths.iter().for_each(|(from, to)| cookies.move_path(from, to));
    Rules {
        host: match &heads.host {
            HostHeader::Client => HostPolicy::Client,
            HostHeader::Server => HostPolicy::Backend,
            HostHeader::Literal(host) => HostPolicy::Literal(host.as_str().into()),
        },
        trusted: heads.trusted_proxies.clone(),
        forwarded: match heads.forwarded {
            ForwardedHeaders::On => ForwardedFields::Customary,
            ForwardedHeaders::Off => ForwardedFields::Off,
            ForwardedHeaders::Rfc7239 => ForwardedFields::Standard,
            ForwardedHeaders::Both => ForwardedFields::Both,
        },
        via: match &heads.via {
            Via::On => Some(pseudonym.into()),
            Via::Off => None,
            Via::Named(name) => Some(name.as_str().into()),
        },
        prefixes: Prefixes { strip: prefix(&heads.strip_prefix), add: prefix(&heads.add_prefix) },
        location: heads.rewrite_location,
        cookies,
        request: field_rules(&heads.remove_request, &heads.set_request),
        response: field_rules(&heads.remove_response, &heads.set_response),
    }
}

fn field_rules(removed: &[String], set: &[Header]) -> FieldRules {
    let piece = |piece: &config::Piece| match piece {
        config::Piece::Text(text) => Piece::Text(text.as_str().into()),
        config::Piece::ClientIp => Piece::ClientIp,
        config::Piece::Host => Piece::Host,
        config::Piece::Scheme => Piece::Scheme,
        config::Piece::RequestId => Piece::RequestId,
    };
    let field = |header: &Header| SetField {
        name: header.name.as_str().into(),
        value: header.value.iter().map(piece).collect(),
    };
    FieldRules {
        removed: removed.iter().map(|name| name.as_str().into()).collect(),
        set: set.iter().map(field).collect(),
    }
}

/// One page for each `StatisticsURL`, with the routes that name it.
fn statistics_pages(routes: &[Arc<Route>]) -> Vec<StatisticsPage> {
    let mut pages: Vec<StatisticsPage> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let Some(url) = &route.settings.statistics_url else { continue };
        let allowed = &route.settings.statistics_allow;
        let same = |other: &usize| routes[*other].settings.statistics_allow == *allowed;
        let place = pages.iter().position(|page| page.url == *url).unwrap_or_else(|| {
            pages.push(StatisticsPage { url: url.clone(), viewers: Vec::new(), routes: Vec::new() });
            pages.len() - 1
        });
        let page = &mut pages[place];
        if !page.routes.iter().any(same) {
            page.viewers.push(Viewers::new(allowed.clone()));
        }
        page.routes.push(index);
    }
    pages
}

/// A duration in the engine's unit.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pseudonym_is_that_of_the_installation() {
        let name = |folder: &str| pseudonym(Some(Path::new(folder)));
        assert_eq!(name("/etc/monkey"), name("/etc/monkey"));
        assert_ne!(name("/etc/monkey"), name("/etc/monkey2"));
        let code = name("/etc/monkey").strip_prefix("monkey-").map(str::len);
        assert_eq!(code, Some(8));
    }

    #[test]
    fn what_asks_for_nothing_rewrites_no_request() {
        let rules = rules(&Heads::default(), "monkey-1");
        assert!(rules.prefixes.is_empty() && rules.request.is_empty() && rules.response.is_empty());
        assert!(rules.cookies.is_empty() && rules.trusted.is_empty() && rules.host == HostPolicy::Client);
        assert_eq!(rules.via.as_deref(), Some("monkey-1"));
        assert!(rules.location);
    }
}
