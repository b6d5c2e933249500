//! Writes heads for the next hop: built from parsed values, never copied whole.

use std::ops::Range;

use httparse::Header;

use super::body::BodyLength;
use super::fields::{Known, is_nominated, known, poses_as_known};
use super::forwarded::{self, Seen};
use super::request::{Request, is_max_forwards};
use super::response::Response;
use super::rewrite::Rewriting;
use super::rules::{HostPolicy, Rules, Variables};
use super::{Version, via};

/// What the gateway itself says in a forwarded request.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address as text, IPv6 without brackets.
    pub client: &'a str,
    /// The same as bytes: 4, 16, or none if it is unknown.
    pub source: &'a [u8],
    /// The client came over TLS.
    pub secure: bool,
    /// The backend's own authority, for a request without Host.
    pub authority: &'a str,
    /// What the route asks for.
    pub rules: &'a Rules,
    /// The header that names requests, and the name of this one.
    pub request_id: Option<(&'a str, &'a str)>,
}

/// How a request head ends: what concerns this hop alone.
#[derive(Clone, Copy, Debug)]
pub struct RequestEnd<'a> {
    /// How the body's end is told.
    pub framing: Framing,
    /// The backend may keep the connection.
    pub keep_alive: bool,
    /// The protocol to switch to, if the client asks for one.
    pub upgrade: Option<&'a str>,
    /// The client takes trailer fields.
    pub takes_trailers: bool,
}

/// How the end of a request's body is told to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// It has this length, possibly zero.
    Length(u64),
    /// It comes in chunks of our own.
    Chunked,
}

/// Appends the end of a request head: framing, connection options, empty line.
pub fn request_end(out: &mut Vec<u8>, end: &RequestEnd<'_>) {
    match end.framing {
        Framing::None => {}
        Framing::Length(length) => number(out, b"Content-Length: ", length),
        Framing::Chunked => push(out, &[b"Transfer-Encoding: chunked\r\n"]),
    }
    if end.takes_trailers {
        push(out, &[b"TE: trailers\r\n"]);
    }
    if let Some(protocol) = end.upgrade {
        push(out, &[b"Upgrade: ", protocol.as_bytes(), b"\r\n"]);
    }
    // RFC 9110 7.6.1: whatever is for this hop alone is named.
    let options = [
        (!end.keep_alive && end.upgrade.is_none(), "close"),
        (end.upgrade.is_some(), "Upgrade"),
        (end.takes_trailers, "TE"),
    ];
    let mut options = options.into_iter().filter_map(|(set, name)| set.then_some(name));
    if let Some(first) = options.next() {
        push(out, &[b"Connection: ", first.as_bytes()]);
        for option in options {
            push(out, &[b", ", option.as_bytes()]);
        }
        push(out, &[b"\r\n"]);
    }
    push(out, &[b"\r\n"]);
}

/// Whether a request has been here before: it would go round in a circle.
pub fn is_loop(request: &Request<'_, '_>, rules: &Rules) -> bool {
    rules.via.as_ref().is_some_and(|pseudonym| via::names(request.fields, pseudonym))
}

