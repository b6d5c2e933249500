//! What a configuration says about heads: the model, and how its values are read.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::address;
use super::model::ServerAddress;
use super::parse::REQUEST_VARIABLES;

/// What a gateway changes in heads, and whom it believes. `default()` is what the table in
/// [`keys`](super::keys) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// What goes out as `Host`.
    pub host: HostHeader,
    /// Whose forwarding fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Which forwarding fields are written.
    pub forwarded: ForwardedHeaders,
    /// Our name in `Via`.
    pub via: Via,
    /// What a target loses: a path that begins with `/` and does not end with it.
    pub strip_prefix: Option<String>,
    /// What it gains, of the same form.
    pub add_prefix: Option<String>,
    /// Whether references in answers are made to lead back to us.
    pub rewrite_location: bool,
    /// Domains of cookies, the old one and the new one.
    pub cookie_domains: Vec<(String, String)>,
    /// Paths of cookies, the old one and the new one.
    pub cookie_paths: Vec<(String, String)>,
    /// Fields of requests that are set.
    pub set_request: Vec<Header>,
    /// Names of fields that are removed from requests.
    pub remove_request: Vec<String>,
    /// Fields of answers that are set.
    pub set_response: Vec<Header>,
    /// Names of fields that are removed from answers.
    pub remove_response: Vec<String>,
}

impl Default for Heads {
    fn default() -> Self {
        Heads {
            host: HostHeader::Client,
            trusted_proxies: Vec::new(),
            forwarded: ForwardedHeaders::On,
            via: Via::On,
            strip_prefix: None,
            add_prefix: None,
            rewrite_location: true,
            cookie_domains: Vec::new(),
            cookie_paths: Vec::new(),
            set_request: Vec::new(),
            remove_request: Vec::new(),
            set_response: Vec::new(),
            remove_response: Vec::new(),
        }
    }
}

/// What goes out as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client sent.
    Client,
    /// The name of the server that gets the request.
    Server,
    /// Always this host, perhaps with a port.
    Literal(String),
}

/// Which fields tell a server about the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeaders {
    /// `X-Forwarded-For` and its kin.
    On,
    /// None.
    Off,
    /// `Forwarded`.
    Rfc7239,
    /// Both kinds.
    Both,
}

/// What we call ourselves in `Via`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A name that no other installation has.
    On,
    /// Nothing: there is no such field of ours.
    Off,
    /// This.
    Named(String),
}

/// A header field that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name, a token.
    pub name: String,
    /// Its value, without control characters; never empty.
    pub value: Vec<Piece>,
}

/// A piece of the value of a header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `${client_ip}`
    ClientIp,
    /// `${host}`
    Host,
    /// `${scheme}`
    Scheme,
    /// `${request_id}`
    RequestId,
}

/// Which messages a header line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those that go to a server.
    Request,
    /// Those that go to a client.
    Response,
}

