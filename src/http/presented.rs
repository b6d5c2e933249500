//! What a server is shown of a request that is ours: a head that means the same
//! to it in everything that concerns it, without what it would stumble over.

use std::borrow::Cow;

use super::fields::{is_token, trim};
use super::request::head_end;

/// Bytes of a target that are shown at most: servers begin with 4 KiB for a head.
const LONGEST_TARGET: usize = 1536;

/// Bytes of all field lines that are shown at most.
const LONGEST_FIELDS: usize = 2048;

/// Bytes of a host's name (RFC 1035 2.3.4).
const LONGEST_NAME: usize = 255;

/// Field lines that are shown at most; servers stop at 32 or 50.
const MAX_SHOWN: usize = 24;

/// Whether every server reads this head in one and the same way, and as a
/// request without a body: GET or HEAD, a few well-formed lines, nothing about
/// framing. Cheaper than a parser, since it looks at nearly all requests.
pub fn is_ordinary(head: &[u8]) -> bool {
    let Some(line) = memchr::memchr(b'\r', head) else { return false };
    let (request, mut rest) = head.split_at(line);
    if !(request.starts_with(b"GET /") || request.starts_with(b"HEAD /")) {
        return false;
    }
    let mut words = request.splitn(4, |&b| b == b' ').skip(1);
    let target = words.next().unwrap_or_default();
    if words.next() != Some(b"HTTP/1.1") || words.next().is_some() || !target.iter().all(u8::is_ascii_graphic)
    {
        return false;
    }
    let mut hosts = 0;
    for _ in 0..MAX_SHOWN {
        let Some(line) = rest.strip_prefix(b"\r\n") else { return false };
        if line == b"\r\n" {
            return hosts == 1;
        }
        let Some(end) = memchr::memchr(b'\r', line) else { return false };
        let (line, behind) = line.split_at(end);
        let name = line.iter().take_while(|b| is_token(**b)).count();
        let [b':', b' ', value @ ..] = &line[name..] else { return false };
        if name == 0 || value.is_empty() || !value.iter().all(|&b| b >= b' ' && b != 0x7f) {
            return false;
        }
        let name = &line[..name];
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match name.len() {
            4 if is("host") => {
                hosts += 1;
                if !is_plain_host(value) {
                    return false;
                }
            }
            6 if is("expect") => return false,
            14 if is("content-length") || is("content_length") => return false,
            17 if is("transfer-encoding") || is("transfer_encoding") => return false,
            _ => {}
        }
        rest = behind;
    }
    false
}

/// How many heads `bytes` are, one behind the other, if all of them are whole
/// and ordinary.
pub fn ordinary(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() {
        let (head, behind) = rest.split_at(head_end(rest)?);
        if !is_ordinary(head) {
            return None;
        }
        rest = behind;
        count += 1;
    }
    Some(count)
}

/// How many bytes of `bytes` belong to empty lines in front of a request
/// (RFC 9112 2.2).
pub fn empty_lines(bytes: &[u8]) -> usize {
    bytes.chunks_exact(2).take_while(|pair| *pair == b"\r\n").count() * 2
}

