//! `/v1/subjects/{subjectId}/suspend` and `…/resume`.

use crate::authority::NewSuspension;
use crate::projections::history::AsOfMoment;
use tenure_core::{
    SubjectId, command::SuspensionActor, decide::UNTIL_AHEAD, event::Role, suspension::SubjectSuspension,
};
use tenure_protocol::wire::{ResumeRequest, SubjectView, SuspendRequest, SuspensionView};

use super::answered;
use crate::http::{
    api::ApiContext,
    reply::{
        HttpReply,
        actor_view::actor_view,
        problem::{Problem, ProblemCode},
        text::TextOpener,
    },
    request::{access::Caller, body::RequestBody, call::ApiCall, fields::RequestFields, limits},
};

impl RequestBody for SuspendRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        Some(Self { reason: fields.text("reason", limits::REASON), until: fields.moment("until") })
    }
}

impl RequestBody for ResumeRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        Some(Self { reason: fields.text("reason", limits::REASON) })
    }
}

/// This suspension of a subject, if it is in force at the moment.
pub(super) fn suspension_view(
    api: &ApiContext,
    id: &SubjectId,
    recorded: Option<&SubjectSuspension>,
    moment: AsOfMoment,
) -> Option<SuspensionView> {
    let suspension = recorded.filter(|suspension| suspension.is_in_force(moment.at))?;
    Some(SuspensionView {
        at: suspension.at,
        by: actor_view(&suspension.by),
        reason: TextOpener::of(&api.authority, id).open("reason", suspension.reason.as_ref()),
        until: suspension.until,
    })
}

/// Suspend a subject: it gets no new session, and none of its tokens work.
///
/// It lasts until the subject is resumed or until the suspension ends by itself. Its sessions are not ended, and their clocks go on; they may still end themselves. A suspension by an admin is
/// lifted or shortened by admins only, one by an owner or issuer by the subject's owner too. Callers that may not lift
/// it can only lengthen it. The same words again append nothing.
#[utoipa::path(post, path = "/v1/subjects/{subjectId}/suspend", tag = "subjects", operation_id = "suspendSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    request_body = SuspendRequest,
    responses((status = 200, description = "The subject, which is suspended.", body = SubjectView)))]
pub(crate) async fn suspend(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let asked = SuspendRequest::read(&mut fields);
    check_until(&call, asked.as_ref(), &mut fields)?;
    fields.finish()?;
    let SuspendRequest { reason, until } = asked.ok_or(ProblemCode::InvalidRequest)?;
    let context = call.context()?;
    let subject_id = call.changeable_subject_id()?;
    let by = suspender(&call.caller)?;
    let asked = NewSuspension { subject_id, by, until, reason };
    Ok(answered(&call.api, &call.api.authority.suspend_subject(context, asked).await?))
}

/// A repeat under its key is answered as the first time, also when the end that it names has passed since.
fn check_until(
    call: &ApiCall,
    asked: Option<&SuspendRequest>,
    fields: &mut RequestFields,
) -> Result<(), Problem> {
    let may_be_repeat = call.idempotency_key()?.is_some();
    let until = asked.and_then(|asked| asked.until);
    if until.is_some_and(|until| until <= call.api.authority.now()) && !may_be_repeat {
        fields.fault("until", UNTIL_AHEAD);
    }
    Ok(())
}

/// Lift the suspension of a subject. An unsuspended subject stays as it is.
///
/// A suspension by an admin is lifted by admins only, one by an owner or issuer by the subject's owner too. Tokens of
/// its sessions that have not ended meanwhile are good again; access tokens from before the suspension stay refused by
/// verifiers.
#[utoipa::path(post, path = "/v1/subjects/{subjectId}/resume", tag = "subjects", operation_id = "resumeSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    request_body = ResumeRequest,
    responses((status = 200, description = "The subject, which is not suspended.", body = SubjectView)))]
pub(crate) async fn resume(call: ApiCall) -> Result<HttpReply, Problem> {
    let ResumeRequest { reason } = call.read()?;
    let context = call.context()?;
    let id = call.changeable_subject_id()?;
    let by = suspender(&call.caller)?;
    Ok(answered(&call.api, &call.api.authority.resume_subject(context, id, by, reason.as_deref()).await?))
}

/// A caller as one that suspends or resumes.
pub(crate) fn suspender(caller: &Caller) -> Result<SuspensionActor, Problem> {
    match caller.role() {
        Some(role @ (Role::Admin | Role::Issuer | Role::Owner)) => {
            Ok(SuspensionActor { role, owner: caller.owner().cloned(), actor: caller.actor() })
        }
        Some(Role::Verifier | Role::Auditor) | None => Err(ProblemCode::Forbidden.into()),
    }
}
