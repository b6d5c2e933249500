//! What a client asked: its raw head, parsed strictly once more whatever the
//! host made of it, and how its body is framed.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use httparse::Header;
use memchr::memmem::Finder;
use memchr::{memchr, memchr2_iter};

use super::fields::{
    ConnectionOptions, Known, content_length, elements, is_nominated, is_token, known, trim,
};
use super::{MAX_FIELDS, Version};

/// Room for the field lines of one head, on the caller's stack.
pub type Storage<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

/// An empty [`Storage`].
pub const fn storage<'a>() -> Storage<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// A request head without a doubt in it.
#[derive(Debug)]
pub struct Request<'h, 'a> {
    /// The method, letter for letter.
    pub method: &'a str,
    /// The target in origin form, byte for byte as it came.
    pub target: &'a str,
    /// The version that the client speaks.
    pub version: Version,
    /// All field lines in their order.
    pub fields: &'h [Header<'a>],
    /// The one `Host` value; only HTTP/1.0 may leave it out.
    pub host: Option<&'a str>,
    /// The one `Content-Length`, if there was one.
    pub content_length: Option<u64>,
    /// The body comes in chunks.
    pub chunked: bool,
    /// What the `Connection` lines said.
    pub connection: ConnectionOptions,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
    /// The one protocol that the client would rather speak (RFC 9110 7.8);
    /// `None` without `Connection: upgrade`, with a list, and in HTTP/1.0.
    pub upgrade: Option<&'a str>,
    /// The client takes trailer fields (`TE: trailers`, RFC 9110 6.5.1).
    pub takes_trailers: bool,
    /// How often an OPTIONS request may still be forwarded (RFC 9110 7.6.2).
    pub max_forwards: Option<u64>,
}

/// Why a request is not forwarded. Each closes the client's connection: where
/// the next request would begin is not known for certain any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: the head breaks the grammar or contradicts itself.
    #[error("{0}")]
    Malformed(&'static str),
    /// 405: TRACE would echo fields that we add (RFC 9110 9.3.8).
    #[error("TRACE is not forwarded")]
    Trace,
    /// 411: the body's length must be announced with Content-Length.
    #[error("a body of unknown length cannot be taken here; send Content-Length")]
    LengthRequired,
    /// 431: more field lines than we take.
    #[error("too many header fields")]
    TooManyFields,
    /// 501: something that we do not implement.
    #[error("{0}")]
    NotImplemented(&'static str),
}

impl Refusal {
    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::Trace => 405,
            Refusal::LengthRequired => 411,
            Refusal::TooManyFields => 431,
            Refusal::NotImplemented(_) => 501,
        }
    }
}

/// How many bytes of `bytes` the first head takes, its empty line included.
///
/// The host's own idea of where a head ends is not to be trusted: it takes an
/// empty line further on for the end when the data happens to end with one.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    // Made once: that takes longer than the search in an ordinary head.
    static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    EMPTY_LINE.find(bytes).map(|at| at + 4)
}

/// Parses one whole head (request line to empty line).
///
/// # Errors
/// A [`Refusal`] for whatever another reader of the same bytes could
/// understand in a different way.
pub fn parse<'h, 'a>(head: &'a [u8], storage: &'h mut Storage<'a>) -> Result<Request<'h, 'a>, Refusal> {
    line_ends(head)?;
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, storage) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Refusal::Malformed("the head ends too early")),
        Err(error) => return Err(refusal(error)),
    }
    let version = match parsed.version {
        Some(1) => Version::Http11,
        _ => Version::Http10,
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
        return Err(Refusal::Malformed("the request line is incomplete"));
    };
    let fields: &'h [Header<'a>] = parsed.headers;
    target_is_plain(target)?;
    match method {
        "TRACE" => return Err(Refusal::Trace),
        "CONNECT" => return Err(Refusal::NotImplemented("CONNECT is not forwarded")),
        _ => {}
    }

    let mut host = None;
    let mut length = None;
    let mut chunked = false;
    let mut connection = ConnectionOptions::default();
    let mut expects_continue = false;
    let mut upgrade = None;
    let mut takes_trailers = false;
    let mut max_forwards = None;
    for field in fields {
        match known(field.name.as_bytes()) {
            Known::Host => {
                let value = host_value(field.value)?;
                if host.replace(value).is_some() {
                    return Err(Refusal::Malformed("more than one Host"));
                }
            }
            Known::ContentLength => {
                let value = content_length(trim(field.value))
                    .ok_or(Refusal::Malformed("Content-Length is not a number"))?;
                if length.replace(value).is_some() {
                    return Err(Refusal::Malformed("more than one Content-Length"));
                }
            }
            Known::TransferEncoding => {
                if chunked {
                    return Err(Refusal::Malformed("more than one Transfer-Encoding"));
                }
                if !trim(field.value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::NotImplemented("Transfer-Encoding other than chunked"));
                }
                chunked = true;
            }
            Known::Connection => connection.add(field.value),
            Known::Expect => expects_continue |= trim(field.value).eq_ignore_ascii_case(b"100-continue"),
            Known::HopByHop if field.name.eq_ignore_ascii_case("te") => {
                takes_trailers |=
                    elements(field.value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            Known::HopByHop if field.name.eq_ignore_ascii_case("upgrade") => {
                // Two lines are a list as well.
                let first = upgrade.is_none();
                upgrade = Some(if first { protocol(field.value) } else { None });
            }
            Known::Other if method == "OPTIONS" && is_max_forwards(field.name) => {
                let value = content_length(trim(field.value))
                    .ok_or(Refusal::Malformed("Max-Forwards is not a number"))?;
                if max_forwards.replace(value).is_some() {
                    return Err(Refusal::Malformed("more than one Max-Forwards"));
                }
            }
            _ => {}
        }
    }
    if chunked && length.is_some() {
        return Err(Refusal::Malformed("both Content-Length and Transfer-Encoding"));
    }
    if chunked && version == Version::Http10 {
        return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0"));
    }
    if host.is_none() && version == Version::Http11 {
        return Err(Refusal::Malformed("no Host"));
    }
    let modern = version == Version::Http11;
    Ok(Request {
        method,
        target,
        version,
        fields,
        host,
        content_length: length,
        chunked,
        connection,
        expects_continue: expects_continue && modern,
        upgrade: upgrade.flatten().filter(|_| connection.upgrade && modern),
        takes_trailers: takes_trailers && modern,
        max_forwards,
    })
}

