//! The statistics as a page for people: what stands in `page/page.html`, filled with words. The template
//! escapes every value. Without scripts the page is complete; with them it renews itself.
//!
//! Read next: [`super::words`] (numbers as people read them).

use askama::Template;

use super::events::{Event, Kind};
use super::histogram::Distribution;
use super::snapshot::{BackendRow, RouteRow, Snapshot};
use super::words::{self, Moment};

/// What the answer is said to be.
pub const TYPE: &str = "text/html; charset=utf-8";
/// Fields beside the usual ones: nothing from elsewhere, and no other script or style than ours, which
/// are named by their hashes.
pub const FIELDS: &str = concat!(
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
    "Content-Security-Policy: default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'; style-src 'sha256-s+GB2SOUKqvAyZGmOToYqH9Y8rjA+p1UfDX9tvB1hII='; ",
    "script-src 'sha256-cWOeZnlyeXuD1GzMpf5Cnp8/8vxK9KiivPVqr9Csi4U='\r\n"
);

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// Events that the page shows: its entries share them. `?format=json&events=64` has all.
const EVENTS_SHOWN: usize = 64;
/// As many of each entry at least, so that a page of many entries has some of each.
const EVENTS_OF_ENTRY: usize = 4;
/// With that many servers or fewer, a browser leaves out an entry that is out of sight as a whole.
const FEW_SERVERS: usize = 4;
/// Servers that are named in the summary when they are not available.
const NAMED: usize = 12;

/// The page.
pub fn page(snapshot: &Snapshot) -> String {
    // Strings alone: nothing here can fail to be written.
    Page::new(snapshot).render().unwrap_or_default()
}

/// Text as it may stand in HTML.
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

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    version: &'static str,
    uptime: String,
    time: Moment,
    summary: Summary,
    routes: Vec<Route<'a>>,
}

/// All entries in one line.
struct Summary {
    online: usize,
    servers: usize,
    mood: &'static str,
    rate: String,
    active: String,
    waiting: String,
    missing: Vec<Missing>,
    more: usize,
}

struct Missing {
    id: String,
    label: String,
}

struct Route<'a> {
    id: String,
    entry: &'a str,
    patterns: &'a [String],
    load_balancer: &'a str,
    rate: String,
    latest: u32,
    most: u32,
    /// The curve of the last minute, and the area under it.
    line: String,
    area: String,
    numbers: Vec<Number>,
    has_few_servers: bool,
    servers: Vec<Server<'a>>,
    events_words: String,
    events: Vec<Line<'a>>,
}

/// A number with its name.
struct Number {
    name: &'static str,
    value: String,
    /// `bad`, `warn`, `zero`, or nothing.
    mood: &'static str,
}

struct Server<'a> {
    id: String,
    label: &'a str,
    /// Lines, as all that stands in small type.
    details: String,
    state: &'static str,
    state_words: &'static str,
    state_lines: String,
    active: String,
    limit: String,
    rate: String,
    spark: String,
    requests: String,
    classes: [Number; 4],
    failures: String,
    failures_mood: &'static str,
    retries: String,
    sent: String,
    received: String,
    times: [Times; 3],
    error: Option<LastError>,
}

/// Percentiles of one kind of duration.
struct Times {
    p50: String,
    /// p95 and p99.
    rest: String,
    title: String,
}

struct LastError {
    time: String,
    ago: String,
    why: String,
}

/// One event.
struct Line<'a> {
    time: String,
    times: String,
    server: &'a str,
    what: &'static str,
    mood: &'static str,
    why: String,
    request: String,
    attempt: String,
}

impl<'a> Page<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        let events = (EVENTS_SHOWN / snapshot.routes.len().max(1)).max(EVENTS_OF_ENTRY);
        let routes: Vec<Route<'a>> = snapshot
            .routes
            .iter()
            .enumerate()
            .map(|(index, route)| Route::new(index, route, snapshot.time, events))
            .collect();
        Page {
            style: STYLE,
            script: SCRIPT,
            version: snapshot.version,
            uptime: words::span(snapshot.uptime),
            time: Moment::new(snapshot.time),
            summary: Summary::new(snapshot),
            routes,
        }
    }
}

