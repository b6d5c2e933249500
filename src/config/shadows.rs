//! Patterns and entries that nothing reaches, since an earlier entry takes it all; and patterns of
//! which no path lies below a prefix.
//!
//! Only what is certain is said. A pattern is covered by an earlier one if each path that it
//! matches contains, begins or ends with one of a few known texts, and the earlier one matches
//! those texts wherever they stand. Everything else passes.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Hir, Look};
use regex_syntax::{ParserBuilder, hir::literal::Seq};

use super::error::{ErrorKind, Problems, Span};
use super::lints::Doubtful;
use super::model::Pattern;

/// Warns of them.
pub(super) fn warn(entries: &[Doubtful], problems: &mut Problems) {
    let count: usize = entries.iter().map(|entry| entry.patterns.len()).sum();
    let mut first_with: HashMap<&str, &Span> = HashMap::new();
    let mut earlier: Vec<(&Span, Taker)> = Vec::new();
    for entry in entries {
        let shadows: Vec<Option<Shadow>> = entry
            .patterns
            .iter()
            .map(|pattern| match first_with.get(pattern.text.as_str()) {
                Some(first) => Some(Shadow { first, by: None }),
                // Each is compared with each; nobody reads thousands of warnings.
                None if count <= COMPARED_MAX => covered(pattern, &earlier),
                None => None,
            })
            .collect();
        report(entry, &shadows, problems);
        for pattern in entry.patterns {
            first_with.entry(&pattern.text).or_insert(entry.span);
            if count <= COMPARED_MAX {
                earlier.extend(Taker::new(pattern).map(|taker| (entry.span, taker)));
            }
        }
    }
}

/// Why a pattern can never match.
struct Shadow<'a> {
    /// The entry that comes first.
    first: &'a Span,
    /// Its pattern; `None` if that is the same.
    by: Option<String>,
}

fn report(entry: &Doubtful, shadows: &[Option<Shadow>], problems: &mut Problems) {
    let all: Option<Vec<&Shadow>> = shadows.iter().map(Option::as_ref).collect();
    if let Some(shadow) = all.as_deref().and_then(same_reason) {
        let first = shadow.first.seen_from(entry.span);
        let kind = match &shadow.by {
            None => ErrorKind::ShadowedEntry { first },
            Some(by) => ErrorKind::CoveredEntry { by: by.clone(), first },
        };
        return problems.add(entry.span, kind);
    }
    for (index, shadow) in shadows.iter().enumerate() {
        let Some(shadow) = shadow else { continue };
        let at = entry.pattern_spans.get(index).unwrap_or(entry.span);
        let (pattern, first) = (entry.patterns[index].text.clone(), shadow.first.seen_from(at));
        let kind = match &shadow.by {
            None => ErrorKind::ShadowedPattern { pattern, first },
            Some(by) => ErrorKind::CoveredPattern { pattern, by: by.clone(), first },
        };
        problems.add(at, kind);
    }
}

/// What one message can say of all patterns of an entry.
fn same_reason<'a>(shadows: &[&'a Shadow<'a>]) -> Option<&'a Shadow<'a>> {
    let (first, others) = shadows.split_first()?;
    let same = |other: &&&Shadow| other.first.order == first.first.order && other.by == first.by;
    (others.iter().filter(same).count() == others.len()).then_some(first)
}

fn covered<'a>(pattern: &Pattern, earlier: &[(&'a Span, Taker)]) -> Option<Shadow<'a>> {
    if earlier.is_empty() {
        return None;
    }
    let given = Given::new(pattern)?;
    let (first, taker) = earlier.iter().find(|(_, taker)| taker.takes_all(&given))?;
    Some(Shadow { first, by: Some(taker.text.clone()) })
}

/// An earlier pattern whose matches do not depend on what stands around them, but for the begin
/// or the end of the path.
struct Taker {
    text: String,
    regex: Regex,
    needs_begin: bool,
    needs_end: bool,
}

impl Taker {
    fn new(pattern: &Pattern) -> Option<Taker> {
        // Flags may make a part of it sensitive to letter case, which the texts are not.
        if pattern.text.replace("(?:", "").contains("(?") {
            return None;
        }
        let looks = parsed(&pattern.text, true)?.properties().look_set();
        if looks.iter().any(|look| !matches!(look, Look::Start | Look::End)) {
            return None;
        }
        let regex = RegexBuilder::new(&pattern.text).case_insensitive(true).unicode(false).build().ok()?;
        let (needs_begin, needs_end) = (looks.contains(Look::Start), looks.contains(Look::End));
        Some(Taker { text: pattern.text.clone(), regex, needs_begin, needs_end })
    }