impl Request<'_, '_> {
    /// Whether `Connection` names a field that frames the body, which some
    /// readers would drop for that.
    pub fn names_framing(&self) -> bool {
        let named = |name: &str| is_nominated(self.fields, name.as_bytes());
        self.connection.names_fields && (named("content-length") || named("transfer-encoding"))
    }
}

/// Whether repeating a request of this method changes nothing (RFC 9110 9.2.2).
pub fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
}

/// The protocol of an `Upgrade` line that names exactly one.
fn protocol(value: &[u8]) -> Option<&str> {
    let value = trim(value);
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(b);
    (!value.is_empty() && value.iter().all(token)).then(|| std::str::from_utf8(value).ok()).flatten()
}

/// Whether a field is `Max-Forwards`, which means something for OPTIONS alone:
/// TRACE is not forwarded at all.
pub(super) fn is_max_forwards(name: &str) -> bool {
    name.eq_ignore_ascii_case("max-forwards")
}

/// Every line ends in CR LF, and neither stands anywhere else.
fn line_ends(head: &[u8]) -> Result<(), Refusal> {
    let mut expected = None;
    for at in memchr2_iter(b'\r', b'\n', head) {
        match (head[at], expected) {
            (b'\r', None) => expected = Some(at + 1),
            (b'\n', Some(place)) if place == at => expected = None,
            _ => return Err(Refusal::Malformed("a line does not end in CR LF")),
        }
    }
    match expected {
        None => Ok(()),
        Some(_) => Err(Refusal::Malformed("a line does not end in CR LF")),
    }
}

/// Origin form, without a fragment or an encoded NUL. (That it is text without blanks and
/// control characters is sure already; letters beyond ASCII pass as they came.)
fn target_is_plain(target: &str) -> Result<(), Refusal> {
    let bytes = target.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(Refusal::Malformed("the target does not start with a slash"));
    }
    if memchr(b'#', bytes).is_some() {
        return Err(Refusal::Malformed("a fragment in the target"));
    }
    if memchr(b'%', bytes).is_none() {
        return Ok(());
    }
    if bytes.windows(3).any(|escape| escape == b"%00") {
        return Err(Refusal::Malformed("an encoded NUL in the target"));
    }
    // A host that cannot decode one escape decodes none, and then sees no dot
    // segments that the next reader will see.
    let path = bytes.split(|&b| b == b'?').next().unwrap_or(bytes);
    let mut escapes = path.split(|&b| b == b'%').skip(1);
    if !escapes.all(|rest| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())) {
        return Err(Refusal::Malformed("a percent sign in the path that encodes nothing"));
    }
    Ok(())
}

/// A host with an optional port, as far as a gateway must care (RFC 9112 3.2).
pub(super) fn host_value(value: &[u8]) -> Result<&str, Refusal> {
    let value = trim(value);
    let (name, port) = match value {
        [b'[', rest @ ..] => {
            let name = rest.iter().take_while(|b| b.is_ascii_hexdigit() || b":.".contains(b)).count();
            // Without its bracket it is nothing that may be a port either.
            (name, rest[name..].strip_prefix(b"]").unwrap_or(b"["))
        }
        _ => {
            let name = value.iter().take_while(|b| is_host_byte(**b)).count();
            (name, &value[name..])
        }
    };
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    match std::str::from_utf8(value) {
        Ok(text) if name > 0 && port_ok => Ok(text),
        _ => Err(Refusal::Malformed("Host is not a host name")),
    }
}

