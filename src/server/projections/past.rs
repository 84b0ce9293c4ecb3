//! What projections keep in memory of the latest part of the history, and read from the files of the log of the part
//! before.
//!
//! Every reading looks into memory first: what memory lets go of meanwhile was in an index before, and an index never
//! goes. So nothing is missing between the two, and nothing comes twice, because memory says from which position on it
//! answers.

use tenure_core::{
    Event, Position, SealedText, StreamId, SystemEvent, bulk::BulkRevocation, event::EndTrigger,
};
use tenure_log::{EventLog, IndexedKind, LogError, StoredCommit, waiting_for_disk};

use super::{
    Projections,
    revocations::{BulkWithReason, RevocationList},
    timeline::{SHARDS, StreamTimeline},
};

impl Projections {
    /// Where the commits of a stream begin that begin after `after`, up to `most`. Of those found in the files of the
    /// log, some may be of another stream.
    ///
    /// # Errors
    /// The files of the log cannot be read.
    pub fn commits_of(
        &self,
        log: &dyn EventLog,
        stream: &StreamId,
        after: Position,
        most: usize,
    ) -> Result<Vec<Position>, LogError> {
        let (told_after, known) =
            self.timeline(|timeline| (timeline.after(), timeline.commits(stream, after, most)));
        let cold = || log.indexed().commits(stream, (after, told_after), most);
        joined(after < told_after, cold, known, most)
    }

    /// The positions after this one at which sessions were ended, or a subject was suspended, up to `most`.
    ///
    /// # Errors
    /// The files of the log cannot be read.
    pub fn revocations_after(
        &self,
        log: &dyn EventLog,
        after: Position,
        most: usize,
    ) -> Result<Vec<Position>, LogError> {
        let (told_after, known) = self.revocations(|known| (known.after(), known.known_after(after, most)));
        let cold = || log.indexed().listed(IndexedKind::Revocations, (after, told_after), most);
        joined(after < told_after, cold, known, most)
    }

    /// The positions of the bulk revocations after this one, up to `most`.
    ///
    /// # Errors
    /// The files of the log cannot be read.
    pub fn bulks_after(
        &self,
        log: &dyn EventLog,
        after: Position,
        most: usize,
    ) -> Result<Vec<Position>, LogError> {
        let (told_after, known) =
            self.revocations(|known| (known.bulks_after(), known.known_bulks_after(after, most)));
        let cold = || log.indexed().listed(IndexedKind::Bulks, (after, told_after), most);
        joined(after < told_after, cold, known, most)
    }

    /// The bulk revocations after a position, up to another.
    ///
    /// # Errors
    /// The files of the log cannot be read.
    pub fn bulks_between(
        &self,
        log: &dyn EventLog,
        after: Position,
        position: Position,
    ) -> Result<Vec<BulkRevocation>, LogError> {
        let (told_after, known) =
            self.revocations(|known| (known.bulks_after(), known.known_bulks_between(after, position)));
        let span = (after, told_after.min(position));
        let old = if span.1 > span.0 {
            log.indexed().listed(IndexedKind::Bulks, span, usize::MAX)?
        } else {
            vec![]
        };
        let mut bulks = Vec::with_capacity(old.len() + known.len());
        for said in bulks_at(&log.read_commits(&old)?, &old)? {
            bulks.push(said.bulk);
        }
        bulks.extend(known);
        Ok(bulks)
    }

    /// The reason that was given for what ended sessions at this position, if that was a bulk revocation. It is sealed
    /// in the authority's own stream.
    ///
    /// # Errors
    /// The log cannot be read; it is read only of one long ago.
    pub fn reason_at(
        &self,
        log: &dyn EventLog,
        position: Position,
        trigger: EndTrigger,
    ) -> Result<Option<SealedText>, LogError> {
        if !matches!(trigger, EndTrigger::Bulk | EndTrigger::Restore) {
            return Ok(None);
        }
        let known = self.revocations(|known| {
            (position > known.bulks_after()).then(|| known.known_reason_at(position).cloned())
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let mut last = self.old_reason.lock();
        if let Some((at, reason)) = &*last
            && *at == position
        {
            return Ok(reason.clone());
        }
        let read = waiting_for_disk(|| log.read_commits(&[position]))?;
        let said = bulks_at(&read, &[position])?.pop();
        let reason = said.and_then(|said| said.reason);
        *last = Some((position, reason.clone()));
        Ok(reason)
    }

    /// How many streams, and how many revocations, memory knows something of: no more the longer the history is, where
    /// segments are sealed behind it.
    pub fn held(&self) -> (usize, usize) {
        (self.timeline(StreamTimeline::streams), self.revocations(RevocationList::held))
    }

    /// What stands up to this position can be asked of the log from now on, so memory lets go of it.
    pub fn let_go(&self, until: Position) {
        if self.timeline(StreamTimeline::after) >= until {
            return;
        }
        self.revocations.write().let_go(until);
        self.timeline.write().let_go(until);
        // One table at a time: the fold does not wait for all of them.
        for shard in 0..SHARDS {
            self.timeline.write().remove_old(shard);
        }
    }
}

/// What the files cover, and behind it what is in memory.
fn joined(
    is_cold: bool,
    cold: impl FnOnce() -> Result<Vec<Position>, LogError>,
    known: Vec<Position>,
    most: usize,
) -> Result<Vec<Position>, LogError> {
    if !is_cold {
        return Ok(known);
    }
    let mut found = cold()?;
    found.extend(known);
    found.truncate(most);
    Ok(found)
}

/// The bulk revocations at these positions, which are in these commits.
pub(super) fn bulks_at(
    commits: &[StoredCommit],
    positions: &[Position],
) -> Result<Vec<BulkWithReason>, LogError> {
    let bulk = |position: &Position| {
        let place = commits.partition_point(|stored| stored.last() < *position);
        let stored = commits.get(place).filter(|stored| stored.first <= *position)?;
        let index = usize::try_from(position.0 - stored.first.0).ok()?;
        let Event::System(SystemEvent::SelectionRevoked(event)) = stored.commit.events.get(index)? else {
            return None;
        };
        Some(BulkWithReason::of(*position, stored.commit.recorded_at, event))
    };
    let wrong = |position: &Position| {
        let why = "it is said to have ended sessions of many subjects, and it has not".to_owned();
        LogError::Corrupt { position: *position, why }
    };
    positions.iter().map(|position| bulk(position).ok_or_else(|| wrong(position))).collect()
}
