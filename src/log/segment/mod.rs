//! A segment: an immutable file with a closed range of the history, the stored bytes as they are.
//!
//! ```text
//! ┌────────────────┬─────────┬─────────┬─ ─ ─ ─┬───────────────┐
//! │ header, 4 KiB  │ block   │ block   │       │ index         │
//! └────────────────┴─────────┴─────────┴─ ─ ─ ─┴───────────────┘
//! ```
//!
//! It holds nothing that does not follow from its commits, so every machine makes the same bytes. The header has a
//! check of itself and the digest of the index; the index has a check of each block, with the first position and moment
//! in it. So the check of the header stands for the whole file, and one block can be read and judged without the
//! others. The bytes are described in `docs/log-format.md`.

mod check;
mod damage;
mod error;
mod header;
pub(crate) mod index;
mod indexed_history;
mod reader;
mod sealed_file;
mod writer;

use std::path::{Path, PathBuf};

pub(crate) use self::{
    check::in_words,
    error::SegmentError,
    header::SegmentHeader,
    reader::{FileStamp, Segment, SegmentBlocks},
    writer::SegmentWriter,
};
pub use self::{
    check::{CheckedSegment, check_segment, check_segments},
    indexed_history::{IndexedHistory, IndexedKind},
    sealed_file::{SealedFile, SegmentStream},
};
use crate::record::first_half;
use tenure_core::{Position, Timestamp};

/// Bytes of a block: commits are gathered until it has as many.
const BLOCK_BYTES: usize = 64 * 1024;
/// More than a block ever has: one commit beyond, and its length.
const MOST_BLOCK_BYTES: u32 = 2 * 64 * 1024;

/// What the index says of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    /// The position of its first event.
    pub(crate) first: Position,
    /// When its first commit was recorded.
    pub(crate) recorded_at: Timestamp,
    offset: u64,
    length: u32,
    check: [u8; 16],
}

impl BlockEntry {
    const BYTES: usize = 8 + 8 + 8 + 4 + 16;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.0.to_be_bytes());
        out.extend_from_slice(&self.recorded_at.as_millis().to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.check);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            first: Position(u64::from_be_bytes(*bytes.first_chunk()?)),
            recorded_at: Timestamp::from_millis(i64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)),
            offset: u64::from_be_bytes(*bytes.get(16..)?.first_chunk()?),
            length: u32::from_be_bytes(*bytes.get(24..)?.first_chunk()?),
            check: *bytes.get(28..)?.first_chunk()?,
        })
    }
}

fn check_of_block(bytes: &[u8]) -> [u8; 16] {
    first_half(&blake3::Hasher::new_derive_key("tenure v1 segment block").update(bytes).finalize())
}

/// Where the segment is, or is to be, that begins at this position.
pub(crate) fn path(dir: &Path, first: Position) -> PathBuf {
    dir.join(format!("{:020}.segment", first.0))
}
