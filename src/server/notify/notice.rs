//! The notices that subscribers get.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

pub use tenure_core::NoticeKind;
use tenure_core::{
    Actor, KeyId, OwnerId, Position, SessionId, SubjectId, Timestamp,
    budget::{Constraints, Usage},
    epoch,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, RejectionCause, RejectionCode},
};

/// A notice's name: the position of its event, and its number among that event's notices, from 1.
///
/// It is the same for every delivery and receiver, so a receiver knows a repeat by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoticeId {
    /// The event.
    pub position: Position,
    /// Which of its notices.
    pub number: u32,
}

impl NoticeId {
    /// After every notice of the events up to this position; written as the position alone.
    pub const fn after_all_of(position: Position) -> Self {
        Self { position, number: u32::MAX }
    }
}

impl fmt::Display for NoticeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::after_all_of(self.position) {
            return self.position.fmt(f);
        }
        write!(f, "{}.{}", self.position, self.number)
    }
}

impl FromStr for NoticeId {
    type Err = InvalidNoticeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((position, number)) = text.split_once('.') else {
            return text.parse().map(Self::after_all_of).map_err(|_| InvalidNoticeId);
        };
        let number: Position = number.parse().map_err(|_| InvalidNoticeId)?;
        Ok(Self {
            position: position.parse().map_err(|_| InvalidNoticeId)?,
            number: u32::try_from(number.0).map_err(|_| InvalidNoticeId)?,
        })
    }
}

impl Serialize for NoticeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A notice's id with the epoch of its event, as receivers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticeName {
    /// The epoch.
    pub epoch: u32,
    /// The notice within the history.
    pub id: NoticeId,
}

impl NoticeName {
    /// As webhooks call a message: one id, one message, also when another history had a notice at its place.
    pub fn message(&self) -> String {
        let NoticeId { position, number } = self.id;
        match self.epoch {
            epoch::FIRST => format!("msg_{position}_{number}"),
            later => format!("msg_{later}_{position}_{number}"),
        }
    }
}

impl fmt::Display for NoticeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", epoch::prefix_of(self.epoch), self.id)
    }
}

impl Serialize for NoticeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that names no notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a position and a number, such as 17.1")]
pub struct InvalidNoticeId;

/// What a subscriber learns of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Its name.
    pub notice_id: NoticeName,
    /// Its kind.
    pub kind: NoticeKind,
    /// The event behind it.
    pub position: Position,
    /// When that was recorded.
    pub occurred_at: Timestamp,
    /// The session; `None` if it is about several, or about the subject itself.
    pub session_id: Option<SessionId>,
    /// The subject of the session; `None` for sessions of several subjects.
    pub subject_id: Option<SubjectId>,
    /// What people call the subject today.
    pub subject_name: Option<String>,
    /// Who answers for the subject today; of several subjects, who did when it happened.
    pub owner_id: Option<OwnerId>,
    /// The fields of its kind.
    #[serde(flatten)]
    pub details: NoticeDetails,
}

impl Notice {
    /// Whether it goes to all subscribers, because it concerns too many owners to address each.
    pub fn is_for_every_owner(&self) -> bool {
        let NoticeDetails::Revoked(revoked) = &self.details else { return false };
        revoked.selector.is_some() && revoked.matched.is_none()
    }
}

/// The fields of a kind of notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum NoticeDetails {
    /// Of [`NoticeKind::SessionCreated`].
    Created(CreatedDetails),
    /// Of [`NoticeKind::SessionRenewed`].
    Renewed(RenewedDetails),
    /// Of [`NoticeKind::SessionRenewalRejected`].
    RenewalRejected(RenewalRejectedDetails),
    /// Of [`NoticeKind::SessionRevoked`].
    Revoked(RevokedDetails),
    /// Of [`NoticeKind::SessionExpiringSoon`].
    ExpiringSoon(ExpiringSoonDetails),
    /// Of [`NoticeKind::SessionExpired`].
    Expired(ExpiredDetails),
    /// Of [`NoticeKind::SubjectSuspended`] and [`NoticeKind::SubjectResumed`].
    Suspension(SuspensionDetails),
}

/// Of [`NoticeKind::SessionCreated`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedDetails {
    /// The end of its first period.
    pub expires_at: Timestamp,
    /// The moment after which it cannot live.
    pub absolute_expires_at: Timestamp,
    /// The device that it belongs to.
    pub device: Option<String>,
}

/// Of [`NoticeKind::SessionRenewed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewedDetails {
    /// How often it was renewed, this time included.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
    /// The end of the new period.
    pub expires_at: Timestamp,
    /// How long it can still live if it is renewed whenever it may be, in words: `27d 12h`.
    pub remaining_absolute_life: String,
    /// Until when a veto of the owner is expected. It may be vetoed later, too.
    pub reject_window_expiry: Timestamp,
    /// Where its owner can veto; `None` without an owner, a public URL or a console.
    pub reject_url: Option<String>,
    /// Where its owner can veto without a sign-in, while this renewal is the latest and its window is open. Only in
    /// the notice that this owner itself receives.
    pub veto_url: Option<String>,
    /// What it may do and has done, for messages to people; `None` if nothing was said of either, or if it left memory.
    #[serde(skip)]
    pub permitted_use: Option<Box<PermittedUse>>,
}

