//! Numbers as people read them: three digits that count, and a unit.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

/// A moment for people and for programs, in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `2026-11-23 17:02:03`
    pub people: String,
    /// `2026-11-23T17:02:03Z`
    pub machine: String,
}

impl Moment {
    /// Of seconds since the Unix epoch; never later than the year 9999.
    pub fn new(unix: u64) -> Self {
        const LATEST: u64 = 253_402_300_799;
        let time = UNIX_EPOCH + Duration::from_secs(unix.min(LATEST));
        let machine = humantime::format_rfc3339_seconds(time).to_string();
        Moment { people: machine.replace('T', " ").replace('Z', ""), machine }
    }
}

/// Up to 9999 as it is; then `12.3k`, `4.56M`.
pub fn count(number: u64) -> String {
    if number < 10_000 { number.to_string() } else { scaled(number, &["", "k", "M", "G", "T", "P", "E"], "") }
}

/// `0 B`, `12.3 kB`, in powers of 1000.
pub fn bytes(number: u64) -> String {
    scaled(number, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], " ")
}

fn scaled(number: u64, units: &[&str], gap: &str) -> String {
    let (mut value, mut unit) = (number as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 { 0 } else { decimals(value) };
    format!("{value:.digits$}{gap}{}", units[unit])
}

/// How many decimals make three digits.
fn decimals(value: f64) -> usize {
    match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    }
}

/// Requests in a second.
pub fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 10_000.0 => count(rate.round() as u64),
        rate if rate >= 99.95 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// A duration in microseconds: `850 µs`, `1.23 ms`, `4.56 s`, `12.3 s`.
pub fn duration(us: u64) -> String {
    match us {
        0..=999 => format!("{us} µs"),
        1000..=999_499 => short(us as f64 / 1000.0, "ms"),
        999_500..=119_999_999 => short(us as f64 / 1_000_000.0, "s"),
        _ => span(us / 1_000_000),
    }
}

fn short(value: f64, unit: &str) -> String {
    let digits = decimals(value);
    format!("{value:.digits$} {unit}")
}

/// Seconds, roughly: `12 s`, `3 min`, `5 h`, `4 days`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A curve through these counts, as the path of an SVG of this height, one unit wide for each step; the
/// greatest count reaches the top. What stays level is one line, to keep the page of many servers small.
pub fn curve(counts: &[u32], height: u32) -> String {
    if counts.len() < 2 {
        return String::new();
    }
    let most = u64::from(counts.iter().copied().max().unwrap_or(0).max(1));
    // Tenths of a unit, with room for half of the line's width.
    let tall = u64::from(height - 2) * 10;
    let mut path = String::with_capacity(counts.len() * 7);
    let (mut last, mut level) = (None, false);
    for (x, &count) in counts.iter().enumerate() {
        let y = 10 + (tall * (most - u64::from(count)) + most / 2) / most;
        if last == Some(y) {
            level = true;
            continue;
        }
        // Strings alone: nothing here can fail to be written.
        if std::mem::take(&mut level) {
            let _ = write!(path, "H{}", x - 1);
        }
        let _ = write!(path, "{}{x} {}", if x == 0 { 'M' } else { 'L' }, y / 10);
        if y % 10 > 0 {
            let _ = write!(path, ".{}", y % 10);
        }
        last = Some(y);
    }
    if level {
        let _ = write!(path, "H{}", counts.len() - 1);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = |numbers: &[u64], show: fn(u64) -> String| {
            numbers.iter().map(|&number| show(number)).collect::<Vec<_>>().join(" | ")
        };
        assert_eq!(
            shown(&[0, 9999, 10_000, 99_960, 999_600, 1_234_567, u64::MAX], count),
            "0 | 9999 | 10.0k | 100k | 1.00M | 1.23M | 18.4E"
        );
        assert_eq!(
            shown(&[0, 999, 1000, 12_345, 5_000_000_000], bytes),
            "0 B | 999 B | 1.00 kB | 12.3 kB | 5.00 GB"
        );
        assert_eq!(
            shown(&[0, 999, 1234, 99_960, 999_600, 12_345_678, 130_000_000], duration),
            "0 µs | 999 µs | 1.23 ms | 100 ms | 1.00 s | 12.3 s | 2 min"
        );
        assert_eq!(shown(&[0, 119, 120, 7200, 172_800], span), "0 s | 119 s | 2 min | 2 h | 2 days");
    }

    #[test]
    fn rates_have_a_decimal_while_they_are_small() {
        let shown = [0.0, 1.25, 99.9, 123.4, 12_345.0].map(rate);
        assert_eq!(shown, ["0.0", "1.2", "99.9", "123", "12.3k"]);
    }

    #[test]
    fn a_moment_is_told_in_utc() {
        let moment = Moment::new(1_795_453_323);
        assert_eq!(moment.machine, "2026-11-23T17:02:03Z");
        assert_eq!(moment.people, "2026-11-23 17:02:03");
        assert!(Moment::new(u64::MAX).machine.starts_with("9999-"));
    }

    #[test]
    fn a_curve_stays_inside_its_picture() {
        assert_eq!(curve(&[0, 5, 10], 16), "M0 15L1 8L2 1");
        assert_eq!(curve(&[0, 1, 3], 16), "M0 15L1 10.3L2 1");
        assert_eq!(curve(&[0, 0], 16), "M0 15H1");
        assert_eq!(curve(&[0, 0, 0, 7, 7, 0], 16), "M0 15H2L3 1H4L5 15");
        assert_eq!(curve(&[u32::MAX, 0], 44), "M0 1L1 43");
        assert_eq!(curve(&[1], 16), "");
    }
}
