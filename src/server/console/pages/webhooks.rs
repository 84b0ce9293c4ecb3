//! Webhooks: where notices are delivered, and how that has been going.

use askama::Template;
use axum::http::Method;
use serde_json::json;
use tenure_core::{Timestamp, event::Role};
use tenure_protocol::wire::{AttemptView, DeliveryView, Page, WebhookView};

use crate::console::{
    form::segment,
    request::SignedInRequest,
    response::{self, PageFrame, PageResult},
    words::PageTime,
};

/// A webhook with its newest deliveries.
struct WebhookRow {
    webhook: WebhookView,
    deliveries: Vec<DeliveryView>,
}

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    frame: PageFrame,
    rows: Vec<WebhookRow>,
    may_send: bool,
    mark: String,
}

impl WebhookRow {
    /// When a delivery is tried next: not before its receiver is.
    fn next_try(&self, delivery: &DeliveryView) -> Option<Timestamp> {
        let receiver = self.webhook.health.as_ref().and_then(|health| health.next_attempt_at);
        delivery.next_attempt_at.max(receiver.filter(|_| delivery.next_attempt_at.is_some()))
    }
}

impl WebhooksPage {
    /// How an attempt went.
    fn outcome_words(attempt: &AttemptView) -> &str {
        match &*attempt.outcome {
            "delivered" => "delivered",
            "http_error" => "the receiver answered with an error",
            "redirected" => "the receiver sent us elsewhere",
            "gone" => "the receiver wants no more",
            "timed_out" => "no answer in time",
            "unreachable" => "not reachable",
            "unknown_host" => "the host has no address",
            "connection_refused" => "the receiver takes no connections",
            "tls_failed" => "the receiver could not prove who it is",
            "address_refused" => "the address is not allowed",
            "key_missing" => "its URL and secret cannot be read here",
            "failed" => "failed",
            other => other,
        }
    }
}

/// Deliveries on the page, shared between the webhooks.
const DELIVERIES: usize = 200;

/// The page.
pub(super) async fn list(visit: &SignedInRequest) -> PageResult {
    let found: Page<WebhookView> = visit.get("/v1/webhooks?limit=50").await?;
    let each = (DELIVERIES / found.items.len().max(1)).clamp(5, 50);
    let mut rows = Vec::new();
    for webhook in found.items {
        let path = format!("/v1/webhooks/{}/deliveries?limit={each}", webhook.webhook_id);
        let deliveries = visit.get::<Page<DeliveryView>>(&path).await?.items;
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
