//! Ordered patterns, all tried at once in linear time; the first in file order
//! that matches wins.

use regex_automata::meta::{Cache, Regex};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet};

/// Finds which of many patterns a path matches.
#[derive(Debug)]
pub struct Router {
    regex: Regex,
    targets: Vec<usize>,
}

/// Room that a search needs; each worker keeps one, so that no search
/// allocates or waits.
#[derive(Debug)]
pub struct RouterScratch {
    cache: Cache,
    matched: PatternSet,
}

/// The patterns cannot be compiled together.
#[derive(Debug, thiserror::Error)]
#[error("the patterns cannot be compiled together: {0}")]
pub struct BadPatterns(String);

impl Router {
    /// Compiles `patterns` in file order, each with what a match of it yields.
    ///
    /// Patterns are case-insensitive, unanchored and matched on bytes.
    ///
    /// # Errors
    /// [`BadPatterns`] when one is no regular expression or all are too large.
    pub fn new<'a>(patterns: impl IntoIterator<Item = (&'a str, usize)>) -> Result<Self, BadPatterns> {
        let (texts, targets): (Vec<&str>, Vec<usize>) = patterns.into_iter().unzip();
        let regex = Regex::builder()
            .configure(Regex::config().match_kind(MatchKind::All).utf8_empty(false))
            .syntax(syntax::Config::new().case_insensitive(true).unicode(false).utf8(false))
            .build_many(&texts)
            .map_err(|error| BadPatterns(error.to_string()))?;
        Ok(Router { regex, targets })
    }

    /// Room for searches of one worker.
    pub fn scratch(&self) -> RouterScratch {
        RouterScratch { cache: self.regex.create_cache(), matched: PatternSet::new(self.targets.len()) }
    }

    /// What the first matching pattern yields. No allocation, no lock.
    pub fn find(&self, path: &[u8], scratch: &mut RouterScratch) -> Option<usize> {
        scratch.matched.clear();
        self.regex.which_overlapping_matches_with(
            &mut scratch.cache,
            &Input::new(path),
            &mut scratch.matched,
        );
        let first = scratch.matched.iter().next()?;
        self.targets.get(first.as_usize()).copied()
    }

    /// The numbers of all patterns that match, in file order. For explanations: it allocates.
    pub fn all(&self, path: &[u8], scratch: &mut RouterScratch) -> Vec<usize> {
        let _ = self.find(path, scratch);
        scratch.matched.iter().map(|pattern| pattern.as_usize()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_in_file_order_wins() {
        let router =
            Router::new([("\\.php$", 0), ("^/api/", 1), ("/.*\\.(jpg|png)$", 2), ("jpg", 3)]).unwrap();
        let mut room = router.scratch();
        for (path, expected) in [
            ("/x.php", Some(0)),
            ("/api/x.php", Some(0)),
            ("/API/x", Some(1)),
            ("/a/b.JPG", Some(2)),
            ("/jpg.txt", Some(3)),
            ("/plain.html", None),
            ("/x.php5", None),
        ] {
            assert_eq!(router.find(path.as_bytes(), &mut room), expected, "{path}");
            let first = router.all(path.as_bytes(), &mut room).first().copied();
            assert_eq!(first, expected, "{path}");
        }
        assert_eq!(router.all(b"/api/a.jpg", &mut room), [1, 2, 3]);
    }

    #[test]
    fn the_example_of_2013_keeps_its_meaning() {
        let router = Router::new([("/*.php", 0)]).unwrap();
        let mut room = router.scratch();
        assert_eq!(router.find(b"/index.php", &mut room), Some(0));
        assert_eq!(router.find(b"/xphp/readme", &mut room), Some(0)); // a regex, not a glob
        assert_eq!(router.find(b"php", &mut room), None);
    }

    #[test]
    fn no_pattern_matches_nothing() {
        let router = Router::new([]).unwrap();
        let mut room = router.scratch();
        assert_eq!(router.find(b"/", &mut room), None);
    }

    #[test]
    fn bytes_that_are_not_text_are_searched_too() {
        let router = Router::new([("b.$", 7)]).unwrap();
        let mut room = router.scratch();
        assert_eq!(router.find(b"/\xffb\xfe", &mut room), Some(7));
    }
}
