//! Server addresses: `IPv4[:port]`, `[IPv6][:port]`, `name[:port]`, `unix:/path`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

use super::model::ServerAddress;

/// Why a text is no server address, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says what it and its fields are
#[non_exhaustive]
pub enum AddressError {
    #[error("a server is an address, not a URL; write {remedy}")]
    Scheme { remedy: String },
    #[error("connections to servers are not encrypted; write name:port of a plain HTTP port")]
    Https,
    #[error("a server has no path; write {remedy}")]
    Path { remedy: String },
    #[error("an IPv6 address stands in brackets; write {remedy}")]
    Brackets { remedy: String },
    #[error("not an IPv6 address in brackets; write it as in [::1]:8080")]
    Ipv6,
    #[error("not an IPv4 address; write four numbers from 0 to 255, as in 127.0.0.1:8080")]
    Ipv4,
    #[error("not a port; write a number from 1 to 65535 after the colon")]
    Port,
    #[error("not a host name; write letters, digits, '-' and '.', as in app.example.com:8080")]
    Host,
    #[error("servers are separated by blanks, not by commas; write a blank")]
    Comma,
    #[error("an address has no quotes; write it as in 127.0.0.1:8081")]
    Quotes,
    #[error(
        "options stand behind the address of a Server line; write one, as in 'Server 127.0.0.1:8081 weight=2'"
    )]
    Option,
    #[error("not the path of a socket; write unix: and an absolute path of at most {limit} bytes")]
    UnixPath { limit: usize },
}

/// Reads one address. `text` contains no blanks.
pub(super) fn parse(text: &str) -> Result<ServerAddress, AddressError> {
    if text.contains(',') {
        return Err(AddressError::Comma);
    }
    if text.contains(['"', '\'']) {
        return Err(AddressError::Quotes);
    }
    if let Some(path) = strip_prefix_ignoring_case(text, "unix:") {
        return unix(path);
    }
    if strip_prefix_ignoring_case(text, "https://").is_some() {
        return Err(AddressError::Https);
    }
    if let Some((_, rest)) = text.split_once("://") {
        return Err(AddressError::Scheme { remedy: without_path(rest) });
    }
    if text.contains('/') {
        return Err(AddressError::Path { remedy: without_path(text) });
    }
    if text.contains('=') {
        return Err(AddressError::Option);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return bracketed(rest);
    }
    if text.matches(':').count() > 1 && text.parse::<Ipv6Addr>().is_ok() {
        let remedy = match text.rsplit_once(':') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() && parse_port(port).is_ok() => {
                format!("[{address}]:{port} or [{text}]:port")
            }
            _ => format!("[{text}] or [{text}]:port"),
        };
        return Err(AddressError::Brackets { remedy });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (text, DEFAULT_PORT),
    };
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Ok(ServerAddress::Socket(SocketAddr::from((address, port))));
    }
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(if host.is_empty() { AddressError::Host } else { AddressError::Ipv4 });
    }
    if !is_host_name(host) {
        return Err(AddressError::Host);
    }
    Ok(ServerAddress::Name { host: host.to_ascii_lowercase(), port })
}

/// An address after its opening bracket.
fn bracketed(rest: &str) -> Result<ServerAddress, AddressError> {
    let (address, behind) = rest.split_once(']').ok_or(AddressError::Ipv6)?;
    let port = match behind.strip_prefix(':') {
        Some(port) => parse_port(port)?,
        None if behind.is_empty() => DEFAULT_PORT,
        None => return Err(AddressError::Port),
    };
    // Through SocketAddrV6, which also reads a scope: fe80::1%2.
    match format!("[{address}]:{port}").parse::<SocketAddrV6>() {
        Ok(address) => Ok(ServerAddress::Socket(SocketAddr::V6(address))),
        Err(_) => Err(AddressError::Ipv6),
    }
}

