//! What is configured in one run.

use std::path::Path;

use monkey_proxy_reverse::config;
use monkey_proxy_reverse::engine::{Shared, setup};

use super::dice::Dice;

/// The name under which the counters are shown.
pub const STATISTICS: &str = "/numbers";

/// The part of it that the checks ask for.
#[derive(Debug)]
pub struct Settings {
    pub text: String,
    pub backends: usize,
    pub workers: usize,
    pub clients: usize,
    pub buffer: usize,
    pub largest_head: usize,
    pub keep_alive: bool,
    pub pool_size: usize,
    pub pool_idle_ms: u64,
    /// Requests that each backend works on at a time, if that is limited.
    pub limits: Vec<Option<usize>>,
    /// Backends that are not to be asked at all.
    pub disabled: Vec<bool>,
    pub retry_count: usize,
    /// The words of `RetryOn`.
    pub retry_on: Vec<&'static str>,
    pub retry_timeout_ms: Option<u64>,
    pub connect_timeout_ms: u64,
    pub queue_timeout_ms: u64,
    pub non_idempotent: bool,
    pub has_key: bool,
    /// All time-outs together.
    pub patience_ms: u64,
    /// Backends and clients do what they should, and nobody is slow.
    pub calm: bool,
    pub theme: Theme,
}

/// What there is most of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Anything,
    /// Long bodies of requests, and answers before their end.
    Uploads,
    /// Many requests over few connections, which backends close at times.
    Pool,
}

const CAUSES: [&str; 8] = ["connect", "stale", "reset", "timeout", "invalid", "500", "503", "504"];
const BALANCERS: [&str; 6] =
    ["Naive", "First-Alive", "Round-Robin", "Locking-Round-Robin", "Least-Connections", "Source-Hash"];

