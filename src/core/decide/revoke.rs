//! End sessions: by hand, by veto, by their own holder, or all of a subject's at once.

use crate::{
    Policy, SubjectEvent, Timestamp,
    command::{RevokeSession, RevokeSessions, Revoker, VetoLink},
    event::{EndTrigger, RejectionCause, RenewalRejected, SessionRevoked, SessionsRevoked},
    refusal::{FieldError, Refusal},
    session::{Session, TokenFault},
    subject::Subject,
};

use super::{is_foreign, owned_session, token_refusal};

pub(super) fn revoke(
    policy: &Policy,
    subject: &Subject,
    command: &RevokeSession,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    let owner = match &command.by {
        Revoker::Owner(owner) => Some(owner),
        Revoker::Link(link) => Some(&link.owner),
        Revoker::Admin | Revoker::Issuer | Revoker::Own(_) => None,
    };
    let session = owned_session(subject, owner, command.session_id)?;
    if let Revoker::Own(generation) = command.by {
        // Ending what has ended is not a fault, but only the current token may do it. That of a suspended subject may.
        match session.judge(generation, None, at) {
            Ok(()) => {}
            Err(TokenFault::Revoked(_)) if generation == session.generation() => {}
            Err(fault) => return Err(token_refusal(session, fault)),
        }
    }
    if let Revoker::Link(link) = &command.by {
        check_link(session, link, at)?;
    }
    if session.revocation().is_some() {
        return Ok(vec![]);
    }
    if is_veto(session, command, at)? {
        return Ok(vec![vetoed(session), revoked(session, EndTrigger::RenewalRejected, command)]);
    }
    let trigger = match command.by {
        // The caller of a contested session with its newer token is the second holder: the contest ends it, not the
        // caller.
        Revoker::Own(_) if session.ends_when_presented(policy) => EndTrigger::TokenReuse,
        Revoker::Own(_) => EndTrigger::Own,
        Revoker::Admin | Revoker::Issuer | Revoker::Owner(_) | Revoker::Link(_) => EndTrigger::ManualRevoke,
    };
    Ok(vec![revoked(session, trigger, command)])
}

/// A link is not a key: it vetoes one renewal, once, and does nothing about what came after it.
fn check_link(session: &Session, link: &VetoLink, at: Timestamp) -> Result<(), Refusal> {
    if let Some(revocation) = session.revocation() {
        let caused_by = revocation.position;
        return Err(Refusal::SessionRevoked { caused_by, trigger: revocation.trigger });
    }
    let is_overtaken = session.generation() != link.generation;
    if is_overtaken || session.veto_window_end().is_none_or(|end| at > end) {
        return Err(Refusal::VetoLinkOver { is_overtaken, caused_by: session.first_sealed() });
    }
    Ok(())
}

/// Whether this end of a session is the owner's veto of its latest renewal. The window is information for
/// people: it decides what the end is called, never whether it is allowed.
fn is_veto(session: &Session, command: &RevokeSession, at: Timestamp) -> Result<bool, Refusal> {
    let may_veto = matches!(command.by, Revoker::Owner(_) | Revoker::Admin | Revoker::Link(_));
    let window_end = session.veto_window_end().filter(|_| may_veto);
    match (command.reject_renewal, window_end) {
        (Some(true), None) => Err(Refusal::Invalid(vec![FieldError::new(
            "rejectRenewal",
            "must not be true: only an owner or admin can veto, and only a session that was renewed",
        )])),
        (Some(true), Some(_)) => Ok(true),
        (Some(false), _) | (None, None) => Ok(false),
        (None, Some(end)) => Ok(at <= end),
    }
}

fn vetoed(session: &Session) -> SubjectEvent {
    SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session.id,
        generation: session.generation(),
        cause: RejectionCause::Owner,
        code: None,
        expiring_soon: None,
        contested: false,
    })
}

fn revoked(session: &Session, trigger: EndTrigger, command: &RevokeSession) -> SubjectEvent {
    SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: session.id,
        trigger,
        reason: command.reason.clone(),
    })
}

pub(super) fn revoke_many(
    subject: &Subject,
    command: &RevokeSessions,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    if !subject.is_registered() || is_foreign(subject, command.owner.as_ref()) {
        return Err(Refusal::SubjectNotFound);
    }
    // An exception without a match is a mistake of the caller, and would end the session that was to stay.
    if command.except.is_some_and(|kept| subject.session(kept).is_none()) {
        return Err(Refusal::SessionNotFound);
    }
    let mut event = SessionsRevoked {
        device_digest: command.device,
        except_session_id: command.except,
        oldest: None,
        matched: 0,
        trigger: EndTrigger::SubjectRevoked,
        reason: command.reason.clone(),
    };
    let matched = event.matching(subject, at).len();
    event.matched = u32::try_from(matched).expect("a subject has at most 10 000 active sessions");
    Ok(if matched == 0 { vec![] } else { vec![SubjectEvent::SessionsRevoked(event)] })
}
