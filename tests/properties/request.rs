//! Request heads: what is taken goes on as exactly that request, and as nothing else.

use monkey_proxy_reverse::http::forward::{self, Forwarding, Framing, RequestEnd};
use monkey_proxy_reverse::http::request::{self, Request};
use monkey_proxy_reverse::http::rules::Rules;
use monkey_proxy_reverse::http::{MAX_FIELDS, Version, path};

use super::naive::{Head, assert_same, elements, is, is_one_of, shown, takes_away};
use super::{presented, rules};

/// The property of the target `request_head`.
pub fn check(input: &[u8]) -> bool {
    presented::check(input);
    // What stands behind the first empty line is never given to the parser.
    let end = request::head_end(input).unwrap_or(input.len());
    let head = &input[..end];
    let mut room = request::storage();
    let request = match request::parse(head, &mut room) {
        Ok(request) => request,
        Err(refusal) => {
            assert!([400, 405, 411, 431, 501].contains(&refusal.status()), "{refusal:?}");
            assert!(!refusal.to_string().is_empty());
            return false;
        }
    };
    let sent = Head::read_carelessly(head);
    agrees_with_what_was_sent(&request, &sent);
    agrees_with_what_was_sent(&request, &Head::read(without_empty_lines(head)));
    path_is_harmless(head, &request);
    let rules = Rules { via: Some(PSEUDONYM.into()), ..Rules::default() };
    for (secure, end) in ends(&request) {
        let says = Forwarding {
            client: if secure { "2001:db8::9" } else { "10.0.0.9" },
            source: if secure { &[0; 16] } else { &[10, 0, 0, 9] },
            secure,
            authority: "backend:8080",
            rules: &rules,
            request_id: None,
        };
        let mut out = Vec::new();
        forward::request_head(&mut out, &request, &says);
        forward::request_end(&mut out, &end);
        is_the_same_request(&out, &request, &says, &end);
        has_only_what_may_go_on(&Head::read(&out), &sent, &request, &says, &end);
    }
    rules::check_request(head, &request, &sent);
    true
}

/// Our name in `Via`.
const PSEUDONYM: &str = "monkey";

/// The ways in which the engine may end this head, each with whether the client came over TLS.
fn ends<'a>(request: &Request<'_, 'a>) -> Vec<(bool, RequestEnd<'a>)> {
    let end = |framing, keep_alive, upgrade| RequestEnd {
        framing,
        keep_alive,
        upgrade,
        takes_trailers: request.takes_trailers,
    };
    match (request.content_length, request.chunked) {
        (Some(length), _) => {
            [false, true].map(|secure| (secure, end(Framing::Length(length), secure, None))).into()
        }
        // It is told with a length when all of it is here.
        (None, true) => vec![
            (false, end(Framing::Chunked, true, None)),
            (true, end(Framing::Chunked, false, None)),
            (false, end(Framing::Length(5), true, None)),
        ],
        (None, false) => vec![
            (false, end(Framing::None, true, request.upgrade)),
            (true, end(Framing::None, false, request.upgrade)),
            (false, end(Framing::None, true, None)),
        ],
    }
}

/// What stands behind the empty lines in front, which both we and the host pass over.
fn without_empty_lines(mut head: &[u8]) -> &[u8] {
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}

