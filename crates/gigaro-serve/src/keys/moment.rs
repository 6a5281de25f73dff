//! Moments at which keys end, in UTC.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Reads a date, which is its first moment, or a moment.
///
/// # Errors
/// A sentence, if it is neither.
pub fn read(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        format!(
            "{text:?} is neither a date such as 2030-01-01 nor a moment such as 2030-01-01T12:00:00Z"
        )
    };
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    // A date that has a time behind it would be read as a date as well, and the time be lost.
    let date: Option<Date> = text
        .parse()
        .ok()
        .filter(|_| text.len() == "2030-01-01".len());
    let date = date.ok_or_else(wrong)?;
    let midnight = date.at(0, 0, 0, 0);
    TimeZone::UTC.to_timestamp(midnight).map_err(|_| wrong())
}

/// So many hours from now.
#[must_use]
pub fn in_hours(hours: u32) -> Timestamp {
    let span = SignedDuration::from_hours(hours.into());
    Timestamp::now()
        .saturating_add(span)
        .unwrap_or(Timestamp::MAX)
}

/// Whether it lies behind us.
#[must_use]
pub fn is_past(moment: Timestamp) -> bool {
    moment <= Timestamp::now()
}

/// How a moment stands in a file: as `2026-12-31T00:00:00Z`.
pub(super) mod form {
    use jiff::Timestamp;
    use serde::de::{Error, Unexpected};
    use serde::{Deserialize, Deserializer, Serializer};

    const WANTED: &str = "a moment such as 2030-01-01T12:00:00Z";

    pub(crate) fn serialize<S: Serializer>(
        moment: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => serializer.collect_str(&format_args!("{moment:.0}")),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = super::read(&text).map(Some);
        moment.map_err(|_| D::Error::invalid_value(Unexpected::Str(&text), &WANTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_moments_are_read_and_nothing_else() {
        let read = |text| read(text).map(|moment| moment.to_string());
        assert_eq!(read("2030-01-02").as_deref(), Ok("2030-01-02T00:00:00Z"));
        let east = read("2030-01-02T01:00:00+02:00");
        assert_eq!(east.as_deref(), Ok("2030-01-01T23:00:00Z"));
        for odd in ["", "tomorrow", "2030-13-01", "12:00", "2030-01-02T01:00:00"] {
            assert!(read(odd).is_err(), "{odd}");
        }
    }
}