fn unix(path: &str) -> Result<ServerAddress, AddressError> {
    if path.len() < 2 || !path.starts_with('/') || path.len() > UNIX_PATH_MAX {
        return Err(AddressError::UnixPath { limit: UNIX_PATH_MAX });
    }
    Ok(ServerAddress::Unix(PathBuf::from(path)))
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(AddressError::Port),
    }
}

/// Letters, digits and `-`; also `_`, which names in private networks have.
pub(super) fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// What to write in place of a URL: its address, if that is one.
fn without_path(text: &str) -> String {
    match text.split('/').next() {
        Some(address) if parse(address).is_ok() => format!("'{address}'"),
        _ => "name:port".to_owned(),
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

const DEFAULT_PORT: u16 = 80;

/// What `sockaddr_un` holds on Linux, without the closing NUL.
const UNIX_PATH_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, shown) in [
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[fe80::1]", "[fe80::1]:80"),
            ("[fe80::1%2]:81", "[fe80::1%2]:81"),
            ("App.example.com:3000", "app.example.com:3000"),
            ("app_1", "app_1:80"),
            ("localhost.", "localhost.:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("UNIX:/run/App.sock", "unix:/run/App.sock"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert!(matches!(parse("127.0.0.1:1"), Ok(ServerAddress::Socket(_))));
        assert!(matches!(parse("localhost:1"), Ok(ServerAddress::Name { .. })));
        assert!(matches!(parse("unix:/x"), Ok(ServerAddress::Unix(_))));
    }

    #[test]
    fn refuses_the_rest_and_says_what_to_write() {
        let long_path = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
        let long_label = "x".repeat(64);
        for (text, message) in [
            ("http://a:80/x", "a server is an address, not a URL; write 'a:80'"),
            ("http://", "a server is an address, not a URL; write name:port"),
            ("HTTPS://a", "connections to servers are not encrypted; write name:port of a plain HTTP port"),
            ("a:80/app", "a server has no path; write 'a:80'"),
            ("::1", "an IPv6 address stands in brackets; write [::1] or [::1]:port"),
            ("fd00::2:80", "an IPv6 address stands in brackets; write [fd00::2]:80 or [fd00::2:80]:port"),
            ("[::1", "not an IPv6 address in brackets; write it as in [::1]:8080"),
            ("[127.0.0.1]:80", "not an IPv6 address in brackets; write it as in [::1]:8080"),
            ("[::1]80", "not a port; write a number from 1 to 65535 after the colon"),
            ("127.0.0.256", "not an IPv4 address; write four numbers from 0 to 255, as in 127.0.0.1:8080"),
            ("10.0.1:80", "not an IPv4 address; write four numbers from 0 to 255, as in 127.0.0.1:8080"),
            ("\"a:80\"", "an address has no quotes; write it as in 127.0.0.1:8081"),
            ("a:80,b:80", "servers are separated by blanks, not by commas; write a blank"),
            (
                "weight=3",
                "options stand behind the address of a Server line; write one, as in 'Server 127.0.0.1:8081 weight=2'",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
        for text in ["http://\u{1b}]0;x\u{7}/", "a\u{85}/b", "http://a:80:90/", "http://a:0", "http://[::1/"]
        {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.ends_with("write name:port"), "{text:?}: {message}");
        }
        for text in ["a:", "a:0", "a:65536", "a:http", "a:+80", "a:-1", "[::1]:0", "a:99999999999"] {
            assert_eq!(parse(text), Err(AddressError::Port), "{text}");
        }
        for text in ["", ":80", "-a", "a-", "a..b", "a#b", "ä:80", "a:80:90", &long_label] {
            assert_eq!(parse(text), Err(AddressError::Host), "{text}");
        }
        for text in ["unix:", "unix:/", "unix:run/app", &long_path] {
            assert_eq!(parse(text), Err(AddressError::UnixPath { limit: 107 }), "{text}");
        }
    }
}
