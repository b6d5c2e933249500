//! The statistics at one moment, as plain rows. Their JSON form is the schema
//! that `StatisticsURL?format=json` promises.

use serde::Serialize;

/// Everything on one statistics page.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The version of this plugin.
    pub version: &'static str,
    /// Seconds since the plugin was loaded.
    pub uptime: u64,
    /// The routes in file order.
    pub routes: Vec<RouteRow>,
}

/// One `[PROXY_ENTRY]`.
#[derive(Clone, Debug, Serialize)]
pub struct RouteRow {
    /// The line of its section in the configuration file.
    pub line: usize,
    /// Its patterns.
    pub patterns: Vec<String>,
    /// Its balancer, as the configuration spells it.
    pub load_balancer: String,
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
#[derive(Clone, Debug, Serialize)]
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
}

impl Snapshot {
    /// The snapshot as JSON.
    pub fn to_json(&self) -> String {
        // Numbers and strings alone: nothing here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}
