//! How deliveries to a webhook have been going.

use super::{attempt_view, name_of};
use crate::http::api::ApiContext;
use crate::notify::webhooks::WebhookHealth;
use tenure_protocol::wire::{WaitingNotice, WebhookHealthView};

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
