//! `[HANDLERS]` of Monkey 1.8: which paths a site hands to the plugin. Its patterns are a small
//! dialect: no alternatives, no groups, and letter case matters.

use std::path::Path;

use monkey_proxy_reverse::config::{Config, Pattern};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use crate::cli::Failure;
use crate::monkey::{Entry, File};

/// The lines that a configuration needs.
pub struct Wanted {
    /// Patterns in Monkey's dialect, each once.
    pub patterns: Vec<String>,
    /// Patterns of ours for which there is none.
    pub untold: Vec<String>,
}

/// What a site has to hand over.
pub fn wanted(config: &Config) -> Wanted {
    let mut wanted = Wanted { patterns: Vec::new(), untold: Vec::new() };
    let mut add = |pattern: String| {
        if !wanted.patterns.contains(&pattern) {
            wanted.patterns.push(pattern);
        }
    };
    for entry in &config.entries {
        entry.settings.statistics_url.iter().for_each(|url| add(format!("^{}", literal(url.as_bytes()))));
        for pattern in &entry.patterns {
            match in_dialect(pattern) {
                Some(patterns) => patterns.into_iter().for_each(&mut add),
                None => wanted.untold.push(pattern.text.clone()),
            }
        }
    }
    wanted
}

/// The site files, `default` first.
pub fn sites(conf: &Path) -> Result<Vec<File>, Failure> {
    let folder = conf.join("sites");
    let mut names: Vec<String> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(error) => return Err(Failure(format!("{}: {error}", folder.display()))),
    };
    // Those that Monkey does not read either.
    names.retain(|name| !name.starts_with('.') && !name.ends_with('~') && folder.join(name).is_file());
    names.sort_by_key(|name| (name != "default", name.clone()));
    let files: Result<Vec<Option<File>>, Failure> =
        names.iter().map(|name| File::read(&folder.join(name))).collect();
    Ok(files?.into_iter().flatten().collect())
}

/// The lines of a site that name the plugin.
pub fn ours(site: &File) -> Vec<Entry> {
    let names_us = |entry: &Entry| entry.value.split_whitespace().nth(1) == Some("proxy_reverse");
    site.values("HANDLERS", "Match").into_iter().filter(names_us).collect()
}

/// Patterns in Monkey's dialect that together match at least what this one does, but for other
/// letter case; `None` if it says neither how paths begin nor how they end.
fn in_dialect(pattern: &Pattern) -> Option<Vec<String>> {
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(&pattern.text).ok()?;
    let texts = |kind| {
        let seq = Extractor::new().kind(kind).extract(&hir);
        let texts: Vec<Vec<u8>> = seq.literals()?.iter().map(|text| text.as_bytes().to_vec()).collect();
        let fits = |text: &Vec<u8>| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        texts.iter().all(fits).then_some(texts)
    };
    let begins = hir.properties().look_set_prefix().contains(Look::Start);
    let ends = hir.properties().look_set_suffix().contains(Look::End);
    if begins && let Some(texts) = texts(ExtractKind::Prefix) {
        return Some(texts.iter().map(|text| format!("^{}", literal(text))).collect());
    }
    if ends && let Some(texts) = texts(ExtractKind::Suffix) {
        return Some(texts.iter().map(|text| format!("{}$", literal(text))).collect());
    }
    let texts = texts(ExtractKind::Prefix)?;
    Some(texts.iter().map(|text| literal(text)).collect())
}

fn literal(text: &[u8]) -> String {
    let mut pattern = String::new();
    for &byte in text {
        if b".^$*+?[]\\|(){}".contains(&byte) {
            pattern.push('\\');
        }
        pattern.push(char::from(byte));
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_put_into_the_dialect() {
        for (ours, theirs) in [
            ("^/app/", Some(vec!["^/app/"])),
            (r"\.php$", Some(vec![r"\.php$"])),
            (r"\.(jpg|png)$", Some(vec![r"\.jpg$", r"\.png$"])),
            ("^/(a|b)/.*x$", Some(vec!["^/a/", "^/b/"])),
            ("^/shop(/|$)", Some(vec!["^/shop/", "^/shop"])),
            ("/app", Some(vec!["/app"])),
            (".*", None),
            ("^[a-z]+", None),
        ] {
            let path = std::sync::Arc::from(Path::new("p"));
            let pattern = Pattern { text: ours.to_owned(), path, line: 1, column: 1 };
            let theirs = theirs.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(in_dialect(&pattern), theirs, "{ours}");
        }
    }
}
