//! The statistics in the text format of Prometheus (version 0.0.4).
//!
//! Families of metrics one after the other, each with its `HELP` and `TYPE`; seconds and bytes as units.
//! Bounds of histograms are powers of two microseconds: those of our own buckets, so that no count is
//! an estimate.

use std::fmt::{self, Display, Write};

use super::histogram::Distribution;
use super::snapshot::{BackendRow, RouteRow, Snapshot};

/// What the answer is said to be.
pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Exponents of the bounds: 2^7 microseconds (0.128 ms) to 2^24 (17 s).
const BOUNDS: std::ops::RangeInclusive<u32> = 7..=24;

/// The whole text.
pub fn text(snapshot: &Snapshot) -> String {
    let servers: Vec<Server<'_>> = snapshot
        .routes
        .iter()
        .flat_map(|route| route.backends.iter().map(move |row| (route, row)))
        .map(|(route, row)| {
            let name = row.name.as_deref().unwrap_or_default();
            let labels = labels(&[("entry", &route.entry), ("server", &row.address), ("name", name)]);
            Server { labels, row }
        })
        .collect();
    let mut out = Families { out: String::with_capacity(4096 + 16 * 1024 * servers.len()) };
    out.about_us(snapshot);
    out.of_routes(snapshot);
    out.of_servers(&servers);
    out.durations(&servers);
    out.out
}

struct Families {
    out: String,
}

type RouteNumber = (&'static str, &'static str, fn(&RouteRow) -> u64);
type ServerNumber = (&'static str, &'static str, fn(&BackendRow) -> u64);

/// A server with its labels, as they stand in each of its samples.
struct Server<'a> {
    labels: String,
    row: &'a BackendRow,
}

impl Families {
    fn about_us(&mut self, snapshot: &Snapshot) {
        self.family("build_info", "gauge", "The plugin; its version is a label.");
        self.sample("build_info", "", &labels(&[("version", snapshot.version)]), "", 1);
        self.family(
            "start_time_seconds",
            "gauge",
            "When the plugin was loaded, in seconds of the Unix epoch.",
        );
        self.sample("start_time_seconds", "", "", "", snapshot.time.saturating_sub(snapshot.uptime));
    }

    fn of_routes(&mut self, snapshot: &Snapshot) {
        let counters: [RouteNumber; 6] = [
            ("entry_requests_total", "Requests that came for the entry.", |r| r.requests),
            ("entry_retries_denied_total", "Requests not asked again for want of RetryBudget.", |r| {
                r.retries_denied
            }),
            ("entry_poisoned_total", "Failures that were the fault of a request (PoisonGuard).", |r| {
                r.poisoned
            }),
            ("entry_queued_total", "Requests that have waited for a server with room.", |r| r.queued),
            ("entry_queue_full_total", "Requests that found no room to wait.", |r| r.queue_full),
            ("entry_queue_timed_out_total", "Requests that waited in vain.", |r| r.queue_timed_out),
        ];
        for (name, help, value) in counters {
            self.family(name, "counter", help);
            for route in &snapshot.routes {
                self.sample(name, "", &labels(&[("entry", &route.entry)]), "", value(route));
            }
        }
        let waiting = "entry_waiting_requests";
        self.family(waiting, "gauge", "Requests that wait for a server with room.");
        for route in &snapshot.routes {
            self.sample(waiting, "", &labels(&[("entry", &route.entry)]), "", route.waiting);
        }
    }

