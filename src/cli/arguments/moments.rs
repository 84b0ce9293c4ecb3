//! One grammar of moments for every option: `03:12`, `2026-11-22 03:12`, `yesterday 3am`, `1h`, `30m ago`, RFC 3339.
//!
//! What was typed is a moment only together with the present one and the local time zone, so it is kept as it was typed
//! until both are known.

use jiff::{
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

use crate::cli::{environment, output::humanize};
use tenure_core::{Seconds, Timestamp};

/// What a moment may look like; shown when it looks otherwise.
pub(crate) const FORMS: &str = "must be a time such as 03:12, '2026-11-22 03:12', 'yesterday 3am', 30m, '30m ago' or 2026-11-21T01:35:00Z";

/// A moment, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypedMoment {
    /// It says everything.
    At(Timestamp),
    /// This long before now.
    Ago(Seconds),
    /// This long from now.
    Ahead(Seconds),
    /// A length of time: ago, or ahead, as the option needs it.
    Apart(Seconds),
    /// A time of a local day.
    On(CalendarDay, Time),
}

/// A day of the local calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CalendarDay {
    /// As it stands in a calendar.
    Date(Date),
    /// Days from today; negative ones lie in the past.
    Relative(i8),
    /// The latest or the next, as the option needs it.
    Nearest,
}

/// For clap: a moment.
pub(crate) fn moment(text: &str) -> Result<TypedMoment, &'static str> {
    let text = text.trim();
    exact(text).or_else(|| apart(text)).or_else(|| local(text)).ok_or(FORMS)
}

fn exact(text: &str) -> Option<TypedMoment> {
    Timestamp::parse(text).map(TypedMoment::At)
}

fn apart(text: &str) -> Option<TypedMoment> {
    let span = |text: &str| humanize::parse_duration(text.trim()).ok();
    if text == "now" {
        return Some(TypedMoment::Ago(Seconds(0)));
    }
    if let Some(before) = text.strip_suffix("ago") {
        return span(before).map(TypedMoment::Ago);
    }
    if let Some(ahead) = text.strip_prefix("in ") {
        return span(ahead).map(TypedMoment::Ahead);
    }
    span(text).map(TypedMoment::Apart)
}

fn local(text: &str) -> Option<TypedMoment> {
    if let Some(time) = time_of_day(text) {
        return Some(TypedMoment::On(CalendarDay::Nearest, time));
    }
    let (first, rest) = text.split_once([' ', 'T']).map_or((text, None), |(first, rest)| (first, Some(rest)));
    let day = match first {
        "today" => CalendarDay::Relative(0),
        "yesterday" => CalendarDay::Relative(-1),
        "tomorrow" => CalendarDay::Relative(1),
        date => CalendarDay::Date(date.parse().ok()?),
    };
    let time = rest.map_or(Some(Time::midnight()), |rest| time_of_day(rest.trim()))?;
    Some(TypedMoment::On(day, time))
}

/// `03:12`, `03:12:40`, `3am`, `3:12pm`.
fn time_of_day(text: &str) -> Option<Time> {
    let half = |suffix: &str| text.strip_suffix(suffix).map(str::trim_end);
    let (clock, afternoon) = match (half("am"), half("pm")) {
        (Some(clock), _) => (clock, Some(false)),
        (None, Some(clock)) => (clock, Some(true)),
        (None, None) => (text, None),
    };
    let number = |part: Option<&str>| part.map_or(Some(0), two_digits);
    let mut parts = clock.split(':');
    let hour = two_digits(parts.next()?)?;
    let minute = parts.next();
    // A lone number is a length of time.
    if minute.is_none() && afternoon.is_none() {
        return None;
    }
    let (minute, second) = (number(minute)?, number(parts.next())?);
    let hour = match afternoon {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(afternoon) => hour % 12 + if afternoon { 12 } else { 0 },
        None => hour,
    };
    parts.next().is_none().then(|| Time::new(hour, minute, second, 0).ok()).flatten()
}

fn two_digits(text: &str) -> Option<i8> {
    let is_one = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| text.parse().ok()).flatten()
}

impl TypedMoment {
    /// Whether it depends on what time it is.
    pub(crate) const fn is_relative(self) -> bool {
        !matches!(self, Self::At(_))
    }

    /// The moment, of an option that looks back.
    pub(crate) fn past(self, now: Timestamp) -> Timestamp {
        self.resolved(now, &environment::zone(), false)
    }

    /// The moment, of an option that looks ahead.
    pub(crate) fn coming(self, now: Timestamp) -> Timestamp {
        self.resolved(now, &environment::zone(), true)
    }

    fn resolved(self, now: Timestamp, zone: &TimeZone, is_ahead: bool) -> Timestamp {
        let apart = |Seconds(span): Seconds, sign: i64| now.plus_millis(sign * 1_000 * i64::from(span));
        let moment = match self {
            Self::At(at) => at,
            Self::Ago(span) => apart(span, -1),
            Self::Ahead(span) => apart(span, 1),
            Self::Apart(span) => apart(span, if is_ahead { 1 } else { -1 }),
            Self::On(day, time) => on(day, time, now, zone, is_ahead),
        };
        moment.max(Timestamp::ZERO)
    }
}

