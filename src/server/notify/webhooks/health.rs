//! How webhooks are doing: all of them in figures, and each by its receiver.

use std::sync::atomic::Ordering;

use super::{
    Webhooks,
    delivery::{
        outcome::DeliveryOutcome,
        queue::{DeliveryQueue, ReceiverHistory},
    },
};
use crate::notify::NoticeId;
use tenure_core::{Timestamp, WebhookId};

/// How all webhooks are doing.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebhookTotals {
    /// Attempts by outcome since the start, in the order of [`DeliveryOutcome::ALL`].
    pub outcomes: [u64; DeliveryOutcome::ALL.len()],
    /// Webhooks whose last attempt failed.
    pub failing: u64,
    /// Notices that are yet to be delivered.
    pub pending: u64,
    /// Notices that were given up and not told again.
    pub parked: u64,
    /// How many seconds the oldest pending one has waited.
    pub oldest_pending: u64,
    /// Whether the delivery state cannot be saved.
    pub store_fails: bool,
    /// How often it could not be since the start.
    pub store_failures: u64,
}

/// How one webhook is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookHealth {
    /// How its receiver takes what it is sent.
    pub reception: ReceiverHistory,
    /// Notices that are yet to be delivered.
    pub pending: usize,
    /// Notices that were given up and not told again.
    pub parked: usize,
    /// The pending one that has waited longest, and since when.
    pub oldest_pending: Option<(NoticeId, Timestamp)>,
    /// When something is tried next; `None` if nothing waits, or is on its way.
    pub next_attempt_at: Option<Timestamp>,
}

impl WebhookHealth {
    fn of(account: &DeliveryQueue) -> Self {
        let (pending, parked, oldest_pending) = account.counts();
        let next_attempt_at = account.next_turn();
        Self { reception: account.reception(), pending, parked, oldest_pending, next_attempt_at }
    }
}

impl Webhooks {
    /// How each of these webhooks is doing; none before the store is open.
    pub fn health_of(&self, ids: impl Iterator<Item = WebhookId>) -> Vec<Option<WebhookHealth>> {
        self.reconcile();
        let state = self.state.lock();
        let of = |id| Some(WebhookHealth::of(&state.at_work.get(&id)?.account.lock()));
        ids.map(of).collect()
    }

    /// How all webhooks are doing.
    pub fn health(&self) -> WebhookTotals {
        let mut health = WebhookTotals {
            outcomes: std::array::from_fn(|index| self.shared.outcomes[index].load(Ordering::Relaxed)),
            store_fails: self.shared.alarms.store_fails(),
            store_failures: self.shared.alarms.store_failures(),
            ..WebhookTotals::default()
        };
        let mut oldest = None;
        for endpoint in self.state.lock().at_work.values() {
            let account = endpoint.account.lock();
            let (pending, parked, waiting) = account.counts();
            health.failing += u64::from(account.reception().failures > 0);
            health.pending += pending as u64;
            health.parked += parked as u64;
            oldest = [oldest, waiting.map(|(_, since)| since)].into_iter().flatten().min();
        }
        let now = self.shared.source.now();
        health.oldest_pending = oldest.map_or(0, |since: Timestamp| now.seconds_since(since));
        health
    }
}
