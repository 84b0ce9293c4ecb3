//! The suspension of a subject: nothing is created for it and no token of its sessions is good, until someone who may
//! lifts it or until its own end.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{
    commit::{Actor, EventMeta},
    event::Role,
    id::Position,
    refusal::Refusal,
    text::SealedText,
    time::Timestamp,
};

/// A subject was suspended, or its suspension was replaced by another.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SubjectSuspended {
    /// Why, in the caller's words.
    #[n(0)]
    #[serde(skip)]
    pub reason: Option<SealedText>,
    /// When it ends by itself; `None`: never.
    #[n(1)]
    pub until: Option<Timestamp>,
    /// Who suspended it.
    #[n(2)]
    pub by: Actor,
    /// With which role, which decides who may lift it.
    #[n(3)]
    pub role: Role,
}

/// A suspension was lifted, or its end was reached.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SubjectResumed {
    /// Why, in the caller's words.
    #[n(0)]
    #[serde(skip)]
    pub reason: Option<SealedText>,
    /// Who lifted it; the authority, when it had ended by itself.
    #[n(1)]
    pub by: Actor,
    /// With which role; `None` if it had ended by itself.
    #[n(2)]
    pub role: Option<Role>,
}

impl SubjectResumed {
    /// For the record: the end of a suspension had been reached.
    pub const BY_ITSELF: Self = Self { reason: None, by: Actor::AUTHORITY, role: None };
}

/// The suspension of a subject as it was last recorded. It may have ended by itself since.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SubjectSuspension {
    /// When it was recorded.
    #[n(0)]
    pub at: Timestamp,
    /// By which event.
    #[n(1)]
    pub position: Position,
    /// Who suspended the subject.
    #[n(2)]
    pub by: Actor,
    /// The reason, in that caller's words; `None` once erased.
    #[n(3)]
    pub reason: Option<SealedText>,
    /// When it ends by itself; `None`: never.
    #[n(4)]
    pub until: Option<Timestamp>,
    /// Whether only an admin may lift or shorten it: an admin suspended the subject, or another caller lengthened the
    /// suspension of one.
    #[n(5)]
    pub is_admins: bool,
}

impl SubjectSuspension {
    /// Whether it is in force at this moment. Every path asks this one predicate.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// What a create for the subject is answered.
    pub const fn refuses_create(&self) -> Refusal {
        Refusal::SubjectSuspended { caused_by: self.position, until: self.until, of_own_token: false }
    }

    /// Whether this role may lift or shorten it.
    pub const fn may_be_lifted_by(&self, role: Role) -> bool {
        match role {
            Role::Admin => true,
            Role::Owner => !self.is_admins,
            Role::Issuer | Role::Verifier | Role::Auditor => false,
        }
    }

    /// Whether this end lies beyond its own.
    pub fn is_lengthened_by(&self, until: Option<Timestamp>) -> bool {
        match (self.until, until) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(own), Some(until)) => until > own,
        }
    }

    /// Whether a suspension by this role takes it out of the hands of the owner.
    pub const fn is_strengthened_by(&self, role: Role) -> bool {
        matches!(role, Role::Admin) && !self.is_admins
    }

    /// What an event makes of the suspension that it replaces, if there is one.
    pub(super) fn of(event: &SubjectSuspended, before: Option<&Self>, recorded: EventMeta) -> Self {
        Self {
            at: recorded.at,
            position: recorded.position,
            by: event.by.clone(),
            reason: event.reason.clone(),
            until: event.until,
            is_admins: matches!(event.role, Role::Admin) || before.is_some_and(|before| before.is_admins),
        }
    }
}
