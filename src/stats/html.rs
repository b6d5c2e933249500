//! The statistics as an HTML page. Every value from outside is escaped.

use std::fmt::Write;

use super::snapshot::{BackendRow, Snapshot};

const STYLE: &str = "body{font:15px system-ui,sans-serif;margin:2em;color:#222}\
.disabled{color:#777}table{border-collapse:collapse;margin:.5em 0 2em}\
th,td{padding:.3em .7em;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}th{background:#f4f4f4}\
.online{color:#17692f}.offline{color:#a11616;font-weight:bold}.unresolved{color:#8a5a00}\
code{background:#f4f4f4;padding:0 .3em}";

const HEADINGS: [&str; 21] = [
    "server",
    "state",
    "weight",
    "connections",
    "active",
    "requests",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "failures",
    "retries",
    "offline count",
    "next trial",
    "last check",
    "so for",
    "last probe",
    "opened",
    "reused",
    "stale",
    "idle at most",
];

/// What the answer is said to be.
pub const TYPE: &str = "text/html; charset=utf-8";
/// Fields beside the usual ones.
pub const FIELDS: &str = "X-Content-Type-Options: nosniff\r\n";

/// The page.
pub fn page(snapshot: &Snapshot) -> String {
    let mut out = String::with_capacity(2048);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Proxy statistics</title>\
         <style>{STYLE}</style></head><body>\n<h1>Proxy statistics</h1>\n\
         <p>monkey-proxy-reverse {}, loaded {} ago. <a href=\"?format=json\">JSON</a></p>\n",
        snapshot.version,
        ago(snapshot.uptime)
    );
    for route in &snapshot.routes {
        out.push_str("<h2>");
        for pattern in &route.patterns {
            let _ = write!(out, "<code>{}</code> ", escaped(pattern));
        }
        let _ = write!(out, "</h2>\n<p>{}, line {}", escaped(&route.load_balancer), route.line);
        let _ = write!(
            out,
            "; retries: {}, denied by RetryBudget: {}, poisoned: {}; waiting: {}, waited: {}, no room to wait: {}, \
             waited in vain: {}</p>\n<table><tr>",
            route.retries,
            route.retries_denied,
            route.poisoned,
            route.waiting,
            route.queued,
            route.queue_full,
            route.queue_timed_out
        );
        for heading in HEADINGS {
            let _ = write!(out, "<th>{heading}</th>");
        }
        out.push_str("</tr>\n");
        for backend in &route.backends {
            row(&mut out, backend);
        }
        out.push_str("</table>\n");
    }
    out.push_str("</body></html>\n");
    out
}

fn row(out: &mut String, b: &BackendRow) {
    let _ = write!(
        out,
        "<tr><td>{}{}</td><td class=\"{3}\">{3}{4}</td><td>{2}{5}</td>",
        b.name.as_deref().map_or_else(String::new, |name| format!("{} ", escaped(name))),
        escaped(&b.address),
        b.weight,
        b.state,
        b.cause.map_or_else(String::new, |cause| format!(" ({cause})")),
        if b.backup { " backup" } else { "" }
    );
    let active = b.max.map_or_else(|| b.active.to_string(), |max| format!("{} of {max}", b.active));
    let _ = write!(out, "<td>{}</td><td>{active}</td>", b.connections);
    let numbers = [b.requests, b.status_2xx, b.status_3xx, b.status_4xx].into_iter().chain([
        b.status_5xx,
        b.failures,
        b.retries,
        b.offline_count,
    ]);
    for number in numbers {
        let _ = write!(out, "<td>{number}</td>");
    }
    let trial = b.trial_in.map_or_else(|| "-".to_owned(), |s| format!("in {s} s"));
    let check = b.last_check.map_or_else(|| "never".to_owned(), |s| format!("{} ago", ago(s)));
    let since = b.since.map_or_else(|| "-".to_owned(), ago);
    let probe = match (b.last_probe, b.last_probe_result) {
        (Some(seconds), Some(result)) => format!("{result}, {} ago", ago(seconds)),
        _ => "-".to_owned(),
    };
    let _ = write!(out, "<td>{trial}</td><td>{check}</td><td>{since}</td><td>{probe}</td>");
    for number in [b.connections_opened, b.connections_reused, b.connections_stale] {
        let _ = write!(out, "<td>{number}</td>");
    }
    let learned =
        b.learned_idle_ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100));
    let _ = writeln!(out, "<td>{learned}</td></tr>");
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

/// Text, fit for any place of a page.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::RouteRow;

    #[test]
    fn values_are_escaped() {
        let snapshot = Snapshot {
            schema: 1,
            version: "1",
            uptime: 7300,
            time: 0,
            routes: vec![RouteRow {
                entry: "p.conf:3".into(),
                file: "p.conf".into(),
                requests: 1,
                requests_per_second: 0.1,
                requests_by_second: vec![],
                line: 3,
                patterns: vec!["<script>\"&'".into()],
                load_balancer: "Round-Robin".into(),
                retries: 7,
                retries_denied: 8,
                poisoned: 9,
                waiting: 1,
                queued: 2,
                queue_full: 3,
                queue_timed_out: 4,
                backends: vec![],
            }],
        };
        let page = page(&snapshot);
        assert!(page.contains("<code>&lt;script&gt;&quot;&amp;&#39;</code>"), "{page}");
        assert!(page.contains("retries: 7, denied by RetryBudget: 8, poisoned: 9"), "{page}");
        assert!(page.contains("waiting: 1, waited: 2, no room to wait: 3, waited in vain: 4"), "{page}");
        assert!(page.contains("loaded 2 h ago") && !page.contains("<script>"));
    }
}