/// Appends the request head for a backend to `out`, all but its end
/// ([`request_end`]). Gives the place of the value of `Host` in it.
pub fn request_head(out: &mut Vec<u8>, request: &Request<'_, '_>, says: &Forwarding<'_>) -> Range<usize> {
    let rules = says.rules;
    push(out, &[request.method.as_bytes(), b" "]);
    if rules.prefixes.is_empty() {
        push(out, &[request.target.as_bytes()]);
    } else {
        rules.prefixes.write_target(out, request.target);
    }
    push(out, &[b" HTTP/1.1\r\nHost: "]);
    let host = match &rules.host {
        HostPolicy::Client => request.host.unwrap_or(says.authority),
        HostPolicy::Backend => says.authority,
        HostPolicy::Literal(host) => host,
    };
    let host_at = out.len()..out.len() + host.len();
    push(out, &[host.as_bytes(), b"\r\n"]);
    let trusted = rules.trusts(says.source);
    let mut via = rules.via.as_deref();
    let is_free = rules.request.is_empty();
    for field in request.fields {
        let name = field.name.as_bytes();
        if !is_free && rules.request.names(name) {
            continue;
        }
        if let Some((own, _)) = says.request_id
            && is_same_to_programs(own.as_bytes(), name)
        {
            continue;
        }
        match known(name) {
            // Ours to say, or for this hop alone.
            Known::Host
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::HopByHop
            | Known::Expect
            | Known::Proxy => {}
            Known::Forwarding => {
                if forwarded::is_kept(field.name, says, trusted) {
                    push(out, &[name, b": ", field.value, b"\r\n"]);
                }
            }
            Known::Via if rules.via.is_some() => {
                if let Some(pseudonym) = via.take() {
                    push(out, &[b"Via: "]);
                    for value in request.fields.iter().filter(|f| known(f.name.as_bytes()) == Known::Via) {
                        push(out, &[value.value, b", "]);
                    }
                    push(out, &[via_version(request.version), pseudonym.as_bytes(), b"\r\n"]);
                }
            }
            Known::Other if request.max_forwards.is_some() && is_max_forwards(field.name) => {
                let left = request.max_forwards.unwrap_or_default().saturating_sub(1);
                number(out, b"Max-Forwards: ", left);
            }
            Known::Via | Known::Date | Known::Other => {
                if !nominated(request.connection.names_fields, request.fields, name) && !poses_as_known(name)
                {
                    push(out, &[name, b": ", field.value, b"\r\n"]);
                }
            }
        }
    }
    if let Some(pseudonym) = via {
        push(out, &[b"Via: ", via_version(request.version), pseudonym.as_bytes(), b"\r\n"]);
    }
    forwarded::write(out, request, says, trusted);
    if let Some((name, id)) = says.request_id
        && (is_free || !rules.request.names(name.as_bytes()))
    {
        push(out, &[name.as_bytes(), b": ", id.as_bytes(), b"\r\n"]);
    }
    if !rules.request.set.is_empty() {
        let Seen { host, secure } = Seen::new(request, says.secure, trusted);
        let request_id = says.request_id.map_or("", |(_, id)| id);
        let host = host.map(str::as_bytes);
        rules.request.write(out, &Variables { source: says.source, host, secure, request_id });
    }
    host_at
}

/// What the client is told besides the backend's own words.
#[derive(Clone, Copy, Debug)]
pub struct Answering<'a> {
    /// The version that the client speaks.
    pub version: Version,
    /// The client's connection stays open behind this response.
    pub keep_alive: bool,
    /// An HTTP date for a response without one (RFC 9110 6.6.1).
    pub date: &'a str,
    /// Trailer fields are passed on, and so is their announcement.
    pub trailers: bool,
    /// What we add ourselves.
    pub own: Own<'a>,
}

/// Fields that we add to an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// Names of fields that are not passed on, since we have something to say there.
    pub replaced: &'a [Box<str>],
    /// Whole lines, each with its end.
    pub lines: &'a [u8],
}

