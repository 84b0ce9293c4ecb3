//! A refusal is an answer to a caller, with all that the answer needs. It is not an internal error.

use super::{
    budget::ConstraintKind,
    event::{EndTrigger, SubjectEvent},
    id::{Position, SessionId},
    time::{Seconds, Timestamp},
};
use tenure_protocol::session::SessionStatus;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was asked is out of the range that applies.
    #[error("{}", listed(.0))]
    Invalid(Vec<FieldError>),
    /// No such subject, or not for this caller.
    #[error("there is no such subject")]
    SubjectNotFound,
    /// No such session, or not for this caller.
    #[error("there is no such session")]
    SessionNotFound,
    /// No such API key.
    #[error("there is no such API key")]
    CredentialNotFound,
    /// No such webhook, or not for this caller.
    #[error("there is no such webhook")]
    WebhookNotFound,
    /// The authority, or one owner, has as many webhooks as it may.
    #[error("there are {most} webhooks, as many as there may be; delete one first")]
    WebhookLimitExceeded {
        /// The limit.
        most: usize,
        /// The event that created the newest of them.
        caused_by: Position,
    },
    /// Only an admin may change the owner and the limits of an existing subject.
    #[error("only an admin may change {field} of an existing subject")]
    PolicyChangeForbidden {
        /// The first field that would change.
        field: &'static str,
    },
    /// The subject, or one of its devices, has as many active sessions as it may.
    #[error("{}", full(*.active_count, *.of_device))]
    SessionLimitExceeded {
        /// Whether it is the limit of the session's device.
        of_device: bool,
        /// How many are active.
        active_count: usize,
        /// The oldest of them, 50 at most.
        active: Vec<(SessionId, Timestamp)>,
        /// The event that created the newest of them, which took the last place.
        caused_by: Position,
    },
    /// The session was ended.
    #[error("the session was ended")]
    SessionRevoked {
        /// By which event.
        caused_by: Position,
        /// What ended it.
        trigger: EndTrigger,
    },
    /// The session ends with this refusal: the token is the second of two that contest it. Where that end stands is
    /// known once it is recorded; see [`Refusal::recorded_at`].
    #[error("the session ends now: two holders have shown tokens of it")]
    EndsForReuse,
    /// The subject is suspended.
    #[error("{}", suspended(*.until))]
    SubjectSuspended {
        /// By which event.
        caused_by: Position,
        /// When that ends by itself.
        until: Option<Timestamp>,
        /// Whether it was asked by a token of one of the subject's sessions.
        of_own_token: bool,
    },
    /// The caller may not lift or shorten the suspension of the subject.
    #[error("{}", suspension_held_text(*.is_admins))]
    SuspensionHeld {
        /// Whether only an admin may.
        is_admins: bool,
        /// The suspension.
        caused_by: Position,
    },
    /// The token was replaced by a renewal (outside of renew).
    #[error("a renewal replaced this token")]
    TokenSuperseded {
        /// By which event.
        caused_by: Position,
    },
    /// The session's period is over.
    #[error("the session has expired")]
    TokenExpired {
        /// The event that fixed the period.
        caused_by: Position,
    },
    /// The session was idle for too long.
    #[error("the session was not used for its idle time")]
    SessionIdle {
        /// The event by which it was last seen.
        caused_by: Position,
    },
    /// The link in a notice is good for nothing any more: a later renewal overtook it, or its window is over.
    #[error("{}", if *.is_overtaken { "the session was renewed again" } else { "the time for a veto by this link is over" })]
    VetoLinkOver {
        /// Whether a later renewal overtook it.
        is_overtaken: bool,
        /// The event that did, or the renewal that could have been vetoed.
        caused_by: Position,
    },
    /// Row 4 of renew: the token is not of the current generation.
    #[error("the token is not the session's current one")]
    RenewalMismatch {
        /// When its holder may ask once more, if it still has no other token; `None`: never.
        retry_at: Option<Timestamp>,
        /// The event that made another generation current.
        caused_by: Position,
    },
    /// Row 6 of renew: all renewals are spent.
    #[error("all renewals of the session are spent")]
    RenewalLimitReached {
        /// The event that spent the last one.
        caused_by: Position,
    },
    /// Row 7 of renew: the absolute end leaves nothing to add.
    #[error("the session has reached its absolute lifetime")]
    AbsoluteLifetimeExceeded {
        /// The event that fixed the period.
        caused_by: Position,
    },
    /// Row 8 of renew: less than half of the period has passed.
    #[error("less than half of the period has passed; it has at {retry_at}")]
    RenewalTooEarly {
        /// When it has.
        retry_at: Timestamp,
        /// The event that fixed the period.
        caused_by: Position,
    },
    /// The session has ended, and an API key asked on its behalf.
    #[error("the session is not active")]
    SessionNotActive {
        /// What it is instead.
        status: SessionStatus,
        /// The event that ended it, or that fixed its period.
        caused_by: Position,
    },
    /// A use of the session goes beyond what it may be used for.
    #[error("the use goes beyond {}", .constraint.name())]
    ConstraintViolated {
        /// The first constraint that does not hold.
        constraint: ConstraintKind,
        /// The event that fixed it.
        caused_by: Position,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused {
        /// The event of that request.
        caused_by: Position,
    },
    /// The key was rotated with an overlap a moment ago.
    #[error("the key was rotated less than 300 seconds ago; it may be again at {retry_at}")]
    RotationTooRecent {
        /// When it may be.
        retry_at: Timestamp,
        /// How long until then, rounded up.
        wait: Seconds,
        /// The rotation.
        caused_by: Position,
    },
    /// The last admin key without an end cannot be withdrawn.
    #[error("the last admin key that has no end cannot be revoked")]
    LastAdmin {
        /// The last event that made or withdrew an admin key.
        caused_by: Position,
    },
}

impl Refusal {
    /// The same, now that what it leaves behind is recorded up to this position.
    #[must_use]
    pub fn recorded_at(self, last: Option<Position>) -> Self {
        match (self, last) {
            (Self::EndsForReuse, Some(caused_by)) => {
                Self::SessionRevoked { caused_by, trigger: EndTrigger::TokenReuse }
            }
            (other, _) => other,
        }
    }
}

fn suspended(until: Option<Timestamp>) -> String {
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    format!("the subject is suspended{until}")
}

fn suspension_held_text(is_admins: bool) -> &'static str {
    if is_admins {
        "an admin suspended the subject: only an admin may lift or shorten that; others can only lengthen it"
    } else {
        "only the subject's owner or an admin may lift or shorten its suspension; an issuer can only lengthen it"
    }
}

/// That a subject, or a device, has as many active sessions as it may.
fn full(active: usize, of_device: bool) -> String {
    let whose = if of_device { "the device" } else { "the subject" };
    let sessions = if active == 1 { "session" } else { "sessions" };
    format!("{whose} has {active} active {sessions}, as many as it may")
}

/// What is wrong with one field of a request. Never quotes a value that might be a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// The field's name in the API.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl FieldError {
    /// Of this field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The faults in one line.
pub fn listed(errors: &[FieldError]) -> String {
    let said: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    said.join("; ")
}

/// A refusal, and the facts that it leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRefusal {
    /// The answer to the caller.
    pub refusal: Refusal,
    /// What is recorded of it; mostly nothing.
    pub record: Vec<SubjectEvent>,
}

impl From<Refusal> for RecordedRefusal {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, record: Vec::new() }
    }
}
