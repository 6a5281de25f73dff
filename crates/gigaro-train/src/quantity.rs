//! Numbers as a person reads them: `9.1 GB`, `12.3M`, `4 min 10 s`, `2026-11-23 22:10 UTC`.
//!
//! Used in sentences, plans and reports. Not for files that a program reads: those keep plain
//! numbers with the unit in the key.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A number of bytes; displays in decimal units, as disks and memory are sold: `9.1 GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        // 999.95 rounds to 1000.0, which reads worse than 1.0 of the next unit.
        while value >= 999.95 && unit + 1 < UNITS.len() {
            value /= 1000.0;
            unit += 1;
        }
        let text = if unit == 0 {
            format!("{} bytes", self.0)
        } else {
            format!("{value:.1} {}", UNITS[unit])
        };
        f.pad(&text)
    }
}

/// A count with three significant digits: `831`, `12.3k`, `124M`, `1.50B`, `3.20e15`.
///
/// `B` is the billion of the field (`1.5B parameters`), not bytes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Count(pub f64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        let text = if !x.is_finite() || x.abs() >= 999.5e12 {
            format!("{x:.2e}")
        } else if x.abs() < 999.5 && x == x.trunc() {
            format!("{x:.0}")
        } else {
            let (scaled, suffix) = match x.abs() {
                a if a < 999.5 => (x, ""),
                a if a < 999.5e3 => (x / 1e3, "k"),
                a if a < 999.5e6 => (x / 1e6, "M"),
                a if a < 999.5e9 => (x / 1e9, "B"),
                _ => (x / 1e12, "T"),
            };
            let decimals = match scaled.abs() {
                a if a < 9.995 => 2,
                a if a < 99.95 => 1,
                _ => 0,
            };
            format!("{scaled:.decimals$}{suffix}")
        };
        f.pad(&text)
    }
}

/// A duration in seconds, in at most two units: `0.42 s`, `37 s`, `4 min 10 s`, `3 h 05 min`, `2 d 4 h`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        if !s.is_finite() || s < 0.0 {
            return f.pad("unknown");
        }
        let whole = s.round() as u64;
        let text = match whole {
            _ if s < 9.95 => format!("{s:.2} s"),
            0..60 => format!("{whole} s"),
            60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
            3600..86_400 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
            _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
        };
        f.pad(&text)
    }
}

/// A moment as whole seconds since 1970 in UTC; displays as `2026-11-23 22:10:03 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The present moment by the system's clock (0 if the clock stands before 1970).
    pub fn now() -> Self {
        Timestamp(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
        )
    }
}

impl Timestamp {
    /// Year, month and day in UTC.
    pub fn date(self) -> (u64, u64, u64) {
        civil_from_days(self.0 / 86_400)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let s = self.0 % 86_400;
        f.pad(&format!(
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
            s / 3600,
            s / 60 % 60,
            s % 60
        ))
    }
}

/// Days since 1970-01-01 to (year, month, day) of the Gregorian calendar.
///
/// Hinnant, "chrono-compatible low-level date algorithms": years start in March, so that the leap
/// day is the last of the year and month lengths follow `(153 m + 2) / 5`.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_like_a_label_on_a_disk() {
        let check = |n, s: &str| assert_eq!(Bytes(n).to_string(), s);
        check(0, "0 bytes");
        check(999, "999 bytes");
        check(1_000, "1.0 kB");
        check(999_960, "1.0 MB");
        check(9_100_000_000, "9.1 GB");
        check(u64::MAX, "18446.7 PB");
    }

    #[test]
    fn counts_keep_three_digits() {
        let check = |x, s: &str| assert_eq!(Count(x).to_string(), s);
        check(0.0, "0");
        check(831.0, "831");
        check(999.7, "1.00k");
        check(12_300_000.0, "12.3M");
        check(124_439_808.0, "124M");
        check(1.5e9, "1.50B");
        check(3.2e15, "3.20e15");
        check(1.88, "1.88");
        check(f64::NAN, "NaN");
    }

    #[test]
    fn seconds_use_two_units_at_most() {
        let check = |x, s: &str| assert_eq!(Seconds(x).to_string(), s);
        check(0.42, "0.42 s");
        check(59.6, "1 min 00 s");
        check(250.0, "4 min 10 s");
        check(11_100.0, "3 h 05 min");
        check(187_200.0, "2 d 4 h");
        check(f64::INFINITY, "unknown");
    }

    #[test]
    fn timestamps_follow_the_calendar() {
        let check = |n, s: &str| assert_eq!(Timestamp(n).to_string(), s);
        check(0, "1970-01-01 00:00:00 UTC");
        check(951_782_400, "2000-02-29 00:00:00 UTC");
        check(1_795_473_003, "2026-11-23 22:30:03 UTC");
        check(4_107_542_400, "2100-03-01 00:00:00 UTC");
    }
}
