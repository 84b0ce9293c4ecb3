//! The facts. An event says what happened, in the past tense, and is never changed once recorded.
//!
//! An event belongs to one of two streams, and its type says which: [`SubjectEvent`] or [`SystemEvent`].
//!
//! The field numbers are the format of the log (`docs/log-format.md`): a number is never given to another
//! field, and a new field is optional. A change that this does not allow makes a new version of the kind,
//! which `log::upcast` brings to today's shape.

mod expiry;
mod subject;
mod system;

use serde::Serialize;

pub use self::expiry::{ExpiryCause, SessionExpired};
pub use self::{subject::*, system::*};
pub use super::activity::{SessionRefreshed, SessionSeen, SessionsSeen};
pub use super::budget::UsageRecorded;
pub use super::bulk::{OwnerMatchCount, SessionSelector};
pub use super::epoch::EpochBegan;
pub use super::keys::KeyRotated;
pub use super::kind::{EventKind, KindSet};
pub use super::profile::{PartChange, ProfileChanges, SubjectKind, SubjectProfile};
pub use super::suspension::{SubjectResumed, SubjectSuspended};
pub use super::webhook::{WebhookCreated, WebhookDeleted};
use super::{commit::StreamId, id::SessionId, text::SealedText};

/// A fact, of either stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// About one subject and its sessions.
    Subject(SubjectEvent),
    /// About the authority itself, or sessions of many subjects.
    System(SystemEvent),
}

impl From<SubjectEvent> for Event {
    fn from(event: SubjectEvent) -> Self {
        Self::Subject(event)
    }
}

impl From<SystemEvent> for Event {
    fn from(event: SystemEvent) -> Self {
        Self::System(event)
    }
}

impl Event {
    /// Which kind it is.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Subject(event) => event.kind(),
            Self::System(event) => event.kind(),
        }
    }

    /// The session that it is about, when it is about a single one.
    pub const fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::Subject(event) => event.session_id(),
            Self::System(_) => None,
        }
    }

    /// Whether it ends sessions, or suspends a subject: access tokens from before it are no good.
    pub const fn is_revocation(&self) -> bool {
        matches!(
            self,
            Self::Subject(
                SubjectEvent::SessionRevoked(_)
                    | SubjectEvent::SessionsRevoked(_)
                    | SubjectEvent::SubjectSuspended(_)
            ) | Self::System(SystemEvent::SelectionRevoked(_))
        )
    }

    /// The fields of its kind that hold text about people, each with what is sealed there.
    pub fn texts(&self) -> Vec<(&'static str, Option<&SealedText>)> {
        match self {
            Self::Subject(event) => event.texts(),
            Self::System(event) => event.texts(),
        }
    }

    /// The stream under whose key its texts are sealed: its own, but for the reason of an erasure, which destroys
    /// that key and must stay readable.
    pub fn sealed_in<'a>(&self, own: &'a StreamId) -> &'a StreamId {
        if self.kind() == EventKind::SubjectErased { &StreamId::System } else { own }
    }
}
