//! `POST /v1/access-tokens`: a session exchanges its token for one that anybody with the public key judges.

use std::ops::RangeInclusive;

use serde::Serialize;
use utoipa::ToSchema;

use tenure_core::{Seconds, Timestamp, token::LONGEST_ACCESS};

use super::{
    access::Caller,
    call::{Call, note_use},
    limits,
    problem::{Code, Problem},
    reply::Reply,
};

/// The life of an access token that asks for none, in seconds.
const USUAL: u32 = 600;
/// The life that it may ask for, in seconds.
pub(super) const TTL: RangeInclusive<u32> = 60..=LONGEST_ACCESS.0;

/// An access token that is asked for.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it documents the fields that `mint` reads")]
pub(super) struct AccessTokenBody {
    /// Its life in seconds: 60 to 1,800, by default 600. It never outlives the session, as far as
    /// its end is known: the end of its period, and the idle end if it is not used again.
    ttl: Option<u32>,
    /// For whom it is, its `aud`: 1 to 256 characters. Without it the token has no `aud`.
    audience: Option<String>,
}

/// An access token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessTokenView<'a> {
    /// PASETO `v4.public`.
    access_token: &'a str,
    /// It is good while `now < expiresAt`.
    expires_at: Timestamp,
}

/// Mint an access token. Nothing is recorded of it; it is judged with a key of `GET /v1/keys`, without asking here.
#[utoipa::path(post, path = "/v1/access-tokens", tag = "sessions", operation_id = "mintAccessToken",
    request_body = AccessTokenBody,
    responses((status = 200, description = "The access token.", body = AccessTokenView)))]
pub(super) async fn mint(call: Call) -> Result<Reply, Problem> {
    let mut fields = call.fields()?;
    let ttl = fields.small("ttl", TTL).unwrap_or(USUAL);
    let audience = fields.text("audience", limits::AUDIENCE);
    fields.finish()?;
    // A repeat mints another one, which serves as well; but a key that is none is a fault as everywhere.
    call.idempotency_key()?;
    let Caller::Session(holder) = &call.caller else { return Err(Code::Internal.into()) };
    call.api.authority.check_uncontested(call.context_without_key(), holder).await?;
    note_use(&call.api, &call.caller).await;
    let minted = call.api.authority.mint(holder, Seconds(ttl), audience)?;
    let view = AccessTokenView { access_token: minted.token.expose(), expires_at: minted.expires_at };
    Ok(Reply::ok(&view))
}
