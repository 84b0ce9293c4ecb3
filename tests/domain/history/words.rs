//! The domain's answers in the model's words.

use std::collections::BTreeSet;

use tenure::core::{
    Event, SubjectEvent, SystemEvent, Timestamp,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, RejectionCause, RejectionCode},
    keys::KeyId,
    refusal::Refusal,
};

use super::model::Answer;
use crate::scenario::Refused;

pub(super) fn described(answer: &Result<Vec<Event>, Refused>) -> Answer {
    Answer {
        refused: answer.as_ref().err().map(|refused| code_of(&refused.refusal)),
        facts: recorded_of(answer).iter().map(fact).collect(),
    }
}

pub(super) fn recorded_of(answer: &Result<Vec<Event>, Refused>) -> &[Event] {
    match answer {
        Ok(events) => events,
        Err(refused) => &refused.record,
    }
}

fn code_of(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(faults) => {
            let fields: BTreeSet<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
            format!("INVALID {fields:?}")
        }
        Refusal::SubjectNotFound => "SUBJECT_NOT_FOUND".into(),
        Refusal::SessionNotFound => "SESSION_NOT_FOUND".into(),
        Refusal::CredentialNotFound => "CREDENTIAL_NOT_FOUND".into(),
        Refusal::PolicyChangeForbidden { .. } => "POLICY".into(),
        Refusal::SessionLimitExceeded { of_device, active_count, .. } => {
            format!("SESSION_LIMIT_EXCEEDED {active_count}{}", if *of_device { " of a device" } else { "" })
        }
        Refusal::SessionRevoked { .. } | Refusal::EndsForReuse => "SESSION_REVOKED".into(),
        Refusal::SubjectSuspended { .. } => "SUBJECT_SUSPENDED".into(),
        Refusal::SuspensionHeld { .. } => "HELD".into(),
        Refusal::VetoLinkOver { .. } => "VETO_LINK_OVER".into(),
        Refusal::TokenSuperseded { .. } => "TOKEN_SUPERSEDED".into(),
        Refusal::TokenExpired { .. } => "TOKEN_EXPIRED".into(),
        Refusal::SessionIdle { .. } => "SESSION_IDLE".into(),
        Refusal::RenewalMismatch { .. } => "SESSION_RENEWAL_MISMATCH".into(),
        Refusal::RenewalLimitReached { .. } => "RENEWAL_LIMIT_REACHED".into(),
        Refusal::AbsoluteLifetimeExceeded { .. } => "SESSION_ABSOLUTE_LIFETIME_EXCEEDED".into(),
        Refusal::RenewalTooEarly { .. } => "RENEWAL_TOO_EARLY".into(),
        Refusal::IdempotencyKeyReused { .. } => "IDEMPOTENCY_KEY_REUSED".into(),
        Refusal::SessionNotActive { .. } => "SESSION_NOT_ACTIVE".into(),
        Refusal::ConstraintViolated { constraint, .. } => {
            format!("CONSTRAINT_VIOLATED {}", constraint.name())
        }
        Refusal::RotationTooRecent { .. } => "ROTATION_TOO_RECENT".into(),
        Refusal::LastAdmin { .. } => "LAST_ADMIN".into(),
        Refusal::WebhookNotFound => "WEBHOOK_NOT_FOUND".into(),
        Refusal::WebhookLimitExceeded { most, .. } => format!("WEBHOOK_LIMIT_EXCEEDED {most}"),
    }
}

