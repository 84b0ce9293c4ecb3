//! How far webhooks have come, for the node that leads next.
//!
//! The account of a webhook is on the node that leads. The next one would deliver everything again that it has no account
//! of, so the one that leads notes where all nodes find it up to which position nothing is left to be delivered. Each
//! note is true whichever node wrote it and however late it came, so an older one in the place of a newer one costs repeats, and
//! no notice.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tenure_core::{Position, WebhookId, webhook::Webhook};

use super::{Webhooks, delivery::queue::DeliveryQueue};

/// Up to which position each webhook has nothing left to deliver.
pub type WebhookProgress = BTreeMap<WebhookId, Position>;

/// Where nodes note it for one another.
pub trait SharedProgress: Send + Sync {
    /// What was noted last.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn load(&self) -> Result<WebhookProgress, String>;
    /// Notes it.
    ///
    /// # Errors
    /// Why it cannot be noted.
    fn save(&self, progress: &WebhookProgress) -> Result<(), String>;
}

/// What this node notes there.
pub(super) struct ProgressKeeper {
    shared: Arc<dyn SharedProgress>,
    /// What was noted or read last.
    known: Mutex<WebhookProgress>,
}

impl ProgressKeeper {
    pub(super) fn new(shared: Arc<dyn SharedProgress>) -> Self {
        Self { shared, known: Mutex::default() }
    }

    /// Takes from these accounts what another node has delivered meanwhile, up to the end of the log.
    pub(super) fn take_over(
        &self,
        accounts: &mut BTreeMap<WebhookId, DeliveryQueue>,
        webhooks: &[Webhook],
        head: Position,
    ) {
        let noted = self.shared.load().unwrap_or_else(|why| {
            tracing::warn!(
                why,
                "how far webhooks have come is not known: each goes on where this node left off, or begins at its creation"
            );
            WebhookProgress::default()
        });
        for webhook in webhooks {
            if let Some(done) = noted.get(&webhook.id()) {
                let account =
                    accounts.entry(webhook.id()).or_insert_with(|| DeliveryQueue::new(webhook.created));
                account.is_done_elsewhere((*done).min(head));
            }
        }
        *self.known.lock() = noted;
    }

    /// Notes it, if it is news.
    pub(super) fn keep(&self, progress: WebhookProgress) {
        if *self.known.lock() == progress {
            return;
        }
        match self.shared.save(&progress) {
            Ok(()) => *self.known.lock() = progress,
            // It is tried again with the next one.
            Err(why) => tracing::debug!(why, "how far webhooks have come is not noted for the other nodes"),
        }
    }
}

impl Webhooks {
    /// From now on this node notes there how far webhooks have come, and goes on where another one has noted.
    pub fn share_progress(&self, shared: Arc<dyn SharedProgress>) {
        self.progress.get_or_init(|| ProgressKeeper::new(shared));
    }

    pub(super) fn note_progress(&self) {
        let Some(progress) = self.progress.get() else { return };
        let accounts: Vec<_> = {
            let state = self.state.lock();
            state.at_work.iter().map(|(id, endpoint)| (*id, Arc::clone(&endpoint.account))).collect()
        };
        progress
            .keep(accounts.into_iter().map(|(id, account)| (id, account.lock().done_through())).collect());
    }
}