impl Own<'_> {
    fn replaces(&self, name: &[u8]) -> bool {
        self.replaced.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Appends the head of an interim response, or of one that switches protocols
/// and then names the new one (RFC 9110 15.2). The latter is an answer, with
/// all that the route sets.
pub fn interim_head(
    out: &mut Vec<u8>,
    response: &Response<'_, '_>,
    switches: bool,
    rewriting: Option<&Rewriting<'_>>,
    own: Own<'_>,
) {
    status_line(out, response);
    for field in response.fields {
        let name = field.name.as_bytes();
        if rewriting.is_some_and(|rewriting| rewriting.rules.response.names(name)) || own.replaces(name) {
            continue;
        }
        let wanted = match known(name) {
            Known::ContentLength | Known::TransferEncoding | Known::Connection => false,
            Known::HopByHop => switches && name.eq_ignore_ascii_case(b"upgrade"),
            _ => !nominated(response.connection.names_fields, response.fields, name),
        };
        if wanted {
            rewritten(out, field, rewriting);
        }
    }
    if switches {
        if let Some(rewriting) = rewriting {
            rewriting.rules.response.write(out, &rewriting.client);
        }
        push(out, &[own.lines, b"Connection: Upgrade\r\n"]);
    }
    push(out, &[b"\r\n"]);
}

fn status_line(out: &mut Vec<u8>, response: &Response<'_, '_>) {
    let mut digits = itoa::Buffer::new();
    let status = digits.format(response.status);
    push(out, &[b"HTTP/1.1 ", status.as_bytes(), b" ", response.reason.as_bytes(), b"\r\n"]);
}

fn rewritten(out: &mut Vec<u8>, field: &Header<'_>, rewriting: Option<&Rewriting<'_>>) {
    push(out, &[field.name.as_bytes(), b": "]);
    match rewriting {
        Some(rewriting) => push(out, &[&rewriting.value(field.name, field.value), b"\r\n"]),
        None => push(out, &[field.value, b"\r\n"]),
    }
}

/// Appends the head of a backend's response for the client to `out`, rewritten
/// if the route asks for that.
pub fn response_head(
    out: &mut Vec<u8>,
    response: &Response<'_, '_>,
    says: &Answering<'_>,
    rewriting: Option<&Rewriting<'_>>,
) {
    status_line(out, response);
    let mut dated = false;
    for field in response.fields {
        let name = field.name.as_bytes();
        if rewriting.is_some_and(|rewriting| rewriting.rules.response.names(name)) || says.own.replaces(name)
        {
            continue;
        }
        match known(name) {
            Known::ContentLength | Known::TransferEncoding | Known::Connection => {}
            Known::HopByHop if says.trailers && name.eq_ignore_ascii_case(b"trailer") => {
                push(out, &[name, b": ", field.value, b"\r\n"]);
            }
            Known::HopByHop if !name.eq_ignore_ascii_case(b"proxy-authenticate") => {}
            Known::Date if dated => {}
            kind => {
                if !nominated(response.connection.names_fields, response.fields, name) {
                    dated |= kind == Known::Date;
                    rewritten(out, field, rewriting);
                }
            }
        }
    }
    if !dated {
        push(out, &[b"Date: ", says.date.as_bytes(), b"\r\n"]);
    }
    if let Some(rewriting) = rewriting {
        rewriting.rules.response.write(out, &rewriting.client);
    }
    push(out, &[says.own.lines]);
    match (response.body, response.content_length) {
        // What ends with the backend's connection need not end with the client's.
        (BodyLength::Chunked | BodyLength::UntilClose, _) if says.version == Version::Http11 => {
            push(out, &[b"Transfer-Encoding: chunked\r\n"]);
        }
        // RFC 9110 8.6: no length in 1xx and 204.
        (BodyLength::None, Some(length)) if response.status != 204 => {
            number(out, b"Content-Length: ", length)
        }
        (BodyLength::Length(length), _) => number(out, b"Content-Length: ", length),
        _ => {}
    }
    connection(out, says);
    push(out, &[b"\r\n"]);
}

/// Appends the `Connection` line that `says` calls for, if any.
pub fn connection(out: &mut Vec<u8>, says: &Answering<'_>) {
    match (says.keep_alive, says.version) {
        (false, _) => push(out, &[b"Connection: close\r\n"]),
        (true, Version::Http10) => push(out, &[b"Connection: keep-alive\r\n"]),
        (true, Version::Http11) => {}
    }
}

/// Appends `name`, a decimal number and a line end.
pub fn number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    let mut digits = itoa::Buffer::new();
    push(out, &[name, digits.format(value).as_bytes(), b"\r\n"]);
}

/// Whether programs behind CGI take two names for one: case, `-` and `_` make no difference there.
fn is_same_to_programs(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

fn nominated(any: bool, fields: &[Header<'_>], name: &[u8]) -> bool {
    any && is_nominated(fields, name)
}

fn via_version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
    }
}

