//! Evidence: the newest signed head, and a proof that the reader's own browser checks.

use askama::Template;
use axum::{body::Body, http::Method};
use tenure_core::event::Role;
use tenure_protocol::wire::{CheckView, HeadView};

use super::overview::alarms;
use crate::console::{
    form::query,
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
};
use crate::http::ScrubStatus;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: PageFrame,
    head: HeadView,
    position: u64,
    alarms: Vec<String>,
    /// For those who may read about all sessions.
    scrub: Option<ScrubStatus>,
    may_check: bool,
    check: Option<CheckView>,
}

/// The page.
pub(super) async fn show(visit: &SignedInRequest) -> PageResult {
    let head: HeadView = visit.get("/v1/audit/head").await?;
    let check = match visit.query().get("check") {
        Some(_) => Some(visit.get("/v1/audit/check").await?),
        None => None,
    };
    let asked = visit.query().get("position").and_then(|text| text.parse().ok());
    Ok(response::ok(&AuditPage {
        frame: PageFrame::of(Some(visit), "Evidence", "/console/audit").with(&["proof.js"]),
        position: asked.unwrap_or(head.size),
        alarms: alarms(visit).await?,
        scrub: visit.console().api.scrub(&visit.credential),
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
            format!("/v1/events?limit=1&after={}", visit.named(position.saturating_sub(1)))
        }
    };
    visit.reply(visit.request(Method::GET, &path).body(Body::empty())).await
}
