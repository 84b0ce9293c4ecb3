//! What is in segments, by their headers alone: where a start may go on that has what they lead to.

use std::{path::Path, sync::Arc};

use super::{OpenError, SledLog, error::damaged, recovery::troubled};
use crate::{
    IndexedHistory, SegmentEvents, StoredCommit,
    codec::{self, IdempotentCommit},
    record::RecordHash,
    segment::Segment,
    tree::TreeEdge,
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
    pub tree: TreeEdge,
}

impl SegmentEnd {
    pub(crate) fn of(segment: &Segment) -> Self {
        let end = &segment.header.end;
        let (position, recorded_at, tree) = (end.position(), end.recorded_at(), end.tree().clone());
        Self { log_id: segment.header.log_id, position, recorded_at, tree }
    }
}

/// How much of the history a start reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyScope {
    /// All of it.
    All,
    /// What is behind the newest checkpoint. Of the segments before it only the headers are read.
    Hot,
}

impl VerifyScope {
    /// The words for it in settings.
    pub const NAMES: [(&'static str, Self); 2] = [("hot", Self::Hot), ("all", Self::All)];
}

/// What a start makes of the log.
pub trait StartupFold {
    /// Behind how many of these segments it goes on, because it has what they lead to. They are not read.
    ///
    /// # Errors
    /// What it has to read of them does not read as it was written.
    fn begin(&mut self, sealed: &SealedHistory<'_>) -> Result<usize, OpenError>;

    /// Takes the next commit, with the leaves that its records are in the tree.
    ///
    /// # Errors
    /// Why it cannot follow.
    fn add(&mut self, stored: StoredCommit, leaves: &[[u8; 32]]) -> Result<(), String>;
}

/// A start that takes everything from the first event on.
pub(crate) struct WholeFold<'f>(pub(crate) &'f mut dyn FnMut(StoredCommit) -> Result<(), String>);

impl StartupFold for WholeFold<'_> {
    fn begin(&mut self, _: &SealedHistory<'_>) -> Result<usize, OpenError> {
        Ok(0)
    }

    fn add(&mut self, stored: StoredCommit, _: &[[u8; 32]]) -> Result<(), String> {
        (self.0)(stored)
    }
}

/// The segments that a start has found, in order.
#[derive(Clone, Debug)]
pub struct SealedHistory<'s> {
    segments: &'s [Arc<Segment>],
    indexed: IndexedHistory,
}

impl<'s> SealedHistory<'s> {
    /// The first `vouched` of them are known to the head record.
    pub(crate) fn of(segments: &'s [Arc<Segment>], vouched: usize) -> Self {
        let indexed = IndexedHistory::of_segments(Arc::new(segments[..vouched].to_vec()));
        Self { segments, indexed }
    }

    /// The part of it that can be asked by key. A start may go on at the end of any segment in it: those behind that are
    /// read, as is what the head record does not know.
    pub const fn indexed(&self) -> &IndexedHistory {
        &self.indexed
    }

    /// Where each of them ends.
    pub fn ends(&self) -> Vec<SegmentEnd> {
        self.segments.iter().map(|segment| SegmentEnd::of(segment)).collect()
    }

    /// The requests behind the commits up to this end of a segment that had a key, from about this moment on. Gives how
    /// many segments end up to there.
    ///
    /// # Errors
    /// A block does not read as it was written.
    pub fn idempotent_since(
        &self,
        end: Position,
        moment: Timestamp,
        take: &mut dyn FnMut(IdempotentCommit),
    ) -> Result<usize, OpenError> {
        let count = self.segments.partition_point(|segment| segment.header.last() <= end);
        let segments = &self.segments[..count];
        let first = segments.partition_point(|segment| segment.header.end.recorded_at() < moment);
        segments[first..].iter().try_for_each(|segment| idempotent_of(segment, moment, take))?;
        Ok(count)
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
    /// Opens the log of this data directory, or makes a new one, and hands every commit to `fold`, in order.
    ///
    /// All of it is read and checked: frames, positions, recorded time, and the root against
    /// the head record. What does not check is refused, never repaired.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file and, where it is known, the position. Leftovers of an interrupted start
    /// are removed; nothing else is changed by us.
    pub(crate) fn open(
        data_dir: &Path,
        cut: SegmentEvents,
        fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        Self::open_for(data_dir, cut, &mut WholeFold(fold))
    }
}
