//! Access: API keys, the keys of tokens, and who is signed in.

use askama::Template;
use serde::Deserialize;
use tenure_core::{Timestamp, event::Role};

use super::{
    agents::Items,
    form::query,
    page::{self, Frame, Outcome},
    session::SessionItem,
    visit::Visit,
    words::When,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyItem {
    credential_id: String,
    role: String,
    owner_id: Option<String>,
    name: Option<String>,
    created_at: When,
    expires_at: Option<When>,
    last_used_at: Option<When>,
    #[serde(default)]
    revoked_at: Option<When>,
}

#[derive(Deserialize)]
struct TokenKeys {
    keys: Vec<TokenKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenKey {
    key_id: String,
    state: String,
    created_at: When,
    retire_at: Option<When>,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: Frame,
    keys: Vec<KeyItem>,
    has_more: bool,
    /// Whether these are all keys, and not only the reader's own.
    is_all: bool,
    token_keys: Vec<TokenKey>,
    sign_ins: Vec<SessionItem>,
    own: String,
    now: Timestamp,
}

/// The page.
pub(super) async fn show(visit: &Visit) -> Outcome {
    let is_all = visit.has_role(&[Role::Admin, Role::Auditor]);
    let (keys, has_more) = if is_all {
        let found: Items<KeyItem> = visit.get("/v1/credentials?limit=200").await?;
        (found.items, found.next_cursor.is_some())
    } else {
        (vec![visit.get("/v1/credentials/self").await?], false)
    };
    let token_keys: TokenKeys = visit.get("/v1/keys").await?;
    let own = visit.holder().session.subject.to_string();
    let asked = query(&[("subjectId", Some(&own)), ("limit", Some("50"))]);
    let sign_ins: Items<SessionItem> = visit.get(&format!("/v1/sessions{asked}")).await?;
    Ok(page::ok(&KeysPage {
        frame: Frame::of(Some(visit), "Access", "/console/keys"),
        keys,
        has_more,
        is_all,
        token_keys: token_keys.keys,
        sign_ins: sign_ins.items,
        own: visit.holder().session.id.to_string(),
        now: visit.now(),
    }))
}
