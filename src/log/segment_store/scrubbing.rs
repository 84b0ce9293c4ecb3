//! Segments are read again, whole, long after they were written: disks forget.

use super::SegmentStore;
use crate::{LogError, segment::FileStamp};

/// Says, after a number of bytes, whether to go on.
pub type ScrubPace<'p> = dyn FnMut(u64) -> bool + 'p;

/// What the reading of a segment showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubResult {
    /// All of it is as it was written.
    Sound,
    /// It was asked to stop.
    Stopped,
    /// There are fewer segments.
    AtTheEnd,
}

/// A segment that did not read as it was written. It is not equal to itself once its file is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedSegment {
    /// Its number, from 0 on.
    pub number: usize,
    file: Option<FileStamp>,
}

impl SegmentStore {
    /// Reads a segment again, by its number from 0 on, with every check that a start makes of it, and leaves nothing of
    /// it in the memory of the system.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the positions that are not as they were written, and what the system says.
    pub(crate) fn scrub(&self, number: usize, pace: &mut ScrubPace<'_>) -> Result<ScrubResult, LogError> {
        let segments = self.all();
        let Some(segment) = segments.get(number) else { return Ok(ScrubResult::AtTheEnd) };
        // Its header is in memory, so that a flipped byte of it would go unnoticed until the next start.
        segment.again()?;
        if !segment.read_whole(pace)? {
            return Ok(ScrubResult::Stopped);
        }
        segment.is_sound();
        let is_whole = segment.index().map_or(Ok(true), |index| index.read_whole(pace))?;
        Ok(if is_whole { ScrubResult::Sound } else { ScrubResult::Stopped })
    }

    /// The segments that did not read as they were written, and have not since.
    pub(crate) fn doubted(&self) -> Vec<DamagedSegment> {
        let segments = self.all();
        let numbered = segments.iter().enumerate().filter(|(_, segment)| segment.damage().is_some());
        numbered.map(|(number, segment)| DamagedSegment { number, file: segment.seen() }).collect()
    }

    /// What is wrong with each of them.
    pub(crate) fn damage(&self) -> Vec<String> {
        let segments = self.all();
        segments.iter().filter_map(|segment| segment.damage()).collect()
    }
}
