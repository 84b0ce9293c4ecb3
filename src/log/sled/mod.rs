//! The log on one machine's disk, in a sled store.
//!
//! sled 0.34.7 orders and finds our frames, and recovers to a prefix after a crash. It is trusted with
//! nothing else:
//!
//! - its `flush()` is no durability barrier on Linux (`sync_file_range` writes neither the file's length nor
//!   the disk's cache), so our own `fdatasync` of its file follows, one for each batch;
//! - a value too large for it goes to a file of its own in `blobs/`, which nothing syncs, so frames are kept
//!   small and the directory is looked at before a batch is called durable;
//! - a damaged file makes it panic, or open with less than there was, so `opening` checks everything that it
//!   gives back;
//! - after an error it may show what it has not written, so nothing is appended any more.

pub(crate) mod catch_panic;
pub(crate) mod data_dir;
pub(crate) mod error;
pub(crate) mod frame;
mod head_file;
mod opening;
mod ordered_work;
pub(crate) mod recovery;
mod repair;
pub(crate) mod sealed_history;
mod sealing;
mod spare;
mod store;
mod store_files;
pub(crate) mod waiting_open;

use std::{
    iter::Peekable,
    path::Path,
    sync::{Arc, OnceLock},
};

use parking_lot::{Mutex, RwLock};

use self::{
    catch_panic::{StoreFailure, guarded},
    data_dir::DataDir,
    frame::FrameCheck,
    head_file::{HeadFile, HeadRecord, StoreRecord},
    opening::record_at,
    sealing::SealQueue,
    store::{SledStore, barrier},
};
use crate::{
    AppendOutcome, EncodedCommit, EventLog, IndexedHistory, LogError, LogHead, SealedFile, SegmentEvents,
    StoredBytes, StoredCommit,
    ranges::SegmentRanges,
    segment_store::{CommitVisitor, ReadCursor, SegmentStore, bytes_of, commits_of, hand_over, read_from},
    tail::{LogTail, StagedBatch},
};
use tenure_core::Position;

pub use self::{
    error::OpenError,
    repair::{DamagedPart, DirectoryCopy, HistoryCopy, RepairError, RepairVisitor, find_damage, repair},
    sealed_history::{SealedHistory, SegmentEnd, StartupFold, VerifyScope},
    sealing::StorageFigures,
};

/// Makes a data directory that only its owner can read, or checks that one is.
#[cfg(feature = "jetstream")]
pub(crate) fn make_data_dir(dir: &Path) -> Result<(), OpenError> {
    DataDir::of(dir).make()
}

/// A log in `DATA/log/`, with its head also in `DATA/log.head`. One process at a time has it open.
///
/// Each part of the history that becomes a segment has a store of its own, so that it can go as a whole.
#[derive(Debug)]
pub struct SledLog {
    /// In order; the last one is written to.
    stores: RwLock<Vec<Arc<StoreRange>>>,
    /// What is in files that never change, in order: all of the history up to some position.
    segment_store: SegmentStore,
    sealing: Mutex<SealQueue>,
    writer: Mutex<SledWriter>,
    head: RwLock<LogHead>,
    stopped: OnceLock<String>,
}

/// A store, with where it begins.
#[derive(Debug)]
struct StoreRange {
    number: u64,
    first: Position,
    store: SledStore,
}

#[derive(Debug)]
struct SledWriter {
    data: DataDir,
    /// The store that takes writes.
    range: Arc<StoreRange>,
    tail: LogTail,
    /// The check of the last frame.
    check: FrameCheck,
    head_file: HeadFile,
    /// What the head record says of the store.
    store: StoreRecord,
    ranges: SegmentRanges,
    /// Whether the segment ends where the log does, so that what follows begins a store.
    is_full: bool,
    /// The log at the end of each segment that the batch which is being written fills.
    filled: Vec<LogTail>,
}

/// Why a batch is not durable.
enum AppendFault {
    /// Nothing of it was written, and the next one may be.
    Passing(String),
    /// What the disk holds of it is unknown.
    Lasting(String),
}

impl AppendFault {
    /// What passes is no matter only as long as nothing of the batch was written.
    fn after(self, is_first: bool) -> Self {
        match self {
            Self::Passing(why) if !is_first => Self::Lasting(why),
            Self::Passing(_) | Self::Lasting(_) => self,
        }
    }
}

/// A store that could not be made or opened: nothing was written to it yet, so the next batch may try again.
fn passing(error: &OpenError) -> AppendFault {
    AppendFault::Passing(format!("the next store cannot be made: {error}"))
}

