//! Answers that the gateway gives itself.

use super::Version;
use super::forward::{Answering, Own, connection, number};

/// An answer of our own.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The status.
    pub status: u16,
    /// The media type of `body`.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Seconds after which another attempt makes sense (`Retry-After`).
    pub retry_after: Option<u64>,
    /// Further field lines, each with its end.
    pub fields: &'a str,
}

/// Appends a whole response to `out`; `to_head` leaves the body out.
pub fn write(out: &mut Vec<u8>, reply: &Reply<'_>, says: &Answering<'_>, to_head: bool) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(reply.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(reply.status).as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(says.date.as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: ");
    out.extend_from_slice(reply.content_type.as_bytes());
    out.extend_from_slice(b"\r\nCache-Control: no-store\r\n");
    if let Some(seconds) = reply.retry_after {
        number(out, b"Retry-After: ", seconds);
    }
    out.extend_from_slice(reply.fields.as_bytes());
    out.extend_from_slice(says.own.lines);
    number(out, b"Content-Length: ", reply.body.len() as u64);
    connection(out, says);
    out.extend_from_slice(b"\r\n");
    if !to_head {
        out.extend_from_slice(reply.body);
    }
}

/// The text of an error page: what went wrong, in a line.
pub fn error_text(status: u16, why: &str) -> String {
    format!("{status} {}: {why}\n", reason(status))
}

/// The media type of [`error_text`].
pub const ERROR_TYPE: &str = "text/plain; charset=utf-8";

/// A plain 503 for a client whose version is unknown, when nothing else works.
pub fn last_resort(date: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let text = error_text(503, "the proxy had an internal error");
    let reply = Reply {
        status: 503,
        content_type: ERROR_TYPE,
        body: text.as_bytes(),
        retry_after: Some(1),
        fields: "",
    };
    write(
        &mut out,
        &reply,
        &Answering {
            version: Version::Http11,
            keep_alive: false,
            date,
            trailers: false,
            own: Own::default(),
        },
        false,
    );
    out
}

/// A status and nothing else, for a client of whose request nothing is certain.
pub fn bare(status: u16) -> Vec<u8> {
    let reason = reason(status);
    format!("HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
}

/// The reason phrase of a status that we send ourselves.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(status: u16, why: &str, retry_after: Option<u64>, version: Version, to_head: bool) -> String {
        let text = error_text(status, why);
        let reply =
            Reply { status, content_type: ERROR_TYPE, body: text.as_bytes(), retry_after, fields: "" };
        let mut out = Vec::new();
        write(
            &mut out,
            &reply,
            &Answering { version, keep_alive: true, date: "D", trailers: false, own: Own::default() },
            to_head,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_says_what_and_when_to_come_back() {
        assert_eq!(
            written(503, "no backend is available", Some(7), Version::Http10, false),
            "HTTP/1.1 503 Service Unavailable\r\nDate: D\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Cache-Control: no-store\r\nRetry-After: 7\r\nContent-Length: 49\r\nConnection: keep-alive\r\n\r\n\
             503 Service Unavailable: no backend is available\n"
        );
    }

    #[test]
    fn head_gets_the_length_alone() {
        let out = written(502, "x", None, Version::Http11, true);
        assert!(out.ends_with("Content-Length: 19\r\n\r\n"), "{out}");
    }

    #[test]
    fn the_last_resort_is_a_whole_answer() {
        let out = String::from_utf8(last_resort("D")).unwrap();
        assert!(out.starts_with("HTTP/1.1 503 ") && out.contains("Connection: close\r\n"), "{out}");
    }
}