/// Why a header line cannot be used, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says what it and its fields are
#[non_exhaustive]
pub enum HeaderError {
    #[error(
        "not the name of a header; write letters, digits and '-', without a colon, as in X-Frame-Options"
    )]
    Name,
    #[error("no value follows the name; write one, or {remove} {name}")]
    NoValue { remove: &'static str, name: String },
    #[error("a control character in the value; write printable text")]
    Control,
    #[error("it says where a message ends, which the proxy alone knows; remove this line")]
    Framing,
    #[error("it is about one connection and not passed on, the proxy writes its own; remove this line")]
    Connection,
    #[error("it is said by whoever made the message; remove this line")]
    Date,
    #[error("programs would take it for the address of their own proxy; write another name")]
    Proxy,
    #[error("another key decides about it; write {key}")]
    OtherKey { key: &'static str },
    #[error("it stands already at {first}; keep one of the two lines")]
    Twice { first: String },
}

/// The name of a header that may be set or removed on this side.
pub(super) fn header_name(name: &str, side: Side) -> Result<(), HeaderError> {
    if !is_token(name) {
        return Err(HeaderError::Name);
    }
    // Programs behind CGI see no difference between the two signs.
    let spelling = name.to_ascii_lowercase().replace('_', "-");
    Err(match (spelling.as_str(), side) {
        ("content-length" | "transfer-encoding" | "trailer", _) => HeaderError::Framing,
        ("connection" | "keep-alive" | "proxy-connection" | "te", _) => HeaderError::Connection,
        ("proxy-authenticate" | "proxy-authorization", _) => HeaderError::Connection,
        ("expect", Side::Request) => HeaderError::Connection,
        ("upgrade", _) => HeaderError::OtherKey { key: "Upgrade" },
        ("date", _) => HeaderError::Date,
        ("proxy", Side::Request) => HeaderError::Proxy,
        ("host", Side::Request) => HeaderError::OtherKey { key: "HostHeader" },
        ("via", Side::Request) => HeaderError::OtherKey { key: "Via" },
        _ => return Ok(()),
    })
}

/// The pieces of a header's value, which is not empty.
pub(super) fn header_value(text: &str) -> Result<Vec<Piece>, HeaderError> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(HeaderError::Control);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((at, name)) = first_variable(rest) {
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].to_owned()));
        }
        pieces.push(match name {
            "client_ip" => Piece::ClientIp,
            "host" => Piece::Host,
            "request_id" => Piece::RequestId,
            _ => Piece::Scheme,
        });
        rest = &rest[at + name.len() + "${}".len()..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// The first variable of a request in `text`: where it begins, and its name.
pub(super) fn first_variable(text: &str) -> Option<(usize, &'static str)> {
    let place = |name: &'static str| Some((text.find(&format!("${{{name}}}"))?, name));
    REQUEST_VARIABLES.into_iter().filter_map(place).min()
}

/// `client`, `server`, or a host with an optional port.
pub(super) fn host_header(text: &str) -> Option<HostHeader> {
    match text.to_ascii_lowercase().as_str() {
        "client" => return Some(HostHeader::Client),
        "server" => return Some(HostHeader::Server),
        _ => {}
    }
    match address::parse(text) {
        // A scope means something on one machine alone.
        Ok(ServerAddress::Socket(_) | ServerAddress::Name { .. }) if !text.contains('%') => {
            Some(HostHeader::Literal(text.to_owned()))
        }
        _ => None,
    }
}

/// `on`, `off`, `rfc7239` or `both`.
pub(super) fn forwarded_headers(text: &str) -> Option<ForwardedHeaders> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Some(ForwardedHeaders::On),
        "off" => Some(ForwardedHeaders::Off),
        "rfc7239" => Some(ForwardedHeaders::Rfc7239),
        "both" => Some(ForwardedHeaders::Both),
        _ => None,
    }
}

/// `on`, `off`, or a name.
pub(super) fn via(text: &str) -> Option<Via> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Some(Via::On),
        "off" => Some(Via::Off),
        _ => is_token(text).then(|| Via::Named(text.to_owned())),
    }
}

/// One word of `TrustedProxies`: `private`, an address or a network.
pub(super) fn networks(word: &str) -> Option<Vec<IpNet>> {
    if word.eq_ignore_ascii_case("private") {
        return Some(private_networks());
    }
    let network = match word.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => word.parse::<IpNet>().ok()?,
    };
    Some(vec![as_ipv4(network).unwrap_or(network).trunc()])
}

/// What `private` stands for.
pub(super) fn private_networks() -> Vec<IpNet> {
    PRIVATE.iter().filter_map(|network| network.parse().ok()).collect()
}

/// One word of `StatisticsAllow`: `any` stands for all addresses of both kinds.
pub(super) fn viewers(word: &str) -> Option<Vec<IpNet>> {
    if word.eq_ignore_ascii_case("any") {
        return Some(anybody());
    }
    networks(word)
}

/// What `any` stands for.
pub(super) fn anybody() -> Vec<IpNet> {
    ANYBODY.iter().filter_map(|network| network.parse().ok()).collect()
}

/// The addresses by which a machine reaches itself.
pub(super) fn this_machine() -> Vec<IpNet> {
    PRIVATE[..2].iter().filter_map(|net| net.parse().ok()).collect()
}

/// An IPv4 network that is written as a part of IPv6.
fn as_ipv4(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(v6) = network else { return None };
    let address: Ipv4Addr = v6.addr().to_ipv4_mapped()?;
    Some(IpNet::V4(Ipv4Net::new(address, v6.prefix_len().checked_sub(96)?).ok()?))
}

