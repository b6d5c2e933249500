//! What a configuration says about asking again: the model, and how its values are read.

use std::fmt;
use std::time::Duration;

use super::heads;

/// When a request that failed is asked again, and how often. `default()` is what the table in
/// [`keys`](super::keys) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// After what a request is asked again.
    pub on: RetryOn,
    /// Further servers that a request which was sent may be given to.
    pub count: u32,
    /// How long after its first attempt further ones may begin; `None` for no limit.
    pub timeout: Option<Duration>,
    /// Every method counts as idempotent.
    pub non_idempotent: bool,
    /// A request with this header counts as idempotent; `None` if there is no such header.
    pub key_header: Option<String>,
    /// Repetitions in percent of the requests; 0 for as many as there may be.
    pub budget_percent: u32,
    /// Repetitions for each second of the budget's window that are allowed in any case.
    pub budget_min: u32,
    /// Whether a request that makes servers break is kept from the others.
    pub poison_guard: bool,
    /// How long such a request is remembered; zero if it is not.
    pub poison_timeout: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            on: RetryOn::default(),
            count: 2,
            timeout: Some(Duration::from_secs(10)),
            non_idempotent: false,
            key_header: Some("Idempotency-Key".to_owned()),
            budget_percent: 20,
            budget_min: 3,
            poison_guard: true,
            poison_timeout: Duration::from_secs(60),
        }
    }
}

/// What may have gone wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryCause {
    /// No connection: nothing was sent.
    Connect,
    /// An idle connection was closed before an answer.
    Stale,
    /// A new connection was lost before an answer.
    Reset,
    /// The server took too long to take the request or to begin its answer.
    TimeOut,
    /// What came is no proper answer.
    Invalid,
    /// An answer with this status, one of [`RetryCause::STATUSES`].
    Status(u16),
}

impl RetryCause {
    /// The statuses that a request may be asked again for.
    pub const STATUSES: [u16; 5] = [429, 500, 502, 503, 504];

    fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "connect" => Some(RetryCause::Connect),
            "stale" => Some(RetryCause::Stale),
            "reset" => Some(RetryCause::Reset),
            "timeout" => Some(RetryCause::TimeOut),
            "invalid" => Some(RetryCause::Invalid),
            text => {
                let status = Self::STATUSES.into_iter().find(|status| status.to_string() == text)?;
                Some(RetryCause::Status(status))
            }
        }
    }
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetryCause::Connect => f.pad("connect"),
            RetryCause::Stale => f.pad("stale"),
            RetryCause::Reset => f.pad("reset"),
            RetryCause::TimeOut => f.pad("timeout"),
            RetryCause::Invalid => f.pad("invalid"),
            RetryCause::Status(status) => status.fmt(f),
        }
    }
}

/// The causes for which a request is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    /// In order, each once.
    causes: Vec<RetryCause>,
}

impl RetryOn {
    /// These causes and no other.
    pub fn new(causes: impl IntoIterator<Item = RetryCause>) -> Self {
        let mut causes: Vec<RetryCause> = causes.into_iter().collect();
        causes.sort_unstable();
        causes.dedup();
        RetryOn { causes }
    }

    /// Whether a request is asked again for this.
    pub fn has(&self, cause: RetryCause) -> bool {
        self.causes.contains(&cause)
    }

    /// The list that these words make; otherwise the first one that is none of them, by its number.
    pub(super) fn from_words<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Result<Self, usize> {
        if words.clone().count() == 1 && words.clone().all(|word| word.eq_ignore_ascii_case("off")) {
            return Ok(RetryOn { causes: Vec::new() });
        }
        let causes = words.enumerate().map(|(index, word)| RetryCause::from_name(word).ok_or(index));
        causes.collect::<Result<Vec<_>, _>>().map(RetryOn::new)
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        RetryOn { causes: vec![RetryCause::Connect, RetryCause::Stale, RetryCause::Reset] }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.causes.is_empty() {
            return f.write_str("off");
        }
        for (index, cause) in self.causes.iter().enumerate() {
            write!(f, "{}{cause}", if index > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

/// The name of a header, or `off` for none.
pub(super) fn key_header(text: &str) -> Option<Option<String>> {
    match text {
        off if off.eq_ignore_ascii_case("off") => Some(None),
        name => heads::is_token(name).then(|| Some(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RetryOn, usize> {
        RetryOn::from_words(text.split_whitespace())
    }

    #[test]
    fn causes_are_written_as_they_are_read() {
        for text in ["off", "connect stale reset", "connect timeout invalid 429 500 502 503 504"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("503 Reset 503 STALE").unwrap().to_string(), "stale reset 503");
        assert_eq!(RetryOn::default(), read("connect stale reset").unwrap());
        assert!(read("OFF").unwrap().causes.is_empty());
        assert!(read("503").unwrap().has(RetryCause::Status(503)));
        assert!(!read("503").unwrap().has(RetryCause::Status(502)));
    }

    #[test]
    fn a_word_that_is_no_cause_is_named_by_its_number() {
        for (text, index) in [("connect off", 1), ("off stale", 0), ("404", 0), ("reset 0503", 1), ("on", 0)]
        {
            assert_eq!(read(text), Err(index), "{text}");
        }
    }

    #[test]
    fn a_header_or_none() {
        assert_eq!(key_header("Off"), Some(None));
        assert_eq!(key_header("X-Key"), Some(Some("X-Key".to_owned())));
        assert_eq!(key_header("a b"), None);
        assert_eq!(key_header("a:"), None);
    }
}
