//! Forgetting: all text about a subject is made unreadable for good.
//!
//! The event is the fact, and the key's destruction follows from it: the sequencer destroys the key when the event
//! is durable and before anybody hears of it, and the next start does it when a crash came in between. So a key is
//! never destroyed for an event that a power cut could take back, and nothing erased can be read again.

use std::sync::Arc;

use crate::personal_data::{SubjectKeys, TextError};
use tenure_core::{
    Event, Position, Stream, SubjectEvent, SubjectId, Timestamp,
    command::{Command, EraseSubject},
};
use tenure_log::StoredCommit;

use crate::authority::{
    Authority,
    pipeline::request::{CommandRequest, Context, Failure},
};

/// A subject of which no text can be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The event that says so; none when the log lacks it, because it is an older one than the keys.
    pub by: Option<Position>,
    /// The same event, when it was recorded now; none when nothing was left to be erased.
    pub position: Option<Position>,
    /// The moment of the decision.
    pub at: Timestamp,
}

impl Authority {
    /// Makes all text about a subject unreadable: its name, and the devices, metadata and reasons of its sessions.
    /// Its sessions go on, the rules about devices too. What is said of it later is sealed under a new key.
    ///
    /// The reason is sealed under the authority's own key, and is not erased with the rest.
    ///
    /// # Errors
    /// [`Refusal::SubjectNotFound`](tenure_core::refusal::Refusal), or why it could not be recorded. When the key
    /// could not be destroyed, the outcome is unknown: the next start destroys it.
    pub async fn erase_subject(
        &self,
        context: Context,
        id: SubjectId,
        reason: &str,
    ) -> Result<Erased, Failure> {
        let reason = self.seal_own("reason", reason)?;
        let command = Command::EraseSubject(EraseSubject { reason });
        let done = self.submit(CommandRequest::Subject(id.clone(), command), context).await?;
        let position = done.position();
        let by = position.or_else(|| self.secrets.texts.forgotten_by(&Stream::Subject(id)));
        Ok(Erased { by, position, at: done.at })
    }
}

/// Destroys the keys of the subjects that these commits erase.
///
/// # Errors
/// The first key that could not be destroyed; the others were tried.
pub(crate) fn destroy_keys(texts: &SubjectKeys, commits: &[Arc<StoredCommit>]) -> Result<(), TextError> {
    let erasures = commits.iter().flat_map(|stored| erasures(stored).map(|at| (&stored.commit.stream, at)));
    let mut outcome = Ok(());
    for (stream, at) in erasures {
        outcome = outcome.and(texts.forget(stream, at));
    }
    outcome
}

fn erasures(stored: &StoredCommit) -> impl Iterator<Item = Position> {
    let events = stored.positions().zip(&stored.commit.events);
    events
        .filter(|(_, event)| matches!(event, Event::Subject(SubjectEvent::SubjectErased(_))))
        .map(|(position, _)| position)
}
