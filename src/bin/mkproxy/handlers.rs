//! `[HANDLERS]` of Monkey 1.8: which paths a site hands to the plugin. Its patterns are a small
//! dialect: no alternatives, no groups, and letter case matters.

use std::path::Path;

use monkey_proxy_reverse::config::{Config, Pattern};
use regex::bytes::{Regex, RegexBuilder};
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

/// A path that this pattern matches, if one is easily told.
pub fn example(pattern: &Pattern) -> Option<String> {
    let regex = RegexBuilder::new(&pattern.text).case_insensitive(true).unicode(false).build().ok()?;
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(&pattern.text).ok()?;
    let texts = [ExtractKind::Prefix, ExtractKind::Suffix].into_iter().filter_map(|kind| {
        let seq = Extractor::new().kind(kind).extract(&hir);
        String::from_utf8(seq.literals()?.first()?.as_bytes().to_vec()).ok()
    });
    let candidates = texts.flat_map(|text| [text.clone(), format!("/x{text}"), format!("{text}x")]);
    let is_path = |path: &String| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    candidates.filter(is_path).find(|path| regex.is_match(path.as_bytes()))
}

/// What a pattern of Monkey 1.8 matches; `None` if that is not certain. Classes of several patterns
/// share their memory there.
pub fn as_regex(pattern: &str) -> Option<Regex> {
    if pattern.contains(['[', ']']) || !pattern.is_ascii() {
        return None;
    }
    let mut text = String::new();
    for c in pattern.chars() {
        // What is special to us alone stands for itself.
        if "|(){}".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    RegexBuilder::new(&text).unicode(false).build().ok()
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

    fn pattern(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), path: std::sync::Arc::from(Path::new("p")), line: 1, column: 1 }
    }

    #[test]
    fn examples_are_matched() {
        for (text, path) in [
            ("^/app/", Some("/app/")),
            (r"\.php$", Some("/x.php")),
            (r"^/shop/.*\.jpg$", None),
            ("app", Some("/xapp")),
            (".*", None),
        ] {
            assert_eq!(example(&pattern(text)).as_deref(), path, "{text}");
        }
        let is_match = |theirs: &str, path: &str| as_regex(theirs).unwrap().is_match(path.as_bytes());
        assert!(is_match("/app/.*", "/x/app/y") && !is_match("^/app/", "/APP/"));
        assert!(!is_match("^/(a|b)", "/a") && is_match("^/(a|b)", "/(a|b)"));
        assert!(as_regex("[a-z]").is_none());
    }

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
            let theirs = theirs.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(in_dialect(&pattern(ours)), theirs, "{ours}");
        }
    }
}
