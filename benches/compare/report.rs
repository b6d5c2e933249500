//! The figures as tables, into `docs/PERFORMANCE.md` between the markers.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::chart;
use super::load::Figures;
use super::memory::Memory;
use super::options::Options;
use super::run::Results;
use super::scenarios::Scenario;
use super::support::build::profile_dir;

const BEGIN: &str = "<!-- compare: what follows is written by `cargo bench --bench compare` -->\n";
const END: &str = "<!-- compare: end -->\n";

/// Writes everything: into `docs/`, or where nobody takes it for the real thing.
pub fn write(results: &Results, options: &Options) -> Result<(), String> {
    let folder = if options.is_whole() {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
    } else {
        let target = profile_dir().parent().map(Path::to_path_buf).unwrap_or_default();
        target.join("compare")
    };
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
    let page = folder.join("PERFORMANCE.md");
    let text = tables(results, options);
    let text = if options.is_whole() { replaced(&page, &text)? } else { text };
    let outputs: [(PathBuf, String); 2] =
        [(page, text), (folder.join("performance.svg"), chart::draw(results))];
    for (path, text) in outputs {
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
        eprintln!("written: {}", path.display());
    }
    Ok(())
}

/// The page with `text` between the markers; all else on it stays.
fn replaced(page: &Path, text: &str) -> Result<String, String> {
    let old = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, behind) = parts.ok_or(format!("{} has no place for the figures", page.display()))?;
    Ok(format!("{before}{BEGIN}\n{text}\n{END}{behind}"))
}

fn tables(results: &Results, options: &Options) -> String {
    let mut text = format!(
        "Each server {} times, started anew, for {} s in each scenario, in turns; medians. {} processors, Linux {}. \
         In brackets: how many times that of the best of the other proxies.\n\n",
        options.rounds,
        options.seconds,
        std::thread::available_parallelism().map_or(1, usize::from),
        rustix::system::uname().release().to_string_lossy(),
    );
    for note in &results.notes {
        let _ = writeln!(text, "* {note}");
    }
    text.push_str(
        "\n![Requests per second and processor time beside the best other proxy](performance.svg)\n",
    );
    for (scenario, row) in &results.rows {
        scenario_table(&mut text, scenario, row, &results.names);
    }
    if !results.two_workers.is_empty() {
        workers_table(&mut text, results);
    }
    if !results.memory.is_empty() {
        memory_table(&mut text, results);
    }
    text
}

fn scenario_table(
    text: &mut String,
    scenario: &Scenario,
    row: &[Result<Figures, String>],
    names: &[(String, bool)],
) {
    let _ = write!(
        text,
        "\n### {}\n\n| | requests/s | p50 ms | p99 ms | p99.9 ms | CPU µs/request | CPU µs/MB | errors |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        scenario.title
    );
    let best = Best::of(row, names);
    for (one, (name, _)) in row.iter().zip(names) {
        let _ = match one {
            Err(why) => writeln!(text, "| {name} | {} | | | | | | |", why.replace(['|', '\n'], " ")),
            Ok(it) => writeln!(
                text,
                "| {name} | {}{} | {:.2} | {:.2}{} | {:.2} | {:.1}{} | {} | {} |",
                thousands(it.rate),
                times(it.rate, best.rate),
                it.latency_ms[0],
                it.latency_ms[1],
                times(it.latency_ms[1], best.p99_ms),
                it.latency_ms[2],
                it.cpu_us,
                times(it.cpu_us, best.cpu_us),
                if scenario.length >= 1024 { thousands(it.cpu_us_per_mb) } else { String::new() },
                it.errors
            ),
        };
    }
}

fn workers_table(text: &mut String, results: &Results) {
    text.push_str(
        "\n### Two workers\n\n3 bytes, 64 connections: processor time for each request with one worker and with \
         two, and how many times the work of one worker two could do by that if they had two processors for \
         themselves. (Here the load and the backends need them too, so requests in a second show nothing.)\n\n\
         | | CPU µs/request, one worker | two workers | work of two |\n| --- | --- | --- | --- |\n",
    );
    for (name, figures) in &results.two_workers {
        let _ = match figures {
            Err(why) => writeln!(text, "| {name} | {} | | |", why.replace(['|', '\n'], " ")),
            Ok([one, two]) => writeln!(text, "| {name} | {one:.1} | {two:.1} | {:.2} |", 2.0 * one / two),
        };
    }
}

fn memory_table(text: &mut String, results: &Results) {
    text.push_str(
        "\n### Memory\n\nResident: behind a few requests; more for each client that keeps its connection and \
         asks nothing; how much of that a server needs that answers by itself, without the plugin; more for each of \
         1,000 that fetch 100 KB after 100 KB, when it is most.\n\n\
         | | MB | KB for each idle client | of that the server itself | KB for each busy client |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    let peers = || results.memory.iter().zip(&results.names).filter(|(_, (_, ours))| !ours);
    let least =
        |of: fn(&Memory) -> f64| peers().filter_map(|(it, _)| it.as_ref().ok()).map(of).reduce(f64::min);
    let best = [least(|it| it.alone), least(|it| it.per_idle), least(|it| it.per_busy)];
    for (one, (name, _)) in results.memory.iter().zip(&results.names) {
        let _ = match one {
            Err(why) => writeln!(text, "| {name} | {} | | | |", why.replace(['|', '\n'], " ")),
            Ok(it) => writeln!(
                text,
                "| {name} | {:.1}{} | {:.2}{} | {} | {:.1}{} |",
                it.alone / 1024.0,
                times(it.alone, best[0]),
                it.per_idle,
                times(it.per_idle, best[1]),
                it.per_idle_alone.map_or_else(String::new, |kb| format!("{kb:.2}")),
                it.per_busy,
                times(it.per_busy, best[2]),
            ),
        };
    }
}

/// The best of the others, figure by figure.
pub struct Best {
    /// The most answers in a second.
    pub rate: Option<f64>,
    /// The shortest time that 99 percent take.
    pub p99_ms: Option<f64>,
    /// The least processor time for each answer.
    pub cpu_us: Option<f64>,
}

impl Best {
    /// Of one scenario. Who has errors in more than one of a hundred answers is no measure.
    pub fn of(row: &[Result<Figures, String>], names: &[(String, bool)]) -> Best {
        let peers = || {
            let peers = row.iter().zip(names).filter(|(_, (_, ours))| !ours);
            let well = |it: &&Figures| (it.errors as f64) < it.rate / 100.0;
            peers.filter_map(|(one, _)| one.as_ref().ok()).filter(well)
        };
        Best {
            rate: peers().map(|it| it.rate).reduce(f64::max),
            p99_ms: peers().map(|it| it.latency_ms[1]).reduce(f64::min),
            cpu_us: peers().map(|it| it.cpu_us).reduce(f64::min),
        }
    }
}

fn times(value: f64, best: Option<f64>) -> String {
    match best {
        Some(best) if best > 0.0 => format!(" ({:.2})", value / best),
        _ => String::new(),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
