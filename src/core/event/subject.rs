//! What is recorded of a subject and its sessions.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

use super::{
    EventKind, OwnerMatchCount, SessionExpired, SessionRefreshed, SessionSelector, SubjectProfile,
    SubjectResumed, SubjectSuspended, UsageRecorded,
};
pub use tenure_protocol::session::EndTrigger;

use crate::{
    activity::SessionMode,
    budget::Constraints,
    id::{Digest16, Generation, SessionId},
    policy::OnReuse,
    text::SealedText,
    time::{Seconds, Timestamp},
};

/// A fact about one subject and its sessions.
///
/// Its JSON has the members of its kind and not the kind's name; sealed texts are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SubjectEvent {
    /// A subject was registered, or its registration was replaced.
    SubjectRegistered(SubjectRegistered),
    /// A session began.
    SessionCreated(SessionCreated),
    /// A session's period was extended and its token replaced.
    SessionRenewed(SessionRenewed),
    /// A renewal was refused by a rule, or vetoed by the owner.
    RenewalRejected(RenewalRejected),
    /// One session was ended.
    SessionRevoked(SessionRevoked),
    /// Several sessions of the subject were ended in one step.
    SessionsRevoked(SessionsRevoked),
    /// A session's period ended without a revocation.
    SessionExpired(SessionExpired),
    /// All text about a subject was made unreadable.
    SubjectErased(SubjectErased),
    /// A sliding session was refreshed: its period begins again, its token stays.
    SessionRefreshed(SessionRefreshed),
    /// A session was used, within its constraints.
    UsageRecorded(UsageRecorded),
    /// A subject was suspended: nothing is created for it, and no token of its sessions is good.
    SubjectSuspended(SubjectSuspended),
    /// A subject is no longer suspended.
    SubjectResumed(SubjectResumed),
}

impl SubjectEvent {
    /// Which kind it is.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::SubjectRegistered(_) => EventKind::SubjectRegistered,
            Self::SessionCreated(_) => EventKind::SessionCreated,
            Self::SessionRenewed(_) => EventKind::SessionRenewed,
            Self::RenewalRejected(_) => EventKind::RenewalRejected,
            Self::SessionRevoked(_) => EventKind::SessionRevoked,
            Self::SessionsRevoked(_) => EventKind::SessionsRevoked,
            Self::SessionExpired(_) => EventKind::SessionExpired,
            Self::SubjectErased(_) => EventKind::SubjectErased,
            Self::SessionRefreshed(_) => EventKind::SessionRefreshed,
            Self::UsageRecorded(_) => EventKind::UsageRecorded,
            Self::SubjectSuspended(_) => EventKind::SubjectSuspended,
            Self::SubjectResumed(_) => EventKind::SubjectResumed,
        }
    }

    /// Whether it changes what is registered of its subject, whether that is suspended included.
    pub const fn changes_registration(&self) -> bool {
        match self {
            Self::SubjectRegistered(_)
            | Self::SubjectErased(_)
            | Self::SubjectSuspended(_)
            | Self::SubjectResumed(_) => true,
            Self::SessionCreated(_)
            | Self::SessionRenewed(_)
            | Self::RenewalRejected(_)
            | Self::SessionRevoked(_)
            | Self::SessionsRevoked(_)
            | Self::SessionExpired(_)
            | Self::SessionRefreshed(_)
            | Self::UsageRecorded(_) => false,
        }
    }

    /// The session that it is about, when it is about a single one.
    pub const fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::SessionCreated(event) => Some(event.session_id),
            Self::SessionRenewed(event) => Some(event.session_id),
            Self::RenewalRejected(event) => Some(event.session_id),
            Self::SessionRevoked(event) => Some(event.session_id),
            Self::SessionExpired(event) => Some(event.session_id),
            Self::SessionRefreshed(event) => Some(event.session_id),
            Self::UsageRecorded(event) => Some(event.session_id),
            Self::SubjectRegistered(_)
            | Self::SessionsRevoked(_)
            | Self::SubjectErased(_)
            | Self::SubjectSuspended(_)
            | Self::SubjectResumed(_) => None,
        }
    }

    /// The fields of its kind that hold text about people, each with what is sealed there.
    pub fn texts(&self) -> Vec<(&'static str, Option<&SealedText>)> {
        match self {
            Self::SubjectRegistered(event) => vec![("name", event.profile.name.as_ref())],
            Self::SessionCreated(event) => vec![
                ("device", event.device.as_ref().map(|device| &device.name)),
                ("metadata", event.metadata.as_ref()),
            ],
            Self::SessionRevoked(event) => vec![("reason", event.reason.as_ref())],
            Self::SessionsRevoked(event) => vec![("reason", event.reason.as_ref())],
            Self::SubjectErased(event) => vec![("reason", Some(&event.reason))],
            Self::SubjectSuspended(event) => vec![("reason", event.reason.as_ref())],
            Self::SubjectResumed(event) => vec![("reason", event.reason.as_ref())],
            Self::SessionRenewed(_)
            | Self::RenewalRejected(_)
            | Self::SessionExpired(_)
            | Self::SessionRefreshed(_)
            | Self::UsageRecorded(_) => vec![],
        }
    }
}

