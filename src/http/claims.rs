//! Whom a request is said to come from: its own connection, and every address that a proxy on its way
//! has written into it. Nobody is believed to be somebody better for that; it takes one stranger among
//! them to be turned away.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use super::fields::{elements, trim};
use super::request::Request;
use super::rules::address;

/// Who may see something.
#[derive(Clone, Debug)]
pub struct Viewers {
    networks: Vec<IpNet>,
    /// All addresses of both kinds are among them: then it does not matter whether one is known.
    anybody: bool,
}

impl Viewers {
    /// Those of these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        let all = |of_v4: bool| {
            let is_all = |net: &IpNet| net.prefix_len() == 0 && matches!(net, IpNet::V4(_)) == of_v4;
            networks.iter().any(is_all)
        };
        Viewers { anybody: all(true) && all(false), networks }
    }

    /// Whether the other end of the connection, whose address has these bytes, and all for whom it is
    /// said to speak are among them.
    pub fn include(&self, source: &[u8], request: &Request<'_, '_>) -> bool {
        let is_one = |address: IpAddr| self.networks.iter().any(|net| net.contains(&address));
        self.anybody
            || (address(source).is_some_and(is_one)
                && claimed(request).all(|address| address.is_some_and(is_one)))
    }
}

/// The addresses for which a request claims to be made; `None` for each that is none: a name, a
/// pseudonym, nonsense.
fn claimed(request: &Request<'_, '_>) -> impl Iterator<Item = Option<IpAddr>> {
    request.fields.iter().flat_map(|field| {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let found: Vec<Option<IpAddr>> = if is("X-Forwarded-For") || is("X-Real-IP") {
            elements(field.value).map(node).collect()
        } else if is("Forwarded") {
            parts(field.value, b',').map(trim).filter(|part| !part.is_empty()).map(of_element).collect()
        } else {
            Vec::new()
        };
        found
    })
}

/// The address of one element of `Forwarded` (RFC 7239 4). One that names nobody hides somebody.
fn of_element(element: &[u8]) -> Option<IpAddr> {
    let value = parts(element, b';').find_map(|pair| {
        let (name, value) = trim(pair).split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    })?;
    node(value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, perhaps in brackets, perhaps with a port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let in_brackets = || bare?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let found = text.parse().ok().or_else(in_brackets).or_else(with_port)?;
    Some(found.to_canonical())
}

/// What stands between separators, but for those inside quotes.
fn parts(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        let separates = byte == separator && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        separates
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    const HERE: [u8; 4] = [127, 0, 0, 1];

    fn include(networks: &str, source: &[u8], fields: &str) -> bool {
        let networks = networks.split(' ').map(|net| net.parse().unwrap()).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        let mut room = request::storage();
        let request = request::parse(head.as_bytes(), &mut room).unwrap();
        Viewers::new(networks).include(source, &request)
    }

    #[track_caller]
    fn here(fields: &str) -> bool {
        include("127.0.0.0/8 ::1/128", &HERE, fields)
    }

    #[test]
    fn the_other_end_of_the_connection_must_be_one_of_them() {
        let six = Ipv6Addr::LOCALHOST.octets();
        let mapped = "::ffff:127.0.0.1".parse::<Ipv6Addr>().unwrap().octets();
        for (source, expected) in
            [(&HERE[..], true), (&six, true), (&mapped, true), (&[10, 0, 0, 1], false), (&[], false)]
        {
            assert_eq!(include("127.0.0.0/8 ::1/128", source, ""), expected, "{source:?}");
        }
    }

    #[test]
    fn a_proxy_on_this_machine_does_not_open_the_page_to_its_clients() {
        for fields in [
            "X-Forwarded-For: 127.0.0.1\r\n",
            "X-Forwarded-For: ::1, 127.0.0.2\r\n",
            "X-Real-IP: 127.0.0.1\r\n",
            "X-Forwarded-For: 127.0.0.1:4711\r\n",
            "X-Forwarded-For: ::ffff:127.0.0.1\r\n",
            "Forwarded: for=127.0.0.1;proto=http\r\n",
            "Forwarded: proto=http; For=\"[::1]:80\", for=\"127.0.0.1:80\"\r\n",
            "Forwarded: for=\"[::1]\";host=\"a,b;for=9.9.9.9\"\r\n",
        ] {
            assert!(here(fields), "{fields}");
        }
        for fields in [
            "X-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n",
            "X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\n",
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\n",
            "X-Forwarded-For: unknown\r\n",
            "X-Forwarded-For: localhost\r\n",
            "X-Real-IP: 192.0.2.1\r\n",
            "Forwarded: for=192.0.2.1\r\n",
            "Forwarded: for=127.0.0.1, for=192.0.2.1\r\n",
            "Forwarded: host=\"a\\\",for=127.0.0.1\", for=192.0.2.1\r\n",
            "Forwarded: for=_hidden\r\n",
            "Forwarded: for=unknown\r\n",
            "Forwarded: proto=https\r\n",
            "Forwarded: for=\"127.0.0.1\r\n",
        ] {
            assert!(!here(fields), "{fields}");
        }
    }

    #[test]
    fn anybody_is_anybody() {
        for (networks, expected) in [("0.0.0.0/0 ::/0", true), ("0.0.0.0/0", false), ("::/0", false)] {
            assert_eq!(include(networks, &[], "X-Forwarded-For: unknown\r\n"), expected, "{networks}");
        }
        assert!(include("0.0.0.0/0", &[9, 9, 9, 9], "X-Forwarded-For: 8.8.8.8\r\n"));
    }
}
