//! The date as HTTP writes it, formatted once a second.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

use super::Now;

/// The text of the second that was asked for last.
#[derive(Debug, Default)]
pub struct Date {
    unix: u64,
    text: String,
}

impl Date {
    /// Makes the text that of `now`.
    pub fn refresh(&mut self, now: Now) {
        if self.unix != now.unix || self.text.is_empty() {
            self.unix = now.unix;
            self.text.clear();
            // Into a String, which takes all.
            let _ = write!(self.text, "{}", HttpDate::from(UNIX_EPOCH + Duration::from_secs(now.unix)));
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_follows_the_second() {
        let mut date = Date::default();
        date.refresh(Now { ms: 5, us: 5000, unix: 0 });
        assert_eq!(date.text(), "Thu, 01 Jan 1970 00:00:00 GMT");
        date.refresh(Now { ms: 6, us: 6000, unix: 784_111_777 });
        assert_eq!(date.text(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
