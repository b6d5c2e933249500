//! docs/CONFIG.md as it should be: the prose that stands there, with what the table of keys
//! and the parser say written into it.

use std::fmt::Write;
use std::path::Path;

use monkey_proxy_reverse::config::keys::{KEYS, Key};
use monkey_proxy_reverse::config::{self, Config, ConfigErrors};

/// Where it stands.
pub const PAGE: &str = "docs/CONFIG.md";

const BEGIN: &str = "<!-- keys: begin -->";
const END: &str = "<!-- keys: end -->";

/// The page with its generated parts renewed. A key that has no section yet gets one, behind
/// that of the key before it in the table.
pub fn renewed(page: &str) -> String {
    let page = with_facts(&with_missing_sections(page));
    let (before, rest) = page.split_once(BEGIN).expect("the mark where the table begins");
    let (_, after) = rest.split_once(END).expect("the mark where the table ends");
    format!("{before}{BEGIN}\n{}{END}{after}", table(&page))
}

/// The names of the keys that have sections, each behind the heading that it stands under.
pub fn sections(page: &str) -> Vec<(&str, &str)> {
    let mut task = "";
    let mut found = Vec::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            task = heading;
        } else if let Some(name) = line.strip_prefix("### ") {
            found.push((task, name));
        }
    }
    found
}

/// What the parser makes of an entry that has this line, and what else it needs.
pub fn with_line(section: &str, line: &str) -> Result<Config, ConfigErrors> {
    let key = line.split(' ').next().unwrap_or_default();
    let mut text = format!("[{section}]\n{line}\n");
    if section != "PROXY_ENTRY" {
        text.push_str("[PROXY_ENTRY]\n");
    }
    if key != "Match" {
        text.push_str("Match x\n");
    }
    if key != "ServerList" && key != "Server" {
        text.push_str("ServerList a\n");
    }
    config::from_text(Path::new("example"), text.as_bytes(), &|_| None)
}

fn table(page: &str) -> String {
    let mut rows = "| Key | Default | Meaning |\n| --- | --- | --- |\n".to_owned();
    let mut last_task = "";
    for (task, name) in sections(page) {
        let key = KEYS.iter().find(|key| key.name == name);
        let key = key.unwrap_or_else(|| panic!("docs/CONFIG.md explains '{name}', which is no key"));
        if task != last_task {
            writeln!(rows, "| **{task}** | | |").expect("text");
            last_task = task;
        }
        let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
        let anchor = name.to_lowercase();
        writeln!(rows, "| [`{name}`](#{anchor}) | {default} | {} |", key.doc).expect("text");
    }
    rows
}

/// What is to know of a key before one reads on.
fn facts(key: &Key) -> String {
    let line = format!("{} {}", key.name, key.example);
    let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
    let mut facts =
        format!("> **Value:** {}. **Default:** {default}. **Example:** `{line}`.", key.kind.expected());
    if let Some(alias) = key.alias {
        write!(facts, " **Also written:** `{alias}`.").expect("text");
    }
    if key.is_repeatable() {
        facts.push_str(" **Several lines** add up.");
    }
    match (with_line("PROXY_DEFAULTS", &line), with_line("PROXY_ENTRY", &line)) {
        (Ok(_), Ok(_)) => {}
        (Ok(_), Err(_)) => facts.push_str(" **Only in** `[PROXY_DEFAULTS]`."),
        (Err(_), Ok(_)) => facts.push_str(" **Only in** `[PROXY_ENTRY]`."),
        (Err(errors), Err(_)) => panic!("the example of '{}' is wrong: {errors}", key.name),
    }
    facts
}

fn with_facts(page: &str) -> String {
    let mut out = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(out, "{line}").expect("text");
        let key = line.strip_prefix("### ").and_then(|name| KEYS.iter().find(|key| key.name == name));
        let Some(key) = key else { continue };
        while lines.next_if(|line| line.is_empty() || line.starts_with("> **Value:**")).is_some() {}
        writeln!(out, "\n{}\n", facts(key)).expect("text");
    }
    out
}

fn with_missing_sections(page: &str) -> String {
    let mut page = page.to_owned();
    let mut before: Option<&Key> = None;
    for key in KEYS {
        if !page.contains(&format!("### {}\n", key.name)) {
            let before = before.expect("the first key of the table has a section");
            let start = page.find(&format!("### {}\n", before.name)).expect("the key before has a section");
            let end = page[start..].find("\n##").map_or(page.len(), |length| start + length + 1);
            let (first, rest) = key.doc.split_at(1);
            let section = format!(
                "### {}\n\n{}{rest}.\n\n```conf\n{}  {}\n```\n\n",
                key.name,
                first.to_uppercase(),
                key.name,
                key.example
            );
            // The next heading may be that of the next task, and its `### ` follows.
            page.insert_str(end, &section);
        }
        before = Some(key);
    }
    page
}
