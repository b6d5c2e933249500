//! One request as one line of a log.

use std::fmt::Write;

use super::stamp::Stamp;
use crate::config::LogFormat;
use crate::engine::Now;

/// What a line says. Times are microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the request ended, as RFC 3339 writes it.
    pub time: &'a str,
    /// The client's address.
    pub client: &'a str,
    /// The request line as it came, perhaps cut.
    pub request: &'a [u8],
    /// The status that the client got.
    pub status: u16,
    /// File and line of the entry.
    pub entry: &'a str,
    /// Name or address of the last server that was asked.
    pub server: Option<&'a str>,
    /// Attempts.
    pub tries: u32,
    /// What became of it.
    pub code: &'static str,
    /// Until the last attempt began.
    pub queue_us: Option<u64>,
    /// Until that had a connection.
    pub connect_us: Option<u64>,
    /// From there to the first byte of the answer.
    pub header_us: Option<u64>,
    /// All of it.
    pub total_us: u64,
    /// Bytes to servers.
    pub sent: u64,
    /// Bytes from servers.
    pub received: u64,
    /// Bytes of the body to the client.
    pub body: u64,
    /// What the request is called.
    pub id: &'a str,
}

/// Appends a line, its end included.
pub fn write(out: &mut Vec<u8>, format: LogFormat, line: &Line<'_>) {
    let mut fields = Fields { out, format, is_first: true };
    fields.begin();
    fields.text("time", Some(line.time.as_bytes()));
    fields.text("client", Some(line.client.as_bytes()));
    fields.quoted("request", line.request);
    fields.number("status", Some(line.status.into()));
    fields.text("entry", Some(line.entry.as_bytes()));
    fields.text("server", line.server.map(str::as_bytes));
    fields.number("tries", Some(line.tries.into()));
    fields.text("code", Some(line.code.as_bytes()));
    fields.number("queue_us", line.queue_us);
    fields.number("connect_us", line.connect_us);
    fields.number("header_us", line.header_us);
    fields.number("total_us", Some(line.total_us));
    fields.number("sent", Some(line.sent));
    fields.number("received", Some(line.received));
    fields.number("body", Some(line.body));
    fields.text("id", Some(line.id.as_bytes()).filter(|id| !id.is_empty()));
    fields.end();
}

/// Appends a line that tells how many others were lost.
pub fn lost(out: &mut Vec<u8>, format: LogFormat, count: u64, now: Now) {
    if count == 0 {
        return;
    }
    let mut stamp = Stamp::default();
    stamp.refresh(now);
    let mut fields = Fields { out, format, is_first: true };
    fields.begin();
    fields.text("time", Some(stamp.text().as_bytes()));
    fields.number("lost", Some(count));
    fields.end();
}

/// Appends `key=value` for one line of a header: as in the text form of the log.
pub fn pair(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let is_first = out.is_empty();
    Fields { out, format: LogFormat::Text, is_first }.text(key, Some(value));
}

struct Fields<'a> {
    out: &'a mut Vec<u8>,
    format: LogFormat,
    is_first: bool,
}

impl Fields<'_> {
    fn begin(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push(b'{');
        }
    }

    fn end(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }

    fn key(&mut self, key: &str) {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match self.format {
            LogFormat::Text => {
                self.out.extend_from_slice(if is_first { b"" } else { b" " });
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
            LogFormat::Json => {
                self.out.extend_from_slice(if is_first { b"\"" } else { b",\"" });
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.key(key);
        match value {
            Some(value) => self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            None => self.nothing(),
        }
    }

    fn nothing(&mut self) {
        self.out.extend_from_slice(match self.format {
            LogFormat::Text => b"-",
            LogFormat::Json => b"null",
        });
    }

    /// Quoted where it must be.
    fn text(&mut self, key: &str, value: Option<&[u8]>) {
        let is_plain = |value: &[u8]| {
            !value.is_empty() && value.iter().all(|&b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
        };
        match value {
            Some(value) if self.format == LogFormat::Text && is_plain(value) => {
                self.key(key);
                self.out.extend_from_slice(value);
            }
            Some(value) => self.quoted(key, value),
            None => {
                self.key(key);
                self.nothing();
            }
        }
    }

    fn quoted(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        for &byte in value {
            match (byte, self.format) {
                (b'"' | b'\\', _) => self.out.extend_from_slice(&[b'\\', byte]),
                (b' '..=b'~', _) => self.out.push(byte),
                (_, LogFormat::Text) => escape(self.out, "\\x", byte),
                (_, LogFormat::Json) => escape(self.out, "\\u00", byte),
            }
        }
        self.out.push(b'"');
    }
}

fn escape(out: &mut Vec<u8>, prefix: &str, byte: u8) {
    let digit = |four: u8| char::from_digit(four.into(), 16).map_or(b'0', |c| c as u8);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
}

/// Appends a number in as many hexadecimal digits as it may need.
pub fn hexadecimal(out: &mut String, number: u64) {
    // Into a String, which takes all.
    let _ = write!(out, "{number:016x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &[u8]) -> Line<'_> {
        Line {
            time: "2026-11-23T17:05:03Z",
            client: "::1",
            request,
            status: 200,
            entry: "my site.conf:3",
            server: Some("app-1"),
            tries: 2,
            code: "ok",
            queue_us: Some(5),
            connect_us: None,
            header_us: Some(70),
            total_us: 90,
            sent: 100,
            received: 2000,
            body: 1900,
            id: "",
        }
    }

    #[test]
    fn a_line_of_text() {
        let mut out = Vec::new();
        write(&mut out, LogFormat::Text, &line(b"GET /a?b=\"c\\d\" HTTP/1.1"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "time=2026-11-23T17:05:03Z client=::1 request=\"GET /a?b=\\\"c\\\\d\\\" HTTP/1.1\" status=200 \
             entry=\"my site.conf:3\" server=app-1 tries=2 code=ok queue_us=5 connect_us=- header_us=70 \
             total_us=90 sent=100 received=2000 body=1900 id=-\n"
        );
    }

    #[test]
    fn a_line_of_json_is_json_whatever_the_request_says() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        write(&mut out, LogFormat::Json, &line(&all));
        assert_eq!(out.iter().filter(|&&b| b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let request: Vec<u32> = value["request"].as_str().unwrap().chars().map(u32::from).collect();
        assert_eq!(request, (0..=255).collect::<Vec<u32>>());
        assert_eq!(
            (&value["connect_us"], &value["id"]),
            (&serde_json::Value::Null, &serde_json::Value::Null)
        );
        assert_eq!(value["total_us"], 90);
    }

    #[test]
    fn no_request_makes_two_lines_or_two_fields() {
        let mut out = Vec::new();
        write(&mut out, LogFormat::Text, &line(b"GET /\r\ntime=x\x1b[0m\xff code=ok"));
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("request=\"GET /\\x0d\\x0atime=x\\x1b[0m\\xff code=ok\" "), "{text}");
    }
}
