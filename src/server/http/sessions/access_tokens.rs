//! `POST /v1/access-tokens`: a session exchanges its token for one that every holder of the public key can judge.

use std::ops::RangeInclusive;

use tenure_core::{Seconds, token::LONGEST_ACCESS};
use tenure_protocol::{
    Secret,
    wire::{self, AccessTokenView},
};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{access::Caller, call::ApiCall, limits, serve::note_use},
};

/// The life of an access token that asks for none, in seconds.
const USUAL: u32 = 600;
/// The life that it may ask for, in seconds.
pub(crate) const TTL: RangeInclusive<u32> = 60..=LONGEST_ACCESS.0;

/// Mint an access token, which services verify offline with the keys of `GET /v1/keys`. Nothing is recorded.
#[utoipa::path(post, path = "/v1/access-tokens", tag = "sessions", operation_id = "mintAccessToken",
    request_body = wire::NewAccessToken,
    responses((status = 200, description = "The access token.", body = AccessTokenView)))]
pub(crate) async fn mint(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let ttl = fields.small("ttl", TTL).unwrap_or(USUAL);
    let audience = fields.text("audience", limits::AUDIENCE);
    fields.finish()?;
    // A repeat mints another one, which serves as well; but an invalid key is a fault as everywhere.
    call.idempotency_key()?;
    let Caller::Session(holder) = &call.caller else { return Err(ProblemCode::Internal.into()) };
    call.api.authority.check_uncontested(&call.context_without_key(), holder).await?;
    call.api.authority.may_grant()?;
    note_use(&call.api, &call.caller).await;
    let minted = call.api.authority.mint(holder, Seconds(ttl), audience)?;
    let view =
        AccessTokenView { access_token: Secret::new(minted.token.expose()), expires_at: minted.expires_at };
    Ok(HttpReply::ok(&view))
}
