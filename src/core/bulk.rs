//! Bulk revocation: one event of the system stream ends the active sessions of all subjects that match.
//!
//! What it says is so from its position on, for every session. To write it into each of a million sessions takes
//! longer than a caller should wait, so that may be put off: a [`BulkRevocation`] can be judged session by session, or *settled*
//! into a subject, at any time before the next event of that subject is decided or applied. Who owns the subject and
//! what its sessions are can only change by such an event, so the outcome is the same whenever it is done.

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    commit::EventMeta,
    event::{EndTrigger, SelectionRevoked},
    id::{Digest16, OwnerId, Position, SubjectId},
    keys::{KeyHistory, SealingSpan},
    session::{Session, SessionRevocation},
    subject::Subject,
    time::Timestamp,
};

pub use super::match_count::{MatchCount, MatchCounter, OWNERS_COUNTED, SAMPLE};

/// Which sessions are meant: those that match every field given here. Without a field, all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionSelector {
    /// Those of subjects that this owner answers for at that position.
    #[n(0)]
    pub owner_id: Option<OwnerId>,
    /// Those of this subject.
    #[n(1)]
    pub subject_id: Option<SubjectId>,
    /// Those of this device.
    #[n(2)]
    pub device_digest: Option<Digest16>,
    /// Those whose current token was issued before this moment.
    #[n(3)]
    pub issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token.
    #[n(4)]
    pub sealed_by: Option<SealingSpan>,
}

impl SessionSelector {
    /// The same selector, with the sealing range that these keys record for its key.
    #[must_use]
    pub fn under(self, keys: &KeyHistory) -> Self {
        let sealed_by = self.sealed_by.map(|sealing| keys.sealing_of(&sealing.key_id));
        Self { sealed_by, ..self }
    }

    /// Whether it says of its key what these keys say.
    pub fn agrees_with(&self, keys: &KeyHistory) -> bool {
        self.sealed_by.as_ref().is_none_or(|sealing| *sealing == keys.sealing_of(&sealing.key_id))
    }

    /// Whether it is about sessions of this subject at all.
    pub fn concerns(&self, subject: &Subject) -> bool {
        let owner = || subject.profile().and_then(|profile| profile.owner_id.as_ref());
        self.subject_id.as_ref().is_none_or(|id| *id == subject.id)
            && self.owner_id.as_ref().is_none_or(|id| Some(id) == owner())
    }

    /// Whether it is about this session of a subject that it concerns.
    pub fn selects(&self, session: &Session) -> bool {
        self.issued_before.is_none_or(|moment| session.period_start() < moment)
            && self.device_digest.is_none_or(|device| session.device_digest() == Some(device))
            && self.sealed_by.as_ref().is_none_or(|key| key.meets(session.first_sealed(), session.granted()))
    }

    /// Whether it says nothing, and so means all.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

impl Serialize for SessionSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_struct("Selector", 6)?;
        members.serialize_field("all", &self.is_all())?;
        members.serialize_field("ownerId", &self.owner_id)?;
        members.serialize_field("subjectId", &self.subject_id)?;
        members.serialize_field("deviceDigest", &self.device_digest)?;
        members.serialize_field("issuedBefore", &self.issued_before)?;
        members.serialize_field("keyId", &self.sealed_by.as_ref().map(|sealing| &sealing.key_id))?;
        members.end()
    }
}

/// How many sessions of an owner's subjects were ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct OwnerMatchCount {
    /// Which owner; `None` for subjects without an owner.
    #[n(0)]
    pub owner_id: Option<OwnerId>,
    /// How many sessions matched.
    #[n(1)]
    pub matched: u32,
}

/// A bulk revocation where it stands in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRevocation {
    /// Its position. It is about sessions as they were there.
    pub position: Position,
    /// When it was recorded.
    pub at: Timestamp,
    /// Which sessions it ended, of those active then.
    pub selector: SessionSelector,
    /// What ended them.
    pub trigger: EndTrigger,
}

impl BulkRevocation {
    /// The bulk revocation that an event is.
    pub fn of(event: &SelectionRevoked, recorded: EventMeta) -> Self {
        let selector = event.selector.as_ref().clone();
        Self { position: recorded.position, at: recorded.at, selector, trigger: event.trigger() }
    }

    /// Whether it ended this session of a subject that it concerns. The session is as of before it.
    ///
    /// Uses may be recorded later, so one that was idle then is ended too, until its end is recorded.
    pub fn ends(&self, session: &Session) -> bool {
        session.may_be_live(self.at) && self.selector.selects(session)
    }

    /// Whether this subject could show it and does not: no later event of the subject has settled it.
    fn is_open_in(&self, subject: &Subject) -> bool {
        self.position > subject.version() && self.selector.concerns(subject)
    }

    /// A session that it ended.
    #[must_use]
    pub fn applied_to(&self, session: &Session) -> Session {
        let mut ended = session.clone();
        ended.end(self.revocation());
        ended
    }

    /// How it ended a session.
    fn revocation(&self) -> SessionRevocation {
        SessionRevocation { at: self.at, position: self.position, trigger: self.trigger, reason: None }
    }
}

/// The first of these bulk revocations, in the order of their positions, that ended a session of a subject without
/// being settled in it.
pub fn end_of<'a>(
    bulks: &'a [BulkRevocation],
    subject: &Subject,
    session: &Session,
) -> Option<&'a BulkRevocation> {
    bulks.iter().find(|bulk| bulk.is_open_in(subject) && bulk.ends(session))
}

/// Whether one of these bulk revocations ended a session of the subject without being settled in it.
pub fn is_unsettled(bulks: &[BulkRevocation], subject: &Subject) -> bool {
    subject.sessions.iter().any(|session| end_of(bulks, subject, session).is_some())
}

/// Writes into the sessions of a subject how these bulk revocations ended them. It is to be done before the next event
/// of the subject.
pub fn settle(bulks: &[BulkRevocation], subject: &mut Subject) {
    let ended: Vec<_> = subject
        .sessions
        .iter()
        .filter_map(|session| Some((session.id, end_of(bulks, subject, session)?.revocation())))
        .collect();
    for (id, revocation) in ended {
        let session = subject.session_mut(id).expect("it was found above");
        session.end(revocation);
    }
}