impl From<String> for AppendFault {
    fn from(why: String) -> Self {
        Self::Lasting(why)
    }
}

/// What an insertion changes of the writer.
type WriterMark = (FrameCheck, u64, SegmentRanges, bool);

/// A commit that was judged, at its first position.
type AcceptedCommit = (Position, EncodedCommit);

impl SledLog {
    /// As [`SledLog::open`], for a start that may have what some segments lead to: of those only the headers are read.
    pub(crate) fn open_for(
        data_dir: &Path,
        cut: SegmentEvents,
        folding: &mut dyn StartupFold,
    ) -> Result<Self, OpenError> {
        let opening::OpenedDirectory {
            data,
            stores,
            tail,
            check,
            head_file,
            store,
            ranges,
            segments,
            ends,
            is_full,
        } = opening::open(data_dir, cut, folding)?;
        let range = Arc::clone(stores.last().expect("there is a store to write to"));
        let head = tail.head();
        let (sealing, segment_store) = (SealQueue::new(ends), SegmentStore::of(data.clone(), segments));
        let filled = Vec::new();
        let writer = SledWriter { data, range, tail, check, head_file, store, ranges, is_full, filled };
        Ok(Self {
            stores: RwLock::new(stores),
            segment_store,
            sealing: Mutex::new(sealing),
            writer: Mutex::new(writer),
            head: RwLock::new(head),
            stopped: OnceLock::new(),
        })
    }

    /// Ends writing in good order, so that the head record is not behind.
    ///
    /// # Errors
    ///
    /// [`LogError::Stopped`] if storage has failed, now or before.
    pub fn close(self) -> Result<(), LogError> {
        self.flush()
    }

    /// Brings store and head record to disk. Does nothing to a log that has failed.
    fn flush(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        self.try_flush(&mut writer).map_err(|why| self.stop(why))
    }

    fn try_flush(&self, writer: &mut SledWriter) -> Result<(), String> {
        let store = StoreRecord { file_bytes: barrier(&writer.range.store)?, ..writer.store.clone() };
        let record = writer.record_at(&self.head.read(), writer.check, store);
        let written = writer.head_file.write(record).and_then(|()| writer.head_file.sync());
        written.map_err(|error| format!("log.head cannot be written: {error}"))
    }

    fn refuse_if_stopped(&self) -> Result<(), LogError> {
        self.stopped.get().map_or(Ok(()), |why| Err(LogError::Stopped { why: why.clone() }))
    }

    /// From here on this process writes nothing.
    fn stop(&self, why: String) -> LogError {
        tracing::error!(%why, "the log is stopped: nothing is written until a restart");
        LogError::Stopped { why: self.stopped.get_or_init(|| why).clone() }
    }

    /// Brings what was staged to disk and writes the head record. Shows nothing to readers.
    ///
    /// A frame never crosses the end of a segment: what is behind it begins the next store.
    fn make_durable(
        &self,
        writer: &mut SledWriter,
        staged: &StagedBatch,
        head: &LogHead,
    ) -> Result<(), AppendFault> {
        let mut rest = staged.accepted.as_slice();
        let mut is_first = true;
        while !rest.is_empty() {
            if writer.is_full {
                self.begin_store(writer, &staged.end_before(rest)).map_err(|fault| fault.after(is_first))?;
            }
            let before = writer.mark();
            let (part, behind) = writer.part(rest);
            if writer.is_full {
                writer.filled.push(staged.end_before(behind));
            }
            if let Err(fault) = writer.insert(part) {
                writer.return_to(before);
                return Err(fault.after(is_first));
            }
            (rest, is_first) = (behind, false);
        }
        let file_bytes = barrier(&writer.range.store)?;
        let store = StoreRecord { file_bytes, ..writer.store.clone() };
        // Behind the barrier: the record must never know more than the disk.
        let record = writer.record_at(head, writer.check, store);
        writer.head_file.write(record).map_err(|error| format!("log.head cannot be written: {error}"))?;
        Ok(())
    }