fn on(day: CalendarDay, time: Time, now: Timestamp, zone: &TimeZone, is_ahead: bool) -> Timestamp {
    let today = jiff::Timestamp::from_millisecond(now.as_millis()).map(|now| zone.to_datetime(now).date());
    let today = today.unwrap_or(Date::ZERO);
    let at = |days: i8| {
        let date = (0..days.unsigned_abs())
            .try_fold(today, |date, _| if days < 0 { date.yesterday() } else { date.tomorrow() }.ok());
        date.map_or(now, |date| in_zone(date.to_datetime(time), zone))
    };
    match day {
        CalendarDay::Date(date) => in_zone(date.to_datetime(time), zone),
        CalendarDay::Relative(days) => at(days),
        CalendarDay::Nearest if is_ahead => {
            [at(0), at(1)].into_iter().find(|moment| *moment > now).unwrap_or(now)
        }
        CalendarDay::Nearest => [at(0), at(-1)].into_iter().find(|moment| *moment <= now).unwrap_or(now),
    }
}

/// A time that does not exist or exists twice, when clocks are changed, is read as calendars usually do.
fn in_zone(moment: DateTime, zone: &TimeZone) -> Timestamp {
    let zoned = moment.to_zoned(zone.clone());
    zoned.map_or(Timestamp::ZERO, |zoned| Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// How a moment is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MomentForm {
    /// To the millisecond, in UTC.
    #[default]
    InFull,
    /// By the local clock.
    Local,
}

impl MomentForm {
    /// The moment in this form.
    pub(crate) fn shown(self, at: Timestamp) -> String {
        match self {
            Self::InFull => at.to_string(),
            Self::Local => day_and_time(at),
        }
    }
}

/// A moment by the local clock: `03:12:40`.
pub(crate) fn clock_time(at: Timestamp) -> String {
    shown(at, "%H:%M:%S")
}

/// A day and a time by the local clock: `2026-11-22 03:12:40`.
pub(crate) fn day_and_time(at: Timestamp) -> String {
    shown(at, "%F %T")
}

/// Hours and minutes by the local clock; with the day if it is another day than now.
pub(crate) fn short_time(at: Timestamp, now: Timestamp) -> String {
    if shown(at, "%F") == shown(now, "%F") { shown(at, "%H:%M") } else { shown(at, "%F %H:%M") }
}

fn shown(at: Timestamp, form: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(moment) if environment::is_local() => {
            moment.to_zoned(environment::zone()).strftime(form).to_string()
        }
        Ok(moment) => moment.to_zoned(TimeZone::UTC).strftime(&format!("{form}Z")).to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// An hour east of Greenwich, on the morning of 22 November.
    fn read(text: &str, is_ahead: bool) -> String {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let moment = moment(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        moment.resolved(at("2026-11-22T09:00:00Z"), &zone, is_ahead).to_string()
    }

    #[test]
    fn a_moment_is_read_as_people_say_it() {
        for (text, past) in [
            ("2026-11-21T01:35:00Z", "2026-11-21T01:35:00.000Z"),
            ("now", "2026-11-22T09:00:00.000Z"),
            ("1h", "2026-11-22T08:00:00.000Z"),
            ("30m ago", "2026-11-22T08:30:00.000Z"),
            ("in 2h", "2026-11-22T11:00:00.000Z"),
            ("03:12", "2026-11-22T02:12:00.000Z"),
            ("23:30", "2026-11-21T22:30:00.000Z"),
            ("3am", "2026-11-22T02:00:00.000Z"),
            ("12am", "2026-11-21T23:00:00.000Z"),
            ("2026-11-20 03:12", "2026-11-20T02:12:00.000Z"),
            ("2026-11-20T03:12:40", "2026-11-20T02:12:40.000Z"),
            ("2026-11-20", "2026-11-19T23:00:00.000Z"),
            ("yesterday 3am", "2026-11-21T02:00:00.000Z"),
            ("yesterday", "2026-11-20T23:00:00.000Z"),
            ("today 9:05pm", "2026-11-22T20:05:00.000Z"),
        ] {
            assert_eq!(read(text, false), past, "{text}");
        }
    }

    #[test]
    fn what_looks_ahead_takes_the_next() {
        for (text, coming) in [
            ("1h", "2026-11-22T10:00:00.000Z"),
            ("03:12", "2026-11-23T02:12:00.000Z"),
            ("23:30", "2026-11-22T22:30:00.000Z"),
            ("tomorrow 8:00", "2026-11-23T07:00:00.000Z"),
        ] {
            assert_eq!(read(text, true), coming, "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in
            ["", "soon", "25:00", "3:60", "13pm", "0am", "2026-13-01", "yesterday soon", "03:1x", "-1h"]
        {
            assert_eq!(moment(text), Err(FORMS), "{text}");
        }
    }
}
