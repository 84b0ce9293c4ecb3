//! `POST /v1/subjects/{subjectId}/erase`: make all text about a subject unreadable; and where that is done.

use tenure_core::{Position, SubjectId};
use tenure_protocol::wire::{EraseRequest, ErasureView};

use crate::authority::SubjectErasure;
use crate::http::{
    api::ApiContext,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{body::RequestBody, call::ApiCall, fields::RequestFields, limits},
};

impl RequestBody for EraseRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let reason = fields.text("reason", limits::REASON);
        Some(Self { reason: fields.required("reason", reason)? })
    }
}

/// Make all text about a subject permanently unreadable.
///
/// That is its name, and the devices, metadata and reasons of its sessions, in the log, in snapshots and in every
/// copy that does not hold the key. Ids, scopes and the events themselves stay, and so does every proof. Its sessions
/// go on. When nothing was said of it since the last time, nothing is appended. Of several nodes the one that answers has
/// destroyed the key; the others do so within a second or two, or when they are back.
#[utoipa::path(post, path = "/v1/subjects/{subjectId}/erase", tag = "subjects", operation_id = "eraseSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    request_body = EraseRequest,
    responses((status = 200, description = "Nothing of it can be read.", body = ErasureView)))]
pub(crate) async fn erase(call: ApiCall) -> Result<HttpReply, Problem> {
    let EraseRequest { reason } = call.read()?;
    let context = call.context()?;
    let subject_id = call.changeable_subject_id()?;
    let erased = call.api.authority.erase_subject(context, subject_id.clone(), &reason).await?;
    Ok(HttpReply::ok(&view(&call.api, subject_id, &erased)).at(erased.position))
}

/// Where the text of a subject is erased by now: on which nodes, and at the broker.
///
/// It is about the last erasure. 404 where there was none.
#[utoipa::path(get, path = "/v1/subjects/{subjectId}/erasure", tag = "subjects", operation_id = "getErasure",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    responses((status = 200, description = "It was erased.", body = ErasureView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(crate) async fn show(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let subject_id = call.visible_subject_id()?;
    let erased = call.api.authority.erasure_of(&subject_id)?;
    let erased = erased.ok_or_else(|| {
        Problem::from(ProblemCode::NotFound).saying("no text about this subject was ever erased")
    })?;
    Ok(HttpReply::ok(&view(&call.api, subject_id, &erased)))
}

fn view(api: &ApiContext, subject_id: SubjectId, erased: &SubjectErasure) -> ErasureView {
    let elsewhere = api.nodes().map(|nodes| nodes.erasure(erased.by.unwrap_or(Position::ZERO)));
    let (done, broker_done, nodes) = match elsewhere {
        None => (true, None, Some(Vec::new())),
        Some(elsewhere) => (elsewhere.is_done(), Some(elsewhere.at_broker), elsewhere.nodes),
    };
    ErasureView { subject_id, erased_at: erased.erased_at, position: erased.by, done, nodes, broker_done }
}