impl Summary {
    fn new(snapshot: &Snapshot) -> Self {
        let all = || {
            let numbered = snapshot.routes.iter().enumerate();
            numbered.flat_map(|(r, route)| route.backends.iter().enumerate().map(move |(b, it)| (r, b, it)))
        };
        let in_use = || all().filter(|(_, _, server)| server.state != "disabled");
        let missing = || in_use().filter(|(_, _, server)| server.state != "online");
        let (servers, gone) = (in_use().count(), missing().count());
        let named = missing()
            .take(NAMED)
            .map(|(r, b, server)| Missing { id: server_id(r, b), label: label(server).to_owned() });
        Summary {
            online: servers - gone,
            servers,
            mood: if gone > 0 { "bad" } else { "" },
            rate: words::rate(snapshot.routes.iter().map(|route| route.requests_per_second).sum()),
            active: words::count(all().map(|(_, _, server)| u64::from(server.active)).sum()),
            waiting: words::count(snapshot.routes.iter().map(|route| route.waiting as u64).sum()),
            missing: named.collect(),
            more: gone.saturating_sub(NAMED),
        }
    }
}

impl<'a> Route<'a> {
    fn new(index: usize, route: &'a RouteRow, now: u64, most_events: usize) -> Self {
        let seconds = &route.requests_by_second;
        let most = seconds.iter().copied().max().unwrap_or(0);
        let line = words::curve(seconds, 44);
        let area = if line.is_empty() { String::new() } else { format!("{line}V44H0Z") };
        let mut events: Vec<(&str, &Event)> = route
            .backends
            .iter()
            .flat_map(|server| server.events.iter().map(move |event| (label(server), event)))
            .collect();
        // Those of one server come in their order already, the latest first.
        events.sort_by_key(|(_, event)| std::cmp::Reverse(event.time));
        let events_words = match events.len() {
            0 => "none".to_owned(),
            all if all > most_events => format!("the latest {most_events} of {all}"),
            all => format!("{all}, the latest {} ago", words::span(now.saturating_sub(events[0].1.time))),
        };
        events.truncate(most_events);
        Route {
            id: format!("r{index}"),
            entry: &route.entry,
            patterns: &route.patterns,
            load_balancer: &route.load_balancer,
            rate: words::rate(route.requests_per_second),
            latest: seconds.last().copied().unwrap_or(0),
            most,
            line,
            area,
            numbers: numbers(route),
            has_few_servers: route.backends.len() <= FEW_SERVERS,
            servers: route
                .backends
                .iter()
                .enumerate()
                .map(|(nth, server)| Server::new(server_id(index, nth), server, now))
                .collect(),
            events_words,
            events: events.into_iter().map(|(server, event)| Line::new(server, event)).collect(),
        }
    }
}

/// What is told of an entry as a whole.
fn numbers(route: &RouteRow) -> Vec<Number> {
    let number = |name, value: u64, is_trouble: bool| Number {
        name,
        value: words::count(value),
        mood: mood(value, if is_trouble { "warn" } else { "" }),
    };
    vec![
        number("requests", route.requests, false),
        number("retries", route.retries, false),
        number("denied by RetryBudget", route.retries_denied, true),
        number("poisoned", route.poisoned, true),
        number("waiting", route.waiting as u64, false),
        number("waited", route.queued, false),
        number("no room to wait", route.queue_full, true),
        number("waited in vain", route.queue_timed_out, true),
    ]
}

impl<'a> Server<'a> {
    fn new(id: String, b: &'a BackendRow, now: u64) -> Self {
        let class =
            |name, value, of_any| Number { name, value: words::count(value), mood: mood(value, of_any) };
        let mut details = Vec::new();
        if b.name.is_some() {
            details.push(b.address.clone());
        }
        if b.state != "disabled" {
            details.push(format!("weight {}{}", b.weight, if b.backup { ", backup" } else { "" }));
        }
        details.extend(connections(b));
        let counts = b.history.counts();
        Server {
            id,
            label: label(b),
            details: details.join("\n"),
            state: b.state,
            state_words: match b.state {
                "online" => "Online",
                "offline" => "Offline",
                "unresolved" => "Unresolved",
                _ => "Disabled",
            },
            state_lines: state_lines(b).join("\n"),
            active: words::count(u64::from(b.active)),
            limit: b.max.map_or_else(String::new, |max| words::count(u64::from(max))),
            rate: words::rate(b.requests_per_second),
            spark: if counts.iter().any(|&count| count > 0) {
                words::curve(counts, 16)
            } else {
                String::new()
            },
            requests: words::count(b.requests),
            classes: [
                class("2xx", b.status_2xx, ""),
                class("3xx", b.status_3xx, ""),
                class("4xx", b.status_4xx, "warn"),
                class("5xx", b.status_5xx, "bad"),
            ],
            failures: words::count(b.failures),
            failures_mood: mood(b.failures, "bad"),
            retries: words::count(b.retries),
            sent: words::bytes(b.bytes_sent),
            received: words::bytes(b.bytes_received),
            times: [times(&b.spread.connect), times(&b.spread.first_byte), times(&b.spread.total)],
            error: b.last_error.map(|event| LastError {
                time: Moment::new(event.time).people,
                ago: words::span(now.saturating_sub(event.time)),
                why: match event.why.is_empty() {
                    true => event.kind.words().to_owned(),
                    false => event.why.as_str().to_owned(),
                },
            }),
        }
    }
}

