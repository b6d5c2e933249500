//! What a backend answered: its head, strict on framing, tolerant of legal
//! variety.

use std::mem::MaybeUninit;

use httparse::Header;

use super::body::BodyLength;
use super::fields::{ConnectionOptions, Known, content_length, elements, known, trim};
use super::{MAX_FIELDS, Version};

/// Room for the field lines of one head, on the caller's stack.
pub type Storage<'a> = [MaybeUninit<Header<'a>>; MAX_FIELDS];

/// A response head and what it says about the body behind it.
#[derive(Debug)]
pub struct Response<'h, 'a> {
    /// The status, 100 to 599 (and on to 999, which is relayed as it is).
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: &'a str,
    /// The version that the backend speaks.
    pub version: Version,
    /// All field lines in their order.
    pub fields: &'h [Header<'a>],
    /// What the `Connection` lines said.
    pub connection: ConnectionOptions,
    /// The `Content-Length` as announced, also where no body follows (HEAD, 304).
    pub content_length: Option<u64>,
    /// How the body ends.
    pub body: BodyLength,
    /// How long the backend says that it keeps the connection.
    pub keep_alive: KeepAlive,
}

/// What the `Keep-Alive` lines of a head said (RFC 2068 19.7.1.1), the least
/// of each where it came twice. What cannot be read was not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepAlive {
    /// Seconds that the connection may be idle.
    pub timeout: Option<u32>,
    /// Requests that it may carry; some mean all together, some those to come.
    pub max: Option<u32>,
}

impl KeepAlive {
    fn add(&mut self, value: &[u8]) {
        for element in elements(value) {
            let Some(equals) = element.iter().position(|&b| b == b'=') else { continue };
            let (name, value) = (trim(&element[..equals]), trim(&element[equals + 1..]));
            let place = match name {
                name if name.eq_ignore_ascii_case(b"timeout") => &mut self.timeout,
                name if name.eq_ignore_ascii_case(b"max") => &mut self.max,
                _ => continue,
            };
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            if let Some(number) = content_length(quoted.unwrap_or(value)) {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                *place = Some(place.map_or(number, |before| before.min(number)));
            }
        }
    }
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Parsed<'h, 'a> {
    /// The head is not complete; read more.
    Partial,
    /// A head of `length` bytes.
    Complete {
        /// What it says.
        response: Response<'h, 'a>,
        /// Bytes it takes; the body begins behind them.
        length: usize,
    },
}

/// Why a response cannot be relayed (502).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// The bytes are no HTTP/1.x head.
    #[error("not an HTTP/1.x response")]
    Malformed,
    /// The head is longer, or has more lines, than we take.
    #[error("the response head is too large")]
    TooLarge,
    /// The framing is contradictory or unknown (RFC 9112 6.3).
    #[error("the response's framing is ambiguous: {0}")]
    Framing(&'static str),
    /// 101 although nobody asked for it, or to a protocol that nobody asked for.
    #[error("the backend switched protocols unasked")]
    Unasked101,
    /// Interim responses without end.
    #[error("too many interim responses")]
    TooManyInterim,
}

/// The status that begins a tunnel (RFC 9110 15.2.2).
pub const SWITCHING_PROTOCOLS: u16 = 101;

impl Response<'_, '_> {
    /// Whether the backend lets the connection be used again after this
    /// response (RFC 9112 9.3).
    pub fn keeps_alive(&self) -> bool {
        !self.connection.close
            && self.body != BodyLength::UntilClose
            && (self.version == Version::Http11 || self.connection.keep_alive)
    }

    /// An interim response (1xx but 101): the final one is still to come.
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != SWITCHING_PROTOCOLS
    }

    /// Whether it switches to exactly this protocol.
    pub fn switches_to(&self, protocol: &str) -> bool {
        let mut lines = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("upgrade"));
        let first =
            lines.next().is_some_and(|line| trim(line.value).eq_ignore_ascii_case(protocol.as_bytes()));
        self.status == SWITCHING_PROTOCOLS && first && lines.next().is_none()
    }
}