/// Any reader, a careless one and a strict one, finds the same request in the bytes as we did.
fn agrees_with_what_was_sent(request: &Request<'_, '_>, sent: &Head<'_>) {
    let version = match request.version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    };
    let line = format!("{} {} {version}", request.method, request.target);
    assert_same(sent.first, line.as_bytes());
    assert!(request.target.starts_with('/'));
    let plain = |b: u8| b.is_ascii_graphic() && b != b'#' || !b.is_ascii();
    assert!(request.target.bytes().all(plain), "{:?}", request.target);
    assert_eq!(request.fields.len(), sent.fields.len());
    for (ours, (name, value)) in request.fields.iter().zip(&sent.fields) {
        assert_same(ours.name.as_bytes(), name);
        assert_same(ours.value, value);
    }
    let host: Vec<_> = request.host.into_iter().map(str::as_bytes).collect();
    assert_eq!(sent.all("host"), host);
    let lengths = sent.all("content-length");
    assert_eq!(lengths.len(), usize::from(request.content_length.is_some()));
    for length in lengths {
        let text = std::str::from_utf8(length).unwrap_or_default();
        assert_eq!(text.parse().ok(), request.content_length, "Content-Length {text:?}");
        assert!(text.bytes().all(|b| b.is_ascii_digit()));
    }
    let codings = sent.all("transfer-encoding");
    assert_eq!(codings.len(), usize::from(request.chunked));
    assert!(codings.iter().all(|coding| is(coding, "chunked")));
    assert!(!(request.chunked && request.content_length.is_some()), "two framings");
    assert!(!(request.chunked && request.version == Version::Http10), "chunks in HTTP/1.0");
    let nominated = sent.nominated();
    let names_framing = |o: &Vec<u8>| is_one_of(o, &["content-length", "transfer-encoding"]);
    assert_eq!(request.names_framing(), nominated.iter().any(names_framing));
    assert_eq!(request.connection.close, nominated.iter().any(|o| o == b"close"));
    assert_eq!(request.connection.keep_alive, nominated.iter().any(|o| o == b"keep-alive"));

    let http11 = request.version == Version::Http11;
    let waits = sent.all("expect").iter().any(|value| is(value, "100-continue"));
    assert_eq!(request.expects_continue, http11 && waits);
    let mut codings = sent.all("te").into_iter().flat_map(elements);
    assert_eq!(request.takes_trailers, http11 && codings.any(|coding| is(coding, "trailers")));
    if let Some(protocol) = request.upgrade {
        assert!(http11 && nominated.iter().any(|o| o == b"upgrade"));
        assert_eq!(sent.all("upgrade"), [protocol.as_bytes()]);
        assert!(!protocol.is_empty() && protocol.bytes().all(|b| b.is_ascii_graphic() && b != b','));
    }
}

/// The path that patterns are tried against is that of the target, and leads nowhere else.
fn path_is_harmless(head: &[u8], request: &Request<'_, '_>) {
    let target = request.target.as_bytes();
    let raw = target.split(|&b| b == b'?').next().unwrap_or_default();
    let mut decoded = Vec::new();
    let mut parts = raw.split(|&b| b == b'%');
    decoded.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        let digits = std::str::from_utf8(part.get(..2).unwrap_or_default()).unwrap_or_default();
        decoded.push(u8::from_str_radix(digits, 16).expect("an escape that encodes something"));
        decoded.extend_from_slice(&part[2..]);
    }
    assert_same(&path::decoded_path(head), &decoded);
    assert!(!decoded.contains(&0), "a NUL in the path");

    let plain = path::normalised(&decoded);
    assert_eq!(plain.first(), Some(&b'/'), "{}", shown(&plain));
    let segments: Vec<_> = plain[1..].split(|&b| b == b'/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        assert!(!segment.is_empty() || is_last, "an empty segment in {}", shown(&plain));
        assert!(*segment != b"." && *segment != b"..", "a dot segment in {}", shown(&plain));
    }
    assert_eq!(path::normalised(&plain), plain, "normalised twice is something else");
}

/// Two parsers read back what we wrote.
fn is_the_same_request(out: &[u8], request: &Request<'_, '_>, says: &Forwarding<'_>, end: &RequestEnd<'_>) {
    // Our own lines may be more than we would take ourselves.
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + 10];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(out), Ok(httparse::Status::Complete(out.len())), "{}", shown(out));
    assert_eq!((parsed.method, parsed.path), (Some(request.method), Some(request.target)));
    assert_eq!(parsed.version, Some(1));
    if parsed.headers.len() > MAX_FIELDS {
        return;
    }
    let mut room = request::storage();
    let again = request::parse(out, &mut room).unwrap_or_else(|refusal| panic!("{refusal}: {}", shown(out)));
    assert_eq!((again.method, again.target), (request.method, request.target));
    assert_eq!(again.host, Some(request.host.unwrap_or(says.authority)));
    let framing = match (again.content_length, again.chunked) {
        (None, chunked) => {
            if chunked {
                Framing::Chunked
            } else {
                Framing::None
            }
        }
        (Some(length), chunked) => {
            assert!(!chunked, "two framings");
            Framing::Length(length)
        }
    };
    assert_eq!(framing, end.framing);
    assert_eq!(again.connection.close, !end.keep_alive && end.upgrade.is_none());
    assert_eq!((again.upgrade, again.takes_trailers), (end.upgrade, end.takes_trailers));
    assert!(!again.expects_continue);
}

