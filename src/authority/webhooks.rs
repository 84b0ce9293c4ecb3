//! Webhooks: what of them is a fact, and what they need of the authority.

use std::sync::Arc;

use crate::{
    bus::{Cursor, Notice, NoticeId, notices_of, webhooks::Source},
    domain::{
        OwnerId, Position, Timestamp, WebhookId,
        command::{DeleteWebhook, SystemCommand},
        event::WebhookCreated,
        webhook::Webhook,
    },
    entropy,
    log::LogError,
};

use super::{
    Authority, Reply,
    request::{Answer, Ask, Context, Failure},
};

impl Authority {
    /// Admits a webhook. Its URL and its secret are kept before, by whoever asks.
    ///
    /// # Errors
    /// [`Refusal::WebhookLimitExceeded`](crate::domain::refusal::Refusal), or why it could not be recorded.
    pub async fn create_webhook(
        &self,
        context: Context,
        asked: WebhookCreated,
    ) -> Result<Reply<Position>, Failure> {
        self.submit(Ask::System(SystemCommand::CreateWebhook(asked)), context).await.map(recorded)
    }

    /// Lets a webhook tell nothing more.
    ///
    /// # Errors
    /// [`Refusal::WebhookNotFound`](crate::domain::refusal::Refusal), or why it could not be recorded.
    pub async fn delete_webhook(
        &self,
        context: Context,
        id: WebhookId,
        owner: Option<OwnerId>,
    ) -> Result<Reply<Position>, Failure> {
        let asked = DeleteWebhook { id, owner };
        self.submit(Ask::System(SystemCommand::DeleteWebhook(asked)), context).await.map(recorded)
    }
}

fn recorded(answer: Answer) -> Reply<Position> {
    match answer {
        Answer::Done(done) => Reply::Now(done.position().expect("what is done to a webhook is recorded")),
        Answer::Repeat(first) => Reply::Repeat(first),
    }
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

    fn notice(&self, id: NoticeId) -> Result<Option<Notice>, LogError> {
        let before = Position(id.position.0.saturating_sub(1));
        let stored = self.log().read(before, 1)?;
        let notices = stored.first().map(|stored| notices_of(stored, self)).unwrap_or_default();
        Ok(notices.into_iter().find(|notice| notice.notice_id == id))
    }

    fn webhooks(&self) -> Vec<Webhook> {
        let view = self.live().system();
        let system = Arc::clone(&view.system);
        system.webhooks.values().cloned().collect()
    }
}
