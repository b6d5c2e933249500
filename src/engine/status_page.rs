//! Gathers the statistics of this moment and renders what was asked for.

use std::num::NonZeroU32;

use super::Now;
use super::date::Date;
use super::explain;
use super::host::RequestParts;
use super::shared::{Route, Shared, StatisticsPage};
use crate::balancer::HealthState;
use crate::http::claims::Viewers;
use crate::http::reply;
use crate::http::request::Request;
use crate::stats::events::KEPT;
use crate::stats::snapshot::{SCHEMA, Spread};
use crate::stats::{BackendRow, RouteRow, Snapshot, html, prometheus};

/// What is answered to somebody who asks for statistics.
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    /// Field lines beside the usual ones.
    pub fields: &'static str,
    pub body: Vec<u8>,
}

impl Answer {
    fn ok(content_type: &'static str, fields: &'static str, body: String) -> Self {
        Answer { status: 200, content_type, fields, body: body.into_bytes() }
    }

    fn refusal(status: u16, fields: &'static str, why: &str) -> Self {
        let body = reply::error_text(status, why).into_bytes();
        Answer { status, content_type: reply::ERROR_TYPE, fields, body }
    }
}

/// The answer to a request for the statistics page `page`.
pub fn answer(
    shared: &Shared,
    page: usize,
    request: &Request<'_, '_>,
    parts: &RequestParts<'_>,
    now: Now,
) -> Answer {
    let Some(about) = shared.statistics.get(page) else { return Answer::refusal(404, "", "no such page") };
    if !about.viewers.iter().all(|viewers| viewers.include(parts.source, request)) {
        return Answer::refusal(403, "", NOT_ALLOWED);
    }
    if !matches!(request.method, "GET" | "HEAD") {
        return Answer::refusal(405, "Allow: GET, HEAD\r\n", "the statistics are only to be read");
    }
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|part| part.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let may_see =
        |route: &Route| Viewers::new(route.settings.statistics_allow.clone()).include(parts.source, request);
    if let Some((status, body, content_type)) = explain::page(shared, query, parts.source, may_see, now) {
        return Answer { status, content_type, fields: NOSNIFF, body };
    }
    let events = |otherwise| value("events").and_then(|most| most.parse().ok()).unwrap_or(otherwise);
    match value("format") {
        Some("json") => {
            let snapshot = snapshot(shared, about, events(EVENTS_IN_JSON), now);
            Answer::ok("application/json", NOSNIFF, snapshot.to_json())
        }
        Some("prometheus") => {
            Answer::ok(prometheus::TYPE, NOSNIFF, prometheus::text(&snapshot(shared, about, 0, now)))
        }
        _ => Answer::ok(html::TYPE, html::FIELDS, html::page(&snapshot(shared, about, events(KEPT), now))),
    }
}

/// Events of each server for programs that do not say how many they want: hundreds of servers in trouble
/// must not keep a worker busy each time that somebody asks how they are.
const EVENTS_IN_JSON: usize = 16;

/// Why somebody does not get to see the page.
const NOT_ALLOWED: &str = "StatisticsAllow in proxy_reverse.conf does not name your address, \
                           or one that a proxy on your way has put into the request";
const NOSNIFF: &str = "X-Content-Type-Options: nosniff\r\n";

/// A plain 503 for when nothing else works.
pub fn last_resort(now: Now) -> Vec<u8> {
    let mut date = Date::default();
    date.refresh(now);
    reply::last_resort(date.text())
}

fn snapshot(shared: &Shared, page: &StatisticsPage, events: usize, now: Now) -> Snapshot {
    let rows = page.routes.iter().map(|&route| route_row(shared, &shared.routes[route], events, now));
    Snapshot {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        uptime: now.ms / 1000,
        time: now.unix,
        routes: rows.collect(),
    }
}

fn route_row(shared: &Shared, route: &Route, events: usize, now: Now) -> RouteRow {
    let backends: Vec<BackendRow> =
        (0..route.cluster.len()).map(|index| backend_row(shared, route, index, events, now)).collect();
    let (queued, queue_full, queue_timed_out) = route.totals.queueing();
    let totals = shared.tallies.route(route.index, now.ms / 1000);
    RouteRow {
        entry: route.place.clone(),
        file: route.place.rsplit_once(':').map_or("", |(file, _)| file).to_owned(),
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

fn backend_row(shared: &Shared, route: &Route, index: usize, events: usize, now: Now) -> BackendRow {
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
        last_error: route.recorders[index].last_error(),
        events: route.recorders[index].latest(events),
        history: totals.history,
        spread: Spread { connect: totals.connect, first_byte: totals.first_byte, total: totals.total },
    }
}