/// An empty [`Storage`].
pub const fn storage<'a>() -> Storage<'a> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// Makes a version above 1.1 into 1.1, as which it is to be read (RFC 9110 2.5).
pub fn settle_version(bytes: &mut [u8]) {
    if let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9', b' ' | b'\r', ..] = bytes {
        *minor = b'1';
    }
}

/// Parses a response head at the start of `bytes`.
///
/// `to_head` tells that it answers a HEAD request, which has no body whatever
/// its fields say.
///
/// # Errors
/// [`BadResponse`]; a head that is merely incomplete is [`Parsed::Partial`].
pub fn parse<'h, 'a>(
    bytes: &'a [u8],
    storage: &'h mut Storage<'a>,
    to_head: bool,
) -> Result<Parsed<'h, 'a>, BadResponse> {
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, bytes, storage) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(BadResponse::TooLarge),
        Err(_) => return Err(BadResponse::Malformed),
    };
    // httparse skips empty lines in front; an answer has none.
    if !bytes.starts_with(b"HTTP/1.") {
        return Err(BadResponse::Malformed);
    }
    let version = if parsed.version == Some(1) { Version::Http11 } else { Version::Http10 };
    let status = parsed.code.unwrap_or(0);
    if status < 100 {
        return Err(BadResponse::Malformed);
    }
    let fields: &'h [Header<'a>] = parsed.headers;

    let mut connection = ConnectionOptions::default();
    let mut length_field = None;
    let mut chunked = false;
    let mut keep_alive = KeepAlive::default();
    for field in fields {
        match known(field.name.as_bytes()) {
            Known::Connection => connection.add(field.value),
            Known::ContentLength => {
                let value = content_length(trim(field.value))
                    .ok_or(BadResponse::Framing("Content-Length is not a number"))?;
                if length_field.replace(value).is_some_and(|before| before != value) {
                    return Err(BadResponse::Framing("two different Content-Length"));
                }
            }
            Known::TransferEncoding => {
                if chunked || !trim(field.value).eq_ignore_ascii_case(b"chunked") {
                    return Err(BadResponse::Framing("Transfer-Encoding is not exactly chunked"));
                }
                chunked = true;
            }
            Known::HopByHop if field.name.eq_ignore_ascii_case("keep-alive") => keep_alive.add(field.value),
            _ => {}
        }
    }
    let body = body_length(status, version, to_head, chunked, length_field)?;
    let response = Response {
        status,
        reason: parsed.reason.unwrap_or(""),
        version,
        fields,
        connection,
        content_length: length_field,
        body,
        keep_alive,
    };
    Ok(Parsed::Complete { response, length })
}

