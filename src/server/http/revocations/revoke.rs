//! `DELETE` on sessions: end one, or all of a subject's. The owner's veto is the same call.

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::{
    RevocationRequest, SessionEnd, SessionsEnd, SubjectRevocationRequest, is_console_subject,
};
use tenure_core::{
    SessionId, SubjectId,
    command::{Revoker, SuspensionActor},
    event::Role,
    id::InvalidId,
    session::SessionStatus,
};
use tenure_protocol::wire::RevokedSession;

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{
        access::{Caller, check_is_no_sign_in},
        call::ApiCall,
        limits,
    },
    subjects::suspension::suspender,
};

/// Ids are listed up to this many; the number of matches is always returned.
const LISTED: usize = 200;

/// The sessions of a subject that were ended in one step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedSessions {
    matched: usize,
    /// Oldest first, 200 at most.
    session_ids: Vec<SessionId>,
    /// Whether there is a reason in the record of their end; null when the request gave none, or nothing matched.
    reason_recorded: Option<bool>,
}

/// End a session, or veto its renewal. Ending it again gives the same answer.
///
/// With `suspend=true` its subject is suspended in the same step, also when the session has ended already. A subject
/// that is already suspended without an end stays so; an admin takes an owner's or issuer's suspension over.
#[utoipa::path(delete, path = "/v1/sessions/{sessionId}", tag = "sessions", operation_id = "revokeSession",
    params(("sessionId" = SessionId, Path, description = "The session."),
        ("reason" = Option<String>, Query, description = "Why; 1 to 500 characters."),
        ("rejectRenewal" = Option<bool>, Query, description = "Whether this is a veto of the latest renewal. \
            By default it is within the reject window, for owner and admin."),
        ("suspend" = Option<bool>, Query, description = "Suspend its subject in the same step, until that is resumed; \
            for owner and admin.")),
    responses((status = 200, description = "It has ended.", body = RevokedSession)))]
pub(crate) async fn revoke(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let reason = query.text("reason", limits::REASON);
    let reject_renewal = query.flag("rejectRenewal");
    let suspends = query.flag("suspend").unwrap_or(false);
    query.finish()?;
    let context = call.context()?;
    let suspender = suspends.then(|| suspender_with_end(&call.caller)).transpose()?;
    let by = revoker(&call.caller)?;
    let session_id = call.visible_session_id()?;
    let by = as_to_sign_in(&call, session_id, by, suspender.is_some())?;
    let gives_reason = reason.is_some();
    let asked = RevocationRequest { session_id, by, reject_renewal, reason };
    let authority = &call.api.authority;
    let revoked = match suspender {
        Some(suspender) => authority.revoke_and_suspend(context, asked, suspender).await?,
        None => authority.revoke(context, asked).await?,
    };
    let SessionEnd { session_id, at, trigger, has_reason, position } = revoked;
    let reason_recorded = gives_reason.then_some(has_reason);
    let body = RevokedSession {
        session_id,
        status: SessionStatus::Revoked,
        revoked_at: at,
        trigger: trigger.name().into(),
        reason_recorded,
    };
    Ok(HttpReply::ok(&body).at(position))
}

/// An issuer may do each, but not both at once: it is an owner's or admin's answer to a theft.
fn suspender_with_end(caller: &Caller) -> Result<SuspensionActor, Problem> {
    let by = suspender(caller)?;
    if by.role == Role::Issuer {
        return Err(Problem::from(ProblemCode::Forbidden)
            .saying("only an owner or admin may suspend in the same step"));
    }
    Ok(by)
}

/// A sign-in to the console is ended by admins, and by its own key whatever the role: its subject has no owner. It is no
/// agent, so it is not suspended.
fn as_to_sign_in(call: &ApiCall, id: SessionId, by: Revoker, suspends: bool) -> Result<Revoker, Problem> {
    let session = call.api.authority.live().session(id).ok_or(ProblemCode::SessionNotFound)?;
    if !is_console_subject(&session.subject) {
        return Ok(by);
    }
    if suspends {
        check_is_no_sign_in(&session.subject)?;
    }
    match by {
        Revoker::Owner(_) => Ok(Revoker::Issuer),
        Revoker::Admin | Revoker::Issuer | Revoker::Own(_) | Revoker::Link(_) => Ok(by),
    }
}

fn revoker(caller: &Caller) -> Result<Revoker, Problem> {
    match caller {
        Caller::Session(holder) => Ok(Revoker::Own(holder.claims.generation)),
        Caller::Key(key) => match (key.role, &key.owner_id) {
            (Role::Admin, _) => Ok(Revoker::Admin),
            (Role::Issuer, _) => Ok(Revoker::Issuer),
            (Role::Owner, Some(owner)) => Ok(Revoker::Owner(owner.clone())),
            (Role::Owner | Role::Verifier | Role::Auditor, _) => Err(ProblemCode::Forbidden.into()),
        },
        Caller::Anyone => Err(ProblemCode::Forbidden.into()),
    }
}

/// End all active sessions of a subject that match, in one step.
#[utoipa::path(delete, path = "/v1/subjects/{subjectId}/sessions", tag = "subjects",
    operation_id = "revokeSubjectSessions",
    params(("subjectId" = SubjectId, Path, description = "The subject."),
        ("device" = Option<String>, Query, description = "Only sessions of this device."),
        ("exceptSessionId" = Option<SessionId>, Query, description = "All but this session; it must be one of the subject's."),
        ("reason" = Option<String>, Query, description = "Why; 1 to 500 characters.")),
    responses((status = 200, description = "They have ended.", body = RevokedSessions)))]
pub(crate) async fn revoke_subject(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let device = query.text("device", limits::DEVICE);
    let except = query.raw_text("exceptSessionId");
    let reason = query.text("reason", limits::REASON);
    query.finish()?;
    let context = call.context()?;
    let subject_id = call.visible_subject_id()?;
    // Anything but a UUID is an unknown id, and an unknown exception would end the session that was to stay.
    let except =
        except.map(|id| id.parse()).transpose().map_err(|_: InvalidId| ProblemCode::SessionNotFound)?;
    let owner = call.caller.owner().filter(|_| !is_console_subject(&subject_id)).cloned();
    let gives_reason = reason.is_some();
    let asked = SubjectRevocationRequest { subject_id: subject_id.clone(), device, except, owner, reason };
    let revoked = call.api.authority.revoke_many(context, asked).await?;
    let SessionsEnd { mut session_ids, has_reason, position } = revoked;
    let matched = session_ids.len();
    session_ids.truncate(LISTED);
    let reason_recorded = (gives_reason && matched > 0).then_some(has_reason);
    Ok(HttpReply::ok(&RevokedSessions { matched, session_ids, reason_recorded }).at(position))
}
