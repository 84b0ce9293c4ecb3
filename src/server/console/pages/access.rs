//! Access: API keys, the keys of tokens, and who is signed in.

use std::collections::HashMap;

use askama::Template;
use axum::http::Method;
use serde_json::json;
use tenure_core::{CredentialId, SessionId, SubjectId, Timestamp, event::Role};
use tenure_protocol::wire::{CredentialView, KeyView, KeysView, Page, SubjectView};

use super::{
    agents::{is_sign_in, rows},
    session::SessionItem,
};
use crate::console::{
    form::{query, segment},
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    words::PageTime as _,
};
use crate::http::ListName;

/// Those who are signed in.
struct SignIns {
    shown: Vec<SignIn>,
    /// How many more there are.
    more: usize,
    /// How many there are of each key.
    counts: HashMap<CredentialId, usize>,
}

/// Someone who is signed in.
struct SignIn {
    session: SessionItem,
    /// With which key: its name, or its id.
    key: String,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct KeysPage {
    frame: PageFrame,
    keys: Vec<CredentialView>,
    has_more: bool,
    /// Whether these are all keys, and not only the reader's own.
    is_all: bool,
    token_keys: Vec<KeyView>,
    sign_ins: SignIns,
    own: SessionId,
    /// Whether the reader may withdraw and rotate keys.
    may_change: bool,
    mark: String,
    now: Timestamp,
}

impl KeysPage {
    fn may_end(&self, sign_in: &SignIn) -> bool {
        sign_in.session.view.session_id != self.own && (self.may_change || sign_in.is_own)
    }

    fn sign_ins_with(&self, key: &CredentialId) -> usize {
        self.sign_ins.counts.get(key).copied().unwrap_or_default()
    }
}

/// How the subjects of sign-ins are named: this, and then the key's id.
const SIGN_INS: &str = "console:";
/// Maximum subjects of sign-ins read.
const STRIDE: &str = "200";
/// Sign-ins shown, about; at least one with each key.
const SHOWN: usize = 200;
/// A key has no more of them.
const PER_KEY: usize = 10;

/// The page.
pub(super) async fn show(visit: &SignedInRequest) -> PageResult {
    let is_all = visit.has_role(&[Role::Admin, Role::Auditor]);
    let (keys, has_more) = if is_all {
        let found: Page<CredentialView> = visit.get("/v1/credentials?limit=200").await?;
        (found.items, found.next_cursor.is_some())
    } else {
        (vec![visit.get("/v1/credentials/self").await?], false)
    };
    let token_keys: KeysView = visit.get("/v1/keys").await?;
    let sign_ins = sign_ins(visit, is_all, &keys).await?;
    Ok(response::ok(&KeysPage {
        frame: PageFrame::of(Some(visit), "Access", "/console/keys"),
        keys,
        has_more,
        is_all,
        token_keys: token_keys.keys,
        sign_ins,
        own: visit.holder().session.id,
        may_change: visit.has_role(&[Role::Admin]),
        mark: visit.mark(),
        now: visit.now(),
    }))
}

/// All sign-ins, or those with the reader's own key.
async fn sign_ins(
    visit: &SignedInRequest,
    is_all: bool,
    keys: &[CredentialView],
) -> Result<SignIns, PageFailure> {
    let own = &visit.holder().session.subject;
    let subjects = if is_all { subjects(visit).await? } else { vec![own.clone()] };
    let each = (SHOWN / subjects.len().max(1)).clamp(1, PER_KEY);
    let (rows, _) = rows(visit, subjects, None, each).await?;
    let names = keys.iter().filter_map(|key| Some((key.credential_id, key.name.as_deref()?)));
    let names: HashMap<CredentialId, &str> = names.collect();
    let (mut found, mut counts) = (Vec::new(), HashMap::new());
    for row in rows {
        let subject = &row.subject.view;
        let Some(id) = key_of(&subject.subject_id) else { continue };
        counts.insert(id, subject.active_sessions);
        let key = names.get(&id).map_or_else(|| id.to_string(), |name| (*name).to_owned());
        let is_own = subject.subject_id == *own;
        let sign_in = |session| SignIn { session, key: key.clone(), is_own };
        found.extend(row.sessions.into_iter().map(sign_in));
    }
    let all: usize = counts.values().sum();
    found.sort_by_key(|sign_in| std::cmp::Reverse(sign_in.session.view.created_at));
    Ok(SignIns { more: all.saturating_sub(found.len()), shown: found, counts })
}

/// The key of the sign-ins that a subject stands for.
fn key_of(subject: &SubjectId) -> Option<CredentialId> {
    subject.as_str().strip_prefix(SIGN_INS)?.parse().ok()
}

/// The subjects with active sign-ins.
async fn subjects(visit: &SignedInRequest) -> Result<Vec<SubjectId>, PageFailure> {
    let asked = query(&[("cursor", Some(&ListName::Subjects.cursor(SIGN_INS))), ("limit", Some(STRIDE))]);
    let found: Page<SubjectView> = visit.get(&format!("/v1/subjects{asked}")).await?;
    let of_console = found.items.into_iter().take_while(|it| is_sign_in(&it.subject_id));
    Ok(of_console.filter(|it| it.active_sessions > 0).map(|it| it.subject_id).collect())
}

/// Withdraws an API key. Sign-ins with it end.
pub(super) async fn revoke(visit: &SignedInRequest, id: &str) -> PageResult {
    visit.ask(Method::DELETE, &format!("/v1/credentials/{}", segment(id)), None).await?;
    Ok(response::redirect("/console/keys"))
}

/// Lets a new key seal session tokens, or sign access tokens.
pub(super) async fn rotate(visit: &SignedInRequest) -> PageResult {
    let retire = if visit.form().is_ticked("now") { "now" } else { "overlap" };
    let asked = json!({ "which": visit.form().get("which"), "retire": retire });
    visit.ask(Method::POST, "/v1/keys/rotate", Some(&asked)).await?;
    Ok(response::redirect("/console/keys"))
}

/// Ends a sign-in.
pub(super) async fn end(visit: &SignedInRequest, id: &str) -> PageResult {
    visit.ask(Method::DELETE, &format!("/v1/sessions/{}", segment(id)), None).await?;
    Ok(response::redirect("/console/keys"))
}