/// RFC 9112 6.3, with every doubtful case refused.
fn body_length(
    status: u16,
    version: Version,
    to_head: bool,
    chunked: bool,
    length: Option<u64>,
) -> Result<BodyLength, BadResponse> {
    if chunked && length.is_some() {
        return Err(BadResponse::Framing("both Content-Length and Transfer-Encoding"));
    }
    if chunked && version == Version::Http10 {
        return Err(BadResponse::Framing("Transfer-Encoding in HTTP/1.0"));
    }
    Ok(match (status, length) {
        (100..=199 | 204 | 304, _) => BodyLength::None,
        _ if to_head => BodyLength::None,
        _ if chunked => BodyLength::Chunked,
        (_, Some(0)) => BodyLength::None,
        (_, Some(n)) => BodyLength::Length(n),
        (_, None) => BodyLength::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(head: &str, to_head: bool) -> Result<BodyLength, BadResponse> {
        let mut room = storage();
        match parse(head.as_bytes(), &mut room, to_head)? {
            Parsed::Complete { response, .. } => Ok(response.body),
            Parsed::Partial => panic!("partial: {head:?}"),
        }
    }

    #[test]
    fn legal_status_lines_are_accepted_r1() {
        for line in ["HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 200 OK", "HTTP/1.1 299 x"]
        {
            assert!(body_of(&format!("{line}\r\nContent-Length: 0\r\n\r\n"), false).is_ok(), "{line}");
        }
    }

    #[test]
    fn illegal_status_lines_are_refused_r1_r41() {
        for line in [
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 abc",
            "HTTP/1.1 -20",
            "ICY 200 OK",
            "HTTPS/1.1 200 OK",
            "HTTP/ 200 OK",
            " HTTP/1.1 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/11 200 OK",
            "HTTP/1.1 099 x",
            "<html>hi</html>",
            "\r\nHTTP/1.1 200 OK",
        ] {
            let head = format!("{line}\r\n\r\n");
            assert!(body_of(&head, false).is_err(), "{line}");
        }
    }

    #[test]
    fn framing_decides_the_body() {
        let ok = |fields: &str| body_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), false);
        assert_eq!(ok("Content-Length: 5\r\n"), Ok(BodyLength::Length(5)));
        assert_eq!(ok("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(BodyLength::Length(5))); // R29
        assert_eq!(ok("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
        assert_eq!(ok(""), Ok(BodyLength::UntilClose));
        for bad in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5x\r\n",
            "Content-Length: 18446744073709551621\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(matches!(ok(bad), Err(BadResponse::Framing(_))), "{bad}"); // R30 R31 R32
        }
        assert!(body_of("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false).is_err()); // R33
    }

    #[test]
    fn some_answers_never_have_a_body_r7_r10_r11() {
        for status in ["204 No", "304 Not", "100 C", "103 E"] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\n");
            assert_eq!(body_of(&head, false), Ok(BodyLength::None), "{status}");
        }
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true), Ok(BodyLength::None));
        assert_eq!(
            body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            Ok(BodyLength::None)
        );
        assert_eq!(body_of("HTTP/1.1 205 R\r\nContent-Length: 3\r\n\r\n", false), Ok(BodyLength::Length(3))); // R12b
    }

    #[test]
    fn keep_alive_follows_version_and_connection_r26_r27() {
        let keeps = |head: &str| {
            let mut room = storage();
            match parse(head.as_bytes(), &mut room, false) {
                Ok(Parsed::Complete { response, .. }) => response.keeps_alive(),
                other => panic!("{other:?}"),
            }
        };
        assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, close\r\n\r\n"));
        assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(keeps("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n"));
        assert!(!keeps("HTTP/1.1 200 OK\r\n\r\n"));
    }

    #[test]
    fn what_is_announced_is_read() {
        let announced = |lines: &[&str]| {
            let lines: String = lines.iter().map(|line| format!("Keep-Alive:{line}\r\n")).collect();
            let head = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
            let mut room = storage();
            match parse(head.as_bytes(), &mut room, false) {
                Ok(Parsed::Complete { response, .. }) => {
                    (response.keep_alive.timeout, response.keep_alive.max)
                }
                other => panic!("{other:?}"),
            }
        };
        for (lines, timeout, max) in [
            (&[" timeout=5, max=100"][..], Some(5), Some(100)),
            (&["timeout=5"], Some(5), None),
            (&[" MAX = 3 ,x=1,, Timeout= \"15\" "], Some(15), Some(3)),
            (&[" timeout=5", " timeout=3, max=9", " timeout=4"], Some(3), Some(9)),
            (&[" timeout=0"], Some(0), None),
            (&[" timeout=99999999999, max=4294967296"], Some(u32::MAX), Some(u32::MAX)),
            (&[" timeout=-5, max=+1", " timeout=", " max", " 5", " timeout=5s", " timeout=\"5"], None, None),
            (&[], None, None),
        ] {
            assert_eq!(announced(lines), (timeout, max), "{lines:?}");
        }
    }

    #[test]
    fn odd_field_lines_are_refused_r37() {
        for line in ["nocolon", "X-A : v", "X(A: v", ": v", "X: a\0b", "X: a\r\n b"] {
            assert!(body_of(&format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"), false).is_err(), "{line:?}");
        }
    }
}
