//! How a receiver takes what it is sent, by the attempts to deliver to it.

use super::{DeliveryAttempt, QueuedDelivery};
use crate::notify::webhooks::delivery::outcome::DeliveryOutcome;
use tenure_core::Timestamp;

/// How a receiver takes what it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverHistory {
    /// When it last took a notice.
    pub last_success: Option<Timestamp>,
    /// The newest attempt that failed.
    pub last_failure: Option<DeliveryAttempt>,
    /// Attempts that failed since it last took one.
    pub failures: u32,
    /// When the first of them failed.
    pub failing_since: Option<Timestamp>,
}

impl ReceiverHistory {
    /// By the attempts that are remembered.
    pub(super) fn of<'a>(deliveries: impl Iterator<Item = &'a QueuedDelivery>) -> Self {
        let mut attempts: Vec<_> = deliveries.flat_map(|delivery| &delivery.attempts).copied().collect();
        attempts.sort_by_key(|attempt| attempt.at);
        let mut reception = Self::default();
        for attempt in attempts {
            reception.note(attempt);
        }
        reception
    }

    pub(super) fn note(&mut self, attempt: DeliveryAttempt) {
        if attempt.outcome == DeliveryOutcome::Delivered {
            self.last_success = Some(attempt.at);
            (self.failures, self.failing_since) = (0, None);
        } else {
            self.last_failure = Some(attempt);
            self.failures = self.failures.saturating_add(1);
            self.failing_since.get_or_insert(attempt.at);
        }
    }
}
