//! Why a part of a segment is not read.

use crate::LogError;
use tenure_core::Position;

/// Why a segment, or a part of it, cannot be read.
#[derive(Debug)]
pub(crate) enum SegmentError {
    /// Descriptors or memory were wanting, which others may give back.
    Wanting(String),
    /// These positions are not as they were written.
    Damaged {
        /// The first one.
        first: Position,
        /// The last one.
        last: Position,
        /// The file, and what is wrong with it.
        why: String,
        /// The file below the data directory, if it is only an index.
        index: Option<String>,
    },
}

impl From<SegmentError> for LogError {
    fn from(trouble: SegmentError) -> Self {
        match trouble {
            SegmentError::Wanting(why) => Self::Exhausted { why },
            SegmentError::Damaged { first, last, why, index } => Self::Damaged { first, last, why, index },
        }
    }
}
