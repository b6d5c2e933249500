//! `mkproxy check --effective`: every key of every entry, with its value and where that comes from.

use std::path::Path;

use clap::builder::styling::Style;
use monkey_proxy_reverse::config::keys::{KEYS, Key, KeyId, name_of};
use monkey_proxy_reverse::config::{
    Config, Origins, Place, ProxyEntry, ServerLine, written, written_servers,
};
use serde_json::{Value, json};

/// The table for people.
pub fn table(config: &Config, root: &Path) -> String {
    let bold = Style::new().bold();
    let dim = Style::new().dimmed();
    let mut text = String::new();
    for (entry, origins) in config.entries.iter().zip(&config.origins) {
        let rows = rows(entry, origins, root);
        let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
        let keys = longest(&mut rows.iter().map(|row| row.key.len()));
        let values = longest(&mut rows.iter().map(|row| row.value.chars().count())).min(VALUE_MAX);
        text += &format!("{bold}[PROXY_ENTRY]{bold:#} {}:{}\n", entry.path.display(), entry.line);
        for row in &rows {
            let (on, off) =
                if row.is_built_in { (format!("{dim}"), format!("{dim:#}")) } else { Default::default() };
            let Row { key, value, origin, .. } = row;
            text += &format!("{on}    {key:keys$}  {value:values$}  {origin}{off}\n");
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// A file that means the same and inherits nothing; where values come from stands above them.
pub fn file(config: &Config, root: &Path) -> String {
    let mut text = String::new();
    for (entry, origins) in config.entries.iter().zip(&config.origins) {
        text += &format!("# {}:{}\n[PROXY_ENTRY]\n", entry.path.display(), entry.line);
        let mut above = String::new();
        for row in rows(entry, origins, root).iter().filter(|row| row.value != NOTHING) {
            if row.origin != above && !row.origin.is_empty() {
                above.clone_from(&row.origin);
                text += &format!("    # {above}\n");
            }
            text += &format!("    {} {}\n", row.key, row.value);
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

/// One object; `entries` is a list in the order of the file.
pub fn json(config: &Config) -> Value {
    let entries = config.entries.iter().zip(&config.origins).map(|(entry, origins)| {
        let keys: Vec<Value> = KEYS.iter().map(|key| json_of(key, entry, origins)).collect();
        json!({ "file": entry.path.to_string_lossy(), "line": entry.line, "keys": keys })
    });
    json!({ "entries": entries.collect::<Vec<_>>() })
}

fn json_of(key: &Key, entry: &ProxyEntry, origins: &Origins) -> Value {
    let place = |place: &Place| {
        json!({
            "section": place.section.to_string(),
            "file": place.path().to_string_lossy(),
            "line": place.line(),
            "variables": place.variables,
        })
    };
    let places = origins.of(key.id);
    json!({
        "key": key.name,
        "values": written(entry, key.id),
        "default": key.default,
        "built_in": places.is_empty(),
        "origins": places.iter().map(place).collect::<Vec<_>>(),
    })
}

struct Row<'a> {
    key: &'a str,
    value: String,
    /// Empty where it is that of the row above.
    origin: String,
    is_built_in: bool,
}

fn rows<'a>(entry: &ProxyEntry, origins: &Origins, root: &Path) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for key in KEYS {
        let lines = match key.id {
            // The two are one list, whose order matters.
            KeyId::ServerList => {
                rows.extend(
                    written_servers(&entry.servers).into_iter().map(|line| of_servers(line, origins, root)),
                );
                continue;
            }
            KeyId::Server => continue,
            id => written(entry, id),
        };
        let places = origins.of(key.id);
        let mut origin = origin(places, root);
        let is_built_in = places.is_empty();
        if lines.is_empty() {
            rows.push(Row { key: key.name, value: NOTHING.to_owned(), origin, is_built_in });
            continue;
        }
        for value in lines {
            rows.push(Row { key: key.name, value, origin: std::mem::take(&mut origin), is_built_in });
        }
    }
    rows
}

fn of_servers<'a>(line: ServerLine, origins: &Origins, root: &Path) -> Row<'a> {
    let mut places: Vec<Place> = line.servers.filter_map(|at| origins.of_server(at)).cloned().collect();
    places.dedup();
    Row { key: name_of(line.key), value: line.value, origin: origin(&places, root), is_built_in: false }
}

fn origin(places: &[Place], root: &Path) -> String {
    if places.is_empty() {
        return "built-in".to_owned();
    }
    places.iter().map(|place| place.seen_from(root)).collect::<Vec<_>>().join(", ")
}

/// Stands for no value at all.
const NOTHING: &str = "-";

/// Columns of values; a longer one moves its origin aside, not those of all others.
const VALUE_MAX: usize = 60;
