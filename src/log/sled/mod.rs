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

mod frame;
mod guard;
mod head_file;
mod open_error;
mod opening;
mod scan;
mod store;

use std::{io, path::Path, sync::OnceLock};

use parking_lot::{Mutex, RwLock};

use self::{
    guard::{Failure, guarded},
    head_file::{HeadFile, HeadRecord},
    store::Store,
};
use crate::{
    EncodedCommit, EventLog, Head, LogError, Outcome, StoredBytes, StoredCommit, codec,
    tail::{Staged, Tail},
};
use tenure_core::Position;

pub use self::open_error::OpenError;

/// A log in `DATA/log/`, with its head also in `DATA/log.head`. One process at a time has it open.
#[derive(Debug)]
pub struct SledLog {
    store: Store,
    writer: Mutex<Writer>,
    head: RwLock<Head>,
    stopped: OnceLock<String>,
}

#[derive(Debug)]
struct Writer {
    tail: Tail,
    head_file: HeadFile,
    frame_bytes: u64,
}

/// Why a batch is not durable.
enum Fault {
    /// Nothing of it was written, and the next one may be.
    Passing(String),
    /// What the disk holds of it is unknown.
    Lasting(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self::Lasting(why)
    }
}

/// Takes the bytes of the commit at a position, and says how many events it has.
type Take<'t> = dyn FnMut(Position, &[u8]) -> Result<usize, LogError> + 't;

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
        fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
    ) -> Result<Self, OpenError> {
        let opened = opening::open(data_dir, fold)?;
        let head = opened.tail.head();
        let opening::Opened { store, tail, head_file, frame_bytes } = opened;
        Ok(Self {
            store,
            writer: Mutex::new(Writer { tail, head_file, frame_bytes }),
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
        self.settle()
    }

    /// Brings store and head record to disk. Does nothing to a log that has failed.
    fn settle(&self) -> Result<(), LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        self.try_settle(&mut writer).map_err(|why| self.stop(why))
    }

    fn try_settle(&self, writer: &mut Writer) -> Result<(), String> {
        let record = self.barrier(*self.head.read(), writer.frame_bytes)?;
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
    fn make_durable(&self, writer: &mut Writer, staged: &Staged) -> Result<u64, Fault> {
        let mut frame_bytes = writer.frame_bytes;
        let mut keys = Vec::new();
        for frame in frame::pack(&staged.accepted) {
            self.note_shrinking(writer)?;
            let key = frame.key();
            let value = frame.seal();
            frame_bytes += value.len() as u64;
            keys.push(key);
            guarded(|| self.store.insert(&key, value)).map_err(|failure| self.take_back(&keys, &failure))?;
        }
        let record = self.barrier(staged.head(), frame_bytes)?;
        // Behind the barrier: the record must never know more than the disk.
        writer.head_file.write(record).map_err(|error| format!("log.head cannot be written: {error}"))?;
        Ok(frame_bytes)
    }

    /// Removes the frames of a batch that met a want that passes: then nothing of it was written. What the store
    /// does not let go of may be written with the next batch, so then the log stops.
    fn take_back<K: AsRef<[u8]>>(&self, keys: &[K], failure: &Failure) -> Fault {
        let why = failure.to_string();
        let remove = || keys.iter().try_for_each(|key| self.store.db().remove(key).map(drop));
        if failure.passes() && guarded(remove).is_ok() { Fault::Passing(why) } else { Fault::Lasting(why) }
    }

    /// When this has returned, everything inserted so far survives a power cut; gives the record that says
    /// so.
    fn barrier(&self, head: Head, frame_bytes: u64) -> Result<HeadRecord, String> {
        let db_error = |error: io::Error| format!("{}: {error}", self.store.dir.join("db").display());
        guarded(|| self.store.db().flush()).map_err(|failure| failure.to_string())?;
        // Before the sync, which makes this length durable too.
        let file_bytes = self.store.len().map_err(db_error)?;
        self.store.sync().map_err(db_error)?;
        self.store.assert_no_blobs()?;
        Ok(HeadRecord {
            position: head.position,
            recorded_at: head.recorded_at,
            root: head.root,
            frame_bytes,
            file_bytes,
        })
    }

    /// Writes down, durably, that the store's file has become shorter, before it can grow again.
    ///
    /// sled cuts free segments off the end of its file, at a multiple of the segment size and in a thread
    /// of its own. The check at start takes a shorter file for damage unless its length is such a multiple.
    /// So a file that was cut and has grown since must not meet a record from before the cut. After a cut
    /// sled first fills the free segment that it always keeps; so looking before each frame is soon enough.
    fn note_shrinking(&self, writer: &mut Writer) -> Result<(), String> {
        let file_bytes = self.store.len().map_err(|error| error.to_string())?;
        let Some(record) = writer.head_file.record().filter(|record| file_bytes < record.file_bytes) else {
            return Ok(());
        };
        let written = writer.head_file.write(HeadRecord { file_bytes, ..record });
        written.and_then(|()| writer.head_file.sync()).map_err(|error| error.to_string())
    }

    /// A store that cannot give back what it took is not written to any more.
    fn trusted(&self, read: Result<(), LogError>) -> Result<(), LogError> {
        read.inspect_err(|error| drop(self.stop(error.to_string())))
    }

    /// Hands over the bytes of each commit that [`EventLog::read`] promises, which gives back how many events it has.
    fn try_read(&self, after: Position, max_events: usize, take: &mut Take<'_>) -> Result<(), LogError> {
        let head = self.head().position;
        if after >= head || max_events == 0 {
            return Ok(());
        }
        let mut events = 0;
        let mut next = after.next();
        let mut frames = self.store.frames_from(next)?;
        while events < max_events && next <= head {
            let (first, bytes) = frames.next(next)?;
            let corrupt = |why: String| LogError::Corrupt { position: first, why };
            if first > next {
                return Err(LogError::Corrupt {
                    position: next,
                    why: "the store has no frame for it".to_owned(),
                });
            }
            let frame = frame::open(first, &bytes).map_err(corrupt)?;
            let ends = frame.commits.iter().skip(1).map(|(first, _)| *first).chain([frame.next]);
            for ((first, bytes), end) in frame.commits.iter().zip(ends) {
                if end > next && events < max_events {
                    events += take(*first, bytes)?;
                }
            }
            next = next.max(frame.next);
        }
        Ok(())
    }

    /// Hands over the bytes of the commits that hold these positions; each frame is read and checked once.
    fn try_read_commits(&self, positions: &[Position], take: &mut Take<'_>) -> Result<(), LogError> {
        let head = self.head().position;
        let there = positions.iter().copied().filter(|position| (Position(1)..=head).contains(position));
        let mut wanted = there.peekable();
        while let Some(position) = wanted.peek().copied() {
            let (first, bytes) = self.store.frames_from(position)?.next(position)?;
            let frame = frame::open(first, &bytes);
            let frame = frame.map_err(|why| LogError::Corrupt { position: first, why })?;
            let ends = frame.commits.iter().skip(1).map(|(first, _)| *first).chain([frame.next]);
            for ((first, bytes), end) in frame.commits.iter().zip(ends) {
                if wanted.next_if(|position| *position >= *first && *position < end).is_some() {
                    while wanted.next_if(|position| *position < end).is_some() {}
                    take(*first, bytes)?;
                }
            }
            if wanted.peek() == Some(&position) {
                return Err(LogError::Corrupt { position, why: "the store has no frame for it".to_owned() });
            }
        }
        Ok(())
    }
}

fn decoded(first: Position, bytes: &[u8]) -> Result<StoredCommit, LogError> {
    let commit = StoredCommit::decode(first, bytes);
    commit.map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })
}