/// A subject was registered, or its registration was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct SubjectRegistered {
    /// The whole registration.
    #[n(0)]
    #[serde(flatten)]
    pub profile: SubjectProfile,
}

/// The device that a session belongs to: its name sealed, and the digest by which the rules know it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionDevice {
    /// A keyed digest of the name.
    #[n(0)]
    pub digest: Digest16,
    /// The name.
    #[n(1)]
    pub name: SealedText,
}

/// The limits of one session, fixed when it is created; a later change of settings does not touch them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionTerms {
    /// The length of every period.
    #[n(0)]
    pub ttl: Seconds,
    /// How often it may be renewed; 0 is never.
    #[n(1)]
    pub max_renewals: u32,
    /// How long it may live in all.
    #[n(2)]
    pub absolute_lifetime: Seconds,
    /// How long after a renewal an owner's veto is expected.
    #[n(3)]
    pub renewal_reject_window: Seconds,
    /// The time without use after which it ends; `None`: it does not.
    #[n(4)]
    pub idle_timeout: Option<Seconds>,
    /// How it is kept alive; a sliding session has an idle time and no renewals.
    #[n(5)]
    pub mode: SessionMode,
    /// What happens when a token of it comes back that a renewal had replaced; none of a session that began before it
    /// had a say in that: then the setting counts, as it is at each moment.
    #[n(6)]
    pub on_reuse: Option<OnReuse>,
    /// What the authority made it for; `None` for a session that a caller asked for.
    #[n(7)]
    pub purpose: Option<SessionPurpose>,
}

/// What the authority itself makes a session for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum SessionPurpose {
    /// A sign-in to the console. Its token is good for the console's cookie alone.
    #[n(0)]
    Console,
}

/// A session began.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionCreated {
    /// The new session.
    #[n(0)]
    pub session_id: SessionId,
    /// Its limits.
    #[n(1)]
    #[serde(flatten)]
    pub terms: SessionTerms,
    /// The end of its first period.
    #[n(2)]
    pub expires_at: Timestamp,
    /// When its holder should renew; `None` if a renewal would be refused.
    #[n(3)]
    pub renew_at: Option<Timestamp>,
    /// The device that it belongs to.
    #[n(4)]
    #[serde(skip)]
    pub device: Option<SessionDevice>,
    /// What it may be used for (RFC 6749 scope tokens).
    #[n(5)]
    pub scopes: Vec<String>,
    /// A JSON object of the creator's.
    #[n(6)]
    #[serde(skip)]
    pub metadata: Option<SealedText>,
    /// The limits on its use; `None` if it has no limits.
    #[n(7)]
    pub constraints: Option<Box<Constraints>>,
}

/// A session's period was extended and its token replaced.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionRenewed {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// The generation that works from now on.
    #[n(1)]
    pub generation: Generation,
    /// The end of the new period.
    #[n(2)]
    pub expires_at: Timestamp,
    /// When its holder should renew next; `None` if a renewal would be refused.
    #[n(3)]
    pub renew_at: Option<Timestamp>,
    /// A keyed digest of the request's idempotency key, by which a repeat is known.
    #[n(4)]
    #[serde(skip)]
    pub key_digest: Option<Digest16>,
    /// That the end of the session is near, said once in its life.
    #[n(5)]
    pub expiring_soon: Option<ExpiringSoon>,
}

/// Why a session cannot live much longer, as a renewal or a refused one finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ExpiringSoon {
    /// At most 3 renewals are left to it.
    #[n(0)]
    Renewals,
    /// At most 24 hours are left until its absolute end.
    #[n(1)]
    Absolute,
}

/// Who refused a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum RejectionCause {
    /// The owner vetoed a renewal that had been granted.
    #[n(0)]
    Owner,
    /// A rule refused it.
    #[n(1)]
    Policy,
}