    /// Begins the store of the next segment, behind this end of the log: when the head record names it durably, and
    /// not before, it may be written to.
    fn begin_store(&self, writer: &mut SledWriter, end: &LogTail) -> Result<(), AppendFault> {
        let files = writer.data.store(writer.store.number + 1);
        let provided = writer.data.provide(&files).and_then(|()| files.open());
        let store = provided.map_err(|error| passing(&error))?;
        let file_bytes = barrier(&writer.range.store)?;
        let before = StoreRecord { file_bytes, ..writer.store.clone() };
        let fresh = StoreRecord::new(before.number + 1, end.clone(), writer.check);
        let record = writer.record_at(&end.head(), writer.check, fresh.clone());
        let record = HeadRecord { segment_events: writer.ranges.events(), ..record };
        let written = writer.head_file.write(record).and_then(|()| writer.head_file.sync());
        written.map_err(|error| format!("log.head cannot be written: {error}"))?;
        writer.range = Arc::new(StoreRange { number: fresh.number, first: end.position().next(), store });
        (writer.store, writer.is_full) = (fresh, false);
        self.stores.write().push(Arc::clone(&writer.range));
        Ok(())
    }

    /// A store that cannot give back what it took is not written to any more.
    fn trusted(&self, read: Result<(), LogError>) -> Result<(), LogError> {
        read.inspect_err(|error| drop(self.stop(error.to_string())))
    }

    /// Hands over the bytes of each commit that [`EventLog::read`] promises, which gives back how many events it has.
    fn try_read(
        &self,
        after: Position,
        max_events: usize,
        take: &mut CommitVisitor<'_>,
    ) -> Result<(), LogError> {
        let last = self.head().position;
        if after >= last {
            return Ok(());
        }
        let mut reading = ReadCursor { next: after.next(), last, wanted: max_events };
        // In this order: a store goes only when its segment is there.
        let stores = self.stores.read().clone();
        reading.read_segments(&self.segment_store.all(), take)?;
        for (index, range) in stores.iter().enumerate() {
            let end = stores.get(index + 1).map_or(reading.last.next(), |next| next.first);
            if reading.next < end {
                self.trusted(reading.read(range, end, take))?;
            }
        }
        Ok(())
    }

    /// Hands over the bytes of the commits that hold these positions; each frame is read and checked once.
    fn try_read_commits(&self, positions: &[Position], take: &mut CommitVisitor<'_>) -> Result<(), LogError> {
        let head = self.head().position;
        let there = positions.iter().copied().filter(|position| (Position(1)..=head).contains(position));
        let stores = self.stores.read().clone();
        let segments = self.segment_store.all();
        let mut wanted = there.peekable();
        while let Some(position) = wanted.peek().copied() {
            let number = segments.partition_point(|segment| segment.header.last() < position);
            if let Some(segment) = segments.get(number) {
                read_from(segment, &mut wanted, take)?;
                continue;
            }
            let range = &stores[stores.partition_point(|range| range.first <= position).saturating_sub(1)];
            self.trusted(read_frame_of(range, position, &mut wanted, take))?;
        }
        Ok(())
    }
}

/// Hands over what is wanted of the frame that holds this position.
fn read_frame_of(
    range: &StoreRange,
    position: Position,
    wanted: &mut Peekable<impl Iterator<Item = Position>>,
    take: &mut CommitVisitor<'_>,
) -> Result<(), LogError> {
    let (first, bytes) = range.store.frames_from(position)?.next(position)?;
    let frame = frame::open(first, &bytes);
    let frame = frame.map_err(|why| LogError::Corrupt { position: first, why })?;
    hand_over(frame.ranges(), wanted, take)?;
    if wanted.peek() == Some(&position) {
        return Err(LogError::Corrupt { position, why: "the store has no frame for it".to_owned() });
    }
    Ok(())
}

impl SledWriter {
    /// The head record of a log that ends like this.
    fn record_at(&self, head: &LogHead, check: FrameCheck, store: StoreRecord) -> HeadRecord {
        let before = self.head_file.record().expect("a start writes one");
        record_at(head, check, before, store)
    }

    /// What the next insertion changes.
    fn mark(&self) -> WriterMark {
        (self.check, self.store.frame_bytes, self.ranges.clone(), self.is_full)
    }

    /// As it was before an insertion that was taken back.
    fn return_to(&mut self, mark: WriterMark) {
        (self.check, self.store.frame_bytes, self.ranges, self.is_full) = mark;
        self.filled.clear();
    }

