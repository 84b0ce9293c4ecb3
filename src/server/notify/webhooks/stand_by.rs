//! Webhooks of a node while another one delivers: what is deleted there is forgotten here, too.

use tenure_core::{Event, EventKind, KindSet, SystemEvent};
use tenure_log::waiting_for_disk;
use tokio::time::sleep;

use super::{STORE_REST, Webhooks};

const DELETED: KindSet = KindSet::of(&[EventKind::WebhookDeleted]);

impl Webhooks {
    /// Forgets the destinations of webhooks as they are deleted, until the caller stops it.
    pub async fn stand_by(&self) {
        let mut cursor = self.shared.source.subscribe(self.shared.source.head());
        loop {
            match cursor.next().await {
                Ok(Some(batch)) if batch.next_of(DELETED, 0).is_none() => {}
                Ok(Some(batch)) => {
                    let events = batch.commits().iter().flat_map(|commit| &commit.stored().commit.events);
                    for event in events {
                        if let Event::System(SystemEvent::WebhookDeleted(deleted)) = event
                            && let Err(error) =
                                waiting_for_disk(|| self.destinations().forget(deleted.webhook_id))
                        {
                            tracing::warn!(%error, "the file of a deleted webhook is left; the next start removes it");
                        }
                    }
                }
                Ok(None) => std::future::pending().await,
                Err(error) => {
                    tracing::error!(%error, "the news of webhooks could not be read");
                    sleep(STORE_REST).await;
                }
            }
        }
    }
}