    fn takes_all(&self, given: &Given) -> bool {
        let takes = |texts: &[Vec<u8>]| texts.iter().all(|text| self.regex.is_match(text));
        let lists = match (self.needs_begin, self.needs_end) {
            (true, true) => return false,
            (true, false) => &given.begins,
            (false, true) => &given.ends,
            (false, false) => &given.holds,
        };
        lists.iter().any(|texts| takes(texts))
    }
}

/// What is certain of the paths that a pattern matches. Of each list, one text at least stands in
/// every such path; the texts are right but for letter case.
struct Given {
    begins: Vec<Vec<Vec<u8>>>,
    ends: Vec<Vec<Vec<u8>>>,
    holds: Vec<Vec<Vec<u8>>>,
}

impl Given {
    fn new(pattern: &Pattern) -> Option<Given> {
        let hir = parsed(&pattern.text, false)?;
        let (prefixes, suffixes) = (texts(&hir, ExtractKind::Prefix), texts(&hir, ExtractKind::Suffix));
        let properties = hir.properties();
        let mut begins = vec![begins_of_paths(pattern)?];
        let mut ends = Vec::new();
        if properties.look_set_prefix().contains(Look::Start) {
            begins.extend(prefixes.clone());
        }
        if properties.look_set_suffix().contains(Look::End) {
            ends.extend(suffixes.clone());
        }
        let holds = begins.iter().cloned().chain(prefixes).chain(suffixes).collect();
        Some(Given { begins, ends, holds })
    }
}

/// Whether no path that this pattern matches is `prefix` or lies below it, whatever the letter case.
/// False if that is not certain.
pub(super) fn is_never_below(pattern: &Pattern, prefix: &str) -> bool {
    let Some(hir) = parsed(&pattern.text, false) else { return false };
    let properties = hir.properties();
    // An escape is not what patterns are compared with.
    if prefix.contains('%') || !properties.look_set_prefix().contains(Look::Start) {
        return false;
    }
    let is_whole = properties.look_set_suffix().contains(Look::End);
    let seq = Extractor::new().kind(ExtractKind::Prefix).extract(&hir);
    let Some(begins) = seq.literals() else { return false };
    begins.iter().all(|begin| {
        let (text, prefix) = (begin.as_bytes().to_ascii_lowercase(), prefix.to_ascii_lowercase());
        match text.strip_prefix(prefix.as_bytes()) {
            Some(rest) => !matches!(rest, [] | [b'/', ..]),
            None => (is_whole && begin.is_exact()) || !prefix.as_bytes().starts_with(&text),
        }
    })
}

/// With what a path begins that this pattern matches: `/`, or it is the `*` of OPTIONS, or empty.
fn begins_of_paths(pattern: &Pattern) -> Option<Vec<Vec<u8>>> {
    let regex = RegexBuilder::new(&pattern.text).case_insensitive(true).unicode(false).build().ok()?;
    let odd = [&b"*"[..], b""].into_iter().filter(|path| regex.is_match(path));
    Some(std::iter::once(&b"/"[..]).chain(odd).map(<[u8]>::to_vec).collect())
}

