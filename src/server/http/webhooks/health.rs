//! How deliveries to a webhook have been going.

use serde::Serialize;
use utoipa::ToSchema;

use super::{AttemptView, attempt_view, name_of};
use crate::http::api::ApiContext;
use crate::notify::webhooks::WebhookHealth;
use tenure_core::Timestamp;

/// How deliveries to a webhook have been going. Tests of it are not counted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookHealthView {
    /// When the receiver last took a notice; after a restart, of the deliveries that are still listed.
    last_success_at: Option<Timestamp>,
    /// The newest attempt that failed.
    last_failure: Option<AttemptView>,
    /// Attempts that failed since the receiver last took a notice.
    consecutive_failures: u32,
    /// When the first of them failed; null while none has.
    failing_since: Option<Timestamp>,
    /// Notices that are yet to be delivered.
    pending: usize,
    /// Notices that were given up; a redelivery sends them again.
    parked: usize,
    /// The pending notice that has waited longest.
    oldest_pending: Option<WaitingNotice>,
    /// When something is tried next; null if nothing waits.
    next_attempt_at: Option<Timestamp>,
}

/// A notice yet to be delivered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WaitingNotice {
    /// The notice: a position and a number.
    #[schema(value_type = String)]
    notice_id: String,
    /// Since when it has waited.
    since: Timestamp,
}

/// As the caller may see it.
pub(super) fn health_view(api: &ApiContext, health: WebhookHealth, is_owner: bool) -> WebhookHealthView {
    let WebhookHealth { reception, pending, parked, oldest_pending, next_attempt_at } = health;
    WebhookHealthView {
        last_success_at: reception.last_success,
        last_failure: reception.last_failure.map(|attempt| attempt_view(attempt, is_owner)),
        consecutive_failures: reception.failures,
        failing_since: reception.failing_since,
        pending,
        parked,
        oldest_pending: oldest_pending
            .map(|(id, since)| WaitingNotice { notice_id: name_of(api, id), since }),
        next_attempt_at,
    }
}
