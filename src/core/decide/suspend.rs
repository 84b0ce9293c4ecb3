//! Suspend a subject, and resume it.
//!
//! An admin's suspension is for admins to lift or shorten; one by an owner or issuer, for the owner too. A caller that
//! may not lift it can only lengthen it, and that does not make it the caller's own.

use crate::{
    Policy, SubjectEvent, Timestamp,
    command::{ResumeSubject, RevokeSession, SuspendSubject},
    event::{SubjectResumed, SubjectSuspended},
    refusal::{FieldError, Refusal},
    subject::Subject,
    suspension::SubjectSuspension,
};

use super::{is_foreign, revoke};

pub(super) fn suspend(
    subject: &Subject,
    command: &SuspendSubject,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    if !subject.is_registered() || is_foreign(subject, command.by.owner.as_ref()) {
        return Err(Refusal::SubjectNotFound);
    }
    if command.until.is_some_and(|until| until <= at) {
        return Err(Refusal::Invalid(vec![FieldError::new("until", UNTIL_AHEAD)]));
    }
    // A caller that can only lengthen it may add a reason, and does not take away the one that there is.
    let held = subject.suspension_at(at).filter(|known| !known.may_be_lifted_by(command.by.role));
    let held_reason = held.and_then(|known| known.reason.clone());
    let suspended = SubjectEvent::SubjectSuspended(SubjectSuspended {
        reason: command.reason.clone().or(held_reason),
        until: command.until,
        by: command.by.actor.clone(),
        role: command.by.role,
    });
    let Some(known) = subject.suspension_at(at) else {
        // Record the end of an earlier suspension first, so that the history shows both.
        let ended = subject.suspension().map(|_| SubjectEvent::SubjectResumed(SubjectResumed::BY_ITSELF));
        return Ok(ended.into_iter().chain([suspended]).collect());
    };
    let is_same = known.reason == command.reason && known.until == command.until;
    if is_same && !known.is_strengthened_by(command.by.role) {
        return Ok(vec![]);
    }
    check_replaceable(known, command)?;
    Ok(vec![suspended])
}

/// What is wrong with an end in the past.
pub const UNTIL_AHEAD: &str = "must lie in the future";

fn check_replaceable(known: &SubjectSuspension, command: &SuspendSubject) -> Result<(), Refusal> {
    if known.may_be_lifted_by(command.by.role) || known.is_lengthened_by(command.until) {
        return Ok(());
    }
    Err(Refusal::SuspensionHeld { is_admins: known.is_admins, caused_by: known.position })
}

/// Ends a session and suspends its subject. A suspension that lasts as long already stays as it is, unless an admin
/// takes it over: the end of the session must not be refused for that. Where no reason is given, the known one stays.
pub(super) fn end_and_suspend(
    policy: &Policy,
    subject: &Subject,
    end: &RevokeSession,
    command: &SuspendSubject,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    let mut events = revoke::revoke(policy, subject, end, at)?;
    let known = subject.suspension_at(at);
    let is_held = known.is_some_and(|known| {
        !known.is_lengthened_by(command.until) && !known.is_strengthened_by(command.by.role)
    });
    if !is_held {
        let known_reason = known.and_then(|known| known.reason.clone());
        let reason = command.reason.clone().or(known_reason);
        events.extend(suspend(subject, &SuspendSubject { reason, ..command.clone() }, at)?);
    }
    Ok(events)
}

pub(super) fn resume(
    subject: &Subject,
    command: &ResumeSubject,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    if !subject.is_registered() || is_foreign(subject, command.by.owner.as_ref()) {
        return Err(Refusal::SubjectNotFound);
    }
    let Some(known) = subject.suspension_at(at) else { return Ok(vec![]) };
    if !known.may_be_lifted_by(command.by.role) {
        return Err(Refusal::SuspensionHeld { is_admins: known.is_admins, caused_by: known.position });
    }
    Ok(vec![SubjectEvent::SubjectResumed(SubjectResumed {
        reason: command.reason.clone(),
        by: command.by.actor.clone(),
        role: Some(command.by.role),
    })])
}
