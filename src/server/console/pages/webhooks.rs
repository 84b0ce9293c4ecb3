//! Webhooks: where notices are delivered, and how that has been going.

use askama::Template;
use axum::http::Method;
use serde::Deserialize;
use serde_json::json;
use tenure_core::event::Role;
use tenure_protocol::wire::Page;

use crate::console::{
    form::segment,
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::PageTime,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookItem {
    webhook_id: String,
    url: String,
    kinds: Option<Vec<String>>,
    owner_id: Option<String>,
    format: String,
    created_at: PageTime,
    health: Option<HealthItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HealthItem {
    last_success_at: Option<PageTime>,
    last_failure: Option<AttemptItem>,
    consecutive_failures: u32,
    failing_since: Option<PageTime>,
    pending: usize,
    parked: usize,
    oldest_pending: Option<WaitingNotice>,
    next_attempt_at: Option<PageTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitingNotice {
    notice_id: String,
    since: PageTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryItem {
    notice_id: String,
    status: String,
    attempts: Vec<AttemptItem>,
    next_attempt_at: Option<PageTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttemptItem {
    at: PageTime,
    outcome: String,
    http_status: Option<u16>,
}

impl AttemptItem {
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
struct WebhookRow {
    webhook: WebhookItem,
    deliveries: Vec<DeliveryItem>,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: PageFrame,
    rows: Vec<WebhookRow>,
    may_send: bool,
    mark: String,
}

/// Deliveries on the page, shared between the webhooks.
const DELIVERIES: usize = 200;

/// The page.
pub(super) async fn list(visit: &SignedInRequest) -> PageResult {
    let found: Page<WebhookItem> = visit.get("/v1/webhooks?limit=50").await?;
    let each = (DELIVERIES / found.items.len().max(1)).clamp(5, 50);
    let mut rows = Vec::new();
    for webhook in found.items {
        let path = format!("/v1/webhooks/{}/deliveries?limit={each}", segment(&webhook.webhook_id));
        let deliveries = visit.get::<Page<DeliveryItem>>(&path).await?.items;
        rows.push(WebhookRow { webhook, deliveries });
    }
    Ok(response::ok(&WebhooksPage {
        frame: PageFrame::of(Some(visit), "Webhooks", "/console/webhooks"),
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