/// Appends these parts.
#[inline]
pub(super) fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::cookie::CookieRules;
    use crate::http::prefix::{Prefix, Prefixes};
    use crate::http::rules::{FieldRules, ForwardedFields, Piece, SetField};
    use crate::http::{request, response};

    fn forwarded(head: &str, body: Option<u64>) -> String {
        forwarded_by(&Rules { via: Some("monkey".into()), ..Rules::default() }, head, body)
    }

    fn forwarded_by(rules: &Rules, head: &str, body: Option<u64>) -> String {
        let mut room = request::storage();
        let request = request::parse(head.as_bytes(), &mut room).unwrap();
        let says = Forwarding {
            client: "10.0.0.9",
            source: &[10, 0, 0, 9],
            secure: false,
            authority: "backend:8080",
            rules,
            request_id: None,
        };
        let framing = body.map_or(Framing::None, Framing::Length);
        let mut out = Vec::new();
        let host_at = request_head(&mut out, &request, &says);
        request_end(
            &mut out,
            &RequestEnd { framing, keep_alive: true, upgrade: None, takes_trailers: false },
        );
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.split("\r\nHost: ").nth(1).unwrap().split("\r\n").next(), Some(&out[host_at]));
        out
    }

    fn answered(head: &str, version: Version, keep_alive: bool, to_head: bool) -> String {
        answered_by(None, head, version, keep_alive, to_head)
    }

    fn answered_by(
        rewriting: Option<&Rewriting<'_>>,
        head: &str,
        version: Version,
        keep_alive: bool,
        to_head: bool,
    ) -> String {
        let mut room = response::storage();
        let response::Parsed::Complete { response, .. } =
            response::parse(head.as_bytes(), &mut room, to_head).unwrap()
        else {
            panic!("partial")
        };
        let mut out = Vec::new();
        response_head(
            &mut out,
            &response,
            &Answering { version, keep_alive, date: "D", trailers: false, own: Own::default() },
            rewriting,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn hop_by_hop_fields_stay_behind_f1_f2_f5() {
        let head = "GET /a HTTP/1.1\r\nHost: h:81\r\nConnection: keep-alive, X-Hop\r\nX-Hop: s\r\nKeep-Alive: timeout=7\r\n\
                    Proxy-Connection: keep-alive\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\nProxy: evil\r\nX-Kept: y\r\n\r\n";
        assert_eq!(
            forwarded(head, None),
            "GET /a HTTP/1.1\r\nHost: h:81\r\nX-Kept: y\r\nVia: 1.1 monkey\r\nX-Forwarded-For: 10.0.0.9\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Host: h:81\r\n\r\n"
        );
    }

    #[test]
    fn nomination_removes_nothing_that_frames_or_identifies_f4() {
        let head = "POST /a HTTP/1.1\r\nHost: h\r\nConnection: Host, Content-Length, X-Forwarded-For, Cookie, close\r\n\
                    Cookie: c\r\nContent-Length: 3\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
        let out = forwarded(head, Some(3));
        assert!(out.contains("Host: h\r\n") && out.contains("Content-Length: 3\r\n"), "{out}");
        assert!(out.contains("Cookie: c\r\n"), "{out}");
        assert_eq!(out.matches("X-Forwarded-For: ").count(), 1);
        assert!(out.contains("X-Forwarded-For: 10.0.0.9\r\n") && !out.contains("close"), "{out}"); // F3 F10
    }

    #[test]
    fn repeated_fields_stay_in_order_f45_and_via_is_one_line() {
        let out =
            forwarded("GET / HTTP/1.0\r\nCookie: a\r\nVia: 1.0 x\r\nCookie: b\r\nVia: 1.1 y\r\n\r\n", None);
        assert!(out.contains("Cookie: a\r\nVia: 1.0 x, 1.1 y, 1.0 monkey\r\nCookie: b\r\n"), "{out}");
        assert!(out.contains("Host: backend:8080\r\n") && !out.contains("X-Forwarded-Host"), "{out}"); // F7b
    }

    #[test]
    fn what_concerns_this_hop_alone_is_named_f5_u1() {
        let end = |framing, keep_alive, upgrade, takes_trailers| {
            let mut out = Vec::new();
            request_end(&mut out, &RequestEnd { framing, keep_alive, upgrade, takes_trailers });
            String::from_utf8(out).unwrap()
        };
        assert_eq!(end(Framing::None, true, None, false), "\r\n");
        assert_eq!(
            end(Framing::Length(0), false, None, false),
            "Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            end(Framing::Chunked, true, None, true),
            "Transfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
        );
        assert_eq!(
            end(Framing::None, false, Some("websocket"), true),
            "TE: trailers\r\nUpgrade: websocket\r\nConnection: Upgrade, TE\r\n\r\n"
        );
    }

    #[test]
    fn interim_heads_have_no_framing_and_101_names_its_protocol_r4_u1() {
        let head =
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 3\r\nConnection: X\r\nX: 1\r\n\r\n";
        let mut room = response::storage();
        let parsed = response::parse(head.as_bytes(), &mut room, false).unwrap();
        let response::Parsed::Complete { response, .. } = parsed else { panic!("partial") };
        let mut out = Vec::new();
        interim_head(&mut out, &response, false, None, Own::default());
        assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");

        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\n";
        let mut room = response::storage();
        let parsed = response::parse(head.as_bytes(), &mut room, false).unwrap();
        let response::Parsed::Complete { response, .. } = parsed else { panic!("partial") };
        assert!(response.switches_to("WebSocket") && !response.switches_to("h2c") && !response.is_interim());
        let mut out = Vec::new();
        interim_head(&mut out, &response, true, None, Own::default());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\nConnection: Upgrade\r\n\r\n"
        );
    }

    #[test]
    fn answers_are_rewritten_for_this_hop_r34_r36() {
        let head = "HTTP/1.0 200 Fine\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                    Set-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(
            answered(head, Version::Http11, true, false),
            "HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: D\r\nContent-Length: 5\r\n\r\n"
        );
        let out = answered("HTTP/1.1 200 OK\r\nDate: X\r\n\r\n", Version::Http11, false, false);
        assert_eq!(
            out,
            "HTTP/1.1 200 OK\r\nDate: X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        let out = answered("HTTP/1.1 200 OK\r\nDate: X\r\n\r\n", Version::Http10, false, false);
        assert_eq!(out, "HTTP/1.1 200 OK\r\nDate: X\r\nConnection: close\r\n\r\n"); // R24
    }

    #[test]
    fn chunked_is_never_announced_to_http10_r28() {
        let head = "HTTP/1.1 200 OK\r\nDate: X\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            answered(head, Version::Http11, true, false),
            "HTTP/1.1 200 OK\r\nDate: X\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            answered(head, Version::Http10, false, false),
            "HTTP/1.1 200 OK\r\nDate: X\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn head_and_304_keep_their_length_204_has_none_r10_r11() {
        let head = "HTTP/1.1 200 OK\r\nDate: X\r\nContent-Length: 7\r\n\r\n";
        assert!(answered(head, Version::Http11, true, true).contains("Content-Length: 7"));
        let head = "HTTP/1.1 304 N\r\nDate: X\r\nContent-Length: 7\r\n\r\n";
        assert!(answered(head, Version::Http11, true, false).contains("Content-Length: 7"));
        let head = "HTTP/1.1 204 N\r\nDate: X\r\nContent-Length: 7\r\n\r\n";
        assert!(!answered(head, Version::Http11, true, false).contains("Content-Length"));
    }

    #[test]
    fn rules_change_the_name_the_target_and_the_fields() {
        let set = |name: &str, value: Vec<Piece>| SetField { name: name.into(), value };
        let rules = Rules {
            host: HostPolicy::Literal("int.example".into()),
            prefixes: Prefixes { strip: Prefix::new("/app"), add: Prefix::new("/v2") },
            request: FieldRules {
                removed: vec!["Cookie".into()],
                set: vec![
                    set("x-a", vec![Piece::ClientIp, Piece::Text(" via ".into()), Piece::Host]),
                    set("X-Forwarded-Proto", vec![Piece::Text("https".into())]),
                ],
            },
            ..Rules::default()
        };
        let head = "GET /app/x?y HTTP/1.1\r\nHost: pub\r\nCookie: c\r\nX-A: lie\r\nVia: 1.0 z\r\nVia: 1.0 y\r\n\
                    X-A: lie\r\nX-B: b\r\n\r\n";
        assert_eq!(
            forwarded_by(&rules, head, None),
            "GET /v2/x?y HTTP/1.1\r\nHost: int.example\r\nVia: 1.0 z\r\nVia: 1.0 y\r\nX-B: b\r\nX-Forwarded-For: 10.0.0.9\r\n\
             X-Forwarded-Host: pub\r\nx-a: 10.0.0.9 via pub\r\nX-Forwarded-Proto: https\r\n\r\n"
        );
        let rules = Rules { host: HostPolicy::Backend, ..Rules::default() };
        let out = forwarded_by(&rules, "GET / HTTP/1.1\r\nHost: pub\r\n\r\n", None);
        assert!(out.starts_with("GET / HTTP/1.1\r\nHost: backend:8080\r\n"), "{out}");
        assert!(out.contains("X-Forwarded-Host: pub\r\n"), "{out}");
    }

    #[test]
    fn rules_change_the_fields_of_answers() {
        let mut cookies = CookieRules::default();
        cookies.move_path("/v2", "/app");
        let rules = Rules {
            location: true,
            cookies,
            response: FieldRules {
                removed: vec!["Server".into()],
                set: vec![SetField { name: "X-Frame".into(), value: vec![Piece::Text("DENY".into())] }],
            },
            ..Rules::default()
        };
        let client = Variables { source: &[], host: Some(b"pub"), secure: true, request_id: "" };
        let rewriting = Rewriting { rules: &rules, client, sent_host: b"pub", backend: "b:1" };
        let head = "HTTP/1.1 302 F\r\nServer: x\r\nLocation: http://b:1/y\r\nx-frame: ANY\r\nDate: X\r\n\
                    Set-Cookie: a=1; Path=/v2\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            answered_by(Some(&rewriting), head, Version::Http11, true, false),
            "HTTP/1.1 302 F\r\nLocation: https://pub/y\r\nDate: X\r\nSet-Cookie: a=1; Path=/app\r\nX-Frame: DENY\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_circle_is_seen_by_our_own_name_alone() {
        let is_loop = |via: Option<&str>| {
            let mut room = request::storage();
            let head = b"GET / HTTP/1.1\r\nHost: h\r\nVia: 1.1 a, 1.1 Monkey-1\r\n\r\n";
            let request = request::parse(head, &mut room).unwrap();
            is_loop(&request, &Rules { via: via.map(Into::into), ..Rules::default() })
        };
        assert!(is_loop(Some("monkey-1")) && !is_loop(Some("monkey-2")) && !is_loop(None));
    }

    proptest! {
        /// What we write is read back as what was meant, whatever the client and the route say.
        #[test]
        fn our_own_heads_are_read_back_as_meant(
            target in "/[a-c/.%2F]{0,8}(\\?[a-z=&]{0,5})?",
            names in prop::collection::vec(prop::sample::select(&[
                "X-A", "Cookie", "X-Forwarded-For", "Forwarded", "X-Forwarded-Host", "Via", "X-Real-IP", "Expect",
                "Keep-Alive", "X_Forwarded_For", "Upgrade", "Proxy",
            ][..]), 0..8),
            value in "[ -~]{0,20}",
            strip in "(/[a-c])?",
            add in "(/v[0-9])?",
            trusted in any::<bool>(),
            forwarded in prop::sample::select(&[
                ForwardedFields::Off, ForwardedFields::Customary, ForwardedFields::Standard, ForwardedFields::Both,
            ][..]),
        ) {
            let fields: String = names.iter().map(|name| format!("{name}: {value}\r\n")).collect();
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
            let mut room = request::storage();
            prop_assume!(request::parse(head.as_bytes(), &mut room).is_ok());
            let rules = Rules {
                via: Some("monkey".into()),
                trusted: trusted.then(|| "10.0.0.0/8".parse().unwrap()).into_iter().collect(),
                forwarded,
                prefixes: Prefixes { strip: Prefix::new(&strip), add: Prefix::new(&add) },
                ..Rules::default()
            };
            let out = forwarded_by(&rules, &head, Some(5));
            let mut room = request::storage();
            let again = request::parse(out.as_bytes(), &mut room).unwrap();
            prop_assert_eq!((again.method, again.host, again.content_length), ("GET", Some("h"), Some(5)));
            prop_assert!(again.target.starts_with(&add));
            prop_assert_eq!(again.target.split_once('?').map(|t| t.1), target.split_once('?').map(|t| t.1));
            let count = |name: &str| again.fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
            let given = |name: &str| names.iter().filter(|n| **n == name).count();
            prop_assert_eq!(count("via"), 1);
            prop_assert_eq!((count("cookie"), count("x-a")), (given("Cookie"), given("X-A")));
            prop_assert_eq!(count("expect") + count("keep-alive") + count("proxy") + count("x_forwarded_for"), 0);
            let mine = again.fields.iter().filter(|f| f.name == "X-Forwarded-For");
            if forwarded.customary() {
                prop_assert!(mine.clone().count() == 1 && mine.clone().all(|f| f.value.ends_with(b"10.0.0.9")));
            }
            if !trusted {
                prop_assert_eq!(count("forwarded"), usize::from(forwarded.standard()));
                prop_assert_eq!(count("x-forwarded-for"), usize::from(forwarded.customary()));
                prop_assert_eq!(count("x-real-ip"), 0);
            }
        }
    }
}
