//! Gathers the statistics of this moment and renders what was asked for.

use std::num::NonZeroU32;

use super::Now;
use super::date::Date;
use super::shared::{Route, Shared};
use crate::balancer::HealthState;
use crate::http::reply;
use crate::stats::snapshot::SCHEMA;
use crate::stats::{BackendRow, RouteRow, Snapshot, html};

/// The body and media type of the statistics page `page` for a query string.
pub fn render(shared: &Shared, page: usize, query: &str, now: Now) -> (Vec<u8>, &'static str) {
    let json = query.split('&').any(|part| part == "format=json");
    let snapshot = snapshot(shared, page, now);
    if json {
        (snapshot.to_json().into_bytes(), "application/json")
    } else {
        (html::page(&snapshot).into_bytes(), "text/html; charset=utf-8")
    }
}

/// A plain 503 for when nothing else works.
pub fn last_resort(now: Now) -> Vec<u8> {
    let mut date = Date::default();
    date.refresh(now);
    reply::last_resort(date.text())
}

fn snapshot(shared: &Shared, page: usize, now: Now) -> Snapshot {
    let routes = shared.statistics.get(page).map_or(&[][..], |page| &page.routes);
    Snapshot {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        uptime: now.ms / 1000,
        time: now.unix,
        routes: routes.iter().map(|&route| route_row(shared, &shared.routes[route], now)).collect(),
    }
}

fn route_row(shared: &Shared, route: &Route, now: Now) -> RouteRow {
    let backends: Vec<BackendRow> =
        (0..route.cluster.len()).map(|index| backend_row(shared, route, index, now)).collect();
    let (queued, queue_full, queue_timed_out) = route.totals.queueing();
    let totals = shared.tallies.route(route.index, now.ms / 1000);
    RouteRow {
        file: route.file.clone(),
        line: route.line,
        patterns: route.patterns.clone(),
        load_balancer: route.load_balancer.clone(),
        requests: totals.requests,
        requests_per_second: totals.history.rate(),
        requests_by_second: totals.history.counts().to_vec(),
        retries: backends.iter().map(|backend| backend.retries).sum(),
        retries_denied: route.totals.retries_denied(),
        poisoned: route.totals.times_poisoned(),
        waiting: route.cluster.waiting(),
        queued,
        queue_full,
        queue_timed_out,
        backends,
    }
}

fn backend_row(shared: &Shared, route: &Route, index: usize, now: Now) -> BackendRow {
    let endpoint = &shared.endpoints[route.endpoints[index]];
    let backend = route.cluster.backend(index);
    let health = backend.health(now.ms);
    let totals = shared.tallies.backend(route.row(index), now.ms / 1000);
    let online = health.state == HealthState::Online;
    let ago = |at_ms: u64| now.ms.saturating_sub(at_ms) / 1000;
    let [_, status_2xx, status_3xx, status_4xx, status_5xx] = totals.classes;
    BackendRow {
        address: endpoint.label().to_owned(),
        name: route.names[index].clone(),
        state: match (endpoint.is_resolved(), online) {
            _ if backend.weight() == 0 => "disabled",
            (false, _) => "unresolved",
            (true, true) => "online",
            (true, false) => "offline",
        },
        weight: backend.weight(),
        backup: backend.is_backup(),
        max: backend.limit().map(NonZeroU32::get),
        connections: endpoint.connections(),
        active: backend.in_flight(),
        requests: totals.requests,
        requests_per_second: totals.history.rate(),
        status_2xx,
        status_3xx,
        status_4xx,
        status_5xx,
        failures: totals.failures,
        retries: totals.retries,
        offline_count: health.offline_count,
        trial_in: health.offline_until_ms.map(|at| at.saturating_sub(now.ms).div_ceil(1000)),
        last_check: health.last_check_ms.map(ago),
        since: health.last_change_ms.map(ago),
        cause: match health.state {
            HealthState::Online => None,
            HealthState::Unfit => Some("check"),
            HealthState::Offline | HealthState::TrialDue | HealthState::OnTrial => Some("failures"),
        },
        consecutive_failures: health.consecutive_failures,
        last_probe: health.last_probe.map(|probed| ago(probed.at_ms)),
        last_probe_result: health.last_probe.map(|probed| if probed.good { "good" } else { "bad" }),
        bytes_sent: totals.sent,
        bytes_received: totals.received,
        connections_opened: totals.opened,
        connections_reused: totals.reused,
        connections_stale: endpoint.stale(),
        learned_idle_ms: endpoint.learned.limit_ms(now.ms),
        connect: (&totals.connect).into(),
        first_byte: (&totals.first_byte).into(),
        total: (&totals.total).into(),
    }
}
