//! The one place that reads clocks, once per call from the host.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::engine::Now;

static EPOCH: OnceLock<Instant> = OnceLock::new();

/// This moment. Milliseconds and microseconds count from the first call, at load.
#[expect(clippy::disallowed_methods, reason = "everybody else is handed the result")]
pub fn now() -> Now {
    let instant = Instant::now();
    let epoch = EPOCH.get_or_init(|| instant);
    let us = u64::try_from(instant.saturating_duration_since(*epoch).as_micros()).unwrap_or(u64::MAX);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { ms: us / 1000, us, unix }
}
