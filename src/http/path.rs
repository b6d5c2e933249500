//! The path that patterns are tried against.

use std::borrow::Cow;

/// `path` (already percent-decoded, as the host would look the file up)
/// without doubled slashes and dot segments, so that `//private/x` cannot get
/// around a pattern `^/private/` and reach the file behind it.
///
/// Ordinary paths are returned as they are, without a copy.
pub fn normalised(path: &[u8]) -> Cow<'_, [u8]> {
    if !needs_work(path) {
        return Cow::Borrowed(path);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&b| b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut out = Vec::with_capacity(path.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    let directory = path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..");
    if directory || out.is_empty() {
        out.push(b'/');
    }
    Cow::Owned(out)
}

fn needs_work(path: &[u8]) -> bool {
    path.windows(2).any(|w| w == b"//" || w == b"/.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_f32() {
        for (given, expected) in [
            ("/a/b", "/a/b"),
            ("/", "/"),
            ("//private///x", "/private/x"),
            ("/a/./b/.", "/a/b/"),
            ("/a/../b", "/b"),
            ("/one/../../x/..", "/"),
            ("/.hidden", "/.hidden"),
            ("/a/..b", "/a/..b"),
            ("//", "/"),
        ] {
            assert_eq!(normalised(given.as_bytes()).as_ref(), expected.as_bytes(), "{given}");
        }
    }
}
