//! Segments get an index: each when it is there, and those of an earlier version, or whose index is damaged, later.
//!
//! An index is written under another name, synced and renamed. It follows from its segment alone, so a crash loses
//! nothing: what is missing is made by the thread that seals.

use std::sync::Arc;

use super::{SealError, SegmentStore};
use crate::{
    LogError,
    segment::{
        Segment,
        index::{self, IndexBuilder, SegmentIndex},
    },
    sled::error::io_at,
};
use tenure_files::replacement::put_in_place;

impl SegmentStore {
    /// Makes the first index that is missing or damaged; whether there was one to make. A segment that is damaged gets
    /// none until it was put right.
    ///
    /// # Errors
    /// See [`SealError`]; the next call tries again.
    pub(crate) fn index(&self, go_on: &dyn Fn() -> bool, step: &dyn Fn(&str)) -> Result<bool, SealError> {
        let segments = self.all();
        let lacks = |segment: &&Arc<Segment>| {
            segment.damage().is_none() && segment.index().is_none_or(|index| index.damage().is_some())
        };
        let Some(segment) = segments.iter().find(lacks) else { return Ok(false) };
        self.make_index(segment, go_on, step)?;
        Ok(true)
    }

    fn make_index(
        &self,
        segment: &Segment,
        go_on: &dyn Fn() -> bool,
        step: &dyn Fn(&str),
    ) -> Result<(), SealError> {
        let mut builder = IndexBuilder::new(&segment.header);
        let is_read = segment.read_each(&mut |stored, leaves| builder.add(stored, leaves), &mut |_| go_on());
        if !is_read.map_err(LogError::from)? {
            return Err(SealError::Stopped);
        }
        self.put_index(segment, builder, step)
    }

    /// Brings the index of a segment to its place.
    pub(crate) fn put_index(
        &self,
        segment: &Segment,
        builder: IndexBuilder,
        step: &dyn Fn(&str),
    ) -> Result<(), SealError> {
        let path = index::path_of(&segment.path);
        let unfinished = path.with_extension("index.new");
        self.data.make_indexes()?;
        builder.write(&unfinished).map_err(io_at(&unfinished))?;
        step("index written");
        let made = SegmentIndex::open(unfinished.clone(), &segment.header).map_err(io_at(&unfinished))?;
        made.read_whole(&mut |_| true).map_err(LogError::from)?;
        step("index checked");
        put_in_place(&unfinished, &path).map_err(io_at(&path))?;
        step("index renamed");
        segment.has_index(SegmentIndex::open(path.clone(), &segment.header).map_err(io_at(&path))?);
        Ok(())
    }
}
