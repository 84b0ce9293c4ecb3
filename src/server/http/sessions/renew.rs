//! `PUT /v1/sessions/{id}/renew`: a session extends itself and gets its next token.

use crate::authority::GrantedSession;
use tenure_core::SessionId;
use tenure_protocol::{Secret, wire::RenewedSession};

use crate::http::{
    reply::{
        HttpReply,
        object::ObjectWriter,
        problem::{Problem, ProblemCode},
    },
    request::{
        access::Caller,
        call::ApiCall,
        serve::{keep_uses, note_use},
    },
};

/// Renew a session by its own token.
///
/// The period is always the ttl fixed at creation, cut at the absolute end. On success only the new token works. With
/// an `Idempotency-Key` the same request, with the old token, can be repeated if the reply is lost.
#[utoipa::path(put, path = "/v1/sessions/{sessionId}/renew", tag = "sessions", operation_id = "renewSession",
    params(("sessionId" = SessionId, Path, description = "The token's own session.")),
    responses((status = 200, description = "The session and its new token.", body = RenewedSession)))]
pub(crate) async fn renew(call: ApiCall) -> Result<HttpReply, Problem> {
    let Caller::Session(holder) = &call.caller else { return Err(ProblemCode::Forbidden.into()) };
    call.no_query()?;
    let key = call.idempotency_key()?;
    if call.session_id() != Some(holder.session.id) {
        return Err(
            Problem::from(ProblemCode::SessionRenewalMismatch).saying("the token is of another session")
        );
    }
    let authority = &call.api.authority;
    match authority.renew(call.context_without_key(), holder, key).await {
        Ok(granted) => {
            // The answer to a repeat appends nothing, and is a use like the first one.
            if granted.is_repeat {
                authority.used(&granted.session);
                keep_uses(&call.api, &[granted.session.id]).await;
            }
            Ok(renewed(&granted))
        }
        Err(refused) => {
            // A refused renewal is still a use, if its token is good.
            note_use(&call.api, &call.caller).await;
            Err(refused.into())
        }
    }
}

fn renewed(granted: &GrantedSession) -> HttpReply {
    let session = &granted.session;
    let document = written(&RenewedSession {
        session_id: session.id,
        token: Secret::new(granted.token.expose()),
        expires_at: session.expires_at(),
        renew_at: session.renew_at(),
        renewal_count: session.renewal_count(),
        max_renewals: session.terms.max_renewals,
        absolute_expires_at: session.absolute_expires_at(),
        clamped_by: session.is_clamped().then_some("absoluteLifetime".into()),
    });
    HttpReply::written(document).at(granted.position)
}

/// As JSON, like its `Serialize` writes it.
fn written(renewed: &RenewedSession) -> Vec<u8> {
    let RenewedSession {
        session_id,
        token,
        expires_at,
        renew_at,
        renewal_count,
        max_renewals,
        absolute_expires_at,
        clamped_by,
    } = renewed;
    ObjectWriter::new()
        .session("sessionId", *session_id)
        .text("token", token.expose())
        .moment("expiresAt", *expires_at)
        .optional_moment("renewAt", *renew_at)
        .number("renewalCount", *renewal_count)
        .number("maxRenewals", *max_renewals)
        .moment("absoluteExpiresAt", *absolute_expires_at)
        .optional_text("clampedBy", clamped_by.as_deref())
        .end()
}

#[cfg(test)]
mod tests {
    use tenure_core::Timestamp;

    use super::*;

    #[test]
    fn a_renewed_session_is_written_as_its_type_says() {
        for (renew_at, clamped_by) in
            [(None, Some("absoluteLifetime".into())), (Some(Timestamp::from_millis(7)), None)]
        {
            let renewed = RenewedSession {
                session_id: SessionId::from_bytes([9; 16]),
                token: Secret::new("tnr_sess_v4.local.a_-"),
                expires_at: Timestamp::from_millis(1_795_311_300_001),
                renew_at,
                renewal_count: 3,
                max_renewals: u32::MAX,
                absolute_expires_at: Timestamp::MAX,
                clamped_by,
            };
            assert_eq!(written(&renewed), serde_json::to_vec(&renewed).unwrap());
        }
    }
}
