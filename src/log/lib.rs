//! The truth: an append-only log of commits. All else in Tenure is derived from it.
//!
//! [`EventLog`] is the promise that every backend keeps; `conformance` holds each backend to it.
//! [`record`] and [`codec`] give a commit its bytes, [`upcast`] reads the bytes of earlier versions,
//! [`tree`] sums all records up in one root. [`memory`] keeps a log as long as the process lives,
//! [`sled`](mod@sled) keeps it on one machine's disk, and `jetstream` (a feature) on several machines. Both move what is
//! old into files that never change: `segment` is one of them with its index, `segment_store` makes, keeps and reads them,
//! and [`SegmentedLog`] is what the keepers of such a log ask of it. The bytes are described in `docs/log-format.md`.

mod blocking;
pub mod codec;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod frozen;
#[cfg(feature = "jetstream")]
pub mod jetstream;
pub mod memory;
mod ranges;
pub mod record;
#[cfg(test)]
mod samples;
mod segment;
mod segment_store;
mod segmented;
pub mod sled;
mod tail;
pub mod tree;
pub mod upcast;

use std::path::Path;

use tenure_core::{Commit, Position, Timestamp};

pub use blocking::waiting_for_disk;
pub use codec::{DecodeError, IdempotentCommit, encode};
#[cfg(feature = "jetstream")]
pub use jetstream::JetStreamLog;
pub use memory::MemoryLog;
pub use ranges::SegmentEvents;
pub use record::{EncodedCommit, RecordHash, RootHash, StreamKey};
pub use segment::{
    CheckedSegment, IndexedHistory, IndexedKind, SealedFile, SegmentStream, check_segment, check_segments,
};
pub use segment_store::{DamagedSegment, ScrubPace, ScrubResult, SealError};
pub use segmented::{SegmentedLog, VouchedRoot};
pub use sled::{
    DamagedPart, DirectoryCopy, HistoryCopy, OpenError, RepairError, RepairVisitor, SealedHistory,
    SegmentEnd, SledLog, StartupFold, StorageFigures, VerifyScope, find_damage, repair,
};
pub use tree::TreeEdge;

