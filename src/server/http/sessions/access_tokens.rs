//! `POST /v1/access-tokens`: a session exchanges its token for one that every holder of the public key can judge.

use std::ops::RangeInclusive;

use tenure_core::{Seconds, token::LONGEST_ACCESS};
use tenure_protocol::{
    Secret,
    wire::{AccessTokenView, NewAccessToken},
};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{
        access::Caller, body::RequestBody, call::ApiCall, fields::RequestFields, limits, serve::note_use,
    },
};

/// The life of an access token that asks for none.
const USUAL: Seconds = Seconds(600);
/// The life that it may ask for, in seconds.
pub(crate) const TTL: RangeInclusive<u32> = 60..=LONGEST_ACCESS.0;

impl RequestBody for NewAccessToken {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let ttl = fields.small("ttl", TTL).map(Seconds);
        Some(Self { ttl, audience: fields.text("audience", limits::AUDIENCE) })
    }
}

/// Mint an access token, which services verify offline with the keys of `GET /v1/keys`. Nothing is recorded.
#[utoipa::path(post, path = "/v1/access-tokens", tag = "sessions", operation_id = "mintAccessToken",
    request_body = NewAccessToken,
    responses((status = 200, description = "The access token.", body = AccessTokenView)))]
pub(crate) async fn mint(call: ApiCall) -> Result<HttpReply, Problem> {
    let NewAccessToken { ttl, audience } = call.read()?;
    // A repeat mints another one, which serves as well; but an invalid key is a fault as everywhere.
    call.idempotency_key()?;
    let Caller::Session(holder) = &call.caller else { return Err(ProblemCode::Internal.into()) };
    call.api.authority.check_uncontested(&call.context_without_key(), holder).await?;
    call.api.authority.may_grant()?;
    note_use(&call.api, &call.caller).await;
    let minted = call.api.authority.mint(holder, ttl.unwrap_or(USUAL), audience)?;
    let view =
        AccessTokenView { access_token: Secret::new(minted.token.expose()), expires_at: minted.expires_at };
    Ok(HttpReply::ok(&view))
}
