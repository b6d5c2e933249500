//! `Set-Cookie` (RFC 6265) for clients that know a backend by another name and
//! another path.

use super::fields::trim;
use super::prefix::below;

/// What becomes of the attributes `Domain` and `Path`; the first rule that
/// fits is applied.
#[derive(Clone, Debug, Default)]
pub struct CookieRules {
    domains: Vec<Renaming>,
    paths: Vec<Renaming>,
}

#[derive(Clone, Debug)]
struct Renaming {
    from: Box<str>,
    to: Box<str>,
}

impl CookieRules {
    /// Whether cookies stay as they are.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.paths.is_empty()
    }

    /// Cookies of the domain `from` are to be of the domain `to`.
    pub fn rename_domain(&mut self, from: &str, to: &str) {
        let bare = |name: &str| name.trim_start_matches('.').into();
        self.domains.push(Renaming { from: bare(from), to: bare(to) });
    }

    /// Cookies of the path `from`, or of one below it, are to be of `to`.
    pub fn move_path(&mut self, from: &str, to: &str) {
        let bare = |path: &str| path.trim_end_matches('/').into();
        self.paths.push(Renaming { from: bare(from), to: bare(to) });
    }

    /// The value of a `Set-Cookie` field as the client gets it; `None` if it
    /// stays as it is. But for the two attributes each byte is kept.
    pub fn applied(&self, cookie: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(cookie.len() + 32);
        let mut changed = false;
        for (index, part) in cookie.split(|&b| b == b';').enumerate() {
            if index > 0 {
                out.push(b';');
            }
            // The first part is the cookie itself.
            match self.attribute(part).filter(|_| index > 0) {
                Some(Replaced { before, text, after }) => {
                    out.extend_from_slice(before);
                    out.extend_from_slice(&text);
                    out.extend_from_slice(after);
                    changed = true;
                }
                None => out.extend_from_slice(part),
            }
        }
        changed.then_some(out)
    }

    fn attribute<'a>(&self, part: &'a [u8]) -> Option<Replaced<'a>> {
        let equals = part.iter().position(|&b| b == b'=')?;
        let (name, value) = (trim(&part[..equals]), &part[equals + 1..]);
        let from = equals + 1 + value.len() - trim_start(value).len();
        let value = trim(value);
        let (at, length, text) = if name.eq_ignore_ascii_case(b"domain") {
            let dots = value.iter().take_while(|&&b| b == b'.').count();
            let bare = &value[dots..];
            let rule = self.domains.iter().find(|rule| rule.from.as_bytes().eq_ignore_ascii_case(bare))?;
            (from + dots, bare.len(), rule.to.as_bytes().to_vec())
        } else if name.eq_ignore_ascii_case(b"path") {
            let moved = self.paths.iter().find_map(|rule| rule.moved(value))?;
            (from, value.len(), moved)
        } else {
            return None;
        };
        Some(Replaced { before: &part[..at], text, after: &part[at + length..] })
    }
}

impl Renaming {
    fn moved(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = below(path, self.from.as_bytes()).filter(|_| path.starts_with(b"/"))?;
        // What was valid everywhere is so below the new path: "/app", not "/app/".
        let rest = if self.from.is_empty() && rest == b"/" { b"" } else { rest };
        let moved = [self.to.as_bytes(), rest].concat();
        Some(if moved.is_empty() { b"/".to_vec() } else { moved })
    }
}

/// An attribute with another value.
struct Replaced<'a> {
    before: &'a [u8],
    text: Vec<u8>,
    after: &'a [u8],
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    &bytes[blanks..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(cookie: &str, domains: &[(&str, &str)], paths: &[(&str, &str)]) -> Option<String> {
        let mut rules = CookieRules::default();
        domains.iter().for_each(|(from, to)| rules.rename_domain(from, to));
        paths.iter().for_each(|(from, to)| rules.move_path(from, to));
        rules.applied(cookie.as_bytes()).map(|cookie| String::from_utf8(cookie).unwrap())
    }

    #[test]
    fn domains_are_renamed_whatever_their_case_and_dot() {
        let domains = [("internal.example", "public.example"), (".b.example", ".c.example")];
        for (cookie, expected) in [
            ("a=1; Domain=internal.example; Secure", Some("a=1; Domain=public.example; Secure")),
            ("a=1;DOMAIN = .Internal.Example ;HttpOnly", Some("a=1;DOMAIN = .public.example ;HttpOnly")),
            ("a=1; domain=b.example", Some("a=1; domain=c.example")),
            ("a=1; Domain=x.internal.example", None),
            ("a=1; Domain=internal.example.org", None),
            ("a=1; Domain=", None),
            ("a=1; Domain", None),
            ("Domain=internal.example; Path=/", None),
            ("a=Domain=internal.example", None),
        ] {
            assert_eq!(applied(cookie, &domains, &[]).as_deref(), expected, "{cookie}");
        }
    }

    #[test]
    fn paths_are_moved_by_whole_segments() {
        let paths = [("/v2", "/app"), ("/old/", "/")];
        for (cookie, expected) in [
            ("a=1; Path=/v2", Some("a=1; Path=/app")),
            ("a=1; path=/v2/x/; Secure", Some("a=1; path=/app/x/; Secure")),
            ("a=1; Path=/v20", None),
            ("a=1; Path=/V2", None),
            ("a=1; Path=/x/v2", None),
            ("a=1; Path=", None),
            ("a=1; Path=/old", Some("a=1; Path=/")),
            ("a=1; Path=/old/x", Some("a=1; Path=/x")),
        ] {
            assert_eq!(applied(cookie, &[], &paths).as_deref(), expected, "{cookie}");
        }
        let root = [("/", "/app")];
        assert_eq!(applied("a=1; Path=/", &[], &root).as_deref(), Some("a=1; Path=/app"));
        assert_eq!(applied("a=1; Path=/x", &[], &root).as_deref(), Some("a=1; Path=/app/x"));
        assert_eq!(applied("a=1; Path=x", &[], &root), None);
    }

    #[test]
    fn both_at_once_and_the_first_rule_wins() {
        let cookie = "a=\"/v2\"; Path=/v2; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Domain=i";
        assert_eq!(
            applied(cookie, &[("i", "p"), ("i", "q")], &[("/v2", "/1"), ("/", "/2")]).as_deref(),
            Some("a=\"/v2\"; Path=/1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Domain=p")
        );
    }

    proptest! {
        /// Renaming to the same name gives the same bytes, whatever they are.
        #[test]
        fn every_other_byte_is_kept(cookie in "[aA=; \t./]{0,4}(; ?(Domain|path) ?= ?\\.?[iI]?/?[v;=]{0,3}){0,3}") {
            let same = applied(&cookie, &[("i", "i")], &[("/v", "/v")]);
            if let Some(same) = same {
                prop_assert!(same.eq_ignore_ascii_case(&cookie), "{} became {}", cookie, same);
            }
        }
    }
}
