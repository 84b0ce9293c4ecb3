//! The time zone of moments in messages for people.

use std::{fmt, str::FromStr};

use jiff::tz::TimeZone;
use tenure_core::Timestamp;

/// A time zone, by its name in the database of time zones: `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeTimeZone(TimeZone);

/// There is no such time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such time zone")]
pub struct UnknownTimeZone;

impl NoticeTimeZone {
    /// A moment as a person reads it: `2 Dec 2026, 07:39 CET`.
    pub(crate) fn shown(&self, at: Timestamp) -> String {
        let moment = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        moment.to_zoned(self.0.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()
    }
}

impl Default for NoticeTimeZone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for NoticeTimeZone {
    type Err = UnknownTimeZone;

    fn from_str(name: &str) -> Result<Self, UnknownTimeZone> {
        // What the machine's own zone is called differs between machines, and may change.
        TimeZone::get(name).map(Self).map_err(|_| UnknownTimeZone)
    }
}

impl fmt::Display for NoticeTimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_by_the_clock_of_its_reader() {
        let at = Timestamp::parse("2026-11-30T23:30:00Z").unwrap();
        assert_eq!(NoticeTimeZone::default().shown(at), "30 Nov 2026, 23:30 UTC");
        let berlin: NoticeTimeZone = "europe/berlin".parse().unwrap();
        assert_eq!(
            (berlin.to_string().as_str(), berlin.shown(at)),
            ("Europe/Berlin", "1 Dec 2026, 00:30 CET".to_owned())
        );
        let summer = Timestamp::parse("2026-07-01T12:00:00Z").unwrap();
        assert_eq!(berlin.shown(summer), "1 Jul 2026, 14:00 CEST");
        for unknown in ["", "Berlin", "CET-1", "../../etc/passwd"] {
            assert_eq!(unknown.parse::<NoticeTimeZone>(), Err(UnknownTimeZone), "{unknown}");
        }
    }
}
