//! What a backend is told about the client: `X-Forwarded-*` and `Forwarded`
//! (RFC 7239), and what of the client's own is believed.

use super::fields::{elements, is_token, trim};
use super::forward::{Forwarding, push};
use super::request::{Request, host_value};
use super::rules::scheme;

const FOR: &str = "X-Forwarded-For";
const PROTO: &str = "X-Forwarded-Proto";
const HOST: &str = "X-Forwarded-Host";
const STANDARD: &str = "Forwarded";

/// By which name the client reached us, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The Host that it used.
    pub host: Option<&'a str>,
    /// It used https.
    pub secure: bool,
}

impl<'a> Seen<'a> {
    /// What the connection and the head say; a trusted peer knows better, if
    /// it says one thing only.
    pub fn new(request: &Request<'_, 'a>, secure: bool, trusted: bool) -> Self {
        let mut seen = Seen { host: request.host, secure };
        if trusted {
            let host = single(request, HOST).and_then(|value| host_value(value).ok());
            seen.host = host.or(seen.host);
            match single(request, PROTO) {
                Some(value) if value.eq_ignore_ascii_case(b"https") => seen.secure = true,
                Some(value) if value.eq_ignore_ascii_case(b"http") => seen.secure = false,
                _ => {}
            }
        }
        seen
    }
}

/// Whether a forwarding field of the client goes on where it stands. Those of a
/// peer that is not trusted do not; those that we continue are written once, by
/// [`write`].
pub(super) fn is_kept(name: &str, says: &Forwarding<'_>, trusted: bool) -> bool {
    let ours = (says.rules.forwarded.customary() && name.eq_ignore_ascii_case(FOR))
        || (says.rules.forwarded.standard() && name.eq_ignore_ascii_case(STANDARD));
    trusted && !ours
}

/// Appends our own fields. What the operator names is the operator's to say.
pub(super) fn write(out: &mut Vec<u8>, request: &Request<'_, '_>, says: &Forwarding<'_>, trusted: bool) {
    let rules = says.rules;
    let is_free = rules.request.is_empty();
    let is_ours = |name: &str| is_free || !rules.request.names(name.as_bytes());
    let is_missing = |name: &str| !trusted || values(request, name).next().is_none();
    if rules.forwarded.customary() {
        if is_ours(FOR) {
            out.extend_from_slice(b"X-Forwarded-For: ");
            if trusted {
                values(request, FOR).flat_map(elements).for_each(|former| push(out, &[former, b", "]));
            }
            push(out, &[says.client.as_bytes(), b"\r\n"]);
        }
        if is_ours(PROTO) && is_missing(PROTO) {
            push(out, &[b"X-Forwarded-Proto: ", scheme(says.secure).as_bytes(), b"\r\n"]);
        }
        if let Some(host) = request.host
            && is_ours(HOST)
            && is_missing(HOST)
        {
            push(out, &[b"X-Forwarded-Host: ", host.as_bytes(), b"\r\n"]);
        }
    }
    if rules.forwarded.standard() && is_ours(STANDARD) {
        out.extend_from_slice(b"Forwarded: ");
        // A quote left open would swallow what we say behind it.
        if trusted && values(request, STANDARD).all(closes_its_quotes) {
            let former = values(request, STANDARD).map(trim).filter(|value| !value.is_empty());
            former.for_each(|former| push(out, &[former, b", "]));
        }
        standard_element(out, request, says);
    }
}

/// `for=192.0.2.1;host="a:8080";proto=http` and the end of the line.
fn standard_element(out: &mut Vec<u8>, request: &Request<'_, '_>, says: &Forwarding<'_>) {
    out.extend_from_slice(b"for=");
    if says.client.contains(':') {
        push(out, &[b"\"[", says.client.as_bytes(), b"]\""]);
    } else {
        value(out, says.client.as_bytes());
    }
    if let Some(host) = request.host {
        out.extend_from_slice(b";host=");
        value(out, host.as_bytes());
    }
    push(out, &[b";proto=", scheme(says.secure).as_bytes(), b"\r\n"]);
}

/// A token as it is, anything else in quotes.
fn value(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() && text.iter().copied().all(is_token) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// RFC 9110 5.6.2.
fn closes_its_quotes(value: &[u8]) -> bool {
    let (mut quoted, mut bytes) = (false, value.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => drop(bytes.next()),
            _ => {}
        }
    }
    !quoted
}

