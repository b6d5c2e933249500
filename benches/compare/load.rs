//! One run of wrk, and what the server spent on it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::process::cpu_us;
use super::scenarios::{Clients, Scenario};

/// What one run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Answers in a second.
    pub rate: f64,
    /// Time to the end of an answer: the median, 99 and 99.9 percent, in milliseconds.
    pub latency_ms: [f64; 3],
    /// Processor time of the server for each answer, in microseconds.
    pub cpu_us: f64,
    /// And for each megabyte of answers.
    pub cpu_us_per_mb: f64,
    /// Answers that were no success, and broken connections.
    pub errors: u64,
}

/// Written by the script at the end: numbers of our own, in an order of our own.
const SCRIPT: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("FIGURES %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
    summary.bytes, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

const POST: &str = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 16384)\n";
const CLOSE: &str = "wrk.headers[\"Connection\"] = \"close\"\n";

/// Loads a server for so long.
pub fn run(
    scenario: &Scenario,
    connections: usize,
    seconds: u64,
    to: SocketAddr,
    pid: u32,
    folder: &Path,
) -> Result<Figures, String> {
    let begins = match scenario.clients {
        Clients::Get | Clients::Beside(_) => "",
        Clients::Post => POST,
        Clients::Close => CLOSE,
    };
    let script = folder.join("load.lua");
    fs::write(&script, format!("{begins}{SCRIPT}")).map_err(|error| error.to_string())?;
    let scheme = if scenario.tls { "https" } else { "http" };
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--timeout", "10s", "-c", &connections.to_string(), "-d", &format!("{seconds}s")]);
    wrk.arg("-s").arg(script).arg(format!("{scheme}://{to}{}", scenario.path));
    let before = cpu_us(pid);
    let output = wrk.output().map_err(|error| format!("wrk: {error}"))?;
    let spent = cpu_us(pid).saturating_sub(before) as f64;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("FIGURES "));
    let numbers: Vec<f64> =
        line.unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, us, bytes, median, high, higher, errors] = numbers[..] else {
        return Err(format!("wrk said: {said}{}", String::from_utf8_lossy(&output.stderr)));
    };
    if requests == 0.0 {
        return Err(format!("not one answer, {errors} errors"));
    }
    if errors == 0.0 && bytes < requests * scenario.length as f64 {
        return Err(format!("answers of {} bytes", bytes / requests));
    }
    Ok(Figures {
        rate: requests * 1e6 / us,
        latency_ms: [median, high, higher].map(|us| us / 1000.0),
        cpu_us: spent / requests,
        cpu_us_per_mb: spent / (bytes / (1024.0 * 1024.0)),
        errors: errors as u64,
    })
}