/// Opens the log of this data directory, or makes a new one, and hands every commit to `fold`, in order.
///
/// # Errors
///
/// See `SledLog::open`.
pub fn open(
    data_dir: &Path,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<SledLog, OpenError> {
    SledLog::open(data_dir, SegmentEvents::AsRecorded, fold)
}

/// The same, for a caller that may decide how the history is cut into segments.
///
/// # Errors
///
/// See `SledLog::open`; and [`OpenError::CutOtherwise`] of a log already cut by another number.
pub fn open_cut(
    data_dir: &Path,
    cut: SegmentEvents,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<SledLog, OpenError> {
    SledLog::open(data_dir, cut, fold)
}

/// The same for a start that may have what some segments lead to: of those only the headers are read.
///
/// # Errors
///
/// As of [`open_cut`].
pub fn open_for(
    data_dir: &Path,
    cut: SegmentEvents,
    folding: &mut dyn StartupFold,
) -> Result<SledLog, OpenError> {
    SledLog::open_for(data_dir, cut, folding)
}

/// One total order of events, written in whole commits.
///
/// # Positions
///
/// ```text
///   position   0    1    2    3    4    5    6    7    8    9   10
///              ·  ┌─────────┬────┬──────────────┬─────────┐╌╌╌╌╌╌╌╌╌┐
///   commit     ·  │    A    │ B  │      C       │    D    │    E    ╎
///              ·  └─────────┴────┴──────────────┴─────────┘╌╌╌╌╌╌╌╌╌┘
///              ▲                                         ▲ ▲
///              │                                         │ └ next: 9, the first position of the next commit
///            zero: before                                └ head: 8, the last durable, visible event
///            the first event
/// ```
///
/// An event has one position and keeps it for ever. Positions are dense from 1: no hole, no repeat, no
/// reorder. A commit of `n` events takes `n` neighbouring positions and is named by its `first`. A position
/// that was given to a commit of unknown fate is given again if that commit turns out to be absent: no caller
/// has seen it before.
///
/// # What is durable when
///
/// When `append` has returned [`AppendOutcome::Appended`], that commit survives the death of the process and a power
/// cut, and reads back byte for byte. Only then do `head` and `read` show it; they never show anything before it is
/// durable. `E` above is being written: no reader sees any of it.
///
/// A commit is whole or absent, never a part of it. A batch is *not* atomic: of a batch whose writing failed,
/// any number of its first commits may be there after the next start, but no later commit without
/// every earlier one.
///
/// # Expectations
///
/// A batch says after which position it was decided. If the log ends elsewhere, another writer was there: the batch is
/// refused whole with [`LogError::NotTheEnd`], and nothing of it is written. That a commit continues its own stream is
/// for the fold to check, which has the state that it was decided on.
///
/// # Repeats
///
/// The log does not look for repeats. A batch appended twice meets its own first copy: the log does not end where it
/// expects. After [`AppendOutcome::Unknown`] the caller reads the end and compares commit ids before it decides again.
///
/// # Time
///
/// `recorded_at` never goes back, from commit to commit over the whole log. A batch that would make it go
/// back is refused whole, and nothing of it is written.
///
/// # Failure
///
/// After a failed write the log is *stopped*: the batch that met the failure is answered
/// [`AppendOutcome::Unknown`] if it had got past its checks, every later `append` of this process is refused
/// with [`LogError::Stopped`], and reads go on up to the last head. Only a new start, which checks
/// everything, writes again. A backend never retries a failed sync: the kernel may have dropped the dirty
/// pages, so a second, successful sync proves nothing.
///
/// Want of descriptors or memory *before* the barrier is no such failure: the batch is taken back, answered
/// [`LogError::Exhausted`], and the next one is tried as if nothing had been.
///
/// # Edges
///
/// An empty batch is answered with no outcomes and touches nothing. Reading after the head, or a maximum of
/// no events, gives nothing. `after` may lie inside a commit: that commit comes whole, because a reader who
/// stopped in the middle of it has not folded it.
///
/// # Concurrency
///
/// Appends are taken one after another. Readers wait for no writer, and a slow reader costs others nothing. A reader
/// sees a prefix: who has seen a position has all below it to read.
///
/// On several machines `append` may meet commits of other writers, so a refusal is no fault of the caller's, and `head`
/// is the end of what this node has read, which includes everything that its own appends reported.
pub trait EventLog: Send + Sync {
    /// Makes each commit durable, whole or not at all, in order, at the positions that follow `after`. Blocks.
    ///
    /// # Errors
    ///
    /// Nothing of the batch was written: [`LogError::NotTheEnd`], [`LogError::Stopped`], [`LogError::OutOfOrder`], and,
    /// for the moment only, [`LogError::Exhausted`].
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError>;

    /// The last durable and visible event, and the root over all up to it.
    fn head(&self) -> LogHead;

    /// Whole commits whose last event is after `after`, in order, until they hold at least `max_events`
    /// events or the head is reached.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] at the first position that cannot be given back as it was written.
    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError>;

    /// The same commits as [`EventLog::read`] gives, as the bytes that are stored: what the record hashes are of,
    /// whatever version of an event they hold.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`], as of `read`.
    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError>;

    /// The commits that hold these positions, which ascend; each commit once, and none for what is beyond the head.
    /// Neighbours are read together where the log stores them together.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`], as of `read`.
    fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        let mut found: Vec<StoredCommit> = Vec::with_capacity(positions.len());
        for position in positions.iter().filter(|position| position.0 > 0) {
            if found.last().is_none_or(|last| last.last() < *position) {
                found.extend(self.read(Position(position.0 - 1), 1)?);
            }
        }
        Ok(found)
    }

    /// The part of the history that can be asked by key, and need not be known by heart. It only grows. None of it
    /// where there are no segments.
    fn indexed(&self) -> IndexedHistory {
        IndexedHistory::default()
    }

    /// The files of the history that did not read as they were written, each with what is wrong with it, named below
    /// the data directory.
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    /// The parts of the history that are in files which never change, in order: all of it up to some position.
    fn sealed_files(&self) -> Vec<SealedFile> {
        Vec::new()
    }

    /// Why the log accepts no more writes from this process; `None` while it does.
    fn stopped(&self) -> Option<String>;

    /// Whether other machines may append to it: a writer that was refused, or does not know what became of a batch, can
    /// read what the log holds by now and go on.
    fn is_shared(&self) -> bool {
        false
    }

    /// Readers are shown all that was appended from now on. Where other machines read the log too, they may have been
    /// shown it before.
    fn note_published(&self) {}
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// It is durable.
    Appended,
    /// Each of its commits may be durable or not, whole, and none without those in front of it; only the next start can
    /// say. The caller must get *unknown*, never *failed*.
    Unknown,
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The last event; 0 of an empty log.
    pub position: Position,
    /// When the last commit was decided; [`Timestamp::ZERO`] of an empty log.
    pub recorded_at: Timestamp,
    /// The RFC 6962 root over all record hashes up to `position`.
    pub root: RootHash,
}

/// A commit as the log keeps it: with its place, and with the hash of each of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCommit {
    /// The position of its first event.
    pub first: Position,
    /// What was recorded, each event in today's version.
    pub commit: Commit,
    /// The hash of each event, as it was written.
    pub record_hashes: Vec<RecordHash>,
}

