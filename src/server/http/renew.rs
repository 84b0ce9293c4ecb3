//! `PUT /v1/sessions/{id}/renew`: a session extends itself and gets its next token.

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::Granted;
use tenure_core::{SessionId, Timestamp};

use super::{
    access::Caller,
    call::Call,
    problem::{Code, Problem},
    reply::Reply,
};

/// A session that was renewed, and its new token. The token is shown here and nowhere else.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewedSession<'a> {
    session_id: SessionId,
    token: &'a str,
    expires_at: Timestamp,
    /// When its holder should renew next; null when a renewal would be refused for good.
    renew_at: Option<Timestamp>,
    renewal_count: u32,
    max_renewals: u32,
    absolute_expires_at: Timestamp,
    /// `absoluteLifetime` when the period was cut at the session's absolute end.
    clamped_by: Option<&'static str>,
}

/// Renew a session by its own token.
///
/// The period is always the ttl fixed at creation, cut at the absolute end. On success only the new token works. With
/// an `Idempotency-Key` the same request, with the old token, can be repeated if the reply is lost.
#[utoipa::path(put, path = "/v1/sessions/{sessionId}/renew", tag = "sessions", operation_id = "renewSession",
    params(("sessionId" = SessionId, Path, description = "The token's own session.")),
    responses((status = 200, description = "The session and its new token.", body = RenewedSession)))]
pub(super) async fn renew(call: Call) -> Result<Reply, Problem> {
    let Caller::Session(holder) = &call.caller else { return Err(Code::Forbidden.into()) };
    call.no_query()?;
    let key = call.idempotency_key()?;
    if call.session_id() != Some(holder.session.id) {
        return Err(Problem::from(Code::SessionRenewalMismatch).saying("the token is of another session"));
    }
    let authority = &call.api.authority;
    let granted = authority.renew(call.context_without_key(), holder, key).await.inspect_err(|_| {
        // A renewal that is refused is a use all the same, if its token is good.
        if holder.judge(authority.now()).is_ok() {
            authority.used(&holder.session);
        }
    })?;
    Ok(renewed(&granted))
}

fn renewed(granted: &Granted) -> Reply {
    let session = &granted.session;
    let renewed = RenewedSession {
        session_id: session.id,
        token: granted.token.expose(),
        expires_at: session.expires_at,
        renew_at: session.renew_at(),
        renewal_count: session.renewal_count(),
        max_renewals: session.terms.max_renewals,
        absolute_expires_at: session.absolute_expires_at(),
        clamped_by: session.is_clamped().then_some("absoluteLifetime"),
    };
    Reply::ok(&renewed).at(granted.position)
}
