//! Register a subject, replace its registration, or change parts of it.
//!
//! Owner and limits of an existing subject are an admin's to change: an issuer registers subjects as a matter of
//! routine, and must not undo with that what an admin has set.

use crate::{
    SubjectEvent,
    command::{ChangeSubject, RegisterSubject},
    event::{SubjectProfile, SubjectRegistered},
    refusal::Refusal,
    subject::Subject,
};

pub(super) fn register(subject: &Subject, command: &RegisterSubject) -> Result<Vec<SubjectEvent>, Refusal> {
    let RegisterSubject { profile, may_change_policy } = command;
    match subject.profile() {
        None => Ok(vec![registered(profile.clone())]),
        Some(known) if *may_change_policy => replaced(known, profile.clone(), true),
        Some(known) => replaced(known, profile.clone().or_policy_of(known), false),
    }
}

pub(super) fn change(subject: &Subject, command: &ChangeSubject) -> Result<Vec<SubjectEvent>, Refusal> {
    let known = subject.profile().ok_or(Refusal::SubjectNotFound)?;
    replaced(known, command.changes.applied_to(known), command.may_change_policy)
}

fn replaced(
    known: &SubjectProfile,
    profile: SubjectProfile,
    may_change_policy: bool,
) -> Result<Vec<SubjectEvent>, Refusal> {
    match known.policy_change(&profile) {
        Some(field) if !may_change_policy => Err(Refusal::PolicyChangeForbidden { field }),
        Some(_) | None if *known == profile => Ok(vec![]),
        Some(_) | None => Ok(vec![registered(profile)]),
    }
}

const fn registered(profile: SubjectProfile) -> SubjectEvent {
    SubjectEvent::SubjectRegistered(SubjectRegistered { profile })
}
