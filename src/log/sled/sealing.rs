//! A full range of the history becomes a segment, and its store is removed.
//!
//! Each step leaves something that the next start understands. The segment is written under another name, synced, read
//! back and checked against the tree, and renamed: the rename is the moment of truth, and there is no list of segments
//! beside their directory. What is read back is also what its index is made of, so that each record is hashed once. A
//! store goes only when all that it holds is in segments and the head record, synced, names a later one; first its name,
//! then its files.

#[cfg(test)]
use std::path::Path;
use std::{collections::VecDeque, io, sync::Arc};

use super::{OpenError, SegmentEnd, SledLog, StoreRange, data_dir::DataDir, head_file::HeadRecord};
use crate::{
    DamagedSegment, LogError, ScrubPace, ScrubResult, SealError, SegmentedLog, VouchedRoot,
    segment::{Segment, index::IndexBuilder},
    segment_store::{RangeEnd, SegmentMaking},
    tail::LogTail,
};
use tenure_core::{Position, Timestamp};

/// What waits to be sealed, and to go.
#[derive(Debug)]
pub(super) struct SealQueue {
    /// The log at the end of each range that is full and in no segment yet.
    pub(super) ends: VecDeque<LogTail>,
    /// Stores that go when they have no reader any more.
    leaving: Vec<Arc<StoreRange>>,
    #[cfg(test)]
    pub(super) on_step: Option<fn(&Path, &str)>,
}

/// How large a log is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageFigures {
    /// How many segments there are.
    pub segments: u64,
    /// The last position in them.
    pub sealed: Position,
    /// How many ranges are full and in no segment yet.
    pub unsealed: u64,
    /// Where the oldest of these ends, and when that was recorded.
    pub oldest: Option<(Position, Timestamp)>,
    /// The bytes in them and in the files of the stores.
    pub bytes: u64,
    /// Bytes taken in addition before the oldest store goes.
    pub needs: u64,
}

impl SealQueue {
    pub(super) const fn new(ends: VecDeque<LogTail>) -> Self {
        Self {
            ends,
            leaving: Vec::new(),
            #[cfg(test)]
            on_step: None,
        }
    }
}

impl SegmentedLog for SledLog {
    fn cut(&self, _: Option<u64>) -> u64 {
        self.segment_events()
    }

    fn may_append(&self) -> bool {
        true
    }

    fn unsealed(&self) -> usize {
        self.sealing.lock().ends.len()
    }

    /// It knows its own tree at the end of each range.
    fn seal(
        &self,
        signed: Position,
        _: &VouchedRoot<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Position>, SealError> {
        self.seal(signed, go_on)
    }

    fn index(&self, go_on: &dyn Fn() -> bool) -> Result<bool, SealError> {
        self.segment_store.index(go_on, &|name| self.step(name))
    }

    fn make_spare(&self) -> Result<bool, OpenError> {
        self.make_spare()
    }

    fn segment_ends(&self) -> Vec<SegmentEnd> {
        self.segment_store.ends()
    }

    fn figures(&self) -> io::Result<StorageFigures> {
        let stores = self.stores.read().clone();
        let mut bytes = self.segment_store.bytes();
        for range in &stores {
            bytes += range.store.len()?;
        }
        let (segments, sealed) = (self.segment_store.all().len() as u64, self.segment_store.end());
        let (unsealed, oldest, full) = {
            let ends = &self.sealing.lock().ends;
            let oldest = ends.front().map(|end| (end.position(), end.recorded_at()));
            (ends.len() as u64, oldest, ends.iter().map(LogTail::position).collect::<Vec<_>>())
        };
        let needs = self.needs(&stores, sealed, &full)?;
        Ok(StorageFigures { segments, sealed, unsealed, oldest, bytes, needs })
    }

    fn scrub(&self, number: usize, pace: &mut ScrubPace<'_>) -> Result<ScrubResult, LogError> {
        self.segment_store.scrub(number, pace)
    }

    fn doubted(&self) -> Vec<DamagedSegment> {
        self.segment_store.doubted()
    }
}

impl SledLog {
    /// Seals the oldest full range that ends at or before this position, up to which a signed head vouches for the log;
    /// gives its last position. What can go then goes.
    ///
    /// # Errors
    /// See [`SealError`]; the next call begins again.
    pub fn seal(&self, signed: Position, go_on: &dyn Fn() -> bool) -> Result<Option<Position>, SealError> {
        self.refuse_if_stopped()?;
        self.begin_store_if_full();
        let end = self.sealing.lock().ends.front().cloned();
        let mut sealed = None;
        if let Some(end) = end.filter(|end| end.position() <= signed) {
            let (segment, index) = self.seal_up_to(&end, go_on)?;
            self.sealing.lock().ends.pop_front();
            self.segment_store.put_index(&segment, index, &|name| self.step(name))?;
            sealed = Some(end.position());
        }
        self.retire_stores();
        self.remove_retired()?;
        Ok(sealed)
    }

