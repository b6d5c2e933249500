//! Prefixes of paths: taken off a target and put in front of it on the way to
//! a backend, and the way back for what an answer refers to.
//!
//! A prefix is found in the path as [`super::path`] makes it for the patterns:
//! decoded, without empty and dot segments, whatever the letter case. What
//! stands behind it goes on byte for byte.

use std::borrow::Cow;

/// What a route takes off a path, and puts in front of it afterwards.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    /// Taken off (`StripPrefix`).
    pub strip: Option<Prefix>,
    /// Put in front (`AddPrefix`).
    pub add: Option<Prefix>,
}

/// One or more whole segments at the beginning of a path.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// As it goes out: begins with a slash and does not end with one.
    text: Box<str>,
    /// Decoded.
    segments: Box<[Vec<u8>]>,
}

impl Prefix {
    /// The prefix of this text; `None` when there is nothing but slashes in it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_matches('/');
        if text.is_empty() {
            return None;
        }
        let segments = text.split('/').filter(|s| !s.is_empty()).map(|s| decoded(s.as_bytes()).collect());
        Some(Prefix { segments: segments.collect(), text: format!("/{text}").into() })
    }
}

impl Prefixes {
    /// Whether paths stay as they are.
    pub fn is_empty(&self) -> bool {
        self.strip.is_none() && self.add.is_none()
    }

    /// Appends the target that is sent on for `target`.
    pub fn write_target(&self, out: &mut Vec<u8>, target: &str) {
        let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
        let path = path.as_bytes();
        let stripped = self.strip.as_ref().and_then(|prefix| behind(path, &prefix.segments));
        if let Some(add) = &self.add {
            out.extend_from_slice(add.text.as_bytes());
        }
        match (stripped, &self.add) {
            (Some(at), _) => push_rest(out, path, at),
            (None, Some(_)) => match above(path) {
                Some(at) => push_rest(out, path, at),
                None => out.extend_from_slice(path),
            },
            (None, None) => out.extend_from_slice(path),
        }
        out.extend_from_slice(query.as_bytes());
    }

    /// The path by which a client reaches what a backend calls `path`; `None`
    /// when it is the same, or when no path of a client leads there.
    pub fn restored(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let path = if path.is_empty() { b"/" } else { path };
        if let Some(strip) = &self.strip {
            if self.add.is_none() && behind(path, &strip.segments).is_some() {
                // The backend knows by which path it is reached.
                return None;
            }
            out.extend_from_slice(strip.text.as_bytes());
        }
        match &self.add {
            Some(add) => push_rest(&mut out, path, behind(path, &add.segments)?),
            None => match above(path) {
                Some(at) => push_rest(&mut out, path, at),
                None => out.extend_from_slice(path),
            },
        }
        // Two slashes would begin the name of a server, and browsers take a
        // backslash for a slash.
        let elsewhere = matches!(out[..], [b'/', b'/' | b'\\', ..]);
        (!elsewhere && out != path).then_some(out)
    }
}

/// Whether `path` is `prefix` or lies below it, letter for letter; gives what
/// follows. `prefix` does not end with a slash.
pub fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    path.strip_prefix(prefix).filter(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Where in `path` the last segment of `prefix` ends, if the path lies below it
/// from there on.
fn behind(path: &[u8], prefix: &[Vec<u8>]) -> Option<usize> {
    let (mut depth, mut same, mut found) = (0, 0, None);
    for (segment, end) in segments(path) {
        match Meaning::of(segment) {
            Meaning::Nothing => {}
            Meaning::Up => {
                depth = usize::saturating_sub(depth, 1);
                same = same.min(depth);
                if depth < prefix.len() {
                    found = None;
                }
            }
            Meaning::Down => {
                if same == depth && prefix.get(depth).is_some_and(|wanted| is(segment, wanted)) {
                    same += 1;
                    if same == prefix.len() {
                        found = Some(end);
                    }
                }
                depth += 1;
            }
        }
    }
    found
}

/// Where in `path` the last segment ends that climbs above the root, if any
/// does: behind a prefix it would lead out of it.
fn above(path: &[u8]) -> Option<usize> {
    let (mut depth, mut found) = (0, None);
    for (segment, end) in segments(path) {
        match Meaning::of(segment) {
            Meaning::Nothing => {}
            Meaning::Up if depth == 0 => found = Some(end),
            Meaning::Up => depth -= 1,
            Meaning::Down => depth += 1,
        }
    }
    found
}

/// Appends what stands in `path` from `at` on, with one slash in front.
fn push_rest(out: &mut Vec<u8>, path: &[u8], at: usize) {
    let rest = &path[at..];
    let rest = &rest[separator(rest)..];
    let slashes = rest.iter().take_while(|&&b| b == b'/').count();
    out.push(b'/');
    out.extend_from_slice(&rest[slashes..]);
}

/// What a segment does to the place in the tree.
enum Meaning {
    Nothing,
    Up,
    Down,
}

impl Meaning {
    fn of(segment: &[u8]) -> Self {
        if segment.is_empty() || is(segment, b".") {
            Meaning::Nothing
        } else if is(segment, b"..") {
            Meaning::Up
        } else {
            Meaning::Down
        }
    }
}

/// The segments of a raw path, each with the place where it ends. An encoded
/// slash ends one too: decoded, it is a slash to the patterns.
fn segments(path: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let begin = next?;
        let end = (begin..path.len()).find(|&at| separator(&path[at..]) > 0).unwrap_or(path.len());
        next = match separator(&path[end..]) {
            0 => None,
            length => Some(end + length),
        };
        Some((&path[begin..end], end))
    })
}

