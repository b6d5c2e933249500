//! "Did you mean ...?"

/// The candidate nearest to `word`, if it is near enough to be meant. Letter case, `-` and
/// `_` make no difference.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalized(word);
    // A long word is near to nothing; don't spend time on it.
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| {
            let spelling = normalized(candidate);
            let allowed = spelling.chars().count().min(word.chars().count()).div_ceil(3);
            (distance(&word, &spelling), allowed, candidate)
        })
        .filter(|(steps, allowed, _)| steps <= allowed)
        .min_by_key(|(steps, _, _)| *steps)
        .map(|(_, _, candidate)| candidate)
}

/// The spelling by which names are compared: no letter case, no `-`, no `_`.
pub(super) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect()
}

/// Steps from `a` to `b`: characters added, dropped, changed, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_steps_between_words() {
        for (a, b, steps) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "", 3), ("abc", "acb", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), steps, "{a} {b}");
            assert_eq!(distance(b, a), steps, "{b} {a}");
        }
    }

    #[test]
    fn offers_only_what_is_near() {
        let names = ["Match", "ServerList", "OfflineTimeOut"];
        assert_eq!(closest("Macth", names), Some("Match"));
        assert_eq!(closest("server_lits", names), Some("ServerList"));
        assert_eq!(closest("OflineTimeout", names), Some("OfflineTimeOut"));
        assert_eq!(closest("Proxy", names), None);
        assert_eq!(closest("", names), None);
        assert_eq!(closest(&"x".repeat(100_000), names), None);
    }
}