/// An event as the model would say it.
fn fact(event: &Event) -> String {
    let number = event
        .session_id()
        .map_or(0, |id| u32::from_be_bytes(id.as_bytes()[12..].try_into().expect("four bytes are left")));
    let period = |generation: u32, expires_at: Timestamp, renew_at: Option<Timestamp>| {
        let last = if renew_at.is_none() { ", the last" } else { "" };
        format!("generation {generation} until {}{last}", expires_at.as_millis())
    };
    match event {
        Event::Subject(SubjectEvent::SubjectRegistered(_)) => "registered".into(),
        Event::Subject(SubjectEvent::SessionCreated(event)) => {
            format!("{number} created {}", period(1, event.expires_at, event.renew_at))
        }
        Event::Subject(SubjectEvent::SessionRenewed(event)) => {
            let hint = hint_of(event.expiring_soon);
            format!("{number} renewed {}{hint}", period(event.generation.0, event.expires_at, event.renew_at))
        }
        Event::Subject(SubjectEvent::RenewalRejected(event)) => match (event.cause, event.code) {
            (RejectionCause::Policy, Some(RejectionCode::SessionRenewalMismatch)) if event.contested => {
                format!("{number} contested at generation {}", event.generation.0)
            }
            (RejectionCause::Policy, Some(code)) => {
                let hint = hint_of(event.expiring_soon);
                format!("{number} refused at generation {}: {}{hint}", event.generation.0, name_of(code))
            }
            (RejectionCause::Owner, None) => format!("{number} vetoed at generation {}", event.generation.0),
            (RejectionCause::Owner | RejectionCause::Policy, _) => format!("{event:?}"),
        },
        Event::Subject(SubjectEvent::SessionRevoked(event)) => {
            format!("{number} ended by {}", trigger_of(event.trigger))
        }
        Event::Subject(SubjectEvent::SessionsRevoked(event)) => format!("{} ended at once", event.matched),
        Event::Subject(SubjectEvent::SessionExpired(event)) => {
            let limit = match event.cause {
                ExpiryCause::Ttl => "ttl",
                ExpiryCause::Idle => "idle",
                ExpiryCause::Absolute => "absolute",
            };
            format!("{number} expired at {} by {limit}", event.expires_at.as_millis())
        }
        Event::Subject(SubjectEvent::UsageRecorded(event)) => {
            format!("{number} used {} times, {} in all", event.transactions, event.total_amount)
        }
        Event::Subject(SubjectEvent::SessionRefreshed(event)) => {
            format!("{number} refreshed until {}", event.expires_at.as_millis())
        }
        Event::Subject(SubjectEvent::SubjectErased(_)) => "erased".into(),
        Event::Subject(SubjectEvent::SubjectSuspended(event)) => {
            format!("suspended until {}", event.until.map_or(i64::MAX, Timestamp::as_millis))
        }
        Event::Subject(SubjectEvent::SubjectResumed(event)) if event.role.is_none() => {
            "resumed by itself".into()
        }
        Event::Subject(SubjectEvent::SubjectResumed(_)) => "resumed".into(),
        Event::System(SystemEvent::KeyRotated(event)) => {
            let before = event.previous_key_id.as_ref().map_or("none", KeyId::as_str);
            let end = event.retire_at.map_or(0, Timestamp::as_millis);
            format!("{:?} {} after {before} until {end}", event.which, event.key_id)
        }
        Event::System(SystemEvent::SelectionRevoked(event)) => format!("{} ended at once", event.matched),
        Event::System(
            SystemEvent::TokensPresented(_)
            | SystemEvent::SessionsSeen(_)
            | SystemEvent::CredentialIssued(_)
            | SystemEvent::CredentialRevoked(_)
            | SystemEvent::PolicyChanged(_)
            | SystemEvent::WebhookCreated(_)
            | SystemEvent::WebhookDeleted(_)
            | SystemEvent::EpochBegan(_)
            | SystemEvent::CredentialConfirmed(_)
            | SystemEvent::LogSegmented(_),
        ) => format!("{event:?}"),
    }
}

const fn hint_of(soon: Option<ExpiringSoon>) -> &'static str {
    match soon {
        None => "",
        Some(ExpiringSoon::Renewals) => ", few renewals left",
        Some(ExpiringSoon::Absolute) => ", near its absolute end",
    }
}

const fn name_of(code: RejectionCode) -> &'static str {
    match code {
        RejectionCode::SessionRenewalMismatch => "SESSION_RENEWAL_MISMATCH",
        RejectionCode::TokenExpired => "TOKEN_EXPIRED",
        RejectionCode::SessionIdle => "SESSION_IDLE",
        RejectionCode::RenewalLimitReached => "RENEWAL_LIMIT_REACHED",
        RejectionCode::SessionAbsoluteLifetimeExceeded => "SESSION_ABSOLUTE_LIFETIME_EXCEEDED",
        RejectionCode::RenewalTooEarly => "RENEWAL_TOO_EARLY",
    }
}

pub(super) const fn trigger_of(trigger: EndTrigger) -> &'static str {
    match trigger {
        EndTrigger::ManualRevoke => "manual_revoke",
        EndTrigger::RenewalRejected => "renewal_rejected",
        EndTrigger::Own => "self",
        EndTrigger::Evicted => "evicted",
        EndTrigger::TokenReuse => "token_reuse",
        EndTrigger::SubjectRevoked => "subject_revoked",
        EndTrigger::Bulk => "bulk",
        EndTrigger::Restore => "restore",
    }
}
