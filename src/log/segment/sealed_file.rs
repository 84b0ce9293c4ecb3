//! A segment as a file that never changes, for those who keep a copy of it: and such a copy, read as it comes.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use super::{
    Segment,
    header::{HEADER_BYTES, SegmentHeader},
};
use crate::{LogError, codec};
use tenure_core::Position;

/// No commit in a segment is longer.
const LONGEST: usize = codec::MAX_COMMIT_BYTES;

/// A segment as a file.
#[derive(Clone, Debug)]
pub struct SealedFile(Arc<Segment>);

impl SealedFile {
    pub(crate) const fn of(segment: Arc<Segment>) -> Self {
        Self(segment)
    }

    /// The position of its first event.
    pub fn first(&self) -> Position {
        self.0.header.first()
    }

    /// The position of its last event.
    pub fn last(&self) -> Position {
        self.0.header.last()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Reads all of its bytes once, piece by piece in their order, and hands over those that are as they were written,
    /// by its own checks; no commit is decoded.
    ///
    /// # Errors
    /// [`LogError::Damaged`] with the positions that are not; what `take` gives.
    pub fn read<E: From<LogError>>(&self, take: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.0.again().map_err(LogError::from)?;
        let blocks = self.0.blocks().map_err(LogError::from)?;
        blocks.pieces().try_for_each(|piece| take(&piece.map_err(LogError::from)?))
    }
}

/// The commits of a copy of a segment, in order. Nothing is believed but the header's check of itself: who reads it has
/// a digest of the whole, or follows the tree.
#[derive(Debug)]
pub struct SegmentStream<R> {
    input: R,
    next: Position,
    last: Position,
}

impl<R: Read> SegmentStream<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `InvalidData` where it is none.
    pub fn open(mut input: R) -> io::Result<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        input.read_exact(&mut bytes)?;
        let header = SegmentHeader::read(&bytes)
            .ok_or_else(|| invalid("the header's check does not match its bytes"))?;
        Ok(Self { input, next: header.first(), last: header.last() })
    }

    /// The position of the next commit.
    pub const fn position(&self) -> Position {
        self.next
    }

    /// The bytes of the next commit with its first position; none behind the last one.
    ///
    /// # Errors
    /// `InvalidData` where there is no commit.
    pub fn next_commit(&mut self) -> io::Result<Option<(Position, Vec<u8>)>> {
        if self.next > self.last {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST {
            return Err(invalid("a commit in it is too long"));
        }
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes)?;
        let events = codec::count(&bytes).map_err(|error| invalid(&error.to_string()))?;
        let first = self.next;
        self.next = first.plus(events.into());
        Ok(Some((first, bytes)))
    }

    /// What follows the commits.
    pub fn into_rest(self) -> R {
        self.input
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
