//! How commits are read from segments.

use std::{iter::Peekable, sync::Arc};

use crate::{LogError, StoredBytes, StoredCommit, codec, segment::Segment};
use tenure_core::Position;

/// Takes the bytes of the commit at a position, and says how many events it has.
pub(crate) type CommitVisitor<'t> = dyn FnMut(Position, &[u8]) -> Result<usize, LogError> + 't;

/// The commits that a reading hands over.
pub(crate) fn commits_of(
    read: impl FnOnce(&mut CommitVisitor<'_>) -> Result<(), LogError>,
) -> Result<Vec<StoredCommit>, LogError> {
    let mut found = Vec::new();
    read(&mut |first, bytes| {
        let commit = decoded(first, bytes)?;
        let events = commit.commit.events.len();
        found.push(commit);
        Ok(events)
    })?;
    Ok(found)
}

/// The same, as they are stored.
pub(crate) fn bytes_of(
    read: impl FnOnce(&mut CommitVisitor<'_>) -> Result<(), LogError>,
) -> Result<Vec<StoredBytes>, LogError> {
    let mut found = Vec::new();
    read(&mut |first, bytes| {
        let events = codec::count(bytes).map_err(|error| corrupt(first, &error))?;
        found.push(StoredBytes { first, bytes: bytes.to_vec() });
        Ok(events.into())
    })?;
    Ok(found)
}

/// A commit that was read at this position.
pub(crate) fn decoded(first: Position, bytes: &[u8]) -> Result<StoredCommit, LogError> {
    StoredCommit::decode(first, bytes).map_err(|error| corrupt(first, &error))
}

pub(super) fn corrupt(position: Position, why: &impl ToString) -> LogError {
    LogError::Corrupt { position, why: why.to_string() }
}

/// A reading, from one file to the next.
pub(crate) struct ReadCursor {
    pub(crate) next: Position,
    pub(crate) last: Position,
    /// Events still wanted.
    pub(crate) wanted: usize,
}

impl ReadCursor {
    /// Whether there is nothing more to read.
    pub(crate) fn is_done(&self) -> bool {
        self.wanted == 0 || self.next > self.last
    }

    /// Goes on through the segments that hold what is wanted.
    pub(crate) fn read_segments(
        &mut self,
        segments: &[Arc<Segment>],
        take: &mut CommitVisitor<'_>,
    ) -> Result<(), LogError> {
        let first = segments.partition_point(|segment| segment.header.last() < self.next);
        segments[first..].iter().try_for_each(|segment| self.read_segment(segment, take))
    }

    fn read_segment(&mut self, segment: &Segment, take: &mut CommitVisitor<'_>) -> Result<(), LogError> {
        if self.is_done() {
            return Ok(());
        }
        let blocks = segment.some_blocks()?;
        let mut number = blocks.at(self.next);
        while self.wanted > 0 && number < blocks.len() {
            let bytes = blocks.read(number)?;
            for (first, end, bytes) in blocks.commits(number, &bytes)? {
                self.offer(first, end, bytes, take)?;
            }
            number += 1;
        }
        Ok(())
    }

    /// Takes a commit that is wanted; passes by one that is not.
    pub(crate) fn offer(
        &mut self,
        first: Position,
        end: Position,
        bytes: &[u8],
        take: &mut CommitVisitor<'_>,
    ) -> Result<(), LogError> {
        if end > self.next && self.wanted > 0 {
            self.wanted = self.wanted.saturating_sub(take(first, bytes)?);
            self.next = end;
        }
        Ok(())
    }
}

/// Hands over what is wanted of a segment.
pub(crate) fn read_from(
    segment: &Segment,
    wanted: &mut Peekable<impl Iterator<Item = Position>>,
    take: &mut CommitVisitor<'_>,
) -> Result<(), LogError> {
    let blocks = segment.some_blocks()?;
    while let Some(position) = wanted.peek().copied().filter(|position| *position <= segment.header.last()) {
        let number = blocks.at(position);
        let bytes = blocks.read(number)?;
        hand_over(blocks.commits(number, &bytes)?.into_iter(), wanted, take)?;
        if wanted.peek() == Some(&position) {
            return Err(LogError::Corrupt { position, why: "the segment has no commit for it".to_owned() });
        }
    }
    Ok(())
}

/// Hands over those of these commits that are wanted.
pub(crate) fn hand_over<'b>(
    commits: impl Iterator<Item = (Position, Position, &'b [u8])>,
    wanted: &mut Peekable<impl Iterator<Item = Position>>,
    take: &mut CommitVisitor<'_>,
) -> Result<(), LogError> {
    for (first, end, bytes) in commits {
        if wanted.next_if(|position| *position >= first && *position < end).is_some() {
            while wanted.next_if(|position| *position < end).is_some() {}
            take(first, bytes)?;
        }
    }
    Ok(())
}