/// What became of the connections to it, once there were any.
fn connections(b: &BackendRow) -> Option<String> {
    let [opened, reused, stale] =
        [b.connections_opened, b.connections_reused, b.connections_stale].map(words::count);
    let learned = b.learned_idle_ms.map(|ms| format!(", idle at most {}", words::duration(ms * 1000)));
    (b.connections_opened > 0).then(|| {
        format!("connections: {opened} opened, {reused} reused, {stale} stale{}", learned.unwrap_or_default())
    })
}

/// How a number looks: what is nothing stands back.
fn mood(value: u64, of_any: &'static str) -> &'static str {
    if value == 0 { "zero" } else { of_any }
}

/// For how long, why, and what comes next.
fn state_lines(b: &BackendRow) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(since) = b.since.filter(|_| matches!(b.state, "online" | "offline")) {
        lines.push(format!("for {}", words::span(since)));
    }
    match b.cause {
        Some("check") => lines.push("its check fails".to_owned()),
        Some(_) if b.state == "offline" => {
            lines.push(match b.trial_in {
                Some(0) => "trial due now".to_owned(),
                Some(seconds) => format!("next trial in {}", words::span(seconds)),
                None => "requests failed".to_owned(),
            });
        }
        _ => {}
    }
    if b.state == "online" && b.consecutive_failures > 0 {
        lines.push(format!("{} failures in a row", b.consecutive_failures));
    }
    if b.state == "unresolved" {
        lines.push("its name has no address".to_owned());
    }
    lines
}

fn times(all: &Distribution) -> Times {
    let at = |percent| all.percentile_us(percent).map(words::duration);
    match (at(50), at(95), at(99)) {
        (Some(p50), Some(p95), Some(p99)) => {
            let longest = words::duration(all.max_us());
            Times {
                p50,
                rest: format!("{p95}\n{p99}"),
                title: format!("longest {longest}, {} in all", all.count()),
            }
        }
        _ => Times { p50: "–".to_owned(), rest: String::new(), title: "none yet".to_owned() },
    }
}

impl<'a> Line<'a> {
    fn new(server: &'a str, event: &Event) -> Self {
        let mut attempt = Vec::new();
        let mut request = String::new();
        if let Some(about) = event.attempt {
            request = about.request.as_str().to_owned();
            attempt.push(about.phase.to_owned());
            if let Some(connection) = about.connection {
                attempt.push(format!(
                    "connection {} old, request {} on it",
                    words::duration(connection.age_ms.saturating_mul(1000)),
                    connection.requests
                ));
            }
        }
        let times = if event.times > 1 {
            format!("{} times since {}", event.times, Moment::new(event.since).people)
        } else {
            String::new()
        };
        Line {
            time: Moment::new(event.time).people,
            times,
            server,
            what: event.kind.words(),
            mood: match event.kind {
                Kind::Failure | Kind::Offline | Kind::CheckFailed => "bad",
                Kind::Lack | Kind::Poisoned => "warn",
                Kind::Back | Kind::CheckPassed => "good",
                Kind::Stale | Kind::Trial => "",
            },
            why: event.why.as_str().to_owned(),
            request,
            attempt: attempt.join(", "),
        }
    }
}

fn label(server: &BackendRow) -> &str {
    server.name.as_deref().unwrap_or(&server.address)
}

