//! One request as a backend saw it, and how a backend reads it.

use std::io;

/// A request that reached a backend.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which connection of this backend it came on, counted from 0.
    pub connection: usize,
    /// The method, letter for letter.
    pub method: String,
    /// The target, byte for byte.
    pub target: String,
    /// The version, `HTTP/1.1`.
    pub version: String,
    /// The head, final empty line included.
    pub head: String,
    /// The header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body after decoding.
    pub body: Vec<u8>,
}

impl Seen {
    /// Reads a head; the error says what a strict backend would not take.
    pub fn parse(connection: usize, head: &[u8]) -> io::Result<Seen> {
        let head: String = head.iter().map(|&byte| char::from(byte)).collect();
        let bad = |what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{what} in request head {head:?}"))
        };
        let mut lines = head.trim_end_matches("\r\n").split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("not three words"));
        };
        let (method, target, version) = (method.into(), target.into(), version.into());
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
        });
        let headers = headers.collect::<Option<Vec<_>>>().ok_or_else(|| bad("no colon"))?;
        Ok(Seen { connection, method, target, version, head, headers, body: Vec::new() })
    }

    /// The value of a field that came exactly once; `None` when it did not come.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether the sender of this request may use the connection again.
    pub fn keeps_alive(&self) -> bool {
        let options = self.all("Connection").join(",").to_ascii_lowercase();
        let has = |option: &str| options.split(',').any(|o| o.trim() == option);
        if self.version == "HTTP/1.1" { !has("close") } else { has("keep-alive") }
    }
}