/// A path of whole segments, without the slash at its end; `None` in it for `/` alone.
pub(super) fn path_prefix(text: &str) -> Option<Option<String>> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@%/".contains(&b);
    if !text.starts_with('/') || !text.bytes().all(fits) {
        return None;
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    let good = text.split('/').skip(1).all(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        let mut escapes = plain.split('%').skip(1);
        let encodes = |rest: &str| {
            let code = rest.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
            code.is_some_and(|code| code != "2f" && code != "00")
        };
        !matches!(plain.as_str(), "" | "." | "..") && escapes.all(encodes)
    });
    good.then(|| (!text.is_empty()).then(|| text.to_owned()))
}

/// Two domains of cookies.
pub(super) fn domains(from: &str, to: &str) -> Option<(String, String)> {
    let domain = |text: &str| {
        let name = text.strip_prefix('.').unwrap_or(text);
        address::is_host_name(name).then(|| name.to_ascii_lowercase())
    };
    Some((domain(from)?, domain(to)?))
}

/// Two paths of cookies.
pub(super) fn paths(from: &str, to: &str) -> Option<(String, String)> {
    let path = |text: &str| path_prefix(text).map(|path| path.unwrap_or_else(|| "/".to_owned()));
    Some((path(from)?, path(to)?))
}

/// RFC 9110 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// All addresses.
const ANYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// This machine itself, and networks that are not routed on the Internet.
const PRIVATE: [&str; 7] =
    ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_in_every_form() {
        let shown =
            |word: &str| networks(word).map(|nets| nets.iter().map(IpNet::to_string).collect::<Vec<_>>());
        for (word, expected) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(shown(word).unwrap(), [expected], "{word}");
        }
        assert_eq!(shown("Private").unwrap(), PRIVATE);
        for word in
            ["", "10.0.0.0/33", "10.0.0", "[::1]", "localhost", "unix", "10.0.0.0/8,::1", "10.0.0.1:80"]
        {
            assert_eq!(shown(word), None, "{word}");
        }
    }

    #[test]
    fn hosts_names_and_prefixes() {
        assert_eq!(host_header("Server"), Some(HostHeader::Server));
        for good in ["app.example.com", "App:8080", "127.0.0.1", "[::1]:80"] {
            assert_eq!(host_header(good), Some(HostHeader::Literal(good.to_owned())));
        }
        for bad in ["a b", "http://a", "a:0", "a/b", "unix:/x", "[fe80::1%1]", "::1", "a\"b", ""] {
            assert_eq!(host_header(bad), None, "{bad}");
        }
        assert_eq!((via("ON"), via("my-proxy")), (Some(Via::On), Some(Via::Named("my-proxy".to_owned()))));
        assert_eq!((via("a b"), via("a,b"), via("(a)")), (None, None, None));
        assert_eq!(path_prefix("/"), Some(None));
        for (text, path) in [("/app", "/app"), ("/a/b/", "/a/b"), ("/a%20b", "/a%20b"), ("/.x", "/.x")] {
            assert_eq!(path_prefix(text), Some(Some(path.to_owned())));
        }
        for bad in [
            "app", "/a//b", "//", "/a/../b", "/%2E%2e", "/.", "/a?b", "/a#b", "/a b", "/a%2fb", "/a%00",
            "/a%", "/ä", "/a;b", "/a\\b",
        ] {
            assert_eq!(path_prefix(bad), None, "{bad}");
        }
        assert_eq!(domains(".A.example", "b"), Some(("a.example".to_owned(), "b".to_owned())));
        assert_eq!((domains("a:80", "b"), domains("", "b"), domains("a;", "b")), (None, None, None));
        assert_eq!(paths("/v2/", "/"), Some(("/v2".to_owned(), "/".to_owned())));
    }

    #[test]
    fn values_are_taken_apart_at_their_variables() {
        let text = |text: &str| Piece::Text(text.to_owned());
        assert_eq!(header_value("a ${b}").unwrap(), [text("a ${b}")]);
        assert_eq!(
            header_value("${scheme}://${host}/${client_ip}?").unwrap(),
            [Piece::Scheme, text("://"), Piece::Host, text("/"), Piece::ClientIp, text("?")]
        );
        assert_eq!(header_value("a\r\nb: c"), Err(HeaderError::Control));
    }
}