/// The values of a field, line by line.
fn values<'a>(request: &Request<'_, 'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    request.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// The value of a field that came once, with one element.
fn single<'a>(request: &Request<'_, 'a>, name: &str) -> Option<&'a [u8]> {
    let mut all = values(request, name).flat_map(elements);
    all.next().filter(|_| all.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;
    use crate::http::rules::{FieldRules, ForwardedFields, Rules};

    const PEER: [u8; 4] = [10, 0, 0, 9];

    /// The forwarding fields that go out for these of the client.
    fn sent(fields: &str, rules: &Rules, client: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nHost: h:81\r\n{fields}\r\n");
        let mut room = request::storage();
        let request = request::parse(head.as_bytes(), &mut room).unwrap();
        let says =
            Forwarding { client, source: &PEER, secure: false, authority: "b:80", rules, request_id: None };
        let mut out = Vec::new();
        crate::http::forward::request_head(&mut out, &request, &says);
        out.extend_from_slice(b"\r\n");
        let out = String::from_utf8(out).unwrap();
        out.strip_prefix("GET / HTTP/1.1\r\nHost: h:81\r\n").unwrap().replace("\r\n", "\n")
    }

    fn rules(forwarded: ForwardedFields, trusted: bool) -> Rules {
        let trusted = if trusted { vec!["10.0.0.9/32".parse().unwrap()] } else { Vec::new() };
        Rules { forwarded, trusted, ..Rules::default() }
    }

    const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6, , 7.7.7.7\r\nA: 1\r\nx-forwarded-for: 8.8.8.8\r\n\
                          X-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
                          X-Forwarded-Port: 444\r\nX-Forwarded-Host: p\r\n";

    #[test]
    fn a_stranger_is_not_believed() {
        for (forwarded, expected) in [
            (ForwardedFields::Off, "A: 1\n\n"),
            (
                ForwardedFields::Customary,
                "A: 1\nX-Forwarded-For: 10.0.0.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: h:81\n\n",
            ),
            (ForwardedFields::Standard, "A: 1\nForwarded: for=10.0.0.9;host=\"h:81\";proto=http\n\n"),
            (
                ForwardedFields::Both,
                "A: 1\nX-Forwarded-For: 10.0.0.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: h:81\n\
                 Forwarded: for=10.0.0.9;host=\"h:81\";proto=http\n\n",
            ),
        ] {
            assert_eq!(sent(CLAIMS, &rules(forwarded, false), "10.0.0.9"), expected);
        }
    }

    #[test]
    fn a_trusted_peer_is_continued() {
        let kept = "X-Real-IP: 6.6.6.6\nX-Forwarded-Port: 444\nX-Forwarded-Host: p\n";
        for (forwarded, expected) in [
            (
                ForwardedFields::Off,
                "X-Forwarded-For: 6.6.6.6, , 7.7.7.7\nA: 1\nx-forwarded-for: 8.8.8.8\nX-Forwarded-Proto: https\n\
                 Forwarded: for=6.6.6.6\nKEPT\n"
                    .to_owned(),
            ),
            (
                ForwardedFields::Customary,
                "A: 1\nX-Forwarded-Proto: https\nForwarded: for=6.6.6.6\nKEPTX-Forwarded-For: 6.6.6.6, \
                 7.7.7.7, 8.8.8.8, 10.0.0.9\n\n"
                    .to_owned(),
            ),
            (
                ForwardedFields::Standard,
                "X-Forwarded-For: 6.6.6.6, , 7.7.7.7\nA: 1\nx-forwarded-for: 8.8.8.8\nX-Forwarded-Proto: https\n\
                 KEPTForwarded: for=6.6.6.6, for=10.0.0.9;host=\"h:81\";proto=http\n\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(sent(CLAIMS, &rules(forwarded, true), "10.0.0.9"), expected.replace("KEPT", kept));
        }
        let out = sent("X-Forwarded-For:\r\n", &rules(ForwardedFields::Customary, true), "10.0.0.9");
        assert_eq!(out, "X-Forwarded-For: 10.0.0.9\nX-Forwarded-Proto: http\nX-Forwarded-Host: h:81\n\n");
    }

    #[test]
    fn an_open_quote_swallows_nothing() {
        let rules = rules(ForwardedFields::Standard, true);
        for (claim, kept) in
            [("for=\"[::1]\"", true), ("for=\"a\\\"b\"", true), ("for=\"open", false), ("for=\"a\\\"", false)]
        {
            let out = sent(&format!("Forwarded: {claim}\r\n"), &rules, "10.0.0.9");
            let own = "for=10.0.0.9;host=\"h:81\";proto=http\n\n";
            let expected =
                if kept { format!("Forwarded: {claim}, {own}") } else { format!("Forwarded: {own}") };
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn the_standard_field_quotes_what_is_no_token() {
        let rules = rules(ForwardedFields::Standard, false);
        assert!(sent("", &rules, "2001:db8::1").starts_with("Forwarded: for=\"[2001:db8::1]\";host="));
        assert!(sent("", &rules, "unknown").starts_with("Forwarded: for=unknown;host="));
        let mut out = Vec::new();
        value(&mut out, b"a\"b\\c");
        assert_eq!(out, b"\"a\\\"b\\\\c\"");
    }

    #[test]
    fn the_operators_word_wins() {
        let mut rules = rules(ForwardedFields::Both, true);
        rules.request = FieldRules {
            removed: ["x-forwarded-for", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host"]
                .map(Into::into)
                .into(),
            set: Vec::new(),
        };
        assert_eq!(sent(CLAIMS, &rules, "10.0.0.9"), "A: 1\nX-Real-IP: 6.6.6.6\nX-Forwarded-Port: 444\n\n");
    }

    #[test]
    fn a_trusted_peer_knows_how_we_were_reached() {
        let seen = |fields: &str, trusted: bool| {
            let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let mut room = request::storage();
            let request = request::parse(head.as_bytes(), &mut room).unwrap();
            let seen = Seen::new(&request, false, trusted);
            (seen.host.unwrap().to_owned(), seen.secure)
        };
        let claims = "X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: p:1\r\n";
        assert_eq!(seen(claims, false), ("h".to_owned(), false));
        assert_eq!(seen(claims, true), ("p:1".to_owned(), true));
        for odd in ["X-Forwarded-Host: a, b\r\nX-Forwarded-Proto: ftp\r\n", "X-Forwarded-Host: a/b\r\n", ""] {
            assert_eq!(seen(odd, true), ("h".to_owned(), false));
        }
    }
}
