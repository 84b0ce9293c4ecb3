//! The segments of a data directory: they are read, more are made, and each gets an index, whatever kind of log is in
//! front of them.

mod indexing;
#[cfg(feature = "jetstream")]
mod mending;
mod reading;
mod scrubbing;
mod sealing;

#[cfg(feature = "jetstream")]
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{IndexedHistory, SealedFile, SegmentEnd, segment::Segment, sled::data_dir::DataDir};
use tenure_core::Position;

pub(crate) use self::{
    reading::{CommitVisitor, ReadCursor, bytes_of, commits_of, hand_over, read_from},
    sealing::{RangeEnd, SegmentMaking},
};
pub use self::{
    scrubbing::{DamagedSegment, ScrubPace, ScrubResult},
    sealing::SealError,
};

/// What is in files that never change, in order: all of the history up to some position.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    data: DataDir,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
}

impl SegmentStore {
    /// With these segments, which were found in this directory.
    pub(crate) fn of(data: DataDir, segments: Vec<Arc<Segment>>) -> Self {
        Self { data, segments: RwLock::new(Arc::new(segments)) }
    }

    pub(crate) fn all(&self) -> Arc<Vec<Arc<Segment>>> {
        Arc::clone(&self.segments.read())
    }

    /// Where they are.
    #[cfg(feature = "jetstream")]
    pub(crate) fn directory(&self) -> &Path {
        &self.data.segments
    }

    /// The last position in them.
    pub(crate) fn end(&self) -> Position {
        self.segments.read().last().map_or(Position::ZERO, |last| last.header.last())
    }

    /// Where each of them ends.
    pub(crate) fn ends(&self) -> Vec<SegmentEnd> {
        self.all().iter().map(|segment| SegmentEnd::of(segment)).collect()
    }

    /// The part of the history that can be asked by key.
    pub(crate) fn indexed(&self) -> IndexedHistory {
        IndexedHistory::of_segments(self.all())
    }

    pub(crate) fn files(&self) -> Vec<SealedFile> {
        self.all().iter().cloned().map(SealedFile::of).collect()
    }

    /// The bytes that they have on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.all().iter().map(|segment| segment.bytes()).sum()
    }
}
