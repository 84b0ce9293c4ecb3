//! As of: a page about a moment of the past. The address carries it, so that it can be kept and passed on.

use axum::http::StatusCode;
use tenure_audit::replay::ReplayEnd;
use tenure_core::{EpochPosition, Position, Timestamp};

use crate::console::{request::SignedInRequest, response::PageFailure};
use crate::projections::history::AsOfMoment;

/// Which moment a page is about.
pub(super) struct AsOf {
    /// As the address has it.
    pub(super) given: String,
    asked: Option<AsOfInput>,
    /// The API's parameter for the moment: a time, or a position.
    parameter: (Option<String>, Option<String>),
    pub(super) at: Timestamp,
    pub(super) position: u64,
    /// The last position that there is.
    pub(super) head: u64,
    /// The page.
    pub(super) path: String,
    /// What else its address says.
    pub(super) fields: Vec<(&'static str, String)>,
}

/// A moment, as people name one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AsOfInput {
    Time(Timestamp),
    Position(Position),
}

impl AsOfInput {
    /// `4711`, `#4711`, `2026-11-21 01:35`, or a time of RFC 3339.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(position) = text.trim_start_matches('#').parse() {
            return Some(Self::Position(Position(position)));
        }
        let text = text.trim_end_matches(" UTC").trim_end_matches('Z').replacen(' ', "T", 1);
        let missing = ["", "Z", ":00Z", "T00:00:00Z"].into_iter();
        missing.map(|rest| format!("{text}{rest}")).find_map(|text| Timestamp::parse(&text)).map(Self::Time)
    }
}

impl AsOf {
    /// Of the page that was asked for.
    pub(super) async fn of(visit: &SignedInRequest, others: &[&'static str]) -> Result<Self, PageFailure> {
        let given = visit.query().get("asOf").unwrap_or_default();
        let asked = if given.is_empty() { None } else { Some(AsOfInput::parse(given).ok_or_else(wrong)?) };
        let (time, position) = match asked.clone() {
            Some(AsOfInput::Time(time)) => (Some(time), None),
            Some(AsOfInput::Position(position)) => (None, Some(named(visit, position))),
            None => (None, None),
        };
        let moment = visit.console().api.moment(&visit.credential, time, position).await?;
        let field = |name: &&'static str| Some((*name, visit.query().get(name)?.to_owned()));
        Ok(Self {
            given: given.to_owned(),
            parameter: (time.map(|time| time.to_string()), position.map(|position| position.to_string())),
            asked,
            at: moment.at,
            position: moment.position.0,
            head: visit.authority().live().position().0,
            path: visit.path().to_owned(),
            fields: others.iter().filter_map(field).collect(),
        })
    }

    pub(super) const fn is_past(&self) -> bool {
        self.asked.is_some()
    }

    /// The query of the API for the same moment, with these parameters in addition.
    pub(super) fn query(&self, pairs: &[(&str, Option<&str>)]) -> String {
        let moment = [("asOf", self.parameter.0.as_deref()), ("asOfPosition", self.parameter.1.as_deref())];
        super::form::query(&pairs.iter().copied().chain(moment).collect::<Vec<_>>())
    }

    /// The moment of the past that the page is about; `None` if it is about the present.
    pub(super) const fn moment(&self) -> Option<AsOfMoment> {
        if !self.is_past() {
            return None;
        }
        Some(AsOfMoment { position: Position(self.position), at: self.at })
    }

    /// Where a history of that moment ends.
    pub(super) const fn end(&self) -> (ReplayEnd, Position) {
        let end = match &self.asked {
            Some(AsOfInput::Position(position)) => ReplayEnd::Position(*position),
            Some(AsOfInput::Time(_)) | None => ReplayEnd::Time(self.at),
        };
        (end, Position(self.position))
    }

    /// The address of the same page of another moment.
    pub(super) fn now(&self) -> String {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, Some(&**value))).collect();
        format!("{}{}", self.path, super::form::query(&fields))
    }
}

/// A position as the API takes it: with the epoch that it belongs to.
fn named(visit: &SignedInRequest, position: Position) -> EpochPosition {
    let epoch = visit.authority().live().system().system.epochs.of(position);
    EpochPosition { epoch, position }
}

fn wrong() -> PageFailure {
    let why = "As of: a time in UTC such as 2026-11-21 01:35, or a position such as 4711.";
    PageFailure::of(StatusCode::BAD_REQUEST, "INVALID_REQUEST", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_position() {
        let time = |text: &str| Some(AsOfInput::Time(Timestamp::parse(text).unwrap()));
        for text in ["2026-11-21 01:35", "2026-11-21T01:35:00Z", "2026-11-21 01:35:00 UTC"] {
            assert_eq!(AsOfInput::parse(text), time("2026-11-21T01:35:00Z"), "{text}");
        }
        assert_eq!(AsOfInput::parse("2026-11-21"), time("2026-11-21T00:00:00Z"));
        for text in ["4711", "#4711"] {
            assert_eq!(AsOfInput::parse(text), Some(AsOfInput::Position(Position(4_711))), "{text}");
        }
        for text in ["yesterday", "2026-13-01", "01:35", "-1", "<script>"] {
            assert_eq!(AsOfInput::parse(text), None, "{text}");
        }
    }
}
