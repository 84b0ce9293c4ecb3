//! What is in segments, by their headers alone: where a start may go on that has what they lead to.

use std::sync::Arc;

use super::{OpenError, SledLog, open_error::damaged, scan::troubled};
use crate::{
    StoredCommit,
    codec::{self, IdempotentCommit},
    record::RecordHash,
    segment::Segment,
    tree::Tree,
};
use tenure_core::{Position, Timestamp};

/// The log at the end of a segment, as its header says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Which log it is: the record hash at position 1.
    pub log_id: RecordHash,
    /// The position of its last event.
    pub position: Position,
    /// When its last commit was recorded.
    pub recorded_at: Timestamp,
    /// The tree over all records up to there.
    pub tree: Tree,
}

impl SegmentEnd {
    fn of(segment: &Segment) -> Self {
        let end = &segment.header.end;
        let (position, recorded_at, tree) = (end.position(), end.recorded_at(), end.tree().clone());
        Self { log_id: segment.header.log_id, position, recorded_at, tree }
    }
}

/// What a start makes of the log.
pub trait Folding {
    /// Behind how many of these segments it goes on, because it has what they lead to. They are not read.
    ///
    /// # Errors
    /// What it has to read of them does not read as it was written.
    fn begin(&mut self, sealed: &SealedHistory<'_>) -> Result<usize, OpenError>;

    /// Takes the next commit.
    ///
    /// # Errors
    /// Why it cannot follow.
    fn add(&mut self, stored: StoredCommit) -> Result<(), String>;
}

/// A start that takes everything from the first event on.
pub(super) struct Whole<'f>(pub(super) &'f mut dyn FnMut(StoredCommit) -> Result<(), String>);

impl Folding for Whole<'_> {
    fn begin(&mut self, _: &SealedHistory<'_>) -> Result<usize, OpenError> {
        Ok(0)
    }

    fn add(&mut self, stored: StoredCommit) -> Result<(), String> {
        (self.0)(stored)
    }
}

/// The segments that a start has found, in order.
#[derive(Clone, Copy, Debug)]
pub struct SealedHistory<'s> {
    segments: &'s [Arc<Segment>],
    vouched: usize,
}

impl<'s> SealedHistory<'s> {
    /// The first `vouched` of them are known to the head record.
    pub(super) const fn of(segments: &'s [Arc<Segment>], vouched: usize) -> Self {
        Self { segments, vouched }
    }

    /// Behind so many of them a start may go on.
    pub const fn vouched(&self) -> usize {
        self.vouched
    }

    /// Where each of them ends.
    pub fn ends(&self) -> Vec<SegmentEnd> {
        self.segments.iter().map(|segment| SegmentEnd::of(segment)).collect()
    }

    /// The requests behind the commits of the first `count` of them that had a key, from about this moment on.
    ///
    /// # Errors
    /// A block does not read as it was written.
    pub fn idempotent_since(
        &self,
        count: usize,
        moment: Timestamp,
        take: &mut dyn FnMut(IdempotentCommit),
    ) -> Result<(), OpenError> {
        let segments = &self.segments[..count];
        let first = segments.partition_point(|segment| segment.header.end.recorded_at() < moment);
        segments[first..].iter().try_for_each(|segment| idempotent_of(segment, moment, take))
    }
}

fn idempotent_of(
    segment: &Segment,
    moment: Timestamp,
    take: &mut dyn FnMut(IdempotentCommit),
) -> Result<(), OpenError> {
    let troubled = |trouble| troubled(segment, trouble);
    let blocks = segment.blocks().map_err(troubled)?;
    for number in blocks.at_moment(moment)..blocks.len() {
        let bytes = blocks.read(number).map_err(troubled)?;
        for (first, _, bytes) in blocks.commits(number, &bytes).map_err(troubled)? {
            let mark = codec::decode_idempotency(first, bytes);
            let mark = mark.map_err(|error| damaged(&segment.path, Some(first), &error.to_string()))?;
            mark.into_iter().for_each(&mut *take);
        }
    }
    Ok(())
}

impl SledLog {
    /// Where each of its segments ends, in order.
    pub fn segment_ends(&self) -> Vec<SegmentEnd> {
        let segments = Arc::clone(&self.segments.read());
        segments.iter().map(|segment| SegmentEnd::of(segment)).collect()
    }
}