/// The rule that refused a renewal: rows 4 to 8 of the table of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RejectionCode {
    /// Row 4: the token is not of the current generation.
    #[n(0)]
    SessionRenewalMismatch,
    /// Row 5: the session has expired.
    #[n(1)]
    TokenExpired,
    /// Row 6: all renewals are spent.
    #[n(2)]
    RenewalLimitReached,
    /// Row 7: the absolute end leaves nothing to add.
    #[n(3)]
    SessionAbsoluteLifetimeExceeded,
    /// Row 8: less than half of the period has passed.
    #[n(4)]
    RenewalTooEarly,
    /// Row 5: the session was not used for its idle time.
    #[n(5)]
    SessionIdle,
}

/// A renewal was refused by a rule, or vetoed by the owner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct RenewalRejected {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// The generation that was current.
    #[n(1)]
    pub generation: Generation,
    /// Who refused it.
    #[n(2)]
    pub cause: RejectionCause,
    /// The rule; `None` for a veto.
    #[n(3)]
    pub code: Option<RejectionCode>,
    /// That the end of the session is near, said once in its life.
    #[n(4)]
    pub expiring_soon: Option<ExpiringSoon>,
    /// Whether two holders contest the session from now on: a replaced token came back, and not as a repeat of the
    /// renewal that replaced it.
    #[cbor(n(5), with = "if_true", has_nil)]
    pub contested: bool,
}

/// What is not so is not recorded, as before it could be.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the derived code calls these, and gives their types"
)]
mod if_true {
    use minicbor::{Decoder, Encoder, decode::Error, encode as encoding};

    pub(super) fn encode<C, W: encoding::Write>(
        is_so: &bool,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        e.bool(*is_so)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<bool, Error> {
        d.bool()
    }

    pub(super) const fn nil() -> Option<bool> {
        Some(false)
    }

    pub(super) const fn is_nil(is_so: &bool) -> bool {
        !*is_so
    }
}

/// One session was ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionRevoked {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// What ended it.
    #[n(1)]
    pub trigger: EndTrigger,
    /// The reason, in the revoking caller's words.
    #[n(2)]
    #[serde(skip)]
    pub reason: Option<SealedText>,
}

/// Several sessions of a subject were ended in one step: those active at that moment that match.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionsRevoked {
    /// Only those of this device.
    #[n(0)]
    pub device_digest: Option<Digest16>,
    /// All but this one.
    #[n(1)]
    pub except_session_id: Option<SessionId>,
    /// Only the oldest, up to this number.
    #[n(2)]
    pub oldest: Option<u32>,
    /// How many its decider saw.
    #[n(3)]
    pub matched: u32,
    /// What ended them.
    #[n(4)]
    pub trigger: EndTrigger,
    /// Why, in the words of the one who revoked them.
    #[n(5)]
    pub reason: Option<SealedText>,
}

impl Serialize for SessionsRevoked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { device_digest, except_session_id, oldest, matched, trigger, reason: _ } = self;
        let shown = EndMembers {
            device_digest: *device_digest,
            except_session_id: *except_session_id,
            oldest: *oldest,
            matched: *matched,
            trigger: *trigger,
            selector: None,
            owners: None,
        };
        shown.serialize(serializer)
    }
}

/// The end of many sessions has the same members in the API, of one subject's and of a selection.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndMembers<'a> {
    pub(super) device_digest: Option<Digest16>,
    pub(super) except_session_id: Option<SessionId>,
    pub(super) oldest: Option<u32>,
    pub(super) matched: u32,
    pub(super) trigger: EndTrigger,
    pub(super) selector: Option<&'a SessionSelector>,
    pub(super) owners: Option<&'a [OwnerMatchCount]>,
}

/// All text about a subject was made unreadable: its name, and the devices, metadata and reasons of its sessions.
/// Its key is destroyed once this is recorded; later texts about it are sealed under a new one.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct SubjectErased {
    /// The reason, in the requesting caller's words; see [`Event::sealed_in`](super::Event::sealed_in).
    #[n(0)]
    #[serde(skip)]
    pub reason: SealedText,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trigger_is_listed_with_its_number_and_the_name_that_is_written() {
        for (number, (name, trigger)) in (0..).zip(EndTrigger::ALL) {
            assert_eq!(serde_json::to_value(trigger).unwrap(), name);
            assert_eq!(minicbor::decode::<EndTrigger>(&[number]).unwrap(), trigger);
        }
        let next = u8::try_from(EndTrigger::ALL.len()).unwrap();
        assert!(minicbor::decode::<EndTrigger>(&[next]).is_err(), "a trigger is not listed");
    }
}
