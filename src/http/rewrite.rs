//! Values of an answer that name the backend, for a client that must not go
//! there: references lead back through us, cookies come back to us.

use std::borrow::Cow;

use super::prefix::restored_or_same;
use super::rules::{Rules, Variables, scheme};

/// What the fields of one answer are rewritten by.
#[derive(Clone, Copy, Debug)]
pub struct Rewriting<'a> {
    /// What the route asks for.
    pub rules: &'a Rules,
    /// What the client used.
    pub client: Variables<'a>,
    /// The `Host` that the backend got.
    pub sent_host: &'a [u8],
    /// The authority of the backend.
    pub backend: &'a str,
}

impl Rewriting<'_> {
    /// The value that the client gets for a field of the backend.
    pub fn value<'v>(&self, name: &str, value: &'v [u8]) -> Cow<'v, [u8]> {
        let is = |text: &str| name.eq_ignore_ascii_case(text);
        let changed = match name.len() {
            7 if self.rules.location && is("refresh") => self.refresh(value),
            8 if self.rules.location && is("location") => self.reference(value),
            16 if self.rules.location && is("content-location") => self.reference(value),
            10 if !self.rules.cookies.is_empty() && is("set-cookie") => self.rules.cookies.applied(value),
            _ => None,
        };
        changed.map_or(Cow::Borrowed(value), Cow::Owned)
    }

    /// A URL, or the absolute path of one.
    fn reference(&self, text: &[u8]) -> Option<Vec<u8>> {
        let prefixes = &self.rules.prefixes;
        let Some((scheme_text, default_port)) = scheme_of(text) else {
            // Browsers take a backslash for a slash: then it names a server.
            if prefixes.is_empty() || !text.starts_with(b"/") || text.starts_with(b"/\\") {
                return None;
            }
            let (path, behind) = split_before(text, b"?#");
            return Some([&prefixes.restored(path)?, behind].concat());
        };
        let (authority, rest) = split_before(&text[scheme_text.len()..], b"/?#\\");
        let (path, behind) = split_before(rest, b"?#");
        if path.starts_with(b"\\") {
            return None;
        }
        let authority = Authority::new(authority, default_port)?;
        let is = |ours: &[u8], port| Authority::new(ours, port).is_some_and(|o| o.is(&authority));
        if self.client.host.is_some_and(|host| is(host, default_port)) {
            if prefixes.is_empty() {
                return None;
            }
            let kept = &text[..text.len() - rest.len()];
            return Some([kept, &prefixes.restored(path)?, behind].concat());
        }
        if !is(self.backend.as_bytes(), 80) && !is(self.sent_host, default_port) {
            return None;
        }
        let host = self.client.host?;
        let scheme = if scheme_text == b"//" { "" } else { scheme(self.client.secure) };
        let colon = if scheme.is_empty() { "" } else { ":" };
        let path = restored_or_same(prefixes, path);
        Some([scheme.as_bytes(), colon.as_bytes(), b"//", host, &path, behind].concat())
    }

    /// `5; url=http://...`, perhaps in quotes.
    fn refresh(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut at = value.iter().position(|&b| b == b';' || b == b',')? + 1;
        let blanks = |at: usize| value[at..].iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        at += blanks(at);
        if !starts_with(&value[at..], b"url") {
            return None;
        }
        at += 3;
        at += blanks(at);
        if value.get(at) != Some(&b'=') {
            return None;
        }
        at += 1;
        at += blanks(at);
        let end = match value.get(at) {
            Some(&quote @ (b'"' | b'\'')) => {
                at += 1;
                at + value[at..].iter().position(|&b| b == quote).unwrap_or(value.len() - at)
            }
            _ => value.len(),
        };
        let url = self.reference(&value[at..end])?;
        Some([&value[..at], &url, &value[end..]].concat())
    }
}

