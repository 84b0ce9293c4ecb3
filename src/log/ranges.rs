//! Where one segment of the history ends and the next begins.
//!
//! It follows from the commits alone, so that every machine cuts at the same places.

use crate::OpenError;
use tenure_core::Position;

/// By how many events the history is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEvents {
    /// By as many as it was cut by before; by [`SegmentEvents::USUAL`] if it never was.
    AsRecorded,
    /// By exactly this many.
    By(u64),
    /// Not at all, by this process, if it was not before.
    Uncut,
}

impl SegmentEvents {
    /// The default number.
    pub const USUAL: u64 = 250_000;

    /// By how many a log with this record is cut; 0 for never.
    pub(crate) const fn by(self, recorded: u64) -> Result<u64, OpenError> {
        match self {
            Self::By(asked) if recorded != 0 && asked != recorded => {
                Err(OpenError::CutOtherwise { asked, recorded })
            }
            Self::By(asked) => Ok(asked),
            Self::AsRecorded | Self::Uncut if recorded != 0 => Ok(recorded),
            Self::AsRecorded => Ok(Self::USUAL),
            Self::Uncut => Ok(u64::MAX),
        }
    }
}

/// A segment takes no more than the commit with which it reaches this.
const MOST_BYTES: u64 = 128 * 1024 * 1024;

/// By how many events segments are cut, and how far the present one is.
///
/// A segment ends with the first commit whose last event is at or behind the next multiple of the number of events, or
/// with which its commits reach 128 MiB, whichever is first.
#[derive(Clone, Debug)]
pub(crate) struct SegmentRanges {
    events: u64,
    /// The last position of the segment before.
    base: Position,
    bytes: u64,
}

impl SegmentRanges {
    /// Cuts by this many events, from behind this segment's end on.
    pub(crate) const fn new(events: u64, base: Position) -> Self {
        Self { events, base, bytes: 0 }
    }

    /// By how many events.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// Takes the next commit; whether the segment ends with it.
    pub(crate) fn take(&mut self, last: Position, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        let ends = last.0 >= self.next_multiple() || (self.bytes >= MOST_BYTES && self.events < u64::MAX);
        if ends {
            *self = Self::new(self.events, last);
        }
        ends
    }

    const fn next_multiple(&self) -> u64 {
        (self.base.0 / self.events).saturating_add(1).saturating_mul(self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of segments of a history, from the events and bytes of each commit.
    fn ends(by: u64, commits: &[(u64, usize)]) -> Vec<u64> {
        let mut ranges = SegmentRanges::new(by, Position::ZERO);
        let mut last = 0;
        let mut ends = vec![];
        for (events, bytes) in commits {
            last += events;
            if ranges.take(Position(last), *bytes) {
                ends.push(last);
            }
        }
        ends
    }

    #[test]
    fn a_segment_ends_with_the_commit_that_reaches_the_next_multiple() {
        assert_eq!(ends(10, &[(1, 9); 25]), [10, 20]);
        assert_eq!(ends(10, &[(7, 9), (7, 9), (7, 9), (7, 9), (7, 9)]), [14, 21, 35]);
        // One commit may pass several multiples.
        assert_eq!(ends(10, &[(35, 9), (4, 9), (1, 9)]), [35, 40]);
    }

    #[test]
    fn a_segment_ends_with_the_commit_that_fills_it() {
        let half = usize::try_from(MOST_BYTES / 2).unwrap();
        assert_eq!(ends(10, &[(1, half), (1, half), (1, half), (7, 1)]), [2, 10]);
    }
}