    /// The commits up to the end of the segment, and those behind it. Notes that it is full.
    fn part<'c>(&mut self, commits: &'c [AcceptedCommit]) -> (&'c [AcceptedCommit], &'c [AcceptedCommit]) {
        let last = |(first, commit): &AcceptedCommit| Position(first.0 + commit.count() - 1);
        let ends = commits.iter().position(|it| self.ranges.take(last(it), it.1.bytes.len()));
        self.is_full = ends.is_some();
        commits.split_at(ends.map_or(commits.len(), |index| index + 1))
    }

    fn insert(&mut self, commits: &[AcceptedCommit]) -> Result<(), AppendFault> {
        let mut keys = Vec::new();
        for frame in frame::pack(commits) {
            self.note_shrinking()?;
            let key = frame.key();
            let (value, check) = frame.seal(0, self.check);
            let bytes = value.len() as u64;
            keys.push(key);
            guarded(|| self.range.store.insert(&key, value))
                .map_err(|failure| take_back(&self.range.store, &keys, &failure))?;
            self.check = check;
            self.store.frame_bytes += bytes;
        }
        Ok(())
    }

    /// Writes down, durably, that the store's file has become shorter, before it can grow again.
    ///
    /// sled cuts free segments off the end of its file, at a multiple of the segment size and in a thread
    /// of its own. The check at start takes a shorter file for damage unless its length is such a multiple.
    /// So a file that was cut and has grown since must not meet a record from before the cut. After a cut
    /// sled first fills the free segment that it always keeps; so looking before each frame is soon enough.
    fn note_shrinking(&mut self) -> Result<(), String> {
        let file_bytes = self.range.store.len().map_err(|error| error.to_string())?;
        let record = self.head_file.record().filter(|record| file_bytes < record.store.file_bytes);
        let Some(record) = record else { return Ok(()) };
        let store = StoreRecord { file_bytes, ..record.store.clone() };
        let written = self.head_file.write(HeadRecord { store, ..record.clone() });
        written.and_then(|()| self.head_file.sync()).map_err(|error| error.to_string())
    }
}

/// Removes the frames of a batch that met a want that passes: then nothing of it was written. What the store
/// does not let go of may be written with the next batch, so then the log stops.
fn take_back<K: AsRef<[u8]>>(store: &SledStore, keys: &[K], failure: &StoreFailure) -> AppendFault {
    let why = failure.to_string();
    let remove = || keys.iter().try_for_each(|key| store.db().remove(key).map(drop));
    if failure.passes() && guarded(remove).is_ok() {
        AppendFault::Passing(why)
    } else {
        AppendFault::Lasting(why)
    }
}

impl ReadCursor {
    /// Goes on through the part of a store that ends before `end`.
    fn read(
        &mut self,
        range: &StoreRange,
        end: Position,
        take: &mut CommitVisitor<'_>,
    ) -> Result<(), LogError> {
        if self.is_done() {
            return Ok(());
        }
        let mut frames = range.store.frames_from(self.next)?;
        while self.wanted > 0 && self.next <= self.last && self.next < end {
            let (first, bytes) = frames.next(self.next)?;
            if first > self.next {
                let why = "the store has no frame for it".to_owned();
                return Err(LogError::Corrupt { position: self.next, why });
            }
            let frame = frame::open(first, &bytes);
            let frame = frame.map_err(|why| LogError::Corrupt { position: first, why })?;
            for (first, end, bytes) in frame.ranges() {
                self.offer(first, end, bytes, take)?;
            }
        }
        Ok(())
    }
}

impl EventLog for SledLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        let staged = writer.tail.stage(after, batch)?;
        if staged.is_empty() {
            return Ok(AppendOutcome::Appended);
        }
        let head = staged.head();
        match self.make_durable(&mut writer, &staged, &head) {
            Ok(()) => {
                *self.head.write() = head;
                writer.tail.admit(staged);
                self.sealing.lock().ends.extend(writer.filled.drain(..));
                Ok(AppendOutcome::Appended)
            }
            Err(AppendFault::Passing(why)) => Err(LogError::Exhausted { why }),
            Err(AppendFault::Lasting(why)) => {
                self.stop(why);
                Ok(AppendOutcome::Unknown)
            }
        }
    }

    fn head(&self) -> LogHead {
        *self.head.read()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        commits_of(|take| self.try_read(after, max_events, take))
    }

    fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        commits_of(|take| self.try_read_commits(positions, take))
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        bytes_of(|take| self.try_read(after, max_events, take))
    }

    fn indexed(&self) -> IndexedHistory {
        self.segment_store.indexed()
    }

    fn damage(&self) -> Vec<String> {
        self.segment_store.damage()
    }

    fn sealed_files(&self) -> Vec<SealedFile> {
        self.segment_store.files()
    }

    fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        // A second flush, after `close`, finds nothing to do but one sync. Failure has been reported by
        // `stop`.
        drop(self.flush());
    }
}

#[cfg(test)]
mod tests;
