//! Writes heads for the next hop: built from parsed values, never copied whole.

use httparse::Header;

use super::Version;
use super::body::BodyLength;
use super::fields::{Known, is_nominated, known, poses_as_known};
use super::request::Request;
use super::response::Response;

/// What the gateway itself says in a forwarded request.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// The client's address as text, IPv6 without brackets.
    pub client: &'a str,
    /// The client came over TLS.
    pub secure: bool,
    /// The backend's own authority, for a request without Host.
    pub authority: &'a str,
    /// Our name in `Via`.
    pub pseudonym: &'a str,
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

/// Appends the request head for a backend to `out`, all but its end
/// ([`request_end`]).
pub fn request_head(out: &mut Vec<u8>, request: &Request<'_, '_>, says: &Forwarding<'_>) {
    push(out, &[request.method.as_bytes(), b" ", request.target.as_bytes(), b" HTTP/1.1\r\n"]);
    let host = request.host.unwrap_or(says.authority);
    push(out, &[b"Host: ", host.as_bytes(), b"\r\n"]);
    let mut via = false;
    for field in request.fields {
        let name = field.name.as_bytes();
        match known(name) {
            // Ours to say, or for this hop alone.
            Known::Host
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::HopByHop
            | Known::Expect
            | Known::Forwarding
            | Known::Proxy => {}
            Known::Via => {
                if !via {
                    via = true;
                    push(out, &[b"Via: "]);
                    for value in request.fields.iter().filter(|f| known(f.name.as_bytes()) == Known::Via) {
                        push(out, &[value.value, b", "]);
                    }
                    push(out, &[via_version(request.version), says.pseudonym.as_bytes(), b"\r\n"]);
                }
            }
            Known::Date | Known::Other => {
                if !nominated(request.connection.names_fields, request.fields, name) && !poses_as_known(name)
                {
                    push(out, &[name, b": ", field.value, b"\r\n"]);
                }
            }
        }
    }
    if !via {
        push(out, &[b"Via: ", via_version(request.version), says.pseudonym.as_bytes(), b"\r\n"]);
    }
    push(out, &[b"X-Forwarded-For: ", says.client.as_bytes(), b"\r\n"]);
    push(out, &[b"X-Forwarded-Proto: ", if says.secure { b"https" } else { b"http" }, b"\r\n"]);
    if let Some(host) = request.host {
        push(out, &[b"X-Forwarded-Host: ", host.as_bytes(), b"\r\n"]);
    }
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
}

/// Appends the head of an interim response, or of one that switches protocols
/// and then names the new one (RFC 9110 15.2).
pub fn interim_head(out: &mut Vec<u8>, response: &Response<'_, '_>, switches: bool) {
    status_line(out, response);
    for field in response.fields {
        let name = field.name.as_bytes();
        let wanted = match known(name) {
            Known::ContentLength | Known::TransferEncoding | Known::Connection => false,
            Known::HopByHop => switches && name.eq_ignore_ascii_case(b"upgrade"),
            _ => !nominated(response.connection.names_fields, response.fields, name),
        };
        if wanted {
            push(out, &[name, b": ", field.value, b"\r\n"]);
        }
    }
    if switches {
        push(out, &[b"Connection: Upgrade\r\n"]);
    }
    push(out, &[b"\r\n"]);
}

fn status_line(out: &mut Vec<u8>, response: &Response<'_, '_>) {
    let mut digits = itoa::Buffer::new();
    let status = digits.format(response.status);
    push(out, &[b"HTTP/1.1 ", status.as_bytes(), b" ", response.reason.as_bytes(), b"\r\n"]);
}

/// Appends the head of a backend's response for the client to `out`.
pub fn response_head(out: &mut Vec<u8>, response: &Response<'_, '_>, says: &Answering<'_>) {
    status_line(out, response);
    let mut dated = false;
    for field in response.fields {
        let name = field.name.as_bytes();
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
                    push(out, &[name, b": ", field.value, b"\r\n"]);
                }
            }
        }
    }
    if !dated {
        push(out, &[b"Date: ", says.date.as_bytes(), b"\r\n"]);
    }
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

fn nominated(any: bool, fields: &[Header<'_>], name: &[u8]) -> bool {
    any && is_nominated(fields, name)
}

fn via_version(version: Version) -> &'static [u8] {
    match version {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
    }
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{request, response};

    fn forwarded(head: &str, body: Option<u64>) -> String {
        let mut room = request::storage();
        let request = request::parse(head.as_bytes(), &mut room).unwrap();
        let says =
            Forwarding { client: "10.0.0.9", secure: false, authority: "backend:8080", pseudonym: "monkey" };
        let framing = body.map_or(Framing::None, Framing::Length);
        let mut out = Vec::new();
        request_head(&mut out, &request, &says);
        request_end(
            &mut out,
            &RequestEnd { framing, keep_alive: true, upgrade: None, takes_trailers: false },
        );
        String::from_utf8(out).unwrap()
    }

    fn answered(head: &str, version: Version, keep_alive: bool, to_head: bool) -> String {
        let mut room = response::storage();
        let response::Parsed::Complete { response, .. } =
            response::parse(head.as_bytes(), &mut room, to_head).unwrap()
        else {
            panic!("partial")
        };
        let mut out = Vec::new();
        response_head(&mut out, &response, &Answering { version, keep_alive, date: "D", trailers: false });
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
        interim_head(&mut out, &response, false);
        assert_eq!(String::from_utf8(out).unwrap(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");

        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: k\r\n\r\n";
        let mut room = response::storage();
        let parsed = response::parse(head.as_bytes(), &mut room, false).unwrap();
        let response::Parsed::Complete { response, .. } = parsed else { panic!("partial") };
        assert!(response.switches_to("WebSocket") && !response.switches_to("h2c") && !response.is_interim());
        let mut out = Vec::new();
        interim_head(&mut out, &response, true);
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
}
