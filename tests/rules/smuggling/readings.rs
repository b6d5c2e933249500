//! How different backends would read the same bytes. What a proxy sends must be the same requests
//! in every reading.

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    CrLf,
    Lf,
    Cr,
}

/// Which names are taken for the framing fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Exact,
    Trimmed,
    Underscored,
}

/// Which field decides about the length of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decides {
    FirstLength,
    LastLength,
    Chunks,
}

/// One way to read requests.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    lines: Lines,
    names: Names,
    decides: Decides,
}

/// One request in a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its first line.
    pub line: String,
    /// Whether the proxy made it: what only the proxy adds is there, once.
    pub marked: bool,
}

/// All of them, the strict one first.
pub fn all() -> Vec<Reading> {
    let mut readings = Vec::new();
    for lines in [Lines::CrLf, Lines::Lf, Lines::Cr] {
        for names in [Names::Exact, Names::Trimmed, Names::Underscored] {
            for decides in [Decides::FirstLength, Decides::LastLength, Decides::Chunks] {
                readings.push(Reading { lines, names, decides });
            }
        }
    }
    readings
}

impl Reading {
    /// The requests whose heads are whole, and how many bytes the whole ones took.
    pub fn requests(self, bytes: &[u8]) -> (Vec<Request>, usize) {
        let (mut requests, mut at) = (Vec::new(), 0);
        while let Some((lines, length)) = self.head(&bytes[at..]) {
            requests.push(request(&lines));
            match self.body(&lines, &bytes[at + length..]) {
                Some(body) => at += length + body,
                None => return (requests, at),
            }
        }
        (requests, at)
    }

    /// How long the first request is, body included; 0 when it has not all come.
    pub fn first(self, bytes: &[u8]) -> usize {
        let Some((lines, length)) = self.head(bytes) else { return 0 };
        self.body(&lines, &bytes[length..]).map_or(0, |body| length + body)
    }

    /// The lines of a head and its length; empty lines in front of it belong to it.
    fn head(self, bytes: &[u8]) -> Option<(Vec<String>, usize)> {
        let (mut lines, mut at) = (Vec::new(), 0);
        loop {
            let (line, length) = self.line(&bytes[at..])?;
            at += length;
            if line.is_empty() && !lines.is_empty() {
                return Some((lines, at));
            }
            if !line.is_empty() {
                lines.push(line);
            }
        }
    }

    /// A line without its end, and how long it is with it.
    fn line(self, bytes: &[u8]) -> Option<(String, usize)> {
        let at = bytes.iter().enumerate().position(|(i, &byte)| match self.lines {
            Lines::CrLf => byte == b'\r' && bytes.get(i + 1) == Some(&b'\n'),
            Lines::Lf => byte == b'\n',
            Lines::Cr => byte == b'\n' || byte == b'\r',
        })?;
        let two = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        let mut line = text(&bytes[..at]);
        if self.lines == Lines::Lf {
            line.truncate(line.trim_end_matches('\r').len());
        }
        Some((line, at + if two { 2 } else { 1 }))
    }

    /// How long the body is; `None` when it has not all come.
    fn body(self, lines: &[String], bytes: &[u8]) -> Option<usize> {
        let lengths = self.values(lines, "content-length");
        let chunked = self
            .values(lines, "transfer-encoding")
            .iter()
            .any(|v| v.to_ascii_lowercase().contains("chunked"));
        let length = match self.decides {
            Decides::LastLength => lengths.last(),
            Decides::FirstLength | Decides::Chunks => lengths.first(),
        };
        match length {
            Some(length) if self.decides != Decides::Chunks || !chunked => {
                let length = usize::try_from(leading_number(length, 10)).ok()?;
                (bytes.len() >= length).then_some(length)
            }
            _ if chunked => self.chunks(bytes),
            _ => Some(0),
        }
    }

    fn chunks(self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let (size, length) = self.line(&bytes[at..])?;
            at += length;
            let size = usize::try_from(leading_number(&size, 16)).ok()?;
            if size == 0 {
                while !self.line(&bytes[at..])?.0.is_empty() {
                    at += self.line(&bytes[at..])?.1;
                }
                return Some(at + self.line(&bytes[at..])?.1);
            }
            at = at.checked_add(size).filter(|&at| at < bytes.len())?;
            at += self.line(&bytes[at..])?.1;
        }
    }

    fn values(self, lines: &[String], name: &str) -> Vec<String> {
        let fields = lines[1..].iter().filter_map(|line| line.split_once(':'));
        let is = |own: &str| match self.names {
            Names::Exact => own.eq_ignore_ascii_case(name),
            Names::Trimmed => own.trim().eq_ignore_ascii_case(name),
            Names::Underscored => own.trim().replace('_', "-").eq_ignore_ascii_case(name),
        };
        fields.filter(|(own, _)| is(own)).map(|(_, value)| value.trim().to_owned()).collect()
    }
}

/// As `strtoul` reads it: what is in front of the first other character.
fn leading_number(text: &str, radix: u32) -> u128 {
    let digits = text.trim_start_matches([' ', '\t', '\u{b}', '\u{c}', '+']);
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    u128::from_str_radix(&digits[..end], radix).unwrap_or(0)
}

fn request(lines: &[String]) -> Request {
    let count = |name: &str| {
        let fields = lines[1..].iter().filter_map(|line| line.split_once(':'));
        fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).count()
    };
    let marked = ["Via", "X-Forwarded-For", "Host"].iter().all(|name| count(name) == 1);
    Request { line: lines[0].clone(), marked }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Request, all};

    fn lists(bytes: &str) -> Vec<Vec<Request>> {
        all().into_iter().map(|reading| reading.requests(bytes.as_bytes()).0).collect()
    }

    #[test]
    fn what_is_clear_reads_the_same_in_every_way() {
        for bytes in [
            "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET /b HTTP/1.1\r\n\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        ] {
            let lists = lists(bytes);
            assert!(lists.iter().all(|list| list.len() == 2 && *list == lists[0]), "{bytes:?}: {lists:#?}");
        }
    }

    #[test]
    fn what_is_dubious_does_not() {
        let hidden = "GET /s HTTP/1.1\r\n\r\n";
        for bytes in [
            format!(
                "POST /a HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
            format!("POST /a HTTP/1.1\r\nContent-Length : {}\r\n\r\n{hidden}", hidden.len()),
            format!("POST /a HTTP/1.1\r\nContent_Length: {}\r\n\r\n{hidden}", hidden.len()),
            format!(
                "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG{hidden}"
            ),
            format!("GET /a HTTP/1.1\r\nX: a\n\n{hidden}"),
            "GET /a HTTP/1.1\r\nX: a\r\rGET /s HTTP/1.1\r\r\r\n\r\n".to_owned(),
        ] {
            let lists = lists(&bytes);
            assert!(lists.iter().any(|list| *list != lists[0]), "{bytes:?}: {lists:#?}");
        }
    }
}