/// Unreserved characters, sub-delimiters but the comma, and the percent sign (RFC 3986 3.2.2).
fn is_host_byte(byte: u8) -> bool {
    match byte {
        b'#' | b'^' | b'`' | b'|' => false,
        b'(' | b')' | b';' | b'=' => true,
        byte => is_token(byte),
    }
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::HeaderName => Refusal::Malformed("a header field has no proper name"),
        httparse::Error::HeaderValue => Refusal::Malformed("a control character in a header field"),
        _ => Refusal::Malformed("the request line is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(head: &[u8]) -> u16 {
        let mut room = storage();
        match parse(head, &mut room) {
            Ok(request) => panic!("accepted: {request:?}"),
            Err(refusal) => refusal.status(),
        }
    }

    #[test]
    fn an_ordinary_head_is_taken_apart() {
        let head = b"POST /a%2Fb?x=1 HTTP/1.1\r\nHost: h:8080\r\nContent-Length: 5\r\nConnection: close, X-Hop\r\n\r\n";
        let mut room = storage();
        let request = parse(head, &mut room).unwrap();
        assert_eq!(request.method, "POST");
        assert_eq!(request.target, "/a%2Fb?x=1");
        assert_eq!(request.version, Version::Http11);
        assert_eq!(request.host, Some("h:8080"));
        assert_eq!(request.content_length, Some(5));
        assert!(request.connection.close && request.connection.names_fields);
        assert_eq!(request.fields.len(), 3);
    }

    #[test]
    fn the_first_empty_line_ends_the_head() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        let cases: &[(&[u8], u16)] = &[
            (b"GET / HTTP/1.1\r\n\r\n", 400),                                            // F7a
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),                      // F8
            (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),                               // F9
            (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),                               // F9
            (b"GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", 400),                           // F9
            (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),                              // F9
            (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),                               // F9
            (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
            (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400),           // F54
            (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),                        // F43
            (b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400),                        // F43
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),                   // F39
            (b"GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", 400),                      // F43
            (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),                           // F40
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),                   // F42
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),                      // F42
            (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),                              // F34
            (b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400),                             // F34
            (b"GET /?x HTTP/1.0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),                      // F34
            (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),                              // F33
            (b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400),                            // F30.nul
            (b"GET /one/%zz/%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),            // F30 F32
            (b"GET /a% HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            (b"GET one/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),                             // F29
            (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),                                 // F26
            (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),                               // F15
            (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        ];
        for (head, status) in cases {
            assert_eq!(refused(head), *status, "{}", String::from_utf8_lossy(head));
        }
        let mut many = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        for _ in 0..MAX_FIELDS {
            many.extend_from_slice(b"X: y\r\n");
        }
        many.extend_from_slice(b"\r\n");
        assert_eq!(refused(&many), 431); // F37
    }

    #[test]
    fn an_upgrade_needs_its_connection_option_and_one_protocol_u7_u9_u14() {
        let upgrade = |version: &str, lines: &str| {
            let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{lines}\r\n");
            let mut room = storage();
            parse(head.as_bytes(), &mut room).unwrap().upgrade.map(str::to_owned)
        };
        let websocket = Some("WebSocket".to_owned());
        assert_eq!(upgrade("1.1", "Connection: keep-alive, uPgRade\r\nUpgrade: WebSocket \r\n"), websocket);
        assert_eq!(upgrade("1.1", "Upgrade: websocket\r\n"), None);
        assert_eq!(upgrade("1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"), None);
        assert_eq!(upgrade("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"), None);
        assert_eq!(upgrade("1.1", "Connection: upgrade\r\n"), None);
        assert_eq!(upgrade("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n"), None);
    }

    #[test]
    fn what_the_client_expects_and_takes_is_told_f5_f23() {
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nTE: deflate, trailers\r\n\r\n";
        let mut room = storage();
        let request = parse(head, &mut room).unwrap();
        assert!(request.expects_continue && request.takes_trailers);
        let mut room = storage();
        let head = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n";
        let request = parse(head, &mut room).unwrap();
        assert!(!request.expects_continue && !request.takes_trailers);
    }

    #[test]
    fn escapes_that_encode_something_pass_f30() {
        for target in [
            "/a%2Fb%2fc%20d%41",
            "/x?%zz",
            "/x??a=b?/../c",
            "/?a=1&b=%26&c=[]{}|^\"<>",
            "/a+b%2Bc",
            "//a///b;p=1",
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let mut room = storage();
            assert_eq!(parse(head.as_bytes(), &mut room).unwrap().target, target);
        }
    }

    #[test]
    fn host_may_be_an_address_f6b() {
        for host in ["[::1]", "[2001:db8::1]:8080", "example.com:8080", "a_b"] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let mut room = storage();
            assert_eq!(parse(head.as_bytes(), &mut room).unwrap().host, Some(host));
        }
    }
}