    fn of_servers(&mut self, servers: &[Server<'_>]) {
        let state = "server_state";
        self.family(state, "gauge", "1 for the state that the server is in.");
        for server in servers {
            for (label, one) in [
                (",state=\"online\"", "online"),
                (",state=\"offline\"", "offline"),
                (",state=\"unresolved\"", "unresolved"),
                (",state=\"disabled\"", "disabled"),
            ] {
                self.sample(state, "", &server.labels, label, u8::from(server.row.state == one));
            }
        }
        let gauges: [ServerNumber; 3] = [
            ("server_weight", "Shares of the requests that the server gets.", |s| u64::from(s.weight)),
            ("server_active_requests", "Requests that the server works on.", |s| u64::from(s.active)),
            ("server_connections", "Connections open to the address, on behalf of any entry.", |s| {
                s.connections
            }),
        ];
        let counters: [ServerNumber; 9] = [
            ("server_requests_total", "Requests handed to the server, each attempt counted.", |s| s.requests),
            ("server_failures_total", "Attempts that failed.", |s| s.failures),
            ("server_retries_total", "Attempts that followed a failed one of the same request.", |s| {
                s.retries
            }),
            ("server_offline_total", "How often the server went offline.", |s| s.offline_count),
            ("server_sent_bytes_total", "Bytes sent to the server.", |s| s.bytes_sent),
            ("server_received_bytes_total", "Bytes received from the server.", |s| s.bytes_received),
            ("server_connections_opened_total", "Connections opened.", |s| s.connections_opened),
            ("server_connections_reused_total", "Requests over a connection that was kept.", |s| {
                s.connections_reused
            }),
            (
                "server_connections_stale_total",
                "Kept connections that turned out to be closed, on behalf of any entry.",
                |s| s.connections_stale,
            ),
        ];
        for (kind, numbers) in [("gauge", &gauges[..]), ("counter", &counters[..])] {
            for (name, help, value) in numbers {
                self.family(name, kind, help);
                for server in servers {
                    self.sample(name, "", &server.labels, "", value(server.row));
                }
            }
        }
        let responses = "server_responses_total";
        self.family(responses, "counter", "Answers of the server by the hundreds of their status.");
        for Server { labels, row } in servers {
            self.sample(responses, "", labels, ",code=\"2xx\"", row.status_2xx);
            self.sample(responses, "", labels, ",code=\"3xx\"", row.status_3xx);
            self.sample(responses, "", labels, ",code=\"4xx\"", row.status_4xx);
            self.sample(responses, "", labels, ",code=\"5xx\"", row.status_5xx);
        }
    }

    fn durations(&mut self, servers: &[Server<'_>]) {
        type Which = fn(&BackendRow) -> &Distribution;
        let families: [(&str, &str, Which); 3] = [
            ("server_connect_seconds", "How long connections took to open.", |s| &s.spread.connect),
            ("server_first_byte_seconds", "From the connection to the first byte of the answer.", |s| {
                &s.spread.first_byte
            }),
            ("server_request_seconds", "From the coming of a request to the end of the whole answer.", |s| {
                &s.spread.total
            }),
        ];
        // Whole microseconds were recorded: what counts as one less took less than the bound.
        let bounds: Vec<(u64, String)> = BOUNDS
            .map(|exponent| 1 << exponent)
            .map(|us| (us - 1, format!(",le=\"{}\"", Seconds(us))))
            .collect();
        for (name, help, which) in families {
            self.family(name, "histogram", help);
            for server in servers {
                let all = which(server.row);
                for ((_, label), count) in bounds.iter().zip(all.up_to(bounds.iter().map(|(us, _)| *us))) {
                    self.sample(name, "_bucket", &server.labels, label, count);
                }
                self.sample(name, "_bucket", &server.labels, ",le=\"+Inf\"", all.count());
                self.sample(name, "_sum", &server.labels, "", Seconds(all.sum_us()));
                self.sample(name, "_count", &server.labels, "", all.count());
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.out, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
    }

    /// One sample; `more` is a further label, with its comma.
    fn sample(&mut self, name: &str, suffix: &str, labels: &str, more: &str, value: impl Display) {
        for part in [PREFIX, name, suffix] {
            self.out.push_str(part);
        }
        if !labels.is_empty() {
            for part in ["{", labels, more, "}"] {
                self.out.push_str(part);
            }
        }
        let _ = writeln!(self.out, " {value}");
    }
}

const PREFIX: &str = "monkey_proxy_";

/// Labels one after the other, but for those without a value, which are none.
fn labels(all: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (label, value) in all.iter().filter(|(_, value)| !value.is_empty()) {
        let comma = if out.is_empty() { "" } else { "," };
        let _ = write!(out, "{comma}{label}=\"");
        escape(&mut out, value);
        out.push('"');
    }
    out
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Microseconds, shown as seconds without an exponent.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{rest:06}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::snapshot::tests::{backend, snapshot};
    use std::collections::{HashMap, HashSet};

    /// One sample: name, labels, value.
    fn sample(line: &str) -> (&str, Vec<(String, String)>, &str) {
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        assert!(name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
        let mut labels = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner;
            loop {
                let (label, more) = rest.split_once("=\"").unwrap();
                assert!(!label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase()), "{line}");
                let (mut value, mut chars) = (String::new(), more.char_indices());
                rest = loop {
                    match chars.next().unwrap() {
                        (at, '"') => break &more[at + 1..],
                        (_, '\\') => value.push(match chars.next().unwrap().1 {
                            'n' => '\n',
                            c @ ('"' | '\\') => c,
                            c => panic!("\\{c} in {line}"),
                        }),
                        (_, c) => value.push(c),
                    }
                };
                labels.push((label.to_owned(), value));
                match rest.split_at(1) {
                    (",", more) => rest = more,
                    ("}", more) => {
                        rest = more;
                        break;
                    }
                    _ => panic!("{line}"),
                }
            }
        }
        (name, labels, rest.strip_prefix(' ').unwrap())
    }

    #[test]
    fn every_line_keeps_to_the_grammar_and_every_sample_to_its_family() {
        let mut odd = snapshot();
        odd.routes[0].entry = "a \"b\" \\ \n:3".to_owned();
        let text = text(&odd);
        assert!(text.ends_with('\n'));
        let (mut families, mut current, mut seen) = (HashMap::new(), "", HashSet::new());
        let mut helped = "";
        let mut entries = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                helped = rest.split_once(' ').unwrap().0;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, helped);
                assert!(families.insert(name, kind).is_none(), "{name} comes twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                current = name;
            } else {
                let (name, labels, value) = sample(line);
                let suffix = name.strip_prefix(current).unwrap_or_else(|| panic!("{line} in {current}"));
                match families[current] {
                    "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                    _ => assert_eq!(suffix, "", "{line}"),
                }
                assert!(value.parse::<f64>().unwrap() >= 0.0 && !value.contains('e'), "{line}");
                entries.extend(labels.iter().filter(|(name, _)| name == "entry").map(|(_, v)| v.clone()));
                assert!(seen.insert((name.to_owned(), labels)), "{line} comes twice");
            }
        }
        assert!(families.len() > 20);
        assert_eq!(entries, HashSet::from(["a \"b\" \\ \n:3".to_owned()]));
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_all() {
        let mut all = snapshot();
        let mut server = backend();
        let histogram = crate::stats::histogram::Histogram::default();
        [0, 127, 128, 129, 1_000_000, 3_600_000_000].iter().for_each(|&us| histogram.record(us));
        server.spread.total.add(&histogram);
        all.routes[0].backends = vec![server];
        let text = text(&all);
        let counts: Vec<(String, u64)> = text
            .lines()
            .filter(|line| line.starts_with("monkey_proxy_server_request_seconds_bucket"))
            .map(|line| {
                let (_, labels, value) = sample(line);
                (labels.last().unwrap().1.clone(), value.parse().unwrap())
            })
            .collect();
        let of = |bound: &str| counts.iter().find(|(le, _)| le == bound).unwrap().1;
        assert_eq!((of("0.000128"), of("0.000256"), of("1.048576"), of("+Inf")), (2, 4, 5, 6));
        assert!(counts.is_sorted_by_key(|(_, count)| *count));
        let bounds: Vec<f64> =
            counts.iter().map(|(le, _)| le.replace("+Inf", "inf").parse().unwrap()).collect();
        assert!(bounds.is_sorted());
        assert!(
            text.contains("server_request_seconds_sum{entry=\"p.conf:3\",server=\"a:80\"} 3601.000384\n")
        );
    }
}
