//! `POST /v1/revocations`: end the sessions of all subjects that match.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::{AskedBulk, BulkResult, SessionSelection};
use crate::gate::CancelCheck;
use tenure_core::{KeyId, OwnerId, Position, SessionId, SubjectId, Timestamp};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{call::ApiCall, fields::RequestFields, limits},
};

/// Sessions to end at once.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `asked` reads")]
pub(crate) struct RevocationBody {
    selector: SelectorBody,
    /// Why; 1 to 500 characters. A dry run needs none.
    reason: Option<String>,
    /// Whether only to say what would end.
    dry_run: Option<bool>,
}

/// Which sessions: `all` alone, or what all of them have in common.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `selection` reads")]
struct SelectorBody {
    /// Every session.
    all: Option<bool>,
    /// Those of subjects that this owner answers for.
    owner_id: Option<OwnerId>,
    /// Those of this subject.
    subject_id: Option<SubjectId>,
    /// Those of the device of this name, whosever it is; 1 to 128 characters.
    device: Option<String>,
    /// Those whose current token was issued before this moment, which must not be in the future.
    issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token: the id of a key of session tokens, also of one
    /// that is retiring or over.
    key_id: Option<KeyId>,
}

/// The sessions that ended, or would.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokedMatching {
    /// How many there are.
    matched: u32,
    /// Some of them, 20 at most.
    sample: Vec<SessionId>,
    /// The event that ended them; null when nothing was appended.
    position: Option<Position>,
}

/// Maximum size of a selector in bytes.
const SELECTOR_BYTES: usize = 4_096;

struct BulkForm {
    selection: SessionSelection,
    reason: Option<String>,
    is_dry: bool,
}

fn parse(fields: &mut RequestFields) -> Option<BulkForm> {
    let selection = fields.members("selector", SELECTOR_BYTES, selection);
    let selection = fields.required("selector", selection).flatten();
    let is_dry = fields.flag("dryRun").unwrap_or(false);
    let reason = fields.text("reason", limits::REASON);
    if !is_dry {
        fields.required("reason", reason.as_ref());
    }
    Some(BulkForm { selection: selection?, reason, is_dry })
}

/// None, with a fault, when it is not said clearly which: what ends every session is never meant by accident.
fn selection(fields: &mut RequestFields) -> Option<SessionSelection> {
    let all = fields.flag("all");
    let selection = SessionSelection {
        owner_id: fields.id("ownerId"),
        subject_id: fields.id("subjectId"),
        device: fields.text("device", limits::DEVICE),
        issued_before: fields.moment("issuedBefore"),
        key_id: fields.id("keyId"),
    };
    let is_narrow = selection.is_narrow();
    match all {
        Some(false) => fields.fault("all", "must be true or left out"),
        Some(true) if is_narrow => fields.fault("all", "must be alone"),
        None if !is_narrow && !fields.has_faults() => {
            fields.fault("all", "must be true, or something must be said of the sessions");
        }
        Some(true) | None => return Some(selection),
    }
    None
}

/// End all active sessions that match a selector, of any subject, in one step and one event.
///
/// When nothing matches, nothing is appended.
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", operation_id = "revokeMatching",
    request_body = RevocationBody,
    responses((status = 200, description = "They have ended, or would.", body = RevokedMatching)))]
pub(crate) async fn revoke(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let asked = parse(&mut fields);
    fields.finish()?;
    let BulkForm { selection, reason, is_dry } = asked.ok_or(ProblemCode::InvalidRequest)?;
    let context = call.context()?;
    let authority = &call.api.authority;
    let Some(reason) = reason.filter(|_| !is_dry) else {
        let looking = Arc::clone(authority);
        let look = move |wanted: &CancelCheck<'_>| looking.matching_while(&|| wanted.is_wanted(), &selection);
        return Ok(answer(call.api.costly.whole(&call.caller, look).await??));
    };
    let asked = AskedBulk { selection, reason };
    Ok(answer(authority.revoke_matching(context, asked).await?))
}

fn answer(revoked: BulkResult) -> HttpReply {
    let BulkResult { matched, sample, position } = revoked;
    HttpReply::ok(&RevokedMatching { matched, sample, position }).at(position)
}
