//! The statistics as a table that fits the width of a terminal. Names that are not there are
//! passed over: a page of another version is shown as far as it goes.

use std::collections::HashMap;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::Value;

/// What one page says.
pub struct Snapshot {
    page: Value,
    /// When it was asked for, in milliseconds of a clock that only goes on.
    at_ms: u64,
}

impl Snapshot {
    /// Reads a page.
    pub fn new(body: &[u8], at_ms: u64) -> Result<Snapshot, String> {
        let page: Value =
            serde_json::from_slice(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
        if !page["routes"].is_array() {
            return Err("the answer has no 'routes'; is this the page of StatisticsURL?".to_owned());
        }
        Ok(Snapshot { page, at_ms })
    }

    /// Whether every server that may get requests can.
    pub fn all_online(&self) -> bool {
        self.backends().all(|(_, backend)| matches!(backend["state"].as_str(), Some("online" | "disabled")))
    }

    fn backends(&self) -> impl Iterator<Item = (String, &Value)> {
        let routes = self.page["routes"].as_array().into_iter().flatten().enumerate();
        routes.flat_map(|(index, route)| {
            let backends = route["backends"].as_array().into_iter().flatten().enumerate();
            backends.map(move |(place, backend)| {
                (format!("{index}/{place}/{}", text(&backend["address"])), backend)
            })
        })
    }

    /// The lines of the table, none wider than `width`.
    pub fn lines(&self, before: Option<&Snapshot>, width: usize) -> Vec<String> {
        let rates = self.rates(before);
        let mut lines = vec![cut(&self.title(), width)];
        for (index, route) in self.page["routes"].as_array().into_iter().flatten().enumerate() {
            let mut rows: Vec<Row> = Vec::new();
            for (place, backend) in route["backends"].as_array().into_iter().flatten().enumerate() {
                let key = format!("{index}/{place}/{}", text(&backend["address"]));
                rows.push(Row::new(backend, rates.get(&key).copied()));
            }
            let bold = Style::new().bold();
            lines.push(String::new());
            lines.push(format!("{bold}{}{bold:#}", cut(&heading(route), width)));
            lines.extend(table(&rows, width));
        }
        lines
    }

    /// Requests in a second for each server, since the page before.
    fn rates(&self, before: Option<&Snapshot>) -> HashMap<String, f64> {
        let Some(before) = before.filter(|before| before.at_ms < self.at_ms) else { return HashMap::new() };
        let seconds = (self.at_ms - before.at_ms) as f64 / 1000.0;
        let old: HashMap<String, u64> = before
            .backends()
            .filter_map(|(key, backend)| Some((key, backend["requests"].as_u64()?)))
            .collect();
        let rate = |(key, backend): (String, &Value)| {
            // Less than before: Monkey was started anew.
            let more = backend["requests"].as_u64()?.checked_sub(*old.get(&key)?)?;
            Some((key, more as f64 / seconds))
        };
        self.backends().filter_map(rate).collect()
    }

    fn title(&self) -> String {
        let (mut online, mut all) = (0, 0);
        for (_, backend) in self.backends().filter(|(_, backend)| backend["state"] != "disabled") {
            all += 1;
            online += usize::from(backend["state"] == "online");
        }
        let uptime = self.page["uptime"].as_u64().map(|seconds| format!(", up {}", duration(seconds)));
        let version = text(&self.page["version"]);
        format!("{online} of {all} servers online{}, plugin {version}", uptime.unwrap_or_default())
    }
}

fn heading(route: &Value) -> String {
    let patterns: Vec<String> = route["patterns"].as_array().into_iter().flatten().map(text).collect();
    let mut heading = format!("{}  {}", patterns.join(" "), text(&route["load_balancer"]));
    for (name, label) in [("waiting", "waiting"), ("retries", "retries"), ("queue_full", "turned away")] {
        if let Some(count @ 1..) = route[name].as_u64() {
            heading += &format!(", {count} {label}");
        }
    }
    heading
}

/// One server.
struct Row {
    cells: Vec<String>,
    style: Style,
}

/// The columns, with their importance: the least important ones go first when it gets narrow.
const COLUMNS: [(&str, usize); 11] = [
    ("server", 0),
    ("state", 0),
    ("req/s", 2),
    ("active", 3),
    ("requests", 7),
    ("5xx", 4),
    ("failed", 5),
    ("p50", 9),
    ("p95", 6),
    ("p99", 8),
    ("remarks", 10),
];

impl Row {
    fn new(backend: &Value, rate: Option<f64>) -> Row {
        let state = text(&backend["state"]);
        let number =
            |name: &str| backend[name].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
        let rate = rate.or_else(|| backend["requests_per_second"].as_f64());
        let time = |name: &str| backend["total"][name].as_u64().map_or_else(|| "-".to_owned(), micros);
        let active = match backend["max"].as_u64() {
            Some(max) => format!("{}/{max}", number("active")),
            None => number("active"),
        };
        let name = backend["name"].as_str().map_or_else(|| text(&backend["address"]), clean);
        let style = match state.as_str() {
            "online" => AnsiColor::Green.on_default(),
            "disabled" => Style::new().dimmed(),
            _ => AnsiColor::Red.on_default().bold(),
        };
        let cells = vec![
            name,
            state,
            rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
            active,
            number("requests"),
            number("status_5xx"),
            number("failures"),
            time("p50_us"),
            time("p95_us"),
            time("p99_us"),
            remarks(backend),
        ];
        Row { cells, style }
    }
}

fn remarks(backend: &Value) -> String {
    let mut remarks = Vec::new();
    if backend["backup"] == true {
        remarks.push("backup".to_owned());
    }
    if backend["state"] == "offline" {
        if let Some(cause) = backend["cause"].as_str() {
            remarks.push(clean(cause));
        }
        if let Some(seconds) = backend["trial_in"].as_u64() {
            remarks.push(format!("trial in {}", duration(seconds)));
        }
        if let Some(seconds) = backend["since"].as_u64() {
            remarks.push(format!("since {}", duration(seconds)));
        }
        let error = &backend["last_error"];
        let why = error["why"].as_str().filter(|why| !why.is_empty()).or_else(|| error["kind"].as_str());
        remarks.extend(why.map(clean));
    }
    remarks.join(", ")
}

/// A heading and the rows, with as many columns as have room.
fn table(rows: &[Row], width: usize) -> Vec<String> {
    let used = |column: usize| rows.iter().any(|row| !row.cells[column].is_empty());
    let mut columns: Vec<usize> = (0..COLUMNS.len()).filter(|&column| used(column)).collect();
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].chars().count());
        cells.chain([COLUMNS[column].0.len()]).max().unwrap_or(0)
    };
    let total =
        |columns: &[usize]| 2 + columns.iter().map(|&column| widest(column) + GAP).sum::<usize>() - GAP;
    while columns.len() > 2 && total(&columns) > width {
        let least =
            columns.iter().enumerate().max_by_key(|(_, column)| COLUMNS[**column].1).map(|(at, _)| at);
        least.map(|at| columns.remove(at));
    }
    let dim = Style::new().dimmed();
    let titles: Vec<String> = COLUMNS.iter().map(|(title, _)| (*title).to_owned()).collect();
    let line = |cells: &[String], style: Style| {
        let mut line = "  ".to_owned();
        let mut room = width.saturating_sub(2);
        for &column in &columns {
            let cell = cut(&cells[column], room);
            let pad = widest(column).min(room).saturating_sub(cell.chars().count());
            let is_text = matches!(column, SERVER | STATE | REMARKS);
            let (before, behind) = if is_text { (0, pad) } else { (pad, 0) };
            let shown = if column == STATE { format!("{style}{cell}{style:#}") } else { cell };
            line += &format!("{:before$}{shown}{:behind$}", "", "");
            room = room.saturating_sub(widest(column));
            let gap = GAP.min(room);
            line += &" ".repeat(gap);
            room -= gap;
        }
        line.truncate(line.trim_end().len());
        line
    };
    let first = format!("{dim}{}{dim:#}", line(&titles, Style::new()));
    let mut lines = vec![first];
    for row in rows {
        lines.push(line(&row.cells, row.style));
        // Why a server is offline is worth a line where there is no room beside it.
        if !columns.contains(&REMARKS) && !row.cells[REMARKS].is_empty() {
            lines.push(cut(&format!("    {}", row.cells[REMARKS]), width));
        }
    }
    lines
}

