//! The path that patterns are tried against.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// The percent-decoded path of a request line, without the query; empty when
/// there is none. An escape that encodes nothing stays as it is: such a request
/// is refused later on.
pub fn decoded_path(head: &[u8]) -> Cow<'_, [u8]> {
    // The parser skips empty lines in front, and so must we (RFC 9112 2.2).
    let begin = head.iter().position(|b| !b"\r\n".contains(b)).unwrap_or(head.len());
    let line = upto(memchr2(b'\r', b'\n', &head[begin..]), &head[begin..]);
    let target = memchr(b' ', line).map_or(&[][..], |blank| &line[blank + 1..]);
    let path = upto(memchr2(b' ', b'?', target), target);
    if memchr(b'%', path).is_none() {
        return Cow::Borrowed(path);
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        if let ([b'%', ..], [high, low, further @ ..]) = (rest, behind)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = further;
        } else {
            out.push(*first);
            rest = behind;
        }
    }
    Cow::Owned(out)
}

fn upto(end: Option<usize>, bytes: &[u8]) -> &[u8] {
    &bytes[..end.unwrap_or(bytes.len())]
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

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
    fn paths_are_decoded() {
        for (line, expected) in [
            ("GET /a/b?c%20d HTTP/1.1\r\nHost: h\r\n\r\n", "/a/b"),
            ("GET /a%2Fb%20c%41 HTTP/1.1\r\n\r\n", "/a/b cA"),
            ("GET /a%zz%4 HTTP/1.1\r\n\r\n", "/a%zz%4"),
            ("GET", ""),
            ("\r\n", ""),
            ("", ""),
        ] {
            assert_eq!(decoded_path(line.as_bytes()).as_ref(), expected.as_bytes(), "{line}");
        }
    }

    #[test]
    fn an_empty_line_in_front_is_skipped_as_the_parser_does() {
        for head in ["\r\nGET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", "\nGET /a HTTP/1.1\r\n\r\n"] {
            assert_eq!(decoded_path(head.as_bytes()).as_ref(), b"/a", "{head:?}");
        }
    }

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