/// The scheme with its slashes, and the port that goes without saying.
fn scheme_of(text: &[u8]) -> Option<(&[u8], u16)> {
    let schemes: [(&[u8], u16); 3] = [(b"http://", 80), (b"https://", 443), (b"//", 80)];
    let (scheme, port) = schemes.into_iter().find(|(scheme, _)| starts_with(text, scheme))?;
    Some((&text[..scheme.len()], port))
}

/// A host and its port.
struct Authority<'a> {
    host: &'a [u8],
    port: u16,
}

impl<'a> Authority<'a> {
    /// `None` for a port that is none.
    fn new(text: &'a [u8], default_port: u16) -> Option<Self> {
        let colon = match text.iter().rposition(|&b| b == b':') {
            Some(at) if !text[at..].contains(&b']') => at,
            _ => return Some(Authority { host: text, port: default_port }),
        };
        let port = match &text[colon + 1..] {
            [] => default_port,
            port => std::str::from_utf8(port).ok()?.parse().ok()?,
        };
        Some(Authority { host: &text[..colon], port })
    }

    fn is(&self, other: &Authority<'_>) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}

fn starts_with(text: &[u8], beginning: &[u8]) -> bool {
    text.get(..beginning.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(beginning))
}

/// Splits in front of the first of these bytes.
fn split_before<'a>(text: &'a [u8], bytes: &[u8]) -> (&'a [u8], &'a [u8]) {
    text.split_at(text.iter().position(|b| bytes.contains(b)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::prefix::{Prefix, Prefixes};

    fn rules(strip: &str, add: &str) -> Rules {
        let prefixes = Prefixes { strip: Prefix::new(strip), add: Prefix::new(add) };
        Rules { location: true, prefixes, ..Rules::default() }
    }

    fn rewriting<'a>(rules: &'a Rules, host: Option<&'a str>, secure: bool, sent: &'a str) -> Rewriting<'a> {
        Rewriting {
            rules,
            client: Variables { source: &[], host: host.map(str::as_bytes), secure, request_id: "" },
            sent_host: sent.as_bytes(),
            backend: "back:8081",
        }
    }

    fn shown(rewriting: &Rewriting<'_>, name: &str, value: &str) -> String {
        String::from_utf8(rewriting.value(name, value.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn the_backends_own_name_becomes_that_of_the_client() {
        let rules = rules("", "");
        let rewriting = rewriting(&rules, Some("pub:8080"), true, "int.example");
        for (given, expected) in [
            ("http://back:8081/x?y#z", "https://pub:8080/x?y#z"),
            ("HTTP://BACK:8081", "https://pub:8080"),
            ("https://back:8081?q", "https://pub:8080?q"),
            ("//back:8081/x", "//pub:8080/x"),
            ("http://int.example/x", "https://pub:8080/x"),
            ("http://int.example:80/x", "https://pub:8080/x"),
            ("https://int.example/x", "https://pub:8080/x"),
            // Not ours.
            ("http://back/x", "http://back/x"),
            ("http://back:80/x", "http://back:80/x"),
            ("http://other.example/x", "http://other.example/x"),
            ("http://back:8081@evil.example/", "http://back:8081@evil.example/"),
            ("http://evil.example\\@back:8081/", "http://evil.example\\@back:8081/"),
            ("http://back:8081\\@evil.example/", "http://back:8081\\@evil.example/"),
            ("http://back:8081.evil.example/", "http://back:8081.evil.example/"),
            ("ftp://back:8081/", "ftp://back:8081/"),
            // The client's own name: nothing changes, not even the scheme.
            ("http://pub:8080/x", "http://pub:8080/x"),
            ("/x", "/x"),
            ("x", "x"),
            ("", ""),
        ] {
            for name in ["Location", "content-location"] {
                assert_eq!(shown(&rewriting, name, given), expected);
            }
            assert_eq!(shown(&rewriting, "Link", given), given);
        }
    }

    #[test]
    fn default_ports_may_be_left_out() {
        let rules = rules("", "");
        let with = |backend: &'static str, value: &str| {
            let rewriting = Rewriting { backend, ..rewriting(&rules, Some("pub"), false, "pub") };
            shown(&rewriting, "Location", value)
        };
        assert_eq!(with("back:80", "http://back/x"), "http://pub/x");
        assert_eq!(with("back:80", "https://back/x"), "https://back/x");
        assert_eq!(with("[::1]:80", "http://[::1]/x"), "http://pub/x");
        assert_eq!(with("[::1]:80", "http://[::1]:80/x"), "http://pub/x");
        assert_eq!(with("localhost", "http://localhost/x"), "http://pub/x");
        assert_eq!(with("localhost", "http://localhost:99999/x"), "http://localhost:99999/x");
        // A redirect to https on the client's own name is to stay one.
        assert_eq!(with("back:80", "https://pub/x"), "https://pub/x");
    }

    #[test]
    fn paths_lead_back_below_the_prefix() {
        let rules = rules("/app", "/v2");
        let rewriting = rewriting(&rules, Some("pub"), false, "pub");
        for (given, expected) in [
            ("/v2/x?y", "/app/x?y"),
            ("/other", "/other"),
            ("http://back:8081/v2/x", "http://pub/app/x"),
            ("http://back:8081/other", "http://pub/other"),
            ("https://pub/v2?y", "https://pub/app/?y"),
            ("http://other.example/v2/x", "http://other.example/v2/x"),
            ("x/y", "x/y"),
            ("/\\evil.example", "/\\evil.example"),
        ] {
            assert_eq!(shown(&rewriting, "Location", given), expected, "{given}");
        }
    }

    #[test]
    fn refresh_has_a_url_inside() {
        let rules = rules("/app", "");
        let rewriting = rewriting(&rules, Some("pub"), false, "pub");
        for (given, expected) in [
            ("5; url=http://back:8081/x", "5; url=http://pub/app/x"),
            ("0;URL = '/x' ; more", "0;URL = '/app/x' ; more"),
            ("0, url=\"/x", "0, url=\"/app/x"),
            ("5", "5"),
            ("5;", "5;"),
            ("5; url", "5; url"),
            ("5; x=/y", "5; x=/y"),
        ] {
            assert_eq!(shown(&rewriting, "Refresh", given), expected);
        }
    }

    #[test]
    fn switched_off_and_without_a_name_nothing_changes() {
        let off = Rules { location: false, ..rules("/app", "") };
        let value = "http://back:8081/x";
        assert_eq!(shown(&rewriting(&off, Some("pub"), false, "pub"), "Location", value), value);
        let on = rules("", "");
        assert_eq!(shown(&rewriting(&on, None, false, "back:8081"), "Location", value), value);
    }

    proptest! {
        #[test]
        fn references_to_other_servers_stay(
            value in "(https?:)?//[a-c.@\\\\]{1,6}(:[0-9]{1,2})?([/?#][a-c/.?#]{0,8})?",
            strip in "(/a)?",
            add in "(/b)?",
        ) {
            let rules = rules(&strip, &add);
            let rewriting = rewriting(&rules, Some("pub"), false, "pub");
            prop_assert_eq!(shown(&rewriting, "Location", &value), value);
        }

        #[test]
        fn no_path_becomes_another_server(
            value in "/[a-c/.\\\\?#%]{0,10}",
            strip in "(/a)?",
            add in "(/b)?",
        ) {
            let rules = rules(&strip, &add);
            let rewriting = rewriting(&rules, Some("pub"), false, "pub");
            let out = shown(&rewriting, "Location", &value);
            let leaves = |text: &str| text.starts_with("//") || text.starts_with("/\\");
            prop_assert!(out.starts_with('/'));
            prop_assert!(leaves(&value) || !leaves(&out), "{} became {}", value, out);
        }
    }
}
