//! A webhook comes into being: its file first, then its event.
//!
//! URL and secret are secrets, so they are in a file and not in the log, and two places must agree. The file comes
//! first: the other way round a crash would leave a webhook without a destination, whose secret no one has. What is
//! left when it goes no further than
//!
//! | here | leaves | and then |
//! |---|---|---|
//! | the file is not written whole | nothing; the caller gets *unavailable* | |
//! | the file is durable, a crash follows | a file without an event | the next start removes it ([`DestinationStore`](super::Destinations)) |
//! | the event is refused, or is that of an earlier request | a file without an event | it is removed at once; if that fails, by the next start |
//! | the fate of the event is not known | a file, and perhaps its event | the file stays; the next start removes it if there is no event |
//! | the event is durable, a crash follows | the webhook | the next start begins to deliver; a repeat under the same key gets it without URL and secret, which are returned only once |

use super::{WebhookDestination, Webhooks};
use tenure_core::WebhookId;
use tenure_files::key_files::KeyFileError;
use tenure_log::waiting_for_disk;

/// What became of the event that admits a webhook.
#[derive(Debug)]
pub enum RecordOutcome<T, E> {
    /// It was recorded now.
    Now(T),
    /// An earlier request under the same key had recorded its own; nothing was recorded now.
    Before(T),
    /// It was not recorded.
    Not(E),
    /// Whether it was is not known.
    Unknown(E),
}

/// Why a webhook is not there.
#[derive(Debug)]
pub enum CreationError<E> {
    /// Its file cannot be written; nothing was recorded.
    File(KeyFileError),
    /// Its event was not recorded, or it is unknown whether it was.
    Record(E),
}

impl Webhooks {
    /// Makes a webhook: keeps its destination, has `record` record it, and starts to deliver. The module says what a
    /// crash in between leaves.
    ///
    /// # Errors
    /// [`CreationError`].
    pub async fn create<T, E>(
        &self,
        id: WebhookId,
        destination: &WebhookDestination,
        record: impl Future<Output = RecordOutcome<T, E>>,
    ) -> Result<T, CreationError<E>> {
        let kept = waiting_for_disk(|| self.destinations().keep(id, destination));
        kept.map_err(CreationError::File)?;
        let recorded = record.await;
        if !recorded.needs_file() {
            self.take_back(id);
        }
        let webhook = recorded.into_result().map_err(CreationError::Record)?;
        self.reconcile();
        Ok(webhook)
    }

    fn take_back(&self, id: WebhookId) {
        if let Err(error) = waiting_for_disk(|| self.destinations().forget(id)) {
            tracing::warn!(%error, "the file of a webhook that is not there is left; the next start removes it");
        }
    }
}

impl<T, E> RecordOutcome<T, E> {
    /// Whether the file may be that of a recorded webhook.
    const fn needs_file(&self) -> bool {
        match self {
            Self::Now(_) | Self::Unknown(_) => true,
            Self::Before(_) | Self::Not(_) => false,
        }
    }

    fn into_result(self) -> Result<T, E> {
        match self {
            Self::Now(webhook) | Self::Before(webhook) => Ok(webhook),
            Self::Not(error) | Self::Unknown(error) => Err(error),
        }
    }
}
