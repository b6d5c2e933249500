//! A vector: bytes for a connection of their own, with a request hidden in them.

use crate::support::rules::bytes_of;

/// Stands for the number of the vector, which makes every target unique.
pub const NUMBER: &str = "NNNNN";

/// The request that must not get through. A backend that serves it has been smuggled to.
pub const SMUGGLED: &str = "GET /app/SMUGGLEDNNNNN HTTP/1.1\r\nHost: l\r\nX-S: 1\r\n\r\n";

/// One attempt.
#[derive(Clone)]
pub struct Vector {
    /// What is odd about it.
    pub name: String,
    /// The bytes, with `NUMBER` in them.
    pub text: String,
    /// Whether the hidden request is no hidden one at all, but stands where RFC 9112 says that a
    /// next request begins: the proxy may forward it as a request of its own.
    pub open: bool,
    /// Whether it promises more bytes than it sends: then nothing is sent behind it.
    pub hungry: bool,
}

impl Vector {
    /// One whose hidden request may not get through.
    pub fn hidden(name: impl Into<String>, text: impl Into<String>) -> Vector {
        Vector { name: name.into(), text: text.into(), open: false, hungry: false }
    }

    /// One behind which the next request stands in plain sight.
    pub fn open(name: impl Into<String>, text: impl Into<String>) -> Vector {
        Vector { open: true, ..Vector::hidden(name, text) }
    }

    /// Hidden unless `open`.
    pub fn either(open: bool, name: impl Into<String>, text: impl Into<String>) -> Vector {
        Vector { open, ..Vector::hidden(name, text) }
    }

    /// It promises more bytes than it sends.
    pub fn hungry(self) -> Vector {
        Vector { hungry: true, ..self }
    }

    /// The bytes of the vector with this number.
    pub fn bytes(&self, number: usize) -> Vec<u8> {
        bytes_of(&self.text.replace(NUMBER, &format!("{number:05}")))
    }
}

/// A request for the target of the vector; `fields` are whole lines.
pub fn request(method: &str, version: &str, fields: &str, body: &str) -> String {
    format!("{method} /app/vNNNNN HTTP/{version}\r\nHost: l\r\n{fields}\r\n{body}")
}

/// The same with the fields before Host.
pub fn request_early(method: &str, version: &str, fields: &str, body: &str) -> String {
    format!("{method} /app/vNNNNN HTTP/{version}\r\n{fields}Host: l\r\n\r\n{body}")
}

/// The hidden request as the only chunk.
pub fn as_a_chunk(rest: &str) -> String {
    format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n{rest}", SMUGGLED.len())
}
