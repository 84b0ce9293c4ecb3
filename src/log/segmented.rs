//! What those ask of a log who look after its files: the full ranges become segments, segments get an index and are read
//! again.

use std::io;

use crate::{
    DamagedSegment, EventLog, LogError, OpenError, RootHash, ScrubPace, ScrubResult, SealError, SegmentEnd,
    StorageFigures,
};
use tenure_core::Position;

/// The root of the tree over all records up to a position, as who vouches for it knows it.
pub type VouchedRoot<'r> = dyn Fn(Position) -> Option<RootHash> + 'r;

/// A log whose files are on this machine.
pub trait SegmentedLog: EventLog {
    /// By how many events it is cut, where it records this number, or none yet.
    fn cut(&self, recorded: Option<u64>) -> u64;

    /// Whether this process may append now, and so may be the one that fixes by how many events the log is cut.
    fn may_append(&self) -> bool;

    /// How many ranges are full and in no segment yet.
    fn unsealed(&self) -> usize;

    /// Seals the oldest range that is full and ends at or before this position, up to which a signed head vouches for
    /// the log; gives its last position. What can go then goes.
    ///
    /// # Errors
    /// See [`SealError`]; the next call begins again.
    fn seal(
        &self,
        signed: Position,
        root: &VouchedRoot<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Position>, SealError>;

    /// Makes the first index that is missing or damaged; whether there was one to make. A segment that is damaged gets
    /// none until it was put right.
    ///
    /// # Errors
    /// See [`SealError`]; the next call tries again.
    fn index(&self, go_on: &dyn Fn() -> bool) -> Result<bool, SealError>;

    /// Makes what the next range is written to, if nothing stands ready for it; whether it was made now.
    ///
    /// # Errors
    /// A file cannot be written. It is made when it is needed then.
    fn make_spare(&self) -> Result<bool, OpenError>;

    /// Where each of its segments ends, in order.
    fn segment_ends(&self) -> Vec<SegmentEnd>;

    /// How large it is on disk.
    ///
    /// # Errors
    /// The system does not say how long a file is.
    fn figures(&self) -> io::Result<StorageFigures>;

    /// Reads a segment again, by its number from 0 on, with every check that a start makes of it, and leaves nothing of
    /// it in the memory of the system.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the positions that are not as they were written, and what the system says.
    fn scrub(&self, number: usize, pace: &mut ScrubPace<'_>) -> Result<ScrubResult, LogError>;

    /// The segments that did not read as they were written, and have not since.
    fn doubted(&self) -> Vec<DamagedSegment>;
}
