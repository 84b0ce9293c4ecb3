//! `/v1/keys`: the public keys of access tokens, and the rotation of all keys of tokens.

use crate::authority::{AccessKey, RotatedKey};
use tenure_core::{KeyUse, keys::RetireMode};
use tenure_protocol::wire::{
    KeyView, KeysView,
    keys::{KeyState, RotationRequest, RotationView},
};

use super::{
    api::ApiContext,
    reply::{HttpReply, problem::Problem},
    request::{body::RequestBody, call::ApiCall, fields::RequestFields},
};

impl RequestBody for RotationRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let which = fields.one_of("which", &KeyUse::ALL);
        let which = fields.required("which", which);
        let retire = fields.one_of("retire", &RetireMode::ALL);
        Some(Self { which: which?, retire })
    }
}

/// The keys of access tokens, as they are now.
pub(super) fn view(api: &ApiContext) -> KeysView {
    KeysView { keys: api.authority.access_keys().into_iter().map(key_view).collect() }
}

fn key_view(key: AccessKey) -> KeyView {
    let state = if key.retire_at.is_some() { KeyState::Retiring } else { KeyState::Active };
    KeyView {
        key_id: key.id,
        paserk: key.paserk,
        state: state.name().into(),
        created_at: key.created_at,
        retire_at: key.retire_at,
    }
}

fn rotation_view(rotated: RotatedKey) -> RotationView {
    let event = rotated.event;
    RotationView {
        which: event.which.name().into(),
        key_id: event.key_id,
        previous_key_id: event.previous_key_id,
        retire: event.retire.map(|retire| retire.name().into()),
        rotated_at: rotated.at,
        retire_at: event.retire_at,
    }
}

/// The public keys that verify access tokens.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", operation_id = "listKeys",
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the list that the caller has.")),
    responses((status = 200, description = "The keys.", body = KeysView, headers(
            ("ETag" = String, description = "Names this list; give it as `If-None-Match` the next time."))),
        (status = 304, description = "The caller has this list already; no body.")))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    Ok(HttpReply::revalidated(&view(&call.api), call.header("if-none-match")))
}

/// Rotate the key of session tokens, or that of access tokens.
///
/// With `overlap` tokens of the old key work until they end or `keys.overlap` is over. With `now` no token of an
/// earlier key works any more: its holder needs a new session.
#[utoipa::path(post, path = "/v1/keys/rotate", tag = "keys", operation_id = "rotateKey",
    request_body = RotationRequest,
    responses((status = 200, description = "The new key seals.", body = RotationView)))]
pub(super) async fn rotate(call: ApiCall) -> Result<HttpReply, Problem> {
    let RotationRequest { which, retire } = call.read()?;
    let retire = retire.unwrap_or(RetireMode::Overlap);
    let authority = &call.api.authority;
    let rotated = authority.rotate_key(call.context()?, which, retire).await?;
    let position = rotated.position;
    Ok(HttpReply::ok(&rotation_view(rotated)).at(Some(position)))
}