fn server_id(route: usize, server: usize) -> String {
    format!("s{route}-{server}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::events::{About, Recorder, Short};
    use crate::stats::snapshot::tests::{backend, snapshot};
    use base64::prelude::{BASE64_STANDARD, Engine};
    use sha2::{Digest, Sha256};

    #[test]
    fn every_value_from_outside_is_escaped() {
        let nasty = "<b onx=\"'&";
        let recorder = Recorder::default();
        let about = About { phase: "asking", request: Short::of(nasty), id: None, connection: None };
        recorder.note(5, Kind::Failure, nasty, Some(about));
        let mut all = snapshot();
        let route = &mut all.routes[0];
        (route.entry, route.patterns, route.load_balancer) = (nasty.into(), vec![nasty.into()], nasty.into());
        route.backends[0].address = nasty.into();
        route.backends.push(BackendRow {
            address: nasty.into(),
            name: Some(nasty.into()),
            state: "offline",
            last_error: recorder.last_error(),
            events: recorder.latest(64),
            ..backend()
        });
        let page = page(&all);
        assert!(!page.contains("<b onx") && !page.contains("onx=\""), "{page}");
        // Entry, pattern, balancer, server twice and its address, summary, error, event with its request.
        let times = page.matches("onx=").count();
        assert!(times >= 10, "{times} times in {page}");
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&snapshot());
        for word in ["src=", "url(", "@import", "http://", "https://", " style=\"", " onclick"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
        assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
    }

    #[test]
    fn the_policy_names_our_own_style_and_script_by_their_hashes() {
        for (name, text) in [("style", STYLE), ("script", SCRIPT)] {
            assert!(page(&snapshot()).contains(&format!("<{name}>{text}</{name}>")));
            let hash = BASE64_STANDARD.encode(Sha256::digest(text));
            let source = format!("{name}-src 'sha256-{hash}'");
            assert!(FIELDS.contains(&source), "Content-Security-Policy in src/stats/html.rs needs {source}");
        }
    }

    #[test]
    fn what_is_renewed_has_a_name_of_its_own() {
        let mut all = snapshot();
        all.routes.push(all.routes[0].clone());
        let page = page(&all);
        let mut ids: Vec<&str> =
            page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for tag in page.split('<').filter(|tag| tag.split('>').next().unwrap().contains(" data-live")) {
            assert!(tag.contains(" id=\""), "{tag}");
        }
    }

    #[test]
    fn a_server_that_is_offline_is_told_in_words() {
        let mut all = snapshot();
        all.routes[0].backends.push(BackendRow {
            address: "b:80".into(),
            state: "offline",
            cause: Some("failures"),
            since: Some(130),
            trial_in: Some(12),
            failures: 3,
            ..backend()
        });
        let page = page(&all);
        for words in ["Offline</b>", "for 2 min", "next trial in 12 s", "Not available:", "of 2</small>"] {
            assert!(page.contains(words), "{words} is not in {page}");
        }
    }

    #[test]
    fn entries_share_the_events_that_are_shown() {
        let recorder = Recorder::default();
        (0..64).for_each(|nth| recorder.note(100 * nth, Kind::Back, "", None));
        let mut all = snapshot();
        all.routes[0].backends[0].events = recorder.latest(64);
        let another = all.routes[0].backends[0].clone();
        all.routes[0].backends.push(another);
        for (entries, each) in [(1, 64), (4, 16), (40, 4)] {
            all.routes = vec![all.routes[0].clone(); entries];
            let page = page(&all);
            let rows = page.matches("back online").count();
            assert_eq!(rows, entries * each, "{entries} entries");
            assert_eq!(page.matches(&format!("the latest {each} of 128<")).count(), entries, "{page}");
        }
    }

    #[test]
    fn on_narrow_screens_cells_are_called_as_the_heads_of_their_columns() {
        let recorder = Recorder::default();
        recorder.note(5, Kind::Back, "", None);
        let mut all = snapshot();
        all.routes[0].backends[0].events = recorder.latest(1);
        let page = page(&all).replace("<small>", "").replace("</small>", "");
        // The head of a row is not called anything: it is the name of a server.
        for (table, unnamed, columns) in [("servers", 1, 11), ("events", 0, 5)] {
            let (_, rest) = page.split_once(&format!("class=\"{table}\"")).unwrap();
            let (heads, _) = rest.split_once("</thead>").unwrap();
            let heads: Vec<&str> =
                heads.split("</th>").map(|head| head.rsplit('>').next().unwrap()).collect();
            assert_eq!(heads.len(), columns + 1, "{heads:?}");
            for (nth, head) in heads.iter().enumerate().take(columns).skip(unnamed) {
                let rule = format!(".{table} td:nth-child({})::before {{ content: \"{head}\"; }}", nth + 1);
                assert!(STYLE.contains(&rule), "{rule} is not in src/stats/page/style.css");
            }
        }
    }

    #[test]
    fn numbers_of_the_entry_are_named() {
        let mut all = snapshot();
        (all.routes[0].retries, all.routes[0].retries_denied, all.routes[0].poisoned) = (7, 8, 9);
        let page = page(&all);
        for words in ["retries <b>7</b>", "denied by RetryBudget <b>8</b>", "poisoned <b>9</b>"] {
            assert!(page.contains(words), "{words} is not in {page}");
        }
    }
}
