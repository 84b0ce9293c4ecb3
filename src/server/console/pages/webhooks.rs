//! Webhooks: where notices are delivered, and how that has been going.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use serde_json::json;
use tenure_core::event::Role;

use super::agents::Items;
use crate::console::{
    form::segment,
    request::SignedInRequest,
    response::{self, Frame, PageResult},
    words::When,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookItem {
    webhook_id: String,
    url: String,
    kinds: Option<Vec<String>>,
    owner_id: Option<String>,
    format: String,
    created_at: When,
    health: Option<Health>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    last_success_at: Option<When>,
    last_failure: Option<Attempt>,
    consecutive_failures: u32,
    failing_since: Option<When>,
    pending: usize,
    parked: usize,
    oldest_pending: Option<WaitingNotice>,
    next_attempt_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitingNotice {
    notice_id: String,
    since: When,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    notice_id: String,
    status: String,
    attempts: Vec<Attempt>,
    next_attempt_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    at: When,
    outcome: String,
    http_status: Option<u16>,
}

impl Attempt {
    fn words(&self) -> &str {
        match &*self.outcome {
            "delivered" => "delivered",
            "http_error" => "the receiver answered with an error",
            "redirected" => "the receiver sent us elsewhere",
            "gone" => "the receiver wants no more",
            "timed_out" => "no answer in time",
            "unreachable" => "not reachable",
            "tls_failed" => "the receiver could not prove who it is",
            "address_refused" => "the address is not allowed",
            "key_missing" => "its URL and secret cannot be read here",
            "failed" => "failed",
            other => other,
        }
    }
}

/// A webhook with its newest deliveries.
struct Row {
    webhook: WebhookItem,
    deliveries: Vec<Delivery>,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: Frame,
    rows: Vec<Row>,
    may_send: bool,
    mark: String,
}

/// The page.
pub(super) async fn list(visit: &SignedInRequest) -> PageResult {
    let found: Items<WebhookItem> = visit.get("/v1/webhooks?limit=50").await?;
    let mut rows = Vec::new();
    for webhook in found.items {
        let path = format!("/v1/webhooks/{}/deliveries?limit=50", segment(&webhook.webhook_id));
        let deliveries = visit.get::<Items<Delivery>>(&path).await?.items;
        rows.push(Row { webhook, deliveries });
    }
    Ok(response::ok(&WebhooksPage {
        frame: Frame::of(Some(visit), "Webhooks", "/console/webhooks"),
        rows,
        may_send: visit.has_role(&[Role::Admin, Role::Owner]),
        mark: visit.mark(),
    }))
}

/// Sends a test.
pub(super) async fn test(visit: &SignedInRequest, id: &str) -> PageResult {
    visit.ask(Method::POST, &format!("/v1/webhooks/{}/test", segment(id)), None).await?;
    Ok(response::redirect("/console/webhooks"))
}

/// Delivers again from a position.
pub(super) async fn redeliver(visit: &SignedInRequest, id: &str) -> PageResult {
    let from = visit.form().get("from").and_then(|text| text.parse::<u64>().ok());
    let path = format!("/v1/webhooks/{}/redeliver", segment(id));
    visit.ask(Method::POST, &path, Some(&json!({ "from": from }))).await?;
    Ok(response::redirect("/console/webhooks"))
}
