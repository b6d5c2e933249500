//! The picture: one line for each scenario, one mark for each server, on a scale of times of the
//! best other proxy. Colours that are read on light and on dark ground; a rim parts marks that lie on each other.

use std::fmt::Write as _;

use super::load::Figures;
use super::report::Best;
use super::run::Results;

const WIDTH: f64 = 1035.0;
/// Where the names of scenarios end.
const NAMES: f64 = 400.0;
const PANEL: f64 = 290.0;
/// The last figure below the one panel and the first below the other must not read as one.
const GAP: f64 = 42.0;
const LINE: f64 = 24.0;
const TOP: f64 = 118.0;
/// The scale goes from a quarter to four times; what is beyond stands at its edge.
const OCTAVES: f64 = 2.0;
const COLOURS: [&str; 9] =
    ["#0b5cd5", "#1a7f37", "#4f9bff", "#46c266", "#a5d0ff", "#a8f0bd", "#d9822b", "#a371f7", "#8b949e"];
const STYLE: &str = "<style>\
    text{font:13px system-ui,sans-serif;fill:#24292f}.head{font-weight:600}.dim{font-size:11px;fill:#6e7781}\
    .grid{stroke:#8b949e;stroke-opacity:.25}.one{stroke:#8b949e;stroke-width:1.5}\
    circle,rect{stroke:#fff;stroke-width:.8}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}circle,rect{stroke:#0d1117}}</style>";

/// The picture as SVG.
pub fn draw(results: &Results) -> String {
    let height = TOP + LINE * results.rows.len() as f64 + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n\
         <title>Requests per second and processor time beside the best other proxy</title>\n{STYLE}\n"
    );
    legend(&mut svg, &results.names);
    panel(&mut svg, results, NAMES, "requests/s: more is better", &|it| it.rate, &|best| best.rate);
    let second = NAMES + PANEL + GAP;
    panel(&mut svg, results, second, "CPU for each request: less is better", &|it| it.cpu_us, &|best| {
        best.cpu_us
    });
    for (nth, (scenario, _)) in results.rows.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            NAMES - 12.0,
            line(nth) + 4.0,
            scenario.title
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, names: &[(String, bool)]) {
    for (nth, (name, ours)) in names.iter().enumerate() {
        let (x, y) = (20.0 + 235.0 * (nth % 4) as f64, 20.0 + 22.0 * (nth / 4) as f64);
        mark(svg, x, y, nth, *ours);
        let _ = writeln!(svg, "<text x=\"{}\" y=\"{}\">{name}</text>", x + 12.0, y + 4.0);
    }
}

fn panel(
    svg: &mut String,
    results: &Results,
    left: f64,
    title: &str,
    value: &dyn Fn(&Figures) -> f64,
    best: &dyn Fn(&Best) -> Option<f64>,
) {
    let bottom = line(results.rows.len());
    let _ = writeln!(svg, "<text class=\"head\" x=\"{left}\" y=\"{}\">{title}</text>", TOP - 26.0);
    for (times, label) in [(0.25, "¼×"), (0.5, "½×"), (1.0, "1×"), (2.0, "2×"), (4.0, "4×")] {
        let x = left + place(times);
        let class = if times == 1.0 { "one" } else { "grid" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"dim\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            TOP - 4.0,
            bottom + 14.0
        );
    }
    for (nth, (_, row)) in results.rows.iter().enumerate() {
        let Some(best) = best(&Best::of(row, &results.names)) else { continue };
        // Ours last, so that they lie on top.
        for (at, one) in row.iter().enumerate().rev() {
            if let Ok(figures) = one {
                mark(svg, left + place(value(figures) / best), line(nth), at, results.names[at].1);
            }
        }
    }
}

/// A circle for the plugin, a square for another.
fn mark(svg: &mut String, x: f64, y: f64, nth: usize, ours: bool) {
    let colour = COLOURS[nth % COLOURS.len()];
    let _ = if ours {
        writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\" fill=\"{colour}\"/>")
    } else {
        let (x, y) = (x - 5.0, y - 5.0);
        writeln!(svg, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>")
    };
}

fn line(nth: usize) -> f64 {
    TOP + LINE * nth as f64 + 10.0
}

fn place(times: f64) -> f64 {
    (times.log2().clamp(-OCTAVES, OCTAVES) + OCTAVES) / (2.0 * OCTAVES) * PANEL
}
