//! What is sealed of the log leaves the copy: a full range becomes a segment, the same bytes on every node.
//!
//! Where a range ends follows from its commits, so each node looks for it by itself, in what it has, as soon as the log
//! records by how many events it is cut. A frame may hold the end of one range and the beginning of the next.

use std::{io, path::Path};

use super::JetStreamLog;
use crate::{
    DamagedSegment, EventLog, LogError, OpenError, ScrubPace, ScrubResult, SealError, SegmentEnd,
    SegmentEvents, SegmentedLog, StorageFigures, VouchedRoot, codec,
    ranges::SegmentRanges,
    segment_store::{RangeEnd, SegmentMaking},
};
use tenure_core::Position;

/// Events looked at between two locks.
const AT_A_TIME: usize = 10_000;

/// How the history is cut, and how far it was looked for the end of the next range.
#[derive(Debug)]
pub(super) struct RangeSearch {
    asked: SegmentEvents,
    /// None until it is certain by how many events the log is cut.
    ranges: Option<SegmentRanges>,
    seen: Position,
    /// Where the range behind the last segment ends, once that is seen.
    end: Option<Position>,
}

impl RangeSearch {
    /// Behind this end of a segment.
    pub(super) const fn behind(sealed: Position, asked: SegmentEvents) -> Self {
        Self { asked, ranges: None, seen: sealed, end: None }
    }

    fn events(&self) -> u64 {
        self.ranges.as_ref().map_or_else(|| self.asked.by(0).unwrap_or(u64::MAX), SegmentRanges::events)
    }
}

impl JetStreamLog {
    /// Puts the file of another node in the place of a damaged segment, by its number from 0 on, if it is the same one.
    ///
    /// # Errors
    /// Why it was not put there.
    pub fn mend(&self, number: usize, file: &Path) -> Result<(), String> {
        self.segment_store.mend(number, file)
    }

    /// Where the range behind the last segment ends; `None` while it is not full.
    fn full_range(&self) -> Result<Option<Position>, LogError> {
        let mut search = self.search.lock();
        let RangeSearch { ranges: Some(ranges), seen, end, .. } = &mut *search else { return Ok(None) };
        let head = self.head().position;
        while end.is_none() && *seen < head {
            self.try_read(*seen, AT_A_TIME, &mut |first, bytes| {
                let events = codec::count(bytes);
                let events =
                    events.map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })?;
                let last = Position(first.0 + u64::from(events) - 1);
                if end.is_none() {
                    *seen = last;
                    *end = ranges.take(last, bytes.len()).then_some(last);
                }
                Ok(events.into())
            })?;
        }
        Ok(*end)
    }
}

impl SegmentedLog for JetStreamLog {
    fn cut(&self, recorded: Option<u64>) -> u64 {
        let mut search = self.search.lock();
        // All nodes make the same files: what the log records goes before what one of them is asked for.
        if let (Some(events), SegmentEvents::By(asked)) = (recorded, search.asked)
            && asked != events
        {
            tracing::warn!(
                asked,
                events,
                "log.segment_events is another number than the log records; the recorded one counts"
            );
            search.asked = SegmentEvents::By(events);
        }
        let Ok(events) = search.asked.by(recorded.unwrap_or(0)) else { return u64::MAX };
        if recorded.is_some() && search.ranges.is_none() {
            search.ranges = Some(SegmentRanges::new(events, search.seen));
        }
        events
    }

    fn may_append(&self) -> bool {
        self.leadership().is_some_and(|leadership| leadership.lost().is_none())
    }

    fn unsealed(&self) -> usize {
        let events = self.search.lock().events().max(1);
        let full = (self.head().position.0 / events).saturating_sub(self.segment_store.end().0 / events);
        usize::try_from(full).unwrap_or(usize::MAX)
    }

    /// What is read back from the copy must be what the tree in memory was made of.
    fn seal(
        &self,
        signed: Position,
        root: &VouchedRoot<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Position>, SealError> {
        let Some(end) = self.full_range()?.filter(|end| *end <= signed) else { return Ok(None) };
        let (segment, index) = self.segment_store.seal_up_to(&SegmentMaking {
            end: RangeEnd::Vouched(end, &|tail| root(end).is_some_and(|root| root == tail.tree().root())),
            read: &|after, most, take| self.try_read(after, most, take),
            go_on,
            step: &|name| tracing::trace!(name, "sealing"),
        })?;
        self.search.lock().end = None;
        self.segment_store.put_index(&segment, index, &|name| tracing::trace!(name, "sealing"))?;
        if let Err(why) = self.copy.let_go(end) {
            tracing::warn!(why, "what is in segments stays in the copy of the log for now");
        }
        Ok(Some(end))
    }

    fn index(&self, go_on: &dyn Fn() -> bool) -> Result<bool, SealError> {
        self.segment_store.index(go_on, &|name| tracing::trace!(name, "sealing"))
    }

    fn make_spare(&self) -> Result<bool, OpenError> {
        Ok(false)
    }

    fn segment_ends(&self) -> Vec<SegmentEnd> {
        self.segment_store.ends()
    }

    fn figures(&self) -> io::Result<StorageFigures> {
        Ok(StorageFigures {
            segments: self.segment_store.all().len() as u64,
            sealed: self.segment_store.end(),
            unsealed: self.unsealed() as u64,
            oldest: None,
            bytes: self.segment_store.bytes() + self.copy.len(),
            needs: 0,
        })
    }

    fn scrub(&self, number: usize, pace: &mut ScrubPace<'_>) -> Result<ScrubResult, LogError> {
        self.segment_store.scrub(number, pace)
    }

    fn doubted(&self) -> Vec<DamagedSegment> {
        self.segment_store.doubted()
    }
}