impl EventLog for SledLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<Outcome, LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        let staged = writer.tail.stage(after, batch)?;
        if staged.is_empty() {
            return Ok(Outcome::Appended);
        }
        match self.make_durable(&mut writer, &staged) {
            Ok(frame_bytes) => {
                writer.frame_bytes = frame_bytes;
                *self.head.write() = staged.head();
                writer.tail.admit(staged);
                Ok(Outcome::Appended)
            }
            Err(Fault::Passing(why)) => Err(LogError::Exhausted { why }),
            Err(Fault::Lasting(why)) => {
                self.stop(why);
                Ok(Outcome::Unknown)
            }
        }
    }

    fn head(&self) -> Head {
        *self.head.read()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        let mut found = Vec::new();
        let read = self.try_read(after, max_events, &mut |first, bytes| {
            let commit = decoded(first, bytes)?;
            let events = commit.commit.events.len();
            found.push(commit);
            Ok(events)
        });
        self.trusted(read).map(|()| found)
    }

    fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        let mut found = Vec::with_capacity(positions.len());
        let read = self.try_read_commits(positions, &mut |first, bytes| {
            found.push(decoded(first, bytes)?);
            Ok(1)
        });
        self.trusted(read).map(|()| found)
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        let mut found = Vec::new();
        let read = self.try_read(after, max_events, &mut |first, bytes| {
            let events = codec::count(bytes);
            let events =
                events.map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })?;
            found.push(StoredBytes { first, bytes: bytes.to_vec() });
            Ok(usize::from(events))
        });
        self.trusted(read).map(|()| found)
    }

    fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned()
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        // A second settling, after `close`, finds nothing to do but one sync. Failure has been reported by
        // `stop`.
        drop(self.settle());
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod tests;