impl Settings {
    pub fn draw(dice: &mut Dice) -> Self {
        let calm = dice.chance(10);
        let theme = dice.weighted(&[(50, Theme::Anything), (25, Theme::Uploads), (25, Theme::Pool)]);
        let pools = theme == Theme::Pool;
        let backends = dice.size(1, 5);
        let mut lines = vec![String::from("[PROXY_ENTRY]"), String::from("Match ^/a")];
        let most = dice.weighted(&[(6, None), (1, Some(1)), (2, Some(2)), (1, Some(5))]);
        let (mut limits, mut disabled) = (Vec::new(), Vec::new());
        for n in 0..backends {
            let address = format!("10.0.0.{}:80", n + 1);
            if n == 0 || dice.chance(60) {
                // A second mention is more weight.
                lines.push(format!("{} {address}", if n == 0 { "ServerList" } else { "Server" }));
                limits.push(most);
                disabled.push(false);
                continue;
            }
            let own = dice.chance(30).then(|| dice.size(1, 3));
            limits.push(own.or(most));
            disabled.push(dice.chance(10));
            let max = own.map_or(String::new(), |max| format!(" max={max}"));
            let backup = if dice.chance(30) { " backup" } else { "" };
            let off = if disabled[n] { " disabled" } else { "" };
            lines.push(format!("Server {address} weight={}{max}{backup}{off}", dice.between(1, 3)));
        }
        let first = dice.chance(15).then(|| String::from(" 10.0.0.1:80"));
        lines[2].push_str(&first.unwrap_or_default());
        lines.push(format!("StatisticsURL {STATISTICS}"));
        lines.push(format!("LoadBalancer {}", dice.one_of(&BALANCERS)));
        let mut set = |key: &str, value: String| lines.push(format!("{key} {value}"));

        set("AttemptsCount", dice.one_of(&[0, 1, 2, 2, 4]).to_string());
        set("OfflineTimeOut", format!("{}ms", dice.one_of(&[0, 50, 500, 3000, 60_000])));
        set("OfflineBackoff", dice.one_of(&[1, 2]).to_string());
        // The only other source of randomness would be that of the process.
        set("OfflineJitter", "0".into());
        set("WhenAllOffline", dice.one_of(&["try", "try", "503"]).into());
        set("SlowStart", format!("{}ms", dice.one_of(&[0, 0, 200, 5000])));
        set("FailOn", dice.one_of(&["reset timeout invalid", "timeout 5xx", "reset 503"]).into());

        let retry_on: Vec<&str> = match dice.below(4) {
            0 => vec!["off"],
            1 => vec!["connect", "stale", "reset"],
            _ => CAUSES.into_iter().filter(|_| dice.chance(65)).collect(),
        };
        let retry_on = if retry_on.is_empty() { vec!["off"] } else { retry_on };
        set("RetryOn", retry_on.join(" "));
        let retry_count = dice.size(0, 3);
        set("RetryCount", retry_count.to_string());
        let retry_timeout_ms = dice.one_of(&[None, None, Some(100), Some(1000), Some(10_000)]);
        set("RetryTimeOut", format!("{}ms", retry_timeout_ms.unwrap_or(0)));
        let non_idempotent = dice.chance(15);
        set("RetryNonIdempotent", if non_idempotent { "on" } else { "off" }.into());
        let has_key = dice.chance(80);
        set("RetryKeyHeader", if has_key { "Idempotency-Key" } else { "off" }.into());
        set("RetryBudget", dice.one_of(&[0, 0, 20, 50]).to_string());
        set("RetryBudgetMin", dice.one_of(&[0, 3, 100]).to_string());
        set("PoisonGuard", dice.one_of(&["on", "off"]).into());
        set("PoisonTimeOut", format!("{}ms", dice.one_of(&[200, 60_000])));

        set("MaxConnections", most.unwrap_or(0).to_string());
        let queue_size = if calm { 1000 } else { dice.one_of(&[0, 1, 3, 100]) };
        set("QueueSize", queue_size.to_string());
        let queue_timeout_ms = if calm { 60_000 } else { dice.one_of(&[50, 500, 3000]) };
        set("QueueTimeOut", format!("{queue_timeout_ms}ms"));

        set("RequestId", dice.one_of(&["off", "X-Request-Id"]).into());
        set("ProxyStatus", dice.one_of(&["on", "off"]).into());
        // Nobody writes it there: what is checked is that its records come and go.
        set("ProxyLog", dice.one_of(&["off", "/simulated.log"]).into());
        set("Explain", dice.one_of(&["off", "any"]).into());

        let mut patience_ms = queue_timeout_ms;
        let mut timeouts = Vec::new();
        for key in ["ConnectTimeOut", "SendTimeOut", "HeaderTimeOut", "ReadTimeOut", "ClientTimeOut"] {
            let ms = if calm { 60_000 } else { dice.one_of(&[100, 300, 800, 2000]) };
            timeouts.push(ms);
            patience_ms += ms;
            set(key, format!("{ms}ms"));
        }
        let keep_alive = pools || dice.chance(85);
        set("KeepAlive", if keep_alive { "on" } else { "off" }.into());
        let pool_size = if pools { dice.one_of(&[1, 3, 32]) } else { dice.one_of(&[0, 1, 2, 2, 32]) };
        set("PoolSize", if pool_size == 32 { "auto".into() } else { pool_size.to_string() });
        let pool_idle_ms = dice.one_of(&[50, 500, 4000]);
        set("PoolIdleTimeOut", format!("{pool_idle_ms}ms"));
        set("PoolMaxRequests", dice.one_of(&[0, 1, 3, 1000]).to_string());
        set("PoolMaxAge", format!("{}ms", dice.one_of(&[0, 300, 3_600_000])));
        set("PoolUnsafeIdle", format!("{}ms", dice.one_of(&[0, 10, 1000])));
        set("PoolLearn", dice.one_of(&["on", "on", "off"]).into());
        let buffer = dice.one_of(&[1024, 1024, 1500, 4096, 16_384]);
        set("BufferSize", buffer.to_string());
        let largest_head = dice.one_of(&[1024, 2048, 16_384]);
        set("MaxResponseHeader", largest_head.to_string());

        Settings {
            text: lines.join("\n"),
            backends,
            workers: if dice.chance(35) { 2 } else { 1 },
            clients: if dice.chance(25) { 1 } else { dice.size(2, if pools { 4 } else { 9 }) },
            buffer,
            largest_head,
            keep_alive,
            pool_size,
            pool_idle_ms,
            limits,
            disabled,
            retry_count,
            retry_on,
            retry_timeout_ms,
            connect_timeout_ms: timeouts[0],
            queue_timeout_ms,
            non_idempotent,
            has_key,
            patience_ms,
            calm,
            theme,
        }
    }

    pub fn build(&self) -> Shared {
        let config = config::from_text(Path::new("simulated.conf"), self.text.as_bytes(), &|_| None);
        let config = config.unwrap_or_else(|errors| panic!("{errors}\n{}", self.text));
        setup::build(&config, "simulation").unwrap()
    }

    /// What a pause of somebody is measured by: some are longer than the time-outs, but
    /// not where all is calm.
    pub fn pace_ms(&self) -> u64 {
        if self.calm { 100 } else { self.patience_ms / 5 }
    }
}
