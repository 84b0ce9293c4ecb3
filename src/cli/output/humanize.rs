//! Lengths of time and moments in words: `1h 5m left`, `3m ago`; and lengths of time as people type them.
//!
//! What time it is, is an argument.

use tenure_core::{Seconds, Timestamp, time::InvalidDuration};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads `3600`, `90m`, `24h`, `7d`, `1h30m`. A number without a unit is seconds and stands alone.
pub(crate) fn parse_duration(text: &str) -> Result<Seconds, InvalidDuration> {
    text.parse()
}

/// The two largest of days, hours and minutes, rounded down; seconds only below a minute: `27d 12h`, `5m`, `40s`.
pub(crate) fn duration(seconds: u64) -> String {
    if seconds < MINUTE {
        return format!("{seconds}s");
    }
    let parts = [(seconds / DAY, 'd'), (seconds % DAY / HOUR, 'h'), (seconds % HOUR / MINUTE, 'm')];
    let two = parts.into_iter().skip_while(|(count, _)| *count == 0).take(2);
    let shown = two.filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
    shown.collect::<Vec<_>>().join(" ")
}

/// How long something that ends at `end` still lasts: `1h 5m left`, or `3m ago`.
pub(crate) fn left(end: Timestamp, now: Timestamp) -> String {
    if end > now { format!("{} left", duration(end.seconds_since(now))) } else { when(end, now) }
}

/// When something is: `in 1h 5m`, `now`, `3m ago`.
pub(crate) fn when(moment: Timestamp, now: Timestamp) -> String {
    match (moment.seconds_since(now), now.seconds_since(moment)) {
        (0, 0) => "now".to_owned(),
        (0, past) => format!("{} ago", duration(past)),
        (coming, _) => format!("in {}", duration(coming)),
    }
}

/// How fast something goes: `812/s`, `105 k/s`.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 1_000.0 {
        format!("{per_second:.0}/s")
    } else {
        format!("{:.0} k/s", per_second / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_as_many_digits_as_are_read() {
        assert_eq!([0.4, 812.4, 999.6].map(rate), ["0/s", "812/s", "1000/s"]);
        assert_eq!([1_000.0, 104_582.262_1].map(rate), ["1 k/s", "105 k/s"]);
    }

    fn at(seconds: u32) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000).plus(Seconds(seconds))
    }

    #[test]
    fn a_plain_number_is_seconds() {
        assert_eq!(parse_duration("3600"), Ok(Seconds(3600)));
        assert_eq!(parse_duration("0"), Ok(Seconds(0)));
    }

    #[test]
    fn units_are_added_up() {
        for (text, seconds) in
            [("90m", 5400), ("24h", 86_400), ("7d", 604_800), ("1h30m", 5400), ("2w", 1_209_600), ("5s", 5)]
        {
            assert_eq!(parse_duration(text), Ok(Seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "h", "1h30", "-5", "+5", "1.5h", "5 m", "5ms", "7D", "1ü"] {
            assert_eq!(parse_duration(text), Err(InvalidDuration::Form), "{text}");
        }
        for text in ["4294967296", "99999999999999999999d", "200000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_told_by_its_two_largest_units() {
        for (seconds, words) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (119, "1m"),
            (3900, "1h 5m"),
            (86_400, "1d"),
            (86_460, "1d"),
            (2_376_000, "27d 12h"),
        ] {
            assert_eq!(duration(seconds), words);
        }
    }

    #[test]
    fn an_end_is_left_or_past() {
        assert_eq!(left(at(3900), at(0)), "1h 5m left");
        assert_eq!(left(at(0), at(180)), "3m ago");
        assert_eq!(left(at(7), at(7)), "now");
    }

    #[test]
    fn a_moment_is_coming_now_or_past() {
        assert_eq!(when(at(60), at(0)), "in 1m");
        assert_eq!(when(at(0), at(0)), "now");
        assert_eq!(when(at(0), at(7200)), "2h ago");
    }
}