fn texts(hir: &Hir, kind: ExtractKind) -> Option<Vec<Vec<u8>>> {
    let seq: Seq = Extractor::new().kind(kind).extract(hir);
    Some(seq.literals()?.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

fn parsed(pattern: &str, ignore_case: bool) -> Option<Hir> {
    let mut parser = ParserBuilder::new().case_insensitive(ignore_case).unicode(false).utf8(false).build();
    parser.parse(pattern).ok()
}

/// Patterns of a configuration in which each is compared with each.
const COMPARED_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern {
            text: text.to_owned(),
            path: std::sync::Arc::from(std::path::Path::new("p")),
            line: 1,
            column: 1,
        }
    }

    fn covers(earlier: &str, later: &str) -> bool {
        let given = Given::new(&pattern(later)).unwrap();
        Taker::new(&pattern(earlier)).is_some_and(|taker| taker.takes_all(&given))
    }

    #[test]
    fn what_is_certain_is_told() {
        for (earlier, later) in [
            ("/", "^/app/"),
            ("^/", "app"),
            (".", r"\.php$"),
            (".*", ".*"),
            ("^/.*", "x"),
            ("^/app", "^/app/shop/"),
            ("^/app/", "^/APP/(a|b)"),
            ("^/(app|shop)/", "^/shop/x"),
            (r"\.php$", r"^/admin/.*\.php$"),
            (r"\.(php|inc)$", r"/x\.(php|inc)$"),
            ("app", "/app/"),
            ("^/app", "^/(app|apple)/x"),
            ("/*", "^/x"),
        ] {
            assert!(covers(earlier, later), "{earlier} takes all of {later}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_told() {
        for (earlier, later) in [
            ("^/app/", "^/app"),
            ("^/app/", "/app/"),
            ("^/app/", "^/shop/|^/app/x"),
            (r"\.php$", r"\.php"),
            (r"\.php$", r"\.php5?$"),
            ("/app$", "/app/"),
            ("^/$", "^/x"),
            ("^/app", "app"),
            ("(?-i)^/app", "^/app/x"),
            (r"\bapp\b", "app"),
            ("/", "."), // OPTIONS *
            ("^/a{2}", "^/a"),
            ("/app/$", "/app/x"),
            ("", "x{0}(?m)$y"),
        ] {
            // The last is one that matches nothing at all.
            assert!(!covers(earlier, later) || earlier.is_empty(), "{earlier} and {later}");
        }
    }

    #[test]
    fn a_prefix_that_no_path_has_is_told_if_it_is_certain() {
        let never = |text: &str, prefix: &str| is_never_below(&pattern(text), prefix);
        for (text, prefix) in [
            ("^/shop/", "/app"),
            ("^/(shop|blog)/", "/app"),
            ("^/apple", "/app"),
            ("^/app-1/", "/app"),
            ("^/app/y", "/app/x"),
            ("^/app$", "/app/x"),
            ("^/(a|b)$", "/a/x"),
            ("^/[ab]/", "/c"),
        ] {
            assert!(never(text, prefix), "{text} has paths below {prefix}");
        }
        for (text, prefix) in [
            ("^/APP/", "/app"),
            ("^/app", "/App"),
            ("^/a", "/app/x"),
            ("^/app$", "/app"),
            ("^/app/?$", "/app"),
            ("^/(shop|app)/", "/app"),
            ("^/a.*/shop/", "/app"),
            ("/shop/", "/app"),
            (r"\.php$", "/app"),
            ("^/shop|x", "/app"),
            ("(?m)^/shop", "/app"),
            ("^/app/", "/%61pp"),
            ("^/", "/app"),
            ("", "/app"),
        ] {
            assert!(!never(text, prefix), "{text} may have paths below {prefix}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever the two patterns: a path that the later one matches is matched by the earlier
        /// one if that is said to cover it.
        #[test]
        fn what_is_told_is_true(
            earlier in PIECES, later in PIECES, path in "(/[abAB.]{0,3}){1,3}|\\*|"
        ) {
            let regex = |text: &str| RegexBuilder::new(text).case_insensitive(true).unicode(false).build();
            let (Ok(one), Ok(other)) = (regex(&earlier), regex(&later)) else { return Ok(()) };
            if other.is_match(path.as_bytes()) && covers(&earlier, &later) {
                proptest::prop_assert!(one.is_match(path.as_bytes()), "{} {} {}", earlier, later, path);
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Whatever the pattern: it matches no path below a prefix of which that is said.
        #[test]
        fn what_is_told_of_prefixes_is_true(
            text in PIECES, prefix in "(/[abAB.]{1,2}){1,2}", rest in "(/[abAB.]{0,3}){0,2}"
        ) {
            let Ok(regex) = RegexBuilder::new(&text).case_insensitive(true).unicode(false).build() else {
                return Ok(());
            };
            let path = format!("{prefix}{rest}");
            if is_never_below(&pattern(&text), &prefix) {
                proptest::prop_assert!(!regex.is_match(path.as_bytes()), "{} {} {}", text, prefix, path);
            }
        }
    }

    /// Small patterns of the pieces that real ones have.
    const PIECES: &str =
        r"(\^|\(\?-i\)|\\b)?(/|a|b|A|\.|\[ab\]|\(a\|b\)|\(\^/a\|b\$\)|a\*|b\?|\\\.|\^|\$){0,5}\$?";
}