/// What a session may be used for, and what it was used for up to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedUse {
    /// What it may be used for, as its creator named it.
    pub scopes: Vec<String>,
    /// The limits on its use.
    pub constraints: Constraints,
    /// What it was used for.
    pub usage: Usage,
}

/// Of [`NoticeKind::SessionRenewalRejected`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalRejectedDetails {
    /// How often it was renewed.
    pub renewal_count: u32,
    /// When the renewal was refused or vetoed.
    pub rejected_at: Timestamp,
    /// Who did.
    pub cause: RejectionCause,
    /// The rule that refused; `None` for a veto.
    pub code: Option<RejectionCode>,
    /// Whether two holders contest the session from now on: a replaced token came back, and not as a repeat of the
    /// renewal that replaced it.
    pub contested: bool,
}

/// Of [`NoticeKind::SessionRevoked`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokedDetails {
    /// What ended it.
    pub trigger: EndTrigger,
    /// Why, as given by the caller.
    pub reason: Option<String>,
    /// Who did.
    pub actor: Actor,
    /// What the owner calls the key that it is, for messages to people; `None` of a key that is not the owner's.
    #[serde(skip)]
    pub actor_name: Option<String>,
    /// Which sessions were meant; `None` for a single one.
    pub selector: Option<SelectorDetails>,
    /// How many there were of this owner; `None` for a single one, or if there were too many owners to be counted one
    /// by one.
    pub matched: Option<u32>,
}

/// Which sessions were ended at once: those that match every field given here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SelectorDetails {
    /// Whether no other field is given: every session.
    pub all: bool,
    /// Only those of this owner's subjects.
    pub owner_id: Option<OwnerId>,
    /// Only those of this subject.
    pub subject_id: Option<SubjectId>,
    /// Only those of this device, as far as its name is still known.
    pub device: Option<String>,
    /// All but this one.
    pub except_session_id: Option<SessionId>,
    /// Only those whose token was issued before this moment.
    pub issued_before: Option<Timestamp>,
    /// Only those of whose current generation this key sealed a token.
    pub key_id: Option<KeyId>,
}

/// Of [`NoticeKind::SessionExpiringSoon`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiringSoonDetails {
    /// How many renewals are left to it.
    pub renewals_left: u32,
    /// The moment after which it cannot live.
    pub absolute_expires_at: Timestamp,
    /// Which of the two is nearly used up.
    pub why: ExpiringSoon,
}

/// Of [`NoticeKind::SessionExpired`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpiredDetails {
    /// When it ended.
    pub expires_at: Timestamp,
    /// The limit that ended it.
    pub cause: ExpiryCause,
}

/// Of [`NoticeKind::SubjectSuspended`] and [`NoticeKind::SubjectResumed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SuspensionDetails {
    /// Why, in the words of the caller.
    pub reason: Option<String>,
    /// When the suspension ends by itself; `None` if it does not, and for a resumption.
    pub until: Option<Timestamp>,
    /// Who suspended or resumed the subject.
    pub actor: Actor,
    /// What the owner calls the key that it is, for messages to people; `None` of a key that is not the owner's.
    #[serde(skip)]
    pub actor_name: Option<String>,
}

/// A length of time that begins at a notice, in words: rounded down, the two largest of days, hours and minutes
/// from the first non-zero one.
pub fn remaining(seconds: u64) -> String {
    let parts = [(seconds / 86_400, 'd'), (seconds % 86_400 / 3_600, 'h'), (seconds % 3_600 / 60, 'm')];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let shown = parts[first..].iter().take(2).map(|(count, unit)| format!("{count}{unit}"));
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_life_is_the_two_largest_units_from_the_first_that_is_not_0() {
        let cases = [
            (27 * 86_400 + 12 * 3_600 + 59 * 60, "27d 12h"),
            (86_400, "1d 0h"),
            (86_400 + 59 * 60, "1d 0h"),
            (86_399, "23h 59m"),
            (3_600, "1h 0m"),
            (3_599, "59m"),
            (300, "5m"),
            (59, "0m"),
            (0, "0m"),
        ];
        for (seconds, words) in cases {
            assert_eq!(remaining(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_notice_is_named_by_position_and_number() {
        let id = NoticeId { position: Position(17), number: 2 };
        assert_eq!(id.to_string(), "17.2");
        assert_eq!("17.2".parse(), Ok(id));
        let name = |epoch| NoticeName { epoch, id };
        assert_eq!([1, 2].map(|epoch| name(epoch).to_string()), ["17.2", "2:17.2"]);
        assert_eq!([1, 2].map(|epoch| name(epoch).message()), ["msg_17_2", "msg_2_17_2"]);
        assert_eq!("17".parse(), Ok(NoticeId::after_all_of(Position(17))));
        assert_eq!(NoticeId::after_all_of(Position(17)).to_string(), "17");
        for wrong in ["17.", ".1", "a.1", "17.1.1", "-1.1", "+1.1", "1.+1", ""] {
            assert_eq!(wrong.parse::<NoticeId>(), Err(InvalidNoticeId), "{wrong}");
        }
    }
}
