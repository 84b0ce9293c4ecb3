//! The keys of erased subjects are destroyed when the events that erase them are durable, before anything of the batch
//! is published.

use std::sync::Arc;

use crate::personal_data::{SubjectKeys, TextError};
use tenure_core::{Event, Position, SubjectEvent};
use tenure_log::StoredCommit;

/// Destroys the keys of the subjects that these commits erase.
///
/// # Errors
/// The first key that could not be destroyed; the others were tried.
pub(crate) fn destroy_keys(texts: &SubjectKeys, commits: &[Arc<StoredCommit>]) -> Result<(), TextError> {
    let erasures = commits.iter().flat_map(|stored| erasures(stored).map(|at| (&stored.commit.stream, at)));
    let (mut outcome, mut last) = (Ok(()), None);
    for (stream, at) in erasures {
        outcome = outcome.and(texts.forget(stream, at));
        last = Some(at);
    }
    if let (Ok(()), Some(last)) = (&outcome, last) {
        texts.has_erased_through(last);
    }
    outcome
}

/// Where a commit erases its subject.
pub(crate) fn erasures(stored: &StoredCommit) -> impl Iterator<Item = Position> {
    let events = stored.positions().zip(&stored.commit.events);
    events
        .filter(|(_, event)| matches!(event, Event::Subject(SubjectEvent::SubjectErased(_))))
        .map(|(position, _)| position)
}
