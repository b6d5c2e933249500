//! Numbers, times, sizes and switches, as they are written.

use std::time::Duration;

use super::keys::Kind;
use super::model::{LoadBalancer, PoolSize};

impl Kind {
    /// What a value of this form looks like, for a message.
    pub fn expected(self) -> String {
        match self {
            Kind::Servers => "server addresses, as in 127.0.0.1:8081".to_owned(),
            Kind::Server => "a server address and its options, as in 127.0.0.1:8081 weight=2".to_owned(),
            Kind::Balancer => format!("one of {}", LoadBalancer::ALL.map(LoadBalancer::name).join(", ")),
            Kind::Patterns => "regular expressions".to_owned(),
            Kind::UrlPath => {
                "a path that begins with / and has no blank, ? or #, as in /proxy/statistics".to_owned()
            }
            Kind::Switch => "on or off".to_owned(),
            Kind::Number { max } => format!("a whole number from 0 to {max}"),
            Kind::PoolSize { max } => format!("auto, or a whole number from 0 to {max}"),
            Kind::Amount { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Span { min, max } => {
                format!(
                    "seconds up to {}, or as in 250ms, 5s, 2m; at least {} ms",
                    max.as_secs(),
                    min.as_millis()
                )
            }
            Kind::Faults => {
                "connect, timeout, reset, invalid, or statuses from 400 on, as in connect timeout 5xx 429"
                    .to_owned()
            }
            Kind::AllOffline => "try, 503 or static".to_owned(),
            Kind::Check => "off, tcp, or GET or HEAD and a path, as in GET /health".to_owned(),
            Kind::Statuses => "statuses from 200 to 599, as in 200-399, 204 or 2xx".to_owned(),
            Kind::Time { max } => {
                format!("seconds from 0 to {}, or as in 250ms, 5s, 2m, 1h", max.as_secs())
            }
            Kind::Size { min, max } => {
                format!("bytes from {min} to {max}, or as in 16K, 1M")
            }
            Kind::Causes => {
                "off, or some of connect, stale, reset, timeout, invalid, 429, 500, 502, 503, 504".to_owned()
            }
            Kind::KeyHeader => "off, or the name of a header, as in Idempotency-Key".to_owned(),
            Kind::Host => {
                "client, server, or a host name with or without a port, as in app.example.com:8080".to_owned()
            }
            Kind::Viewers => {
                "any, private, or addresses and networks, as in 127.0.0.0/8 2001:db8::1".to_owned()
            }
            Kind::Networks => {
                "none, private, or addresses and networks, as in 10.0.0.0/8 2001:db8::1".to_owned()
            }
            Kind::Forwarded => "on, off, rfc7239 or both".to_owned(),
            Kind::Pseudonym => "on, off, or a name of letters, digits and '-', as in proxy-1".to_owned(),
            Kind::Upgrade => "websocket, any or off".to_owned(),
            Kind::Audience => "off, loopback or any".to_owned(),
            Kind::LogFile => "off, or an absolute path, as in /var/log/monkey/proxy.log".to_owned(),
            Kind::LogFormat => "text or json".to_owned(),
            Kind::IdHeader => "off, or the name of a header, as in X-Request-Id".to_owned(),
            Kind::PathPrefix => {
                "a path that begins with / and has no blank, ?, #, ; or empty or dotted segment, as in /app"
                    .to_owned()
            }
            Kind::Domains => "two host names, as in internal.example public.example".to_owned(),
            Kind::Paths => "two paths that begin with /, as in /v2 /app".to_owned(),
            Kind::Field { .. } => "the name of a header and its value, as in X-Frame-Options DENY".to_owned(),
            Kind::FieldNames { .. } => "names of headers, as in X-Powered-By".to_owned(),
        }
    }

    /// Whether `text` is a number, time, size or switch that this form allows.
    pub(super) fn takes(self, text: &str) -> bool {
        self.number(text).is_some()
            || self.pool_size(text).is_some()
            || self.time(text).is_some()
            || self.size(text).is_some()
            || (self == Kind::Switch && self.switch(text).is_some())
    }

    pub(super) fn number(self, text: &str) -> Option<u32> {
        let (min, max) = match self {
            Kind::Number { max } => (0, max),
            Kind::Amount { min, max } => (min, max),
            _ => return None,
        };
        u32::try_from(digits(text)?).ok().filter(|number| (min..=max).contains(number))
    }

    pub(super) fn pool_size(self, text: &str) -> Option<PoolSize> {
        match self {
            Kind::PoolSize { .. } if text.eq_ignore_ascii_case("auto") => Some(PoolSize::Auto),
            Kind::PoolSize { max } => Kind::Number { max }.number(text).map(|n| PoolSize::Most(n as usize)),
            _ => None,
        }
    }

    pub(super) fn time(self, text: &str) -> Option<Duration> {
        let (min, max) = match self {
            Kind::Time { max } => (Duration::ZERO, max),
            Kind::Span { min, max } => (min, max),
            _ => return None,
        };
        let (number, unit) = split_unit(text);
        let milliseconds: u64 = match unit.to_ascii_lowercase().as_str() {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            _ => return None,
        };
        let time = Duration::from_millis(digits(number)?.checked_mul(milliseconds)?);
        (min..=max).contains(&time).then_some(time)
    }

    /// A time where 0 means that there is no limit.
    pub(super) fn time_limit(self, text: &str) -> Option<Option<Duration>> {
        self.time(text).map(|time| (!time.is_zero()).then_some(time))
    }

    pub(super) fn size(self, text: &str) -> Option<usize> {
        let Kind::Size { min, max } = self else { return None };
        let (number, unit) = split_unit(text);
        let bytes: u64 = match unit {
            "" => 1,
            "k" | "K" => 1 << 10,
            "m" | "M" => 1 << 20,
            _ => return None,
        };
        let size = usize::try_from(digits(number)?.checked_mul(bytes)?).ok()?;
        (min..=max).contains(&size).then_some(size)
    }

    pub(super) fn switch(self, text: &str) -> Option<bool> {
        match text.to_ascii_lowercase().as_str() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    }

    pub(super) fn url_path(self, text: &str) -> Option<String> {
        let fits = |c: char| !matches!(c, '?' | '#') && !c.is_whitespace() && !c.is_control();
        (text.starts_with('/') && text.chars().all(fits)).then(|| text.to_owned())
    }
}

/// A number without sign; `None` also if it is too large.
fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let kind = Kind::Time { max: Duration::from_secs(7200) };
        for (text, milliseconds) in [
            ("0", 0),
            ("5", 5_000),
            ("5s", 5_000),
            ("250ms", 250),
            ("2m", 120_000),
            ("2h", 7_200_000),
            ("1H", 3_600_000),
            ("007", 7_000),
        ] {
            assert_eq!(kind.time(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "+1", "1.5", "5 s", "1d", "3h", "7201", "99999999999999999999"] {
            assert_eq!(kind.time(text), None, "{text}");
        }
        assert_eq!(kind.time_limit("0ms"), Some(None));
        assert_eq!(kind.time_limit("1ms"), Some(Some(Duration::from_millis(1))));
    }

    #[test]
    fn sizes_numbers_switches_paths() {
        let size = Kind::Size { min: 1024, max: 1 << 20 };
        for (text, bytes) in [("1024", 1024), ("16K", 16384), ("16k", 16384), ("1M", 1 << 20)] {
            assert_eq!(size.size(text), Some(bytes), "{text}");
        }
        for text in ["", "K", "1023", "2M", "1G", "16KB", "18446744073709551615M"] {
            assert_eq!(size.size(text), None, "{text}");
        }

        let number = Kind::Number { max: 100 };
        assert_eq!(number.number("100"), Some(100));
        for text in ["101", "", "x", "1 ", "4294967297"] {
            assert_eq!(number.number(text), None, "{text}");
        }

        assert_eq!(Kind::Switch.switch("ON"), Some(true));
        assert_eq!(Kind::Switch.switch("off"), Some(false));
        assert_eq!(Kind::Switch.switch("yes"), None);

        assert_eq!(Kind::UrlPath.url_path("/a/b"), Some("/a/b".to_owned()));
        for text in ["", "a", "/a?b", "/a#b", "/a b", "http://a/b"] {
            assert_eq!(Kind::UrlPath.url_path(text), None, "{text}");
        }
    }
}
