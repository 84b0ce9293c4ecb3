//! `POST /v1/subjects/{subjectId}/erase`: make all text about a subject unreadable.

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::SubjectErasure;
use tenure_core::{SubjectId, Timestamp};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{call::ApiCall, limits},
};

/// Why a subject is erased.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it documents the field that `erase` reads")]
pub(crate) struct EraseBody {
    /// 1 to 500 characters. It is recorded, and no erasure takes it away: write nothing about people.
    reason: String,
}

/// A subject of which no text can be read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErasedSubject {
    subject_id: SubjectId,
    /// When; the last time, if there was nothing left to be erased. Null when the log does not say.
    erased_at: Option<Timestamp>,
}

/// Make all text about a subject permanently unreadable.
///
/// That is its name, and the devices, metadata and reasons of its sessions, in the log, in snapshots and in every
/// copy that does not hold the key. Ids, scopes and the events themselves stay, and so does every proof. Its sessions
/// go on. When nothing was said of it since the last time, nothing is appended.
#[utoipa::path(post, path = "/v1/subjects/{subjectId}/erase", tag = "subjects", operation_id = "eraseSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    request_body = EraseBody,
    responses((status = 200, description = "Nothing of it can be read.", body = ErasedSubject)))]
pub(crate) async fn erase(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let reason = fields.text("reason", limits::REASON);
    let reason = fields.required("reason", reason);
    fields.finish()?;
    let context = call.context()?;
    let subject_id = call.changeable_subject_id()?;
    let reason = reason.ok_or(ProblemCode::InvalidRequest)?;
    let erased = call.api.authority.erase_subject(context, subject_id.clone(), &reason).await?;
    let SubjectErasure { erased_at, position, .. } = erased;
    Ok(HttpReply::ok(&ErasedSubject { subject_id, erased_at }).at(position))
}
