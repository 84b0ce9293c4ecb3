//! A full range of the history becomes a segment.
//!
//! It is written under another name, synced, read back and checked, and renamed: the rename is the moment of truth.

use std::{path::Path, sync::Arc};

use super::{
    CommitVisitor, SegmentStore,
    reading::{corrupt, decoded},
};
use crate::{
    LogError, OpenError, RecordHash,
    codec::{CommitOutline, time_and_count},
    segment::{self, Segment, SegmentWriter, index::IndexBuilder},
    sled::error::io_at,
    tail::LogTail,
};
use tenure_core::Position;
use tenure_files::replacement::put_in_place;

/// Events read from the log at a time.
const AT_A_TIME: usize = 2_000;

/// Why a range was not sealed. Nothing is lost: it is in its store as before.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It was told to stop.
    #[error("the sealing was told to stop")]
    Stopped,
    /// The log does not give back what is to be sealed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file cannot be written, or does not read as it was written.
    #[error(transparent)]
    File(#[from] OpenError),
    /// What is stored is not what was appended.
    #[error("positions {first} to {last} are not those that the tree was made of")]
    Untrue {
        /// The first position.
        first: Position,
        /// The last one.
        last: Position,
    },
}

/// Reads this many events behind a position.
type CommitReader<'r> = dyn Fn(Position, usize, &mut CommitVisitor<'_>) -> Result<(), LogError> + 'r;

/// What is known of the end of a range, apart from what is read of it now.
pub(crate) enum RangeEnd<'m> {
    /// The log at its end.
    Known(&'m LogTail),
    /// Its last position, and whether the log ends like this there.
    #[cfg(feature = "jetstream")]
    Vouched(Position, &'m dyn Fn(&LogTail) -> bool),
}

impl RangeEnd<'_> {
    fn position(&self) -> Position {
        match self {
            Self::Known(end) => end.position(),
            #[cfg(feature = "jetstream")]
            Self::Vouched(last, _) => *last,
        }
    }
}

/// The making of a segment behind the last one.
pub(crate) struct SegmentMaking<'m> {
    pub(crate) end: RangeEnd<'m>,
    pub(crate) read: &'m CommitReader<'m>,
    pub(crate) go_on: &'m dyn Fn() -> bool,
    /// Hears of each step.
    pub(crate) step: &'m dyn Fn(&str),
}

impl SegmentStore {
    /// Makes the next segment; gives it, and what its index is made of.
    ///
    /// # Errors
    /// See [`SealError`]; the next call begins again.
    pub(crate) fn seal_up_to(
        &self,
        making: &SegmentMaking<'_>,
    ) -> Result<(Arc<Segment>, IndexBuilder), SealError> {
        self.data.make_segments()?;
        let last = self.segments.read().last().cloned();
        let base = last.as_ref().map_or_else(LogTail::new, |last| last.header.end.clone());
        let path = segment::path(&self.data.segments, base.position().next());
        let unfinished = path.with_extension("new");
        let end = making.write(&unfinished, &base, last.map(|last| last.header.log_id))?;
        (making.step)("written");
        let index = check(&unfinished, &end, making.go_on)?;
        (making.step)("checked");
        put_in_place(&unfinished, &path).map_err(io_at(&path))?;
        (making.step)("renamed");
        let segment = Arc::new(Segment::open(path.clone()).map_err(io_at(&path))?);
        let mut segments = self.segments.write();
        *segments = Arc::new(segments.iter().cloned().chain([Arc::clone(&segment)]).collect());
        Ok((segment, index))
    }
}

impl SegmentMaking<'_> {
    /// Writes it, and gives the log at its end.
    fn write(
        &self,
        path: &Path,
        base: &LogTail,
        mut log_id: Option<RecordHash>,
    ) -> Result<LogTail, SealError> {
        let mut writer = SegmentWriter::begin(path, base.clone()).map_err(io_at(path))?;
        let last = self.end.position();
        let mut position = base.position();
        while position < last {
            if !(self.go_on)() {
                return Err(SealError::Stopped);
            }
            let left = usize::try_from(last.0 - position.0).unwrap_or(usize::MAX);
            let mut failed = None;
            // What is copied is judged when it is read back.
            (self.read)(position, left.min(AT_A_TIME), &mut |first, bytes| {
                if log_id.is_none() {
                    log_id = decoded(first, bytes)?.record_hashes.first().copied();
                }
                let (recorded_at, events) = time_and_count(bytes).map_err(|error| corrupt(first, &error))?;
                failed = failed.take().or(writer.add(first, recorded_at, bytes).err());
                position = Position(first.0 + u64::from(events) - 1);
                Ok(events.into())
            })?;
            failed.map_or(Ok(()), |error| Err(io_at(path)(error)))?;
        }
        let log_id = log_id.expect("a range holds a commit");
        let end = self.end_of(base)?;
        writer.end(log_id, end.clone()).map_err(io_at(path))?;
        Ok(end)
    }

    /// The log at the end of the range; read, and judged, where it is not known.
    fn end_of(&self, base: &LogTail) -> Result<LogTail, SealError> {
        match self.end {
            RangeEnd::Known(end) => Ok(end.clone()),
            #[cfg(feature = "jetstream")]
            RangeEnd::Vouched(last, is_true) => {
                let mut tail = base.clone();
                while tail.position() < last {
                    if !(self.go_on)() {
                        return Err(SealError::Stopped);
                    }
                    let left = usize::try_from(last.0 - tail.position().0).unwrap_or(usize::MAX);
                    (self.read)(tail.position(), left.min(AT_A_TIME), &mut |first, bytes| {
                        let stored = decoded(first, bytes)?;
                        tail.follow(stored.commit.recorded_at, &stored.record_hashes)?;
                        Ok(stored.commit.events.len())
                    })?;
                }
                let first = base.position().next();
                if is_true(&tail) { Ok(tail) } else { Err(SealError::Untrue { first, last }) }
            }
        }
    }
}

/// That what is on disk reads as it was written, and is what the tree was made of; gives what its index is made of.
///
/// The tree says that these are the commits that were appended, so they need not be decoded for that.
fn check(path: &Path, end: &LogTail, go_on: &dyn Fn() -> bool) -> Result<IndexBuilder, SealError> {
    let segment = Segment::open(path.to_owned()).map_err(io_at(path))?;
    let mut index = IndexBuilder::new(&segment.header);
    let mut recorded_at = segment.header.base.recorded_at();
    let blocks = segment.blocks().map_err(LogError::from)?;
    for number in 0..blocks.len() {
        if !go_on() {
            return Err(SealError::Stopped);
        }
        let bytes = blocks.read(number).map_err(LogError::from)?;
        for (first, _, bytes) in blocks.commits(number, &bytes).map_err(LogError::from)? {
            let commit = CommitOutline::of(bytes).map_err(|error| corrupt(first, &error))?;
            if commit.recorded_at < recorded_at {
                return Err(LogError::OutOfOrder { last: recorded_at, given: commit.recorded_at }.into());
            }
            recorded_at = commit.recorded_at;
            index.add_outline(first, &commit).map_err(|error| corrupt(first, &error))?;
        }
    }
    if index.end(recorded_at) == *end && segment.header.end == *end {
        return Ok(index);
    }
    Err(SealError::Untrue { first: segment.header.first(), last: segment.header.last() })
}