impl StoredCommit {
    /// The commit of these bytes at this place.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are not exactly what today's code, or an earlier version, writes.
    pub fn decode(first: Position, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (commit, record_hashes) = codec::decode(bytes)?;
        Ok(Self { first, commit, record_hashes })
    }

    /// The position of its last event.
    pub fn last(&self) -> Position {
        Position(self.first.0 + self.commit.events.len() as u64 - 1)
    }

    /// The position of each of its events, in order.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = Position> + use<> {
        let first = self.first;
        (0..self.commit.events.len()).map(move |index| first.plus(index as u64))
    }
}

/// A commit as it is stored, not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// The position of its first event.
    pub first: Position,
    /// Its bytes (`docs/log-format.md`).
    pub bytes: Vec<u8>,
}

/// Why the log did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Storage failed earlier; this process will not write again.
    #[error("the log is stopped and needs a restart: {why}")]
    Stopped {
        /// The failure that stopped it.
        why: String,
    },
    /// The system had no descriptor or no memory to give. Nothing of the batch was written, or nothing read; try again.
    #[error("nothing was done, for want of descriptors or memory: {why}")]
    Exhausted {
        /// What the system said.
        why: String,
    },
    /// There is no room for it. Nothing of the batch was written; it is taken once there is.
    #[error("nothing was done, the log is full: {why}")]
    Full {
        /// What says so.
        why: String,
    },
    /// What is stored is not what was written.
    #[error("the log is corrupt at position {position}: {why}")]
    Corrupt {
        /// The first position that cannot be read.
        position: Position,
        /// What is wrong with it.
        why: String,
    },
    /// A closed part of the history is not as it was written. What is beside it can be read.
    #[error("positions {first} to {last} of the history are damaged: {why}")]
    Damaged {
        /// The first position that cannot be read.
        first: Position,
        /// The last one.
        last: Position,
        /// The file, and what is wrong with it.
        why: String,
        /// Below the data directory, the file if it is only an index: the history is as it was written, and the index
        /// is made again from it.
        index: Option<String>,
    },
    /// A commit is larger than the log takes.
    #[error("a commit of {bytes} bytes is larger than {limit}")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The largest accepted size.
        limit: usize,
    },
    /// A commit records no event.
    #[error("a commit without events says nothing")]
    Empty,
    /// The log ends elsewhere than where the batch was decided: another writer appended.
    #[error("the log ends at {actual}, and the batch was decided after {expected}")]
    NotTheEnd {
        /// Where the writer took the end to be.
        expected: Position,
        /// Where it is.
        actual: Position,
    },
    /// Another machine leads by now and has appended. Nothing of the batch was written, or ever will be, and this
    /// process writes no more.
    #[error("another node leads this log: {why}")]
    Deposed {
        /// How that was noticed.
        why: String,
    },
    /// A commit was decided before one in front of it.
    #[error("recorded time goes back from {last} to {given}")]
    OutOfOrder {
        /// When the commit in front of it was decided.
        last: Timestamp,
        /// When it says it was decided.
        given: Timestamp,
    },
}
