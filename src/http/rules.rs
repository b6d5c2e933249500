//! What a route says about heads: under which names a request goes out, which
//! fields are set and removed, what is rewritten in answers. Made once, never
//! changed; what a route does not ask for costs a branch.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cookie::CookieRules;
use super::prefix::Prefixes;

/// All of it. `default()` is a route that asks for nothing, and has no name in `Via`.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What goes out as `Host`.
    pub host: HostPolicy,
    /// Whose forwarding fields are believed.
    pub trusted: Vec<IpNet>,
    /// Which forwarding fields are written.
    pub forwarded: ForwardedFields,
    /// Our name in `Via`; `None` writes none, and looks for none.
    pub via: Option<Box<str>>,
    /// What the target loses and gains.
    pub prefixes: Prefixes,
    /// What references in answers are to lead back through us.
    pub location: bool,
    /// What cookies become.
    pub cookies: CookieRules,
    /// Fields of requests.
    pub request: FieldRules,
    /// Fields of answers.
    pub response: FieldRules,
}

/// What goes out as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostPolicy {
    /// What the client sent.
    #[default]
    Client,
    /// The authority of the backend that gets the request.
    Backend,
    /// Always this.
    Literal(Box<str>),
}

/// Which fields tell a backend about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedFields {
    /// None.
    Off,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    Customary,
    /// `Forwarded` (RFC 7239).
    Standard,
    /// Both kinds.
    Both,
}

impl ForwardedFields {
    /// Whether `X-Forwarded-*` are written.
    pub fn customary(self) -> bool {
        matches!(self, ForwardedFields::Customary | ForwardedFields::Both)
    }

    /// Whether `Forwarded` is written.
    pub fn standard(self) -> bool {
        matches!(self, ForwardedFields::Standard | ForwardedFields::Both)
    }
}

/// Fields that are removed, and fields that take their place.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    /// Names of fields that are left out.
    pub removed: Vec<Box<str>>,
    /// Fields that are written instead of all others of their name.
    pub set: Vec<SetField>,
}

/// A field that we write ourselves.
#[derive(Clone, Debug)]
pub struct SetField {
    /// Its name.
    pub name: Box<str>,
    /// Its value, piece by piece.
    pub value: Vec<Piece>,
}

/// A piece of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(Box<str>),
    /// The address at the other end of the client's connection.
    ClientIp,
    /// The Host that the client used.
    Host,
    /// `http` or `https`, as the client used it.
    Scheme,
    /// What the request is called.
    RequestId,
}

/// What the pieces of a value stand for in one request.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The client's address as bytes: 4, 16, or none if it is unknown.
    pub source: &'a [u8],
    /// The Host that the client used.
    pub host: Option<&'a [u8]>,
    /// The client used https.
    pub secure: bool,
    /// What the request is called; empty if it has no name.
    pub request_id: &'a str,
}

impl Rules {
    /// Whether somebody at this address is believed to say the truth about his clients.
    pub fn trusts(&self, source: &[u8]) -> bool {
        !self.trusted.is_empty()
            && address(source).is_some_and(|address| self.trusted.iter().any(|net| net.contains(&address)))
    }

    /// Whether an answer may look other than the backend made it.
    pub fn rewrites_answers(&self) -> bool {
        self.location || !self.cookies.is_empty() || !self.response.is_empty()
    }
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            host: HostPolicy::Client,
            trusted: Vec::new(),
            forwarded: ForwardedFields::Customary,
            via: None,
            prefixes: Prefixes::default(),
            location: false,
            cookies: CookieRules::default(),
            request: FieldRules::default(),
            response: FieldRules::default(),
        }
    }
}

impl FieldRules {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }

    /// Whether a field of this name is left out where it stands.
    pub fn names(&self, name: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let set = self.set.iter().map(|field| &field.name);
        self.removed.iter().chain(set).any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Appends the fields that are set.
    pub fn write(&self, out: &mut Vec<u8>, variables: &Variables<'_>) {
        for field in &self.set {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            for piece in &field.value {
                piece.write(out, variables);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Piece {
    fn write(&self, out: &mut Vec<u8>, variables: &Variables<'_>) {
        match self {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::ClientIp => match address(variables.source) {
                Some(address) => out.extend_from_slice(address.to_string().as_bytes()),
                None => out.extend_from_slice(b"unknown"),
            },
            Piece::Host => out.extend_from_slice(variables.host.unwrap_or_default()),
            Piece::Scheme => out.extend_from_slice(scheme(variables.secure).as_bytes()),
            Piece::RequestId => out.extend_from_slice(variables.request_id.as_bytes()),
        }
    }
}

/// The name of the scheme.
pub fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// An address out of its bytes; IPv4 inside IPv6 counts as IPv4.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(sixteen).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_trusted_by_network() {
        let rules = Rules {
            trusted: ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"].map(|net| net.parse().unwrap()).to_vec(),
            ..Rules::default()
        };
        for (text, trusted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("::1", false),
        ] {
            let bytes = match text.parse::<IpAddr>().unwrap() {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            assert_eq!(rules.trusts(&bytes), trusted, "{text}");
        }
        assert!(!rules.trusts(&[]));
        assert!(!Rules::default().trusts(&[10, 1, 2, 3]));
    }

    #[test]
    fn values_are_made_of_pieces() {
        let field = |name: &str, value: &[Piece]| SetField { name: name.into(), value: value.to_vec() };
        let rules = FieldRules {
            removed: vec!["X-Gone".into()],
            set: vec![
                field("X-A", &[Piece::Scheme, Piece::Text("://".into()), Piece::Host]),
                field("X-B", &[Piece::ClientIp]),
            ],
        };
        assert!(rules.names(b"x-gone") && rules.names(b"x-b") && !rules.names(b"x-c"));
        let written = |variables: &Variables<'_>| {
            let mut out = Vec::new();
            rules.write(&mut out, variables);
            String::from_utf8(out).unwrap()
        };
        let known = Variables { source: &[192, 0, 2, 1], host: Some(b"h:81"), secure: true, request_id: "" };
        assert_eq!(written(&known), "X-A: https://h:81\r\nX-B: 192.0.2.1\r\n");
        let unknown = Variables { source: &[], host: None, secure: false, request_id: "" };
        assert_eq!(written(&unknown), "X-A: http://\r\nX-B: unknown\r\n");
    }
}