/// Each line is ours, or the client's own and for the backend.
fn has_only_what_may_go_on(
    out: &Head<'_>,
    sent: &Head<'_>,
    request: &Request<'_, '_>,
    says: &Forwarding<'_>,
    end: &RequestEnd<'_>,
) {
    let text = |values: Vec<&[u8]>| values.into_iter().map(shown).collect::<Vec<_>>();
    let one = |value: &str| vec![shown(value.as_bytes())];
    let some = |value: Option<&str>| value.map(one).unwrap_or_default();
    assert_eq!(text(out.all("host")), one(request.host.unwrap_or(says.authority)));
    assert_eq!(text(out.all("x-forwarded-for")), one(says.client));
    assert_eq!(text(out.all("x-forwarded-proto")), one(if says.secure { "https" } else { "http" }));
    assert_eq!(text(out.all("x-forwarded-host")), some(request.host));
    let (length, coding) = match end.framing {
        Framing::None => (None, None),
        Framing::Length(length) => (Some(length.to_string()), None),
        Framing::Chunked => (None, Some("chunked")),
    };
    assert_eq!(text(out.all("content-length")), some(length.as_deref()));
    assert_eq!(text(out.all("transfer-encoding")), some(coding));
    assert_eq!(text(out.all("te")), some(end.takes_trailers.then_some("trailers")));
    assert_eq!(text(out.all("upgrade")), some(end.upgrade));
    // Each of the last two is named, or else it would not be for this hop alone.
    let mut options = Vec::new();
    options.extend((!end.keep_alive && end.upgrade.is_none()).then_some("close"));
    options.extend(end.upgrade.map(|_| "Upgrade"));
    options.extend(end.takes_trailers.then_some("TE"));
    let connection = (!options.is_empty()).then(|| options.join(", "));
    assert_eq!(text(out.all("connection")), some(connection.as_deref()));
    let via = text(out.all("via"));
    let mut chain = text(sent.all("via"));
    let version = if request.version == Version::Http11 { "1.1" } else { "1.0" };
    chain.push(format!("{version} {PSEUDONYM}"));
    assert_eq!(via, [chain.join(", ")]);

    let nominated = sent.nominated();
    let is_nominated = |name: &[u8]| takes_away(&nominated, name);
    let of_clients = |head: &Head<'_>| {
        let fields = head.fields.iter();
        // Max-Forwards of OPTIONS is counted down.
        let counted = |name: &[u8]| request.max_forwards.is_some() && is_one_of(name, &["max-forwards"]);
        let fields = fields.filter(|(name, _)| !is_special(&hyphened(name)) && !is_nominated(name));
        let fields = fields.filter(|(name, _)| !counted(name));
        fields.map(|(name, value)| (shown(name), shown(value))).collect::<Vec<_>>()
    };
    for (name, _) in &out.fields {
        let ours = is_one_of(name, OURS);
        assert!(ours || !is_nominated(name), "{} was nominated", shown(name));
        assert!(ours || !is_special(&hyphened(name)), "{} is not for the backend", shown(name));
    }
    assert_eq!(of_clients(out), of_clients(sent), "the client's own fields");
}

/// What we say ourselves.
const OURS: &[&str] = &[
    "host",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
];

/// What a client cannot simply say to a backend.
fn is_special(name: &[u8]) -> bool {
    const HOP: &[&str] = &[
        "keep-alive",
        "proxy-connection",
        "trailer",
        "proxy-authenticate",
        "proxy-authorization",
        "expect",
        "proxy",
        "forwarded",
        "x-real-ip",
    ];
    let prefix = name.len() > 12 && is(&name[..12], "x-forwarded-");
    // "date" is no secret, only its twin with an underscore would be: there is none.
    prefix || is_one_of(name, HOP) || is_one_of(name, OURS)
}

/// The name as a program behind CGI sees it.
fn hyphened(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect()
}
