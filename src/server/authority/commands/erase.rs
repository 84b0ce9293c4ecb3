//! Forgetting: all text about a subject is made permanently unreadable.
//!
//! The event is the fact, and the key's destruction follows from it: the sequencer destroys the key when the event
//! is durable and before any reader sees it, and the next start does it when a crash came in between. So a key is
//! never destroyed for an event that a power cut could take back, and nothing erased can be read again.

use crate::authority::{
    Authority,
    pipeline::{
        key_destruction::erasures,
        request::{CommandError, CommandRequest, RequestContext},
    },
};
use tenure_core::{
    Position, StreamId, SubjectId, Timestamp,
    command::{Command, EraseSubject},
};

/// A subject without readable text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectErasure {
    /// The event that says so; `None` if the log is older than the keys and lacks it.
    pub by: Option<Position>,
    /// The same event, if it was recorded now; `None` if nothing was left to be erased.
    pub position: Option<Position>,
    /// When that event was recorded; `None` if the log does not say.
    pub erased_at: Option<Timestamp>,
    /// The moment of the decision.
    pub at: Timestamp,
}

impl Authority {
    /// Makes all text about a subject unreadable: its name, and the devices, metadata and reasons of its sessions.
    /// Its sessions go on, the rules about devices too. Later texts about it are sealed under a new key.
    ///
    /// The reason is sealed under the authority's own key, and is not erased with the rest.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`](tenure_core::refusal::Refusal), or why it could not be recorded. When the key
    /// could not be destroyed, the outcome is unknown: the next start destroys it.
    pub async fn erase_subject(
        &self,
        context: RequestContext,
        id: SubjectId,
        reason: &str,
    ) -> Result<SubjectErasure, CommandError> {
        let reason = self.seal_own("reason", reason)?;
        let command = Command::EraseSubject(EraseSubject { reason });
        let done = self.submit(CommandRequest::Subject(id.clone(), command), context).await?;
        let position = done.position();
        let by = position.or_else(|| self.secrets.texts.forgotten_by(&StreamId::Subject(id.clone())));
        let erased_at = by.map(|by| self.erased_at(&id, by)).transpose()?.flatten();
        Ok(SubjectErasure { by, position, erased_at, at: done.at })
    }

    /// The last erasure of this subject, as this node has done it; `None` if there was none.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn erasure_of(&self, id: &SubjectId) -> Result<Option<SubjectErasure>, CommandError> {
        let Some(by) = self.secrets.texts.forgotten_by(&StreamId::Subject(id.clone())) else {
            return Ok(None);
        };
        let erased_at = self.erased_at(id, by)?;
        Ok(Some(SubjectErasure { by: Some(by), position: None, erased_at, at: self.now() }))
    }

    /// When the event at this position was recorded, if it is of the erasure of this subject.
    fn erased_at(&self, id: &SubjectId, by: Position) -> Result<Option<Timestamp>, CommandError> {
        let read = self.log().read(Position(by.0.saturating_sub(1)), 1);
        let read = read.map_err(|error| CommandError::StorageUnavailable { why: error.to_string() })?;
        let of_subject = StreamId::Subject(id.clone());
        let found = read.iter().find(|stored| {
            stored.commit.stream == of_subject && stored.last() >= by && erasures(stored).next().is_some()
        });
        Ok(found.map(|stored| stored.commit.recorded_at))
    }
}
