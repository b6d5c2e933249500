//! What all workers share: routes, clusters, counters. Immutable but for atomics.

use std::sync::Arc;

use super::Now;
use super::budget::Budget;
use super::ending::Ending;
use super::endpoint::Endpoint;
use super::poison::Poison;
use super::probing::Bell;
use super::record::{IdSource, LogFile, Logs};
use super::seldom::Changes;
use crate::balancer::{Algorithm, Cluster, ConnectionNumbers};
use crate::config::{Settings, WhenAllOffline};
use crate::http::claims::Viewers;
use crate::http::path;
use crate::http::router::{Router, RouterScratch};
use crate::http::rules::Rules;
use crate::stats::{Recorder, RouteCounters, Tallies};

/// Everything that was configured, ready to serve.
#[derive(Debug)]
pub struct Shared {
    pub(super) router: Router,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) statistics: Vec<StatisticsPage>,
    /// What the workers count.
    pub(super) tallies: Arc<Tallies>,
    /// The requests that make backends break.
    pub(super) poison: Poison,
    /// The numbers of the open client connections, for Naive.
    pub numbers: ConnectionNumbers,
    /// Wakes the thread that asks backends whether they are there.
    pub(super) bell: Bell,
    /// Whether the server is going to end.
    pub ending: Ending,
    /// The files that get lines about requests.
    pub logs: Logs,
    /// Where the names of requests come from.
    pub(super) ids: IdSource,
    /// Where the randomness of this process comes from.
    pub(super) seed: u64,
}

/// One `[PROXY_ENTRY]`.
#[derive(Debug)]
pub struct Route {
    /// The line of its section.
    pub line: usize,
    /// The file and the line of its section, as messages name it.
    pub place: String,
    /// Its patterns as written.
    pub patterns: Vec<String>,
    /// Where each of its patterns stands: file, line and column.
    pub pattern_places: Vec<String>,
    /// Its balancer as the configuration spells it.
    pub load_balancer: String,
    /// How its cluster chooses.
    pub algorithm: Algorithm,
    /// Its backends and who is next.
    pub cluster: Arc<Cluster>,
    /// The endpoint of each backend.
    pub endpoints: Vec<usize>,
    /// The name of each backend, if it was given one.
    pub names: Vec<Option<String>>,
    /// What messages call each backend.
    pub labels: Vec<String>,
    /// How often the changes of each backend are told.
    pub changes: Vec<Changes>,
    /// Its own index among the routes.
    pub index: usize,
    /// The row of its first backend in the tallies.
    pub first_row: usize,
    /// What happens to it rarely.
    pub totals: RouteCounters,
    /// What happened lately to each backend.
    pub recorders: Vec<Recorder>,
    /// How many of its requests may be sent again.
    pub budget: Budget,
    /// Whether anything is told of single requests.
    pub is_traced: bool,
    /// Whose requests are explained in their answers.
    pub askers: Option<Viewers>,
    /// The file that gets a line for each request.
    pub log: Option<Arc<LogFile>>,
    /// Fields of backends that make room for our own.
    pub replaced: Vec<Box<str>>,
    /// What it changes in heads.
    pub rules: Rules,
    /// Its settings.
    pub settings: Settings,
}

/// A `StatisticsURL` and the routes that are shown there.
#[derive(Debug)]
pub(super) struct StatisticsPage {
    pub url: String,
    /// Who may see it, as each of its routes says: all must agree.
    pub viewers: Vec<Viewers>,
    pub routes: Vec<usize>,
}

/// Room for matching; one per worker, so that matching neither allocates nor waits.
#[derive(Debug)]
pub struct MatchScratch(RouterScratch);

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Not ours: the host serves it.
    NotMine,
    /// The statistics page of this index.
    Statistics(usize),
    /// Proxied along this route.
    Proxy(Arc<Route>),
}

impl Shared {
    /// Room for matching.
    pub fn match_scratch(&self) -> MatchScratch {
        MatchScratch(self.router.scratch())
    }

    /// Decides about a decoded path, without the query. Read-only, lock-free.
    pub fn admit(&self, decoded_path: &[u8], scratch: &mut MatchScratch) -> Verdict {
        let path = path::normalised(decoded_path);
        if let Some(page) = self.statistics.iter().position(|page| page.url.as_bytes() == path.as_ref()) {
            return Verdict::Statistics(page);
        }
        match self.router.find(&path, &mut scratch.0) {
            Some(route) => Verdict::Proxy(Arc::clone(&self.routes[route])),
            None => Verdict::NotMine,
        }
    }

    /// All routes that match a normalised path, in file order, each with the first of its patterns
    /// that does.
    pub(super) fn matching(&self, path: &[u8], scratch: &mut MatchScratch) -> Vec<(usize, usize)> {
        let numbers = self.router.all(path, &mut scratch.0);
        let mut first = 0;
        let mut found = Vec::new();
        for (index, route) in self.routes.iter().enumerate() {
            let behind = first + route.patterns.len();
            found.extend(
                numbers.iter().find(|&number| (first..behind).contains(number)).map(|n| (index, n - first)),
            );
            first = behind;
        }
        found
    }

    /// The routes in file order.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl Route {
    /// The row of one of its backends in the tallies.
    pub fn row(&self, backend: usize) -> usize {
        self.first_row + backend
    }

    /// Whether its balancer asks for the client's connection number.
    pub fn needs_connection_number(&self) -> bool {
        self.algorithm == Algorithm::Naive
    }

    /// Whether a request that came this moment is to be left to the host's own
    /// files: all backends are offline, and the route wants it so.
    pub fn is_left_to_host(&self, now: Now) -> bool {
        self.may_be_left_to_host() && self.cluster.is_exhausted(now.ms)
    }

    /// Whether that may ever happen.
    pub fn may_be_left_to_host(&self) -> bool {
        self.settings.health.when_all_offline == WhenAllOffline::Static
    }
}
