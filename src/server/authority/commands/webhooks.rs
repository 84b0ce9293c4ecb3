//! Webhooks: what of them is a fact, and what they need of the authority.

use std::sync::Arc;

use crate::notify::{
    EventCursor, Notice, NoticeId, notices_of,
    webhooks::{RecordOutcome, WebhookSource},
};
use tenure_core::{
    Event, OwnerId, Position, SystemEvent, Timestamp, WebhookId,
    command::{DeleteWebhook, SystemCommand},
    event::WebhookCreated,
    webhook::Webhook,
};
use tenure_log::{LogError, StoredCommit};
use tenure_protocol::entropy;

use crate::authority::{
    Authority,
    pipeline::request::{CommandEffect, CommandError, CommandRequest, RequestContext},
};

impl Authority {
    /// Admits a webhook: [`Webhooks::create`](crate::notify::webhooks::Webhooks::create) keeps its URL and its secret
    /// before. The same request again is answered with the webhook of the first.
    ///
    /// # Errors
    /// [`Refusal::WebhookLimitExceeded`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn create_webhook(
        &self,
        context: RequestContext,
        asked: WebhookCreated,
    ) -> Result<CreatedWebhook, CommandError> {
        let done = self.submit(CommandRequest::System(SystemCommand::CreateWebhook(asked)), context).await?;
        CreatedWebhook::of(&done)
    }

    /// Deletes a webhook: it delivers nothing more.
    ///
    /// # Errors
    /// [`Refusal::WebhookNotFound`](tenure_core::refusal::Refusal), or why it could not be recorded.
    pub async fn delete_webhook(
        &self,
        context: RequestContext,
        id: WebhookId,
        owner: Option<OwnerId>,
    ) -> Result<Position, CommandError> {
        let asked = DeleteWebhook { id, owner };
        let done = self.submit(CommandRequest::System(SystemCommand::DeleteWebhook(asked)), context).await?;
        Ok(recorded(&done).last())
    }
}

fn recorded(done: &CommandEffect) -> &StoredCommit {
    done.commit.as_deref().expect("what is done to a webhook is recorded")
}

/// A webhook as it was created.
#[derive(Clone, Debug)]
pub struct CreatedWebhook {
    /// What was recorded of it.
    pub event: WebhookCreated,
    /// When.
    pub created_at: Timestamp,
    /// Where.
    pub position: Position,
    /// Whether an earlier request under the same key created it.
    pub is_repeat: bool,
}

impl CreatedWebhook {
    fn of(done: &CommandEffect) -> Result<Self, CommandError> {
        let stored = recorded(done);
        let [Event::System(SystemEvent::WebhookCreated(event))] = stored.commit.events.as_slice() else {
            let why = format!("what was recorded at {} is no webhook", stored.first);
            return Err(CommandError::StorageUnavailable { why });
        };
        let (created_at, position) = (stored.commit.recorded_at, stored.last());
        Ok(Self { event: event.clone(), created_at, position, is_repeat: done.is_repeat })
    }
}

impl From<Result<CreatedWebhook, CommandError>> for RecordOutcome<CreatedWebhook, CommandError> {
    fn from(answer: Result<CreatedWebhook, CommandError>) -> Self {
        match answer {
            Ok(webhook) if webhook.is_repeat => Self::Before(webhook),
            Ok(webhook) => Self::Now(webhook),
            Err(failure @ CommandError::OutcomeUnknown) => Self::Unknown(failure),
            Err(failure) => Self::Not(failure),
        }
    }
}

impl WebhookSource for Authority {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn jitter(&self) -> u16 {
        entropy::jitter(self.entropy())
    }

    fn subscribe(&self, after: Position) -> EventCursor {
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
        let notices = stored.first().map(|stored| notices_of(stored, None, self)).unwrap_or_default();
        Ok(notices.into_iter().find(|notice| notice.notice_id.id == id))
    }

    fn webhooks(&self) -> Vec<Webhook> {
        let view = self.live().system();
        let system = Arc::clone(&view.system);
        system.webhooks.values().cloned().collect()
    }
}
