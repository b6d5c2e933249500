//! Builds what all workers share out of a configuration. The only place that
//! may take its time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::shared::{Route, Shared, StatisticsPage};
use crate::balancer::{Algorithm, Cluster, ConnectionNumbers, HealthPolicy};
use crate::config::{self, Config, ConfigErrors, LoadBalancer, ProxyEntry};
use crate::http::router::{BadPatterns, Router};
use crate::stats::BackendCounters;

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
    Ok(build(&config)?)
}

/// Builds everything from a configuration.
///
/// # Errors
/// [`BadPatterns`] when all patterns together are too large.
pub fn build(config: &Config) -> Result<Shared, BadPatterns> {
    let mut endpoints = Endpoints::default();
    let routes: Vec<Arc<Route>> =
        config.entries.iter().map(|entry| Arc::new(route(entry, &mut endpoints))).collect();
    let patterns =
        config.entries.iter().enumerate().flat_map(|(index, entry)| {
            entry.patterns.iter().map(move |pattern| (pattern.text.as_str(), index))
        });
    let router = Router::new(patterns)?;
    let statistics = statistics_pages(&routes);
    Ok(Shared { router, routes, endpoints: endpoints.list, statistics, numbers: ConnectionNumbers::new() })
}

/// The endpoints so far; equal addresses are one endpoint with one pool.
#[derive(Default)]
struct Endpoints {
    list: Vec<Endpoint>,
    by_label: HashMap<String, usize>,
}

impl Endpoints {
    fn index_of(&mut self, address: &config::ServerAddress) -> usize {
        let list = &mut self.list;
        *self.by_label.entry(address.to_string()).or_insert_with(|| {
            list.push(Endpoint::new(address));
            list.len() - 1
        })
    }
}

fn route(entry: &ProxyEntry, endpoints: &mut Endpoints) -> Route {
    // Backends in the order of their first mention; the list keeps repetitions.
    let mut backends = Vec::new();
    let list: Vec<usize> = entry
        .servers
        .iter()
        .map(|server| {
            let endpoint = endpoints.index_of(server);
            backends.iter().position(|&e| e == endpoint).unwrap_or_else(|| {
                backends.push(endpoint);
                backends.len() - 1
            })
        })
        .collect();
    let algorithm = algorithm(entry.load_balancer);
    let policy = HealthPolicy {
        attempts: entry.settings.attempts_count,
        offline_ms: milliseconds(entry.settings.offline_timeout),
    };
    let cluster = Arc::new(Cluster::new(algorithm, &list, backends.len(), policy));
    Route {
        line: entry.line,
        patterns: entry.patterns.iter().map(|pattern| pattern.text.clone()).collect(),
        load_balancer: entry.load_balancer.to_string(),
        algorithm,
        cluster,
        counters: backends.iter().map(|_| BackendCounters::default()).collect(),
        endpoints: backends,
        settings: entry.settings.clone(),
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

/// One page for each `StatisticsURL`, with the routes that name it.
fn statistics_pages(routes: &[Arc<Route>]) -> Vec<StatisticsPage> {
    let mut pages: Vec<StatisticsPage> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let Some(url) = &route.settings.statistics_url else { continue };
        match pages.iter_mut().find(|page| page.url == *url) {
            Some(page) => page.routes.push(index),
            None => pages.push(StatisticsPage { url: url.clone(), routes: vec![index] }),
        }
    }
    pages
}

/// A duration in the engine's unit.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
