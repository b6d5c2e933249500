//! A moment as RFC 3339 writes it, formatted once a second.

use std::fmt::Write;

use crate::engine::Now;

/// The text of the second that was asked for last.
#[derive(Debug, Default)]
pub struct Stamp {
    unix: u64,
    text: String,
}

impl Stamp {
    /// Makes the text that of `now`.
    pub fn refresh(&mut self, now: Now) {
        if self.unix == now.unix && !self.text.is_empty() {
            return;
        }
        self.unix = now.unix;
        self.text.clear();
        let (year, month, day) = date(now.unix / DAY);
        let second = now.unix % DAY;
        // Into a String, which takes all.
        let _ = write!(
            self.text,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        );
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

const DAY: u64 = 24 * 60 * 60;
/// Days of 400 years: after those the calendar repeats itself.
const CYCLE: u64 = 146_097;
/// Days from the first of March of the year 0 to the first day of 1970.
const BEFORE_1970: u64 = 719_468;

/// Year, month and day of a day since 1970. Years are counted from March here, so that a leap day is
/// the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + BEFORE_1970;
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written() {
        let mut stamp = Stamp::default();
        for (unix, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (784_111_777, "1994-11-06T08:49:37Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
        ] {
            stamp.refresh(Now { ms: 0, us: 0, unix });
            assert_eq!(stamp.text(), expected);
        }
    }
}