/// At most so many characters; a longer text ends with dots.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let dots = &".."[..width.min(2)];
    text.chars().take(width - dots.len()).collect::<String>() + dots
}

fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or("-"))
}

/// Without what a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..10_000 => format!("{:.1}ms", us as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", us / 1_000),
        _ => format!("{:.1}s", us as f64 / 1e6),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

const SERVER: usize = 0;
const STATE: usize = 1;
const REMARKS: usize = 10;

/// Blanks between two columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn page(requests: u64, at_ms: u64) -> Snapshot {
        let text = format!(
            r#"{{"version":"0.1.0","uptime":4000,"routes":[{{"patterns":["^/app/"],"load_balancer":"Round-Robin","retries":3,
            "backends":[{{"address":"10.0.0.1:8080","name":"app-1","state":"online","active":2,"max":100,"requests":{requests},
            "status_5xx":1,"failures":0,"total":{{"p50_us":900,"p95_us":12500,"p99_us":1500000}}}},
            {{"address":"10.0.0.2:8080","state":"offline","requests":5,"backup":true,"cause":"failures","trial_in":23,
            "last_error":{{"why":"connection\u001b[2J refused"}}}}]}}]}}"#
        );
        Snapshot::new(text.as_bytes(), at_ms).unwrap()
    }

    fn plain(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_wide_table_shows_everything() {
        let (old, new) = (page(1000, 0), page(1020, 2000));
        let lines = plain(&new.lines(Some(&old), 200));
        assert_eq!(
            lines,
            [
                "1 of 2 servers online, up 66m, plugin 0.1.0",
                "",
                "^/app/  Round-Robin, 3 retries",
                "  server         state    req/s  active  requests  5xx  failed    p50   p95   p99  remarks",
                "  app-1          online    10.0   2/100      1020    1       0  900us  12ms  1.5s",
                "  10.0.0.2:8080  offline    0.0       -         5    -       -      -     -     -  backup, failures, trial in 23s, connection?[2J refused",
            ]
        );
        assert!(!new.all_online());
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..130 {
            for line in plain(&page(12_345_678, 0).lines(None, width)) {
                assert!(line.chars().count() <= width.max(2), "{width}: {line:?}");
            }
        }
        let narrow = plain(&page(1, 0).lines(None, 40));
        assert!(narrow[4].starts_with("  app-1          online"), "{narrow:?}");
        assert!(narrow[3].contains("req/s") && !narrow[3].contains("p99"), "{narrow:?}");
    }

    #[test]
    fn why_a_server_is_offline_had_no_room_on_a_terminal() {
        let lines = plain(&page(1, 0).lines(None, 80));
        assert!(
            lines[5].starts_with("  10.0.0.2:8080  offline") && !lines[3].contains("remarks"),
            "{lines:?}"
        );
        assert_eq!(lines[6], "    backup, failures, trial in 23s, connection?[2J refused");
    }

    #[test]
    fn a_page_of_another_version_is_shown_as_far_as_it_goes() {
        let old = Snapshot::new(br#"{"routes":[{"backends":[{"state":"online"},{"state":"disabled"}]}]}"#, 0);
        let old = old.unwrap();
        assert!(old.all_online());
        assert_eq!(plain(&old.lines(None, 80))[0], "1 of 1 servers online, plugin -");
        // Counters that begin anew are no negative rate.
        assert!(page(1, 2000).rates(Some(&page(1000, 0))).len() == 1);
        for bad in ["{}", "[]", "x", r#"{"routes":1}"#] {
            assert!(Snapshot::new(bad.as_bytes(), 0).is_err());
        }
    }
}
