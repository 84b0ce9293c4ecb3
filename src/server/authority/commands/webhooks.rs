//! Webhooks: what of them is a fact, and what they need of the authority.

use std::sync::Arc;

use crate::notify::{Cursor, Notice, NoticeId, notices_of, webhooks::Source};
use tenure_core::{
    OwnerId, Position, Timestamp, WebhookId,
    command::{DeleteWebhook, SystemCommand},
    event::WebhookCreated,
    webhook::Webhook,
};
use tenure_log::{LogError, StoredCommit};
use tenure_protocol::entropy;

use crate::authority::{
    Authority,
    pipeline::request::{CommandRequest, Context, Done, Failure},
};

impl Authority {
    /// Admits a webhook: the event that says so, and whether that is of an earlier request under the same key. Its URL and its secret are kept before, by whoever asks.
    ///
    /// # Errors
    /// [`Refusal::WebhookLimitExceeded`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn create_webhook(
        &self,
        context: Context,
        asked: WebhookCreated,
    ) -> Result<(Position, bool), Failure> {
        let done = self.submit(CommandRequest::System(SystemCommand::CreateWebhook(asked)), context).await?;
        Ok(recorded(&done))
    }

    /// Lets a webhook tell nothing more.
    ///
    /// # Errors
    /// [`Refusal::WebhookNotFound`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn delete_webhook(
        &self,
        context: Context,
        id: WebhookId,
        owner: Option<OwnerId>,
    ) -> Result<Position, Failure> {
        let asked = DeleteWebhook { id, owner };
        let done = self.submit(CommandRequest::System(SystemCommand::DeleteWebhook(asked)), context).await?;
        Ok(recorded(&done).0)
    }
}

fn recorded(done: &Done) -> (Position, bool) {
    (done.position().expect("what is done to a webhook is recorded"), done.is_repeat)
}

impl Source for Authority {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn jitter(&self) -> u16 {
        entropy::jitter(self.entropy())
    }

    fn subscribe(&self, after: Position) -> Cursor {
        Self::subscribe(self, after)
    }

    fn head(&self) -> Position {
        self.feed().head()
    }

    fn past(&self, after: Position, most: usize) -> Result<Vec<StoredCommit>, LogError> {
        let head = self.feed().head();
        let mut read = self.log().read(after, most)?;
        read.truncate(read.partition_point(|stored| stored.last() <= head));
        Ok(read)
    }

    fn notice(&self, id: NoticeId) -> Result<Option<Notice>, LogError> {
        let before = Position(id.position.0.saturating_sub(1));
        let stored = self.log().read(before, 1)?;
        let notices = stored.first().map(|stored| notices_of(stored, self)).unwrap_or_default();
        Ok(notices.into_iter().find(|notice| notice.notice_id.id == id))
    }

    fn webhooks(&self) -> Vec<Webhook> {
        let view = self.live().system();
        let system = Arc::clone(&view.system);
        system.webhooks.values().cloned().collect()
    }
}
