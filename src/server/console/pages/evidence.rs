//! Evidence: the newest signed head, and a proof that the reader's own browser checks.

use askama::Template;
use axum::{body::Body, http::Method};
use serde::Deserialize;
use serde_json::Value;
use tenure_core::event::Role;

use crate::console::{
    form::query,
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadItem {
    size: u64,
    root_hash: String,
    #[serde(rename = "signedHead")]
    note: String,
    verifier_key: String,
}

/// What a comparison of the live state with the log found.
#[derive(Deserialize)]
struct StateCheckItem {
    position: u64,
    subjects: u64,
    sessions: u64,
    agrees: bool,
    differences: Vec<Value>,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: PageFrame,
    head: HeadItem,
    position: u64,
    /// What keeps the authority from being ready.
    alarm: Option<String>,
    may_check: bool,
    check: Option<StateCheckItem>,
}

/// The page.
pub(super) async fn show(visit: &SignedInRequest) -> PageResult {
    let head: HeadItem = visit.get("/v1/audit/head").await?;
    let check = match visit.query().get("check") {
        Some(_) => Some(visit.get("/v1/audit/check").await?),
        None => None,
    };
    let asked = visit.query().get("position").and_then(|text| text.parse().ok());
    Ok(response::ok(&AuditPage {
        frame: PageFrame::of(Some(visit), "Evidence", "/console/audit").with(&["proof.js"]),
        position: asked.unwrap_or(head.size),
        alarm: visit.ask(Method::GET, "/readyz", None).await.err().map(|failure| failure.detail),
        may_check: visit.has_role(&[Role::Admin, Role::Auditor]),
        check,
        head,
    }))
}

/// What the check in the browser is made of, as the API says it.
pub(super) async fn part(visit: &SignedInRequest, name: &str) -> PageResult {
    let given = |name| visit.query().get(name);
    let path = match name {
        "head" => "/v1/audit/head".to_owned(),
        "proof" => {
            let asked = query(&[("position", given("position")), ("size", given("size"))]);
            format!("/v1/audit/proof{asked}")
        }
        _ => {
            let position = given("position").and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
            format!("/v1/events?limit=1&after={}", position.saturating_sub(1))
        }
    };
    visit.reply(visit.request(Method::GET, &path).body(Body::empty())).await
}
