//! Problems for people, with the line that they stand in, and for programs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use monkey_proxy_reverse::config::{self, Config, ConfigError, ConfigErrors, ErrorKind};
use serde_json::{Value, json};

use crate::say;

/// One thing that there is to say.
pub struct Problem {
    is_warning: bool,
    code: String,
    path: PathBuf,
    /// Line and column from 1; 0 is the whole file.
    line: usize,
    column: usize,
    message: String,
    remedy: String,
    /// What the plugin says; nothing if it is no business of its.
    kind: Option<ErrorKind>,
}

impl Problem {
    /// A warning about a whole file.
    pub fn of_file(code: &str, path: &Path, message: &str, remedy: &str) -> Problem {
        Problem {
            is_warning: true,
            code: code.to_owned(),
            path: path.to_owned(),
            line: 0,
            column: 0,
            message: message.to_owned(),
            remedy: remedy.to_owned(),
            kind: None,
        }
    }

    /// A warning about a line.
    pub fn at(code: &str, place: &config::Place, message: &str, remedy: &str) -> Problem {
        let (line, column) = (place.line(), place.column());
        Problem { line, column, ..Problem::of_file(code, place.path(), message, remedy) }
    }

    /// Whether it says the same of the same line.
    pub fn is_as(&self, other: &Problem) -> bool {
        (&self.path, self.line, &self.message) == (&other.path, other.line, &other.message)
    }
}

impl From<&ConfigError> for Problem {
    fn from(error: &ConfigError) -> Problem {
        let (message, remedy) = error.summary_and_remedy();
        Problem {
            is_warning: error.is_warning(),
            code: error.code(),
            path: error.path().to_owned(),
            line: error.line(),
            column: error.column(),
            message,
            remedy,
            kind: Some(error.kind().clone()),
        }
    }
}

/// Everything that there is to say about a configuration.
pub struct Report {
    problems: Vec<Problem>,
    /// How many of them keep the plugin from starting.
    pub errors: usize,
    /// How many do not.
    pub warnings: usize,
}

impl Report {
    /// What came of reading it, and what else there is.
    pub fn new(result: &Result<Config, ConfigErrors>, further: Vec<Problem>) -> Report {
        let mut problems: Vec<Problem> = match result {
            Ok(config) => config.warnings.iter().map(Problem::from).collect(),
            Err(errors) => errors.iter().map(Problem::from).collect(),
        };
        problems.extend(further);
        let warnings = problems.iter().filter(|problem| problem.is_warning).count();
        Report { errors: problems.len() - warnings, warnings, problems }
    }

    /// Each problem with its line, to standard output.
    pub fn print(&self, sources: &Sources) {
        for problem in &self.problems {
            say::line(format_args!("{}\n", shown(problem, sources)));
        }
    }

    /// One object; `problems` is a list in the order of the file.
    pub fn to_json(&self, sources: &Sources) -> Value {
        let row = |problem: &Problem| {
            let place = Place::of(problem, sources);
            json!({
                "severity": if problem.is_warning { "warning" } else { "error" },
                "code": problem.code,
                "file": problem.path.to_string_lossy(),
                "line": problem.line,
                "column": problem.column,
                "end_column": place.as_ref().map(|place| problem.column + place.width),
                "message": problem.message,
                "remedy": problem.remedy,
                "source": place.map(|place| place.line),
            })
        };
        let problems: Vec<Value> = self.problems.iter().map(row).collect();
        json!({ "errors": self.errors, "warnings": self.warnings, "problems": problems })
    }
}

/// The text of files that problems stand in.
#[derive(Default)]
pub struct Sources {
    known: HashMap<PathBuf, String>,
}

impl Sources {
    /// With a text that is in no file.
    pub fn with(name: &Path, text: &[u8]) -> Sources {
        Sources { known: HashMap::from([(name.to_owned(), String::from_utf8_lossy(text).into_owned())]) }
    }

    fn line(&self, path: &Path, number: usize) -> Option<String> {
        let text = match self.known.get(path) {
            Some(text) => text.clone(),
            None => String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned(),
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let line = text.split('\n').nth(number.checked_sub(1)?)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        // The renderer takes care of the old control characters, not of the newer ones.
        Some(line.replace(|c: char| ('\u{80}'..='\u{9f}').contains(&c), "\u{fffd}"))
    }
}

/// The line of a problem, and what of it the problem is.
struct Place {
    line: String,
    /// Byte where it begins.
    start: usize,
    /// In characters, at least 1.
    width: usize,
}

impl Place {
    fn of(problem: &Problem, sources: &Sources) -> Option<Place> {
        let line = sources.line(&problem.path, problem.line)?;
        let start = line.char_indices().nth(problem.column - 1).map_or(line.len(), |(at, _)| at);
        let rest = &line[start..];
        let word = rest.split([' ', '\t']).next().unwrap_or_default();
        let text = match problem.kind.as_ref() {
            Some(ErrorKind::BadValue { value, .. }) if rest.starts_with(value.as_str()) => value,
            Some(ErrorKind::UnknownBalancer { name, .. }) if rest.starts_with(name.as_str()) => name,
            Some(ErrorKind::BadPattern { .. } | ErrorKind::NotAComment) => "",
            Some(ErrorKind::UnsetVariable { .. } | ErrorKind::BadVariable { .. }) => {
                rest.split_inclusive('}').next().unwrap_or(rest)
            }
            Some(ErrorKind::UnknownSection { .. } | ErrorKind::UnclosedSection) => rest.trim_end(),
            _ if rest.starts_with('[') => rest.split_inclusive(']').next().unwrap_or(rest),
            _ => word,
        };
        let width = text.chars().count().max(1);
        Some(Place { line, start, width })
    }
}

fn shown(problem: &Problem, sources: &Sources) -> String {
    let level = if problem.is_warning { Level::WARNING } else { Level::ERROR };
    let remedy = &problem.remedy;
    let title = level.primary_title(problem.message.as_str());
    let path = printable(&problem.path.to_string_lossy());
    let place = Place::of(problem, sources);
    let mut group = match &place {
        Some(place) => {
            let end = place.line[place.start..].char_indices().nth(place.width);
            let end = end.map_or(place.line.len(), |(at, _)| place.start + at);
            title.element(
                Snippet::source(place.line.as_str())
                    .line_start(problem.line)
                    .path(path.as_str())
                    .annotation(AnnotationKind::Primary.span(place.start..end.max(place.start))),
            )
        }
        None => title.element(annotate_snippets::Origin::path(path.as_str())),
    };
    if !remedy.is_empty() {
        group = group.element(Level::HELP.message(remedy.as_str()));
    }
    // anstream takes the colours away where nobody wants them.
    Renderer::styled().render(&[group])
}

/// Without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