    /// By how many events it is cut; more than it will ever have if it is not.
    pub fn segment_events(&self) -> u64 {
        self.writer.lock().ranges.events()
    }

    /// About how many bytes the ranges take as segments that the oldest store holds and that are full. They are copied
    /// while it stays.
    fn needs(&self, stores: &[Arc<StoreRange>], sealed: Position, full: &[Position]) -> std::io::Result<u64> {
        let Some(oldest) = stores.first() else { return Ok(0) };
        let end = stores.get(1).map_or(self.head.read().position, |next| Position(next.first.0 - 1));
        let full = full.iter().rev().find(|position| **position <= end).map_or(0, |position| position.0);
        let before = oldest.first.0.saturating_sub(1);
        let (left, all) = (full.saturating_sub(sealed.0.max(before)), end.0.saturating_sub(before).max(1));
        let bytes = u128::from(oldest.store.len()?) * u128::from(left) / u128::from(all);
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// Gives the segment, and what its index is made of.
    fn seal_up_to(
        &self,
        end: &LogTail,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(Arc<Segment>, IndexBuilder), SealError> {
        self.record_size()?;
        self.segment_store.seal_up_to(&SegmentMaking {
            end: RangeEnd::Known(end),
            read: &|after, most, take| self.try_read(after, most, take),
            go_on,
            step: &|name| self.step(name),
        })
    }

    /// Writes down, before the first segment is there, by how many events the log is cut: a start with another number
    /// must be refused for that, not for a segment that ends elsewhere.
    fn record_size(&self) -> Result<(), SealError> {
        let mut writer = self.writer.lock();
        let segment_events = writer.ranges.events();
        let record = writer.head_file.record().filter(|record| record.segment_events != segment_events);
        let Some(record) = record.cloned() else { return Ok(()) };
        let data = writer.data.clone();
        Ok(data.write_head(&mut writer.head_file, HeadRecord { segment_events, ..record })?)
    }

    /// What follows a full range begins a store, so that the one before can go. What cannot be made now is made with
    /// the next batch.
    fn begin_store_if_full(&self) {
        let mut writer = self.writer.lock();
        if !writer.is_full {
            return;
        }
        let end = writer.tail.clone();
        match self.begin_store(&mut writer, &end) {
            Ok(()) => {}
            Err(super::AppendFault::Passing(why)) => tracing::warn!(%why, "the next store is not there yet"),
            Err(super::AppendFault::Lasting(why)) => drop(self.stop(why)),
        }
        drop(writer);
        self.step("switched");
    }

    /// Takes the stores from the list that hold nothing but what is in segments. The head record names a later one.
    fn retire_stores(&self) {
        let sealed = self.segment_store.end();
        let mut stores = self.stores.write();
        let retired = stores.windows(2).take_while(|pair| pair[1].first <= sealed.next()).count();
        let retired: Vec<_> = stores.drain(..retired).collect();
        drop(stores);
        self.sealing.lock().leaving.extend(retired);
    }

    /// Removes the stores without a reader.
    fn remove_retired(&self) -> Result<(), SealError> {
        let leaving = std::mem::take(&mut self.sealing.lock().leaving);
        if leaving.is_empty() {
            return Ok(());
        }
        // Both records of the head name a later store: whichever can be believed, what goes is not looked for.
        self.flush()?;
        let data = self.data_dir();
        for range in leaving {
            match Arc::try_unwrap(range) {
                Ok(range) => {
                    let files = data.store(range.number);
                    drop(range);
                    data.remove_store(&files)?;
                    self.step("removed");
                }
                Err(range) => self.sealing.lock().leaving.push(range),
            }
        }
        Ok(())
    }

    pub(super) fn data_dir(&self) -> DataDir {
        self.writer.lock().data.clone()
    }

    /// Where a test takes a copy of what a crash would leave.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only a test looks at the steps"))]
    pub(super) fn step(&self, name: &str) {
        #[cfg(test)]
        {
            let on_step = self.sealing.lock().on_step;
            if let Some(on_step) = on_step {
                on_step(&self.data_dir().segments, name);
            }
        }
        tracing::trace!(name, "sealing");
    }
}
