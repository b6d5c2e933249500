//! The statistics at one moment, as plain rows. Their JSON form is the schema
//! that `StatisticsURL?format=json` promises.

use serde::Serialize;

use super::events::Event;
use super::histogram::Distribution;
use super::seconds::History;

/// The version of the JSON form: it changes when a name goes away or changes its meaning.
pub const SCHEMA: u32 = 1;

/// Everything on one statistics page.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The version of this plugin.
    pub version: &'static str,
    /// Seconds since the plugin was loaded.
    pub uptime: u64,
    /// When this was so, in seconds of the Unix epoch.
    pub time: u64,
    /// The routes in file order.
    pub routes: Vec<RouteRow>,
}

/// One `[PROXY_ENTRY]`.
#[derive(Clone, Debug, Serialize)]
pub struct RouteRow {
    /// File and line of its section: what it is called where it needs one name.
    pub entry: String,
    /// The configuration file that its section stands in, as seen from the folder of the main file.
    pub file: String,
    /// The line of its section in the configuration file.
    pub line: usize,
    /// Its patterns.
    pub patterns: Vec<String>,
    /// Its balancer, as the configuration spells it.
    pub load_balancer: String,
    /// Requests that came for it.
    pub requests: u64,
    /// Of these, in a second; the mean of the latest ten.
    pub requests_per_second: f64,
    /// Of these, in each of the last 60 seconds; the latest last.
    pub requests_by_second: Vec<u32>,
    /// Attempts that followed a failed one of the same request, at all of its backends.
    pub retries: u64,
    /// Requests that were not asked again for want of `RetryBudget`.
    pub retries_denied: u64,
    /// Failures that were the fault of a request (`PoisonGuard`), not of a backend.
    pub poisoned: u64,
    /// Requests that wait for a server with room (`QueueSize`).
    pub waiting: usize,
    /// Requests that have waited.
    pub queued: u64,
    /// Requests that found no room to wait.
    pub queue_full: u64,
    /// Requests that waited for all of `QueueTimeOut`.
    pub queue_timed_out: u64,
    /// Its backends in the order of the file.
    pub backends: Vec<BackendRow>,
}

/// One backend of one route.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BackendRow {
    /// The address as configured.
    pub address: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// `online`, `offline`, `unresolved` or `disabled`.
    pub state: &'static str,
    /// Its shares of the requests; 0 if it is disabled.
    pub weight: u32,
    /// It gets requests only while no other server can take them.
    pub backup: bool,
    /// Most requests that it works on at a time; none for any number.
    pub max: Option<u32>,
    /// Connections open to its address, on behalf of any entry.
    pub connections: u64,
    /// Requests that it is working on.
    pub active: u32,
    /// Requests handed to it, every attempt counted.
    pub requests: u64,
    /// Of these, in a second; the mean of the latest ten.
    pub requests_per_second: f64,
    /// Its answers with a 2xx status.
    pub status_2xx: u64,
    /// Its answers with a 3xx status.
    pub status_3xx: u64,
    /// Its answers with a 4xx status.
    pub status_4xx: u64,
    /// Its answers with a 5xx status.
    pub status_5xx: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts at it that followed a failed one of the same request.
    pub retries: u64,
    /// How often it went offline.
    pub offline_count: u64,
    /// Seconds until an offline backend gets its trial request.
    pub trial_in: Option<u64>,
    /// Seconds since the last verdict on it, good or bad.
    pub last_check: Option<u64>,
    /// Seconds since it went offline or came back; nothing if it never did.
    pub since: Option<u64>,
    /// Why it is offline: `failures` of requests, or its `check`.
    pub cause: Option<&'static str>,
    /// Failures since its latest success.
    pub consecutive_failures: u32,
    /// Seconds since it was last probed or checked.
    pub last_probe: Option<u64>,
    /// What came of that: `good` or `bad`.
    pub last_probe_result: Option<&'static str>,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes received from it.
    pub bytes_received: u64,
    /// Connections that were opened to it.
    pub connections_opened: u64,
    /// Requests that went out over a connection that was kept.
    pub connections_reused: u64,
    /// Connections that were kept and turned out to be closed, on behalf of any entry.
    pub connections_stale: u64,
    /// Milliseconds that it leaves idle connections open, as learned from its
    /// closes; none if nothing was learned.
    pub learned_idle_ms: Option<u64>,
    /// How long its connections took to open.
    pub connect: Durations,
    /// From the connection to the first byte of an answer.
    pub first_byte: Durations,
    /// From the coming of a request to the end of this backend's whole answer to it, other attempts
    /// and the line included.
    pub total: Durations,
    /// The latest failure, of an attempt or of a check.
    pub last_error: Option<Event>,
    /// What happened to it lately, the latest first.
    pub events: Vec<Event>,
    /// Requests in each of the last seconds.
    #[serde(skip)]
    pub history: History,
    /// The durations in full.
    #[serde(skip)]
    pub spread: Spread,
}

/// The durations of one backend, bucket by bucket.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// Of [`BackendRow::connect`].
    pub connect: Distribution,
    /// Of [`BackendRow::first_byte`].
    pub first_byte: Distribution,
    /// Of [`BackendRow::total`].
    pub total: Distribution,
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Durations {
    /// How often it happened.
    pub count: u64,
    /// The mean; none if it never happened, as with the others.
    pub mean_us: Option<u64>,
    /// Half of them were not longer; at most 1/16 off.
    pub p50_us: Option<u64>,
    /// 95 of 100 were not longer; at most 1/16 off.
    pub p95_us: Option<u64>,
    /// 99 of 100 were not longer; at most 1/16 off.
    pub p99_us: Option<u64>,
    /// The longest.
    pub max_us: Option<u64>,
}

impl From<&Distribution> for Durations {
    fn from(all: &Distribution) -> Self {
        let [p50_us, p95_us, p99_us] = [50, 95, 99].map(|percent| all.percentile_us(percent));
        Durations {
            count: all.count(),
            mean_us: all.sum_us().checked_div(all.count()),
            p50_us,
            p95_us,
            p99_us,
            max_us: p50_us.map(|_| all.max_us()),
        }
    }
}

impl Snapshot {
    /// The snapshot as JSON.
    pub fn to_json(&self) -> String {
        // Numbers and strings alone: nothing here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One route with one server, about which there is nothing to say.
    pub fn snapshot() -> Snapshot {
        Snapshot {
            schema: SCHEMA,
            version: "1",
            uptime: 7300,
            time: 1_800_000_000,
            routes: vec![RouteRow {
                entry: "p.conf:3".into(),
                file: "p.conf".into(),
                line: 3,
                patterns: vec!["^/".into()],
                load_balancer: "Round-Robin".into(),
                requests: 0,
                requests_per_second: 0.0,
                requests_by_second: vec![0; 60],
                retries: 0,
                retries_denied: 0,
                poisoned: 0,
                waiting: 0,
                queued: 0,
                queue_full: 0,
                queue_timed_out: 0,
                backends: vec![backend()],
            }],
        }
    }

    /// A server that was never asked.
    pub fn backend() -> BackendRow {
        BackendRow { address: "a:80".into(), state: "online", weight: 1, ..BackendRow::default() }
    }
}
