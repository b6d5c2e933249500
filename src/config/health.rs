//! What a configuration says about servers that fail: the model, and how its values are read.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// When a server counts as failing, and how it comes back. `default()` is what the table in
/// [`keys`](super::keys) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What counts as a failure of the server.
    pub fail_on: Vec<Fault>,
    /// By this the offline time grows with each trial that fails; 1 leaves it as it is.
    pub backoff: u32,
    /// It does not grow beyond this.
    pub offline_max: Duration,
    /// By up to so many hundredths it is shortened at random, the first time excepted.
    pub offline_jitter: u32,
    /// Whether offline servers are asked for a connection now and then.
    pub probe_offline: bool,
    /// How soon after the failure, and how often at first; above zero.
    pub probe_interval: Duration,
    /// What becomes of requests when all servers are offline.
    pub when_all_offline: WhenAllOffline,
    /// In this time a server that came back gets its full share again; zero is at once.
    pub slow_start: Duration,
    /// What all servers are asked for regularly.
    pub check: HealthCheck,
    /// How often; above zero.
    pub interval: Duration,
    /// How long the answer may take; above zero.
    pub timeout: Duration,
    /// So many good answers in a row bring a server back; above 0.
    pub rise: u32,
    /// So many bad ones in a row take it offline; above 0.
    pub fall: u32,
    /// Which statuses are good; never empty.
    pub statuses: Vec<RangeInclusive<u16>>,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            fail_on: vec![Fault::Connect, Fault::Timeout, Fault::Reset, Fault::Invalid],
            backoff: 2,
            offline_max: Duration::from_secs(300),
            offline_jitter: 10,
            probe_offline: true,
            probe_interval: Duration::from_secs(1),
            when_all_offline: WhenAllOffline::Try,
            slow_start: Duration::from_secs(5),
            check: HealthCheck::Off,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            statuses: vec![200..=399],
        }
    }
}

/// Something that a server may be blamed for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No connection, refused or not in time.
    Connect,
    /// It does not take the request, or does not answer, in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Reset,
    /// What came is no proper answer.
    Invalid,
    /// The answer has one of these statuses.
    Status(RangeInclusive<u16>),
}

/// What becomes of requests when all servers are offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhenAllOffline {
    /// They are tried all the same, a few at a time.
    Try,
    /// They are answered with a 503.
    Refuse,
    /// They are left to Monkey's own files.
    Static,
}

/// What servers are asked for regularly.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HealthCheck {
    /// Nothing.
    Off,
    /// A connection.
    Tcp,
    /// An answer to a request.
    Http {
        /// `GET` or `HEAD`.
        method: &'static str,
        /// Begins with `/`.
        target: String,
    },
}

impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HealthCheck::Off => f.write_str("off"),
            HealthCheck::Tcp => f.write_str("tcp"),
            HealthCheck::Http { method, target } => write!(f, "{method} {target}"),
        }
    }
}

pub(super) fn fail_on(text: &str) -> Option<Vec<Fault>> {
    let fault = |word: &str| match word.to_ascii_lowercase().as_str() {
        "connect" => Some(Fault::Connect),
        "timeout" => Some(Fault::Timeout),
        "reset" => Some(Fault::Reset),
        "invalid" => Some(Fault::Invalid),
        word => status_range(word).filter(|range| *range.start() >= 400).map(Fault::Status),
    };
    text.split_ascii_whitespace().map(fault).collect()
}

pub(super) fn when_all_offline(text: &str) -> Option<WhenAllOffline> {
    match text.to_ascii_lowercase().as_str() {
        "try" => Some(WhenAllOffline::Try),
        "503" => Some(WhenAllOffline::Refuse),
        "static" => Some(WhenAllOffline::Static),
        _ => None,
    }
}

pub(super) fn health_check(text: &str) -> Option<HealthCheck> {
    let mut words = text.split_ascii_whitespace();
    let (first, target) = (words.next()?.to_ascii_lowercase(), words.next());
    if words.next().is_some() {
        return None;
    }
    match (first.as_str(), target) {
        ("off", None) => Some(HealthCheck::Off),
        ("tcp", None) => Some(HealthCheck::Tcp),
        ("get", Some(target)) => http("GET", target),
        ("head", Some(target)) => http("HEAD", target),
        _ => None,
    }
}

fn http(method: &'static str, target: &str) -> Option<HealthCheck> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    (target.starts_with('/') && target.bytes().all(fits))
        .then(|| HealthCheck::Http { method, target: target.to_owned() })
}

pub(super) fn statuses(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    text.split_ascii_whitespace().map(|word| status_range(&word.to_ascii_lowercase())).collect()
}

/// `200`, `200-399` or `5xx`, of statuses that end a request.
fn status_range(word: &str) -> Option<RangeInclusive<u16>> {
    let status = |text: &str| {
        let is_number = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().filter(|status| (200..=599).contains(status))
    };
    if let Some(class) = word.strip_suffix("xx") {
        let first: u16 = status(&format!("{class}00"))?;
        return Some(first..=first + 99);
    }
    let (first, last) = match word.split_once('-') {
        Some((first, last)) => (status(first)?, status(last)?),
        None => (status(word)?, status(word)?),
    };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        assert_eq!(fail_on("connect timeout reset invalid"), Some(Health::default().fail_on));
        let fault = |range| Fault::Status(range);
        assert_eq!(fail_on("5xx 429"), Some(vec![fault(500..=599), fault(429..=429)]));
        assert_eq!(fail_on("Connect 500-504"), Some(vec![Fault::Connect, fault(500..=504)]));
        for text in ["2xx", "200", "399-500", "600", "50", "connect,timeout", "any", "xx", "5xxx"] {
            assert_eq!(fail_on(text), None, "{text}");
        }
    }

    #[test]
    fn checks() {
        assert_eq!(health_check("OFF"), Some(HealthCheck::Off));
        assert_eq!(health_check("tcp"), Some(HealthCheck::Tcp));
        let check = health_check("get  /health?deep=1").unwrap();
        assert_eq!(check, HealthCheck::Http { method: "GET", target: "/health?deep=1".to_owned() });
        assert_eq!(check.to_string(), "GET /health?deep=1");
        for text in ["", "on", "tcp 80", "GET", "GET health", "POST /x", "GET /a b", "GET /a#b", "HEAD /ä"] {
            assert_eq!(health_check(text), None, "{text}");
        }
    }

    #[test]
    fn ranges_of_statuses() {
        assert_eq!(statuses("200-399"), Some(vec![200..=399]));
        assert_eq!(statuses("204 3XX"), Some(vec![204..=204, 300..=399]));
        for text in ["100", "99", "399-200", "200-", "-200", "2000", "+20", "0xx", "6xx"] {
            assert_eq!(statuses(text), None, "{text}");
        }
    }

    #[test]
    fn what_becomes_of_requests() {
        assert_eq!(when_all_offline("Try"), Some(WhenAllOffline::Try));
        assert_eq!(when_all_offline("503"), Some(WhenAllOffline::Refuse));
        assert_eq!(when_all_offline("STATIC"), Some(WhenAllOffline::Static));
        assert_eq!(when_all_offline("502"), None);
    }
}
