//! Time as the domain sees it: a moment is an argument, never asked for.

use std::{fmt, str::FromStr};

use jiff::tz::Offset;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
///
/// Shown and parsed as RFC 3339 UTC with milliseconds, `2026-11-21T01:35:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

/// A length of time in whole seconds, as every duration in the API.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Seconds(#[n(0)] pub u32);

impl Timestamp {
    /// The earliest moment: before every recorded one.
    pub const ZERO: Self = Self(0);
    /// 9999-01-01T00:00:00Z. No moment is accepted beyond it, so that the longest session that begins then still
    /// ends at a time that RFC 3339 can write.
    pub const MAX: Self = Self(253_370_764_800_000);

    /// From milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment plus a number of seconds.
    #[must_use]
    pub const fn plus(self, seconds: Seconds) -> Self {
        self.plus_millis(seconds.0 as i64 * 1000)
    }

    /// This moment plus a number of milliseconds.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is the later one.
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Whole seconds from `earlier` to this moment, rounded down, never negative.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        u64::try_from(self.millis_since(earlier) / 1000).unwrap_or(0)
    }

    /// Parses RFC 3339 with any offset; what is finer than a millisecond is cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        let moment = Self(parsed.as_millisecond());
        (Self::ZERO..=Self::MAX).contains(&moment).then_some(moment)
    }

    /// Its characters as RFC 3339; `None` for a year without exactly four digits.
    pub fn written(self) -> Option<[u8; 24]> {
        let moment = jiff::Timestamp::from_millisecond(self.0).ok()?;
        let date = Offset::UTC.to_datetime(moment);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut text[..4], u32::try_from(date.year()).ok()?);
        put_digits(&mut text[5..7], date.month().unsigned_abs().into());
        put_digits(&mut text[8..10], date.day().unsigned_abs().into());
        put_digits(&mut text[11..13], date.hour().unsigned_abs().into());
        put_digits(&mut text[14..16], date.minute().unsigned_abs().into());
        put_digits(&mut text[17..19], date.second().unsigned_abs().into());
        put_digits(&mut text[20..23], date.millisecond().unsigned_abs().into());
        Some(text)
    }
}

impl Seconds {
    /// Half of it, rounded down to a whole second: the earliest moment of a renewal in its period.
    #[must_use]
    pub const fn half(self) -> Self {
        Self(self.0 / 2)
    }
}

/// What a unit letter stands for, in seconds.
const UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Why a text is not a length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not numbers with units.
    #[error("must be seconds or a duration such as 90m, 24h, 7d, 1h30m")]
    Form,
    /// More than an API duration holds.
    #[error("is too long")]
    TooLong,
}

/// `3600`, `90m`, `24h`, `7d`, `1h30m`. A number without a unit is seconds and stands alone.
impl FromStr for Seconds {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let total = match text.parse::<u64>() {
            Ok(seconds) if text.starts_with(|c: char| c.is_ascii_digit()) => seconds,
            Ok(_) | Err(_) => sum_of_parts(text)?,
        };
        u32::try_from(total).map(Seconds).map_err(|_| InvalidDuration::TooLong)
    }
}

fn sum_of_parts(text: &str) -> Result<u64, InvalidDuration> {
    let mut total = 0_u64;
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| !c.is_ascii_digit()) {
        let unit = rest[end..].chars().next().and_then(seconds_in).ok_or(InvalidDuration::Form)?;
        let count: u64 = rest[..end].parse().map_err(|_| InvalidDuration::Form)?;
        let part = count.checked_mul(unit).ok_or(InvalidDuration::TooLong)?;
        total = total.checked_add(part).ok_or(InvalidDuration::TooLong)?;
        rest = &rest[end + 1..];
    }
    if text.is_empty() || !rest.is_empty() { Err(InvalidDuration::Form) } else { Ok(total) }
}

fn seconds_in(unit: char) -> Option<u64> {
    UNITS.into_iter().find(|(letter, _)| *letter == unit).map(|(_, seconds)| seconds)
}

/// Every reply has some moments in it, so they are written digit by digit and not by way of a formatter.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.written() {
            Some(text) => f.write_str(text_of(&text)),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.written() {
            Some(text) => serializer.serialize_str(text_of(&text)),
            None => serializer.collect_str(self),
        }
    }
}

fn text_of(written: &[u8; 24]) -> &str {
    str::from_utf8(written).expect("digits and signs are text")
}

/// Writes a number with as many digits as there is room for.
fn put_digits(out: &mut [u8], mut number: u32) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789"[number as usize % 10];
        number /= 10;
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a time must be RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_three_digits_and_read_back() {
        let moment = Timestamp::parse("2026-11-21T01:35:00Z").unwrap();
        assert_eq!(moment.to_string(), "2026-11-21T01:35:00.000Z");
        assert_eq!(Timestamp::parse("2026-11-21T02:35:00.0009+01:00"), Some(moment));
    }

    #[test]
    fn every_moment_is_written_as_the_calendar_says() {
        // A day and some odd time further each time, over leap years and the ends of centuries.
        for millis in (0..Timestamp::MAX.as_millis()).step_by(86_400_000 * 29 + 12_345_678) {
            let calendar = jiff::Timestamp::from_millisecond(millis).unwrap();
            assert_eq!(Timestamp::from_millis(millis).to_string(), format!("{calendar:.3}"));
        }
    }

    #[test]
    fn the_last_moment_leaves_room_for_the_longest_session() {
        assert_eq!(Timestamp::MAX.to_string(), "9999-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.plus(Seconds(7_776_000)).to_string(), "9999-04-01T00:00:00.000Z");
    }

    #[test]
    fn half_of_an_odd_period_is_rounded_down() {
        assert_eq!(Seconds(301).half(), Seconds(150));
    }

    #[test]
    fn no_moment_is_read_before_1970_or_without_an_offset() {
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Timestamp::parse("2026-11-21T01:35:00"), None);
    }
}
