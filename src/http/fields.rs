//! Field names that mean something to a gateway, and lists inside field values.

/// A field name that a gateway must not simply copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `Host` (RFC 9110 7.2).
    Host,
    /// `Content-Length` (RFC 9110 8.6).
    ContentLength,
    /// `Transfer-Encoding` (RFC 9112 6.1).
    TransferEncoding,
    /// `Connection` (RFC 9110 7.6.1): names further fields of this hop.
    Connection,
    /// Fields that belong to one hop whether `Connection` names them or not:
    /// `Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer`, `Upgrade`,
    /// `Proxy-Authenticate`, `Proxy-Authorization`.
    HopByHop,
    /// `Expect` (RFC 9110 10.1.1): answered by whoever reads the body.
    Expect,
    /// `Via` (RFC 9110 7.6.3).
    Via,
    /// `X-Forwarded-*`, `Forwarded` and `X-Real-IP`: what backends believe a
    /// gateway to say.
    Forwarding,
    /// `Proxy`: never a request field, but CGI programs read it as `HTTP_PROXY`. And
    /// `X-Proxy-Explain`, which asks us and nobody behind us.
    Proxy,
    /// `Date` (RFC 9110 6.6.1).
    Date,
    /// Everything else: copied.
    Other,
}

/// Looks the name of a field up, a token, without regard to case.
pub fn known(name: &[u8]) -> Known {
    match name.len() {
        2 if is(name, b"te") => Known::HopByHop,
        3 if is(name, b"via") => Known::Via,
        4 if is(name, b"host") => Known::Host,
        4 if is(name, b"date") => Known::Date,
        5 if is(name, b"proxy") => Known::Proxy,
        6 if is(name, b"expect") => Known::Expect,
        7 if is(name, b"upgrade") || is(name, b"trailer") => Known::HopByHop,
        9 if is(name, b"forwarded") || is(name, b"x-real-ip") => Known::Forwarding,
        10 if is(name, b"connection") => Known::Connection,
        10 if is(name, b"keep-alive") => Known::HopByHop,
        15 if is(name, b"x-proxy-explain") => Known::Proxy,
        14 if is(name, b"content-length") => Known::ContentLength,
        16 if is(name, b"proxy-connection") => Known::HopByHop,
        17 if is(name, b"transfer-encoding") => Known::TransferEncoding,
        18 if is(name, b"proxy-authenticate") => Known::HopByHop,
        19 if is(name, b"proxy-authorization") => Known::HopByHop,
        13.. if is(&name[..12], b"x-forwarded-") => Known::Forwarding,
        _ => Known::Other,
    }
}

/// Whether a token is this one in lower case. All bytes of it are looked at, whether they differ
/// or not: of a length that is known, that is a few instructions in all. (What the bit turns into
/// a letter or a hyphen without being one stands in no token.)
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(name)
        .is_ok_and(|name| name.iter().zip(lower).fold(0, |diff, (a, b)| diff | ((a | 0x20) ^ b)) == 0)
}

/// Whether a byte may stand in a token (RFC 9110 5.6.2).
pub fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let ascii = byte as u8;
            table[byte] = ascii.is_ascii_alphanumeric()
                || matches!(
                    ascii,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

/// Whether a name becomes one of those that [`known`] knows when `_` is taken
/// for `-`, as CGI and its successors do: `Content_Length` reaches a program as
/// `Content-Length`.
pub fn poses_as_known(name: &[u8]) -> bool {
    if !name.contains(&b'_') {
        return false;
    }
    let folded: Vec<u8> = name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect();
    known(&folded) != Known::Other
}

/// The elements of a comma-separated list, without the white space around them.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|e| !e.is_empty())
}

/// `bytes` without blanks and tabs at its ends.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let ows = |b: &u8| *b == b' ' || *b == b'\t';
    let start = bytes.iter().position(|b| !ows(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !ows(b)).map_or(start, |i| i + 1);
    &bytes[start..end]
}

/// What the `Connection` lines of one message say.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    /// `close` was among the options.
    pub close: bool,
    /// `keep-alive` was among the options.
    pub keep_alive: bool,
    /// `upgrade` was among the options.
    pub upgrade: bool,
    /// Some other option names fields that must not be forwarded.
    pub names_fields: bool,
}

impl ConnectionOptions {
    /// Adds one `Connection` line.
    pub fn add(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for option in elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.names_fields = true;
            }
        }
    }
}

/// Whether some `Connection` line among `fields` names `name`. What identifies
/// a user cannot be taken away like that.
pub fn is_nominated(fields: &[httparse::Header<'_>], name: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"cookie") || name.eq_ignore_ascii_case(b"authorization") {
        return false;
    }
    fields
        .iter()
        .filter(|f| known(f.name.as_bytes()) == Known::Connection)
        .flat_map(|f| elements(f.value))
        .any(|option| option.eq_ignore_ascii_case(name))
}

/// Reads a `Content-Length` value: digits only, no sign, no list, no overflow
/// (RFC 9110 8.6).
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let length = value.iter().try_fold(0u64, |sum, &b| {
        if !b.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    });
    // What does not fit a signed number is read in different ways.
    length.filter(|&length| i64::try_from(length).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for (name, expected) in [
            ("Host", Known::Host),
            ("HOST", Known::Host),
            ("content-LENGTH", Known::ContentLength),
            ("Te", Known::HopByHop),
            ("X-Forwarded-For", Known::Forwarding),
            ("X-Forwarded-Port", Known::Forwarding),
            ("X-Forwarde-For", Known::Other),
            ("x-real-IP", Known::Forwarding),
            ("", Known::Other),
            ("Hosts", Known::Other),
        ] {
            assert_eq!(known(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn underscores_do_not_get_around_a_rule_f44() {
        assert!(poses_as_known(b"Content_Length") && poses_as_known(b"X_Forwarded-For"));
        assert!(!poses_as_known(b"X_Under") && !poses_as_known(b"Content-Length"));
    }

    #[test]
    fn lengths_are_digits_only_f54_r30() {
        assert_eq!(content_length(b"0"), Some(0));
        assert_eq!(content_length(b"007"), Some(7));
        assert_eq!(content_length(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "+5",
            "-1",
            "5 5",
            "0x5",
            "5,5",
            "5;a",
            " 5",
            "9223372036854775808",
            "18446744073709551616",
            "1e2",
        ] {
            assert_eq!(content_length(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn options_are_split_at_commas() {
        let mut options = ConnectionOptions::default();
        options.add(b"Keep-Alive , x-hop,");
        assert!(options.keep_alive && options.names_fields && !options.close);
        options.add(b"CLOSE");
        assert!(options.close);
    }
}
