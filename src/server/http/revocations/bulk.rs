//! `POST /v1/revocations`: end the sessions of all subjects that match.

use std::sync::Arc;

use tenure_protocol::wire::revocations::{RevocationSelector, RevokeMatchingRequest, RevokedMatching};

use crate::authority::{AskedBulk, BulkResult, SessionSelection};
use crate::gate::CancelCheck;
use crate::http::{
    reply::{HttpReply, problem::Problem},
    request::{body::RequestBody, call::ApiCall, fields::RequestFields, limits},
};

/// Maximum size of a selector in bytes.
const SELECTOR_BYTES: usize = 4_096;

impl RequestBody for RevokeMatchingRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let selector = fields.members("selector", SELECTOR_BYTES, selector);
        let selector = fields.required("selector", selector).flatten();
        let dry_run = fields.flag("dryRun");
        let reason = fields.text("reason", limits::REASON);
        if dry_run != Some(true) {
            fields.required("reason", reason.as_ref());
        }
        Some(Self { selector: selector?, reason, dry_run })
    }
}

/// None, with a fault, when it is not said clearly which: what ends every session is never meant by accident.
fn selector(fields: &mut RequestFields) -> Option<RevocationSelector> {
    let selector = RevocationSelector {
        all: fields.flag("all"),
        owner_id: fields.id("ownerId"),
        subject_id: fields.id("subjectId"),
        device: fields.text("device", limits::DEVICE),
        issued_before: fields.moment("issuedBefore"),
        key_id: fields.id("keyId"),
    };
    let is_narrow = selection(selector.clone()).is_narrow();
    match selector.all {
        Some(false) => fields.fault("all", "must be true or left out"),
        Some(true) if is_narrow => fields.fault("all", "must be alone"),
        None if !is_narrow && !fields.has_faults() => {
            fields.fault("all", "must be true, or something must be said of the sessions");
        }
        Some(true) | None => return Some(selector),
    }
    None
}

fn selection(selector: RevocationSelector) -> SessionSelection {
    let RevocationSelector { all: _, owner_id, subject_id, device, issued_before, key_id } = selector;
    SessionSelection { owner_id, subject_id, device, issued_before, key_id }
}

/// End all active sessions that match a selector, of any subject, in one step and one event.
///
/// When nothing matches, nothing is appended.
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", operation_id = "revokeMatching",
    request_body = RevokeMatchingRequest,
    responses((status = 200, description = "They have ended, or would.", body = RevokedMatching)))]
pub(crate) async fn revoke(call: ApiCall) -> Result<HttpReply, Problem> {
    let RevokeMatchingRequest { selector, reason, dry_run } = call.read()?;
    let selection = selection(selector);
    let context = call.context()?;
    let authority = &call.api.authority;
    let Some(reason) = reason.filter(|_| dry_run != Some(true)) else {
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