/// How many bytes the slash takes that `text` begins with; 0 if it does not.
fn separator(text: &[u8]) -> usize {
    match text {
        [b'/', ..] => 1,
        [b'%', b'2', b'f' | b'F', ..] => 3,
        _ => 0,
    }
}

/// Whether a raw segment means `wanted`, whatever the letter case.
fn is(segment: &[u8], wanted: &[u8]) -> bool {
    let mut wanted = wanted.iter();
    decoded(segment).all(|b| wanted.next().is_some_and(|w| w.eq_ignore_ascii_case(&b)))
        && wanted.as_slice().is_empty()
}

/// The bytes of a raw segment; an escape that encodes nothing stays as it is.
fn decoded(segment: &[u8]) -> impl Iterator<Item = u8> {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let mut rest = segment;
    std::iter::from_fn(move || {
        let (&first, behind) = rest.split_first()?;
        if let (b'%', [high, low, further @ ..]) = (first, behind)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            rest = further;
            return Some(high << 4 | low);
        }
        rest = behind;
        Some(first)
    })
}

/// `path` restored if it has to be.
pub(super) fn restored_or_same<'a>(prefixes: &Prefixes, path: &'a [u8]) -> Cow<'a, [u8]> {
    if prefixes.is_empty() {
        return Cow::Borrowed(path);
    }
    prefixes.restored(path).map_or(Cow::Borrowed(path), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::path;

    fn prefixes(strip: &str, add: &str) -> Prefixes {
        Prefixes { strip: Prefix::new(strip), add: Prefix::new(add) }
    }

    fn sent(strip: &str, add: &str, target: &str) -> String {
        let mut out = Vec::new();
        prefixes(strip, add).write_target(&mut out, target);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_segments_are_stripped() {
        for (target, expected) in [
            ("/app", "/"),
            ("/app/", "/"),
            ("/app?x=/app", "/?x=/app"),
            ("/app/x%2Fy//z/../w?q", "/x%2Fy//z/../w?q"),
            ("/%61pp/x", "/x"),
            ("/APP/x", "/x"),
            ("//app/x", "/x"),
            ("/./app//x", "/x"),
            ("/app%2fx", "/x"),
            ("/app%2F/x", "/x"),
            ("/y/../app/x", "/x"),
            ("/y/%2e%2e/app", "/"),
            ("/../app/x", "/x"),
            ("/app/../app/x", "/x"),
            ("/app/x/..", "/x/.."),
            // Not below it.
            ("/apple", "/apple"),
            ("/ap", "/ap"),
            ("/", "/"),
            ("/x/app", "/x/app"),
            ("/app/../x", "/app/../x"),
            ("/app/x/../../y", "/app/x/../../y"),
            ("/app%2F..%2Fx", "/app%2F..%2Fx"),
            ("/%2561pp/x", "/%2561pp/x"),
        ] {
            assert_eq!(sent("/app", "", target), expected, "{target}");
        }
        assert_eq!(sent("/a/b/", "", "/a//b/c"), "/c");
        assert_eq!(sent("/a/b", "", "/a/x/../b/c"), "/c");
        assert_eq!(sent("/a%20b", "", "/a%20b/c"), "/c");
        assert_eq!(sent("/", "/", "/a"), "/a");
    }

    #[test]
    fn nothing_climbs_out_of_what_is_put_in_front() {
        for (target, expected) in [
            ("/x?y", "/v2/x?y"),
            ("/", "/v2/"),
            ("//x", "/v2//x"),
            ("/x/../y", "/v2/x/../y"),
            ("/../x", "/v2/x"),
            ("/x/%2E./..%2f../y", "/v2/y"),
            ("/..", "/v2/"),
        ] {
            assert_eq!(sent("", "/v2", target), expected, "{target}");
        }
        assert_eq!(sent("/app", "/v2/", "/app/x"), "/v2/x");
        assert_eq!(sent("/app", "/v2", "/other/x"), "/v2/other/x");
        assert_eq!(sent("/app", "/v2", "/app/../x"), "/v2/app/../x");
    }

    #[test]
    fn the_way_back() {
        let back = |strip: &str, add: &str, path: &str| {
            prefixes(strip, add).restored(path.as_bytes()).map(|path| String::from_utf8(path).unwrap())
        };
        for (strip, add, path, expected) in [
            ("/app", "", "/x", Some("/app/x")),
            ("/app", "", "/", Some("/app/")),
            ("/app", "", "", Some("/app/")),
            ("/app", "", "/app/x", None),
            ("/app", "", "/../x", Some("/app/x")),
            ("", "/v2", "/v2/x", Some("/x")),
            ("", "/v2", "/v2", Some("/")),
            ("", "/v2", "/v20/x", None),
            ("", "/v2", "/x", None),
            ("/app", "/v2", "/v2/x", Some("/app/x")),
            ("/app", "/v2", "/v2/app/x", Some("/app/app/x")),
            ("/app", "/v2", "/x", None),
            ("", "/v2", "/v2//evil.example/", Some("/evil.example/")),
            ("", "/v2", "/v2/\\evil.example/", None),
            ("", "", "/x", None),
        ] {
            assert_eq!(back(strip, add, path).as_deref(), expected, "{strip} {add} {path}");
        }
    }

    #[test]
    fn below_means_whole_segments() {
        assert_eq!(below(b"/a/b", b"/a"), Some(&b"/b"[..]));
        assert_eq!(below(b"/a", b"/a"), Some(&b""[..]));
        assert_eq!(below(b"/ab", b"/a"), None);
        assert_eq!(below(b"/x", b""), Some(&b"/x"[..]));
    }

    fn normal(raw: &str) -> Vec<Vec<u8>> {
        let head = format!("GET {raw} HTTP/1.1\r\n");
        let decoded = path::decoded_path(head.as_bytes());
        let normalised = path::normalised(&decoded);
        normalised.split(|&b| b == b'/').filter(|s| !s.is_empty()).map(|s| s.to_ascii_lowercase()).collect()
    }

    proptest! {
        /// What the patterns see below the prefix is what is stripped, and nothing else.
        #[test]
        fn stripping_agrees_with_matching(
            parts in prop::collection::vec(
                prop::sample::select(&["/", "a", "b", "A", ".", "..", "%2e", "%2F", "%61", "%62", "/a", "/b", "/.."][..]),
                0..10,
            ),
            query in "(\\?[a-b/.]{0,4})?",
        ) {
            let raw = format!("/{}", parts.concat());
            let before = normal(&raw);
            let out = sent("/a/b", "", &format!("{raw}{query}"));
            prop_assert!(out.starts_with('/') && out.ends_with(&query));
            let after = normal(&out[..out.len() - query.len()]);
            let is_below = before.starts_with(&[b"a".to_vec(), b"b".to_vec()]);
            if is_below {
                prop_assert_eq!(&before[2..], &after[..], "{} became {}", raw, out);
                prop_assert!(!out.starts_with("//"));
            } else {
                prop_assert_eq!(out, format!("{raw}{query}"));
            }
        }

        /// However a path climbs, what is put in front stays in front.
        #[test]
        fn what_is_added_stays(
            parts in prop::collection::vec(
                prop::sample::select(&["/", "a", ".", "..", "%2e", "%2F", "/..", "%2F.."][..]), 0..10,
            ),
        ) {
            let raw = format!("/{}", parts.concat());
            let out = sent("/a", "/v2", &raw);
            let stripped = normal(&raw).strip_prefix(&[b"a".to_vec()][..]).map(<[_]>::to_vec);
            let mut expected = vec![b"v2".to_vec()];
            expected.extend(stripped.unwrap_or_else(|| normal(&raw)));
            prop_assert_eq!(normal(&out), expected, "{} became {}", raw, out);
        }

        #[test]
        fn there_and_back(rest in "(/[a-z]{1,3}){0,3}/?") {
            let prefixes = prefixes("/app", "/v2");
            let mut out = Vec::new();
            let target = format!("/app{rest}");
            prefixes.write_target(&mut out, &target);
            let back = prefixes.restored(&out).unwrap();
            let back = String::from_utf8(back).unwrap();
            prop_assert_eq!(back.trim_end_matches('/'), target.trim_end_matches('/'));
        }
    }
}