/// How many bytes the first head takes, by the most tolerant of readers, for
/// which a bare LF ends a line too.
pub fn tolerant_end(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// A head for the server instead of `head`: its path, whether the connection is
/// kept, and of the field lines those that no server stumbles over.
///
/// The method is one that no server knows where it might wait for a body
/// otherwise. Whatever the head announces of a body is left out.
pub fn shown(head: &[u8], decoded_path: &[u8]) -> Vec<u8> {
    let mut lines = head.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let request = lines.next().unwrap_or_default();
    let mut words = request.split(|&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let version: &[u8] = if words.next() == Some(b"HTTP/1.0") { b"HTTP/1.0" } else { b"HTTP/1.1" };

    let mut out = Vec::with_capacity(head.len());
    out.extend_from_slice(&shown_method(method));
    out.push(b' ');
    out.extend_from_slice(&shown_target(target, decoded_path));
    out.push(b' ');
    out.extend_from_slice(version);
    out.extend_from_slice(b"\r\nHost: ");
    let mut host: &[u8] = b"localhost";
    let mut fields = Vec::new();
    let mut length = 0;
    for line in lines {
        let Some(colon) = line.iter().position(|&b| b == b':') else { continue };
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        if is("host") {
            if is_plain_host(value) {
                host = value;
            }
        } else if is_shown(name, value) && fields.len() < MAX_SHOWN {
            length += name.len() + value.len() + 4;
            if length <= LONGEST_FIELDS {
                fields.push((name, value));
            }
        }
    }
    out.extend_from_slice(host);
    for (name, value) in fields {
        for part in [b"\r\n", name, b": ", value] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// GET and HEAD as they are; the first letter of others is changed, since
/// servers know methods by their beginnings.
fn shown_method(method: &[u8]) -> Cow<'_, [u8]> {
    let known = matches!(method, b"GET" | b"HEAD" | b"DELETE" | b"OPTIONS");
    if known {
        return Cow::Borrowed(method);
    }
    if (3..=7).contains(&method.len()) && method.iter().all(u8::is_ascii_uppercase) {
        let mut other = method.to_vec();
        other[0] = b'Q';
        return Cow::Owned(other);
    }
    Cow::Borrowed(b"QOST")
}

/// The target as it is, or else the path that was made of it, encoded; of a
/// very long one both ends.
fn shown_target<'a>(target: &'a [u8], decoded_path: &[u8]) -> Cow<'a, [u8]> {
    let plain = |b: &u8| b.is_ascii_graphic() && *b != b'#';
    if target.first() == Some(&b'/') && target.iter().all(plain) {
        if target.len() <= LONGEST_TARGET {
            return Cow::Borrowed(target);
        }
        let path = target.split(|&b| b == b'?').next().unwrap_or_default();
        if path.len() <= LONGEST_TARGET {
            return Cow::Borrowed(path);
        }
        let half = LONGEST_TARGET / 2;
        return Cow::Owned([&path[..half], &path[path.len() - half..]].concat());
    }
    let decoded_path = &decoded_path[..decoded_path.len().min(LONGEST_TARGET / 3)];
    let mut out = Vec::with_capacity(decoded_path.len());
    for &b in decoded_path {
        if b.is_ascii_alphanumeric() || b"/-._~".contains(&b) {
            out.push(b);
        } else {
            out.extend_from_slice(&[b'%', hex(b >> 4), hex(b & 15)]);
        }
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(digit & 15)]
}

/// Whether a server is shown a line: what other plugins may look at, and how
/// long the connection is kept.
fn is_shown(name: &[u8], value: &[u8]) -> bool {
    const SHOWN: [&str; 6] = ["connection", "authorization", "cookie", "user-agent", "referer", "accept"];
    let wanted = SHOWN.iter().any(|text| name.eq_ignore_ascii_case(text.as_bytes()));
    wanted && !value.is_empty() && value.iter().all(|&b| (b' '..0x7f).contains(&b))
}

/// A name or IPv4 address with at most one port of sane length.
fn is_plain_host(value: &[u8]) -> bool {
    let (name, port) = match value.iter().position(|&b| b == b':') {
        Some(colon) => (&value[..colon], &value[colon + 1..]),
        None => (value, &b"80"[..]),
    };
    let name_ok = (1..=LONGEST_NAME).contains(&name.len())
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b));
    let port_ok = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit) && port[0] != b'0';
    name_ok && port_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_read_alike_is_ordinary() {
        let get = |lines: &str| is_ordinary(format!("GET /a?b HTTP/1.1\r\n{lines}\r\n").as_bytes());
        assert!(get("Host: h:8080\r\nAccept: */*\r\nX: a:b c\r\n"));
        for lines in [
            "",
            "Host: h\r\nHost: h\r\n",
            "Host: [::1]\r\n",
            "Host:h\r\n",
            "Host: h\r\nX:\r\n",
            "Host: h\r\nX: \r\n",
            "Host: h\r\nX : y\r\n",
            "Host: h\r\nX\r\n",
            "Host: h\r\n y\r\n",
            "Host: h\r\nX: y\nZ: a\r\n",
            "Host: h\r\nX: \u{1}\r\n",
            "Host: h\r\nContent-Length: 0\r\n",
            "Host: h\r\ntransfer-encoding: x\r\n",
            "Host: h\r\nExpect: x\r\n",
        ] {
            assert!(!get(lines), "{lines:?}");
        }
        assert!(!get(&format!("Host: h\r\n{}", "X: y\r\n".repeat(40))));
        for line in
            ["POST / HTTP/1.1", "GET / HTTP/1.0", "GET  / HTTP/1.1", "GET /\t HTTP/1.1", "GET x HTTP/1.1"]
        {
            assert!(!is_ordinary(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()), "{line}");
        }
        assert!(!is_ordinary(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nX"));
    }

    #[test]
    fn a_shown_head_is_ordinary_but_for_its_method() {
        let head =
            b"POST /a%2Fb HTTP/1.1\r\nHost: [::1]:81\r\nX:\r\nContent-Length: 5\r\nUser-Agent:  u \r\n\
                     Transfer-Encoding : chunked\r\nconnection: close\r\n\r\n";
        assert_eq!(
            String::from_utf8(shown(head, b"/a/b")).unwrap(),
            "QOST /a%2Fb HTTP/1.1\r\nHost: localhost\r\nUser-Agent: u\r\nconnection: close\r\n\r\n"
        );
        let odd = b"po /a\x01b# HTTP/9\nHost: h\n\n";
        assert_eq!(shown(odd, b"/a\x01b"), b"QOST /a%01b HTTP/1.1\r\nHost: h\r\n\r\n");
        let get = shown(b"GET /x HTTP/1.1\r\nHost: h:1\r\nAccept:\r\n\r\n", b"/x");
        assert!(is_ordinary(&get), "{}", String::from_utf8_lossy(&get));
    }

    #[test]
    fn heads_end_where_the_most_tolerant_reader_sees_them_end() {
        assert_eq!(tolerant_end(b"a\r\n\r\nb"), Some(5));
        assert_eq!(tolerant_end(b"a\n\nb"), Some(3));
        assert_eq!(tolerant_end(b"a\r\n\nb"), Some(4));
        assert_eq!(tolerant_end(b"a\r\nb\r\n\r"), None);
        assert_eq!((empty_lines(b"\r\n\r\nG"), empty_lines(b"\nG"), empty_lines(b"\r\n")), (4, 0, 2));
    }
}
