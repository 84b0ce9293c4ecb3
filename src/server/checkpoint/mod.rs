//! Checkpoints: what the history leads to at the end of a segment, in a file, so that a start need not read what is
//! before it.
//!
//! ```text
//! ┌────────────────┬────────┬──────────┬─ ─┬───────┬─ ─┬──────┬─ ─┬──────┬────────┬───────┬─────────┐
//! │ header, 4 KiB  │ system │ subjects │   │ ended │   │ rows │   │ past │ erased │ pulse │ table   │
//! └────────────────┴────────┴──────────┴─ ─┴───────┴─ ─┴──────┴─ ─┴──────┴────────┴───────┴─────────┘
//! ```
//!
//! A checkpoint is the fold of the one before it and of the segments since, made from files alone: never a copy of what
//! is in memory, which would inherit what is wrong there. It holds nothing that does not follow from its segments, so
//! every machine makes the same bytes, and a fold from the first event gives them again. The bytes are described
//! in `docs/log-format.md`.
//!
//! Sessions that ended a day before stand apart, with the rows of the lists that they are in. A start does not read
//! them: lists and reads of the past do, on demand.

mod checking;
mod ended;
mod ended_split;
mod fold;
mod folder;
mod format;
mod listing;
mod reader;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod trusted;
mod writer;

use tenure_core::{Position, evolve::IllegalEvent};
use tenure_log::LogError;

pub use self::{
    checking::{CheckedCheckpoint, check_checkpoints, difference_to_a_fold},
    fold::{FoldPace, fold_from_the_first_event, make},
    folder::CheckpointFolder,
    listing::ListingCheckpoint,
    reader::{Checkpoint, CheckpointState, EndedBefore},
    trusted::TrustedCheckpoints,
};

/// Why a checkpoint cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system does not give or take it.
    #[error("{name}: {source}")]
    Io {
        /// The file, below the data directory.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not as it was written, or of a version that this program does not know.
    #[error("{name}: {why}")]
    Damaged {
        /// The file, below the data directory.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The log does not give back what is to be folded.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log holds what cannot follow from the checkpoint before.
    #[error("what is behind the checkpoint before does not follow from it: {0}")]
    Illegal(#[from] IllegalEvent),
    /// What was read is not what the segment's header was made of.
    #[error("positions {first} to {last} are not those that the tree was made of")]
    Untrue {
        /// The first position.
        first: Position,
        /// The last one.
        last: Position,
    },
    /// It was asked to stop.
    #[error("the making of a checkpoint was asked to stop")]
    Stopped,
}

impl CheckpointError {
    /// What is wrong, for a line that names this file itself.
    pub fn about(&self, file: &str) -> String {
        match self {
            Self::Damaged { name, why } if name == file => why.clone(),
            Self::Io { name, source } if name == file => source.to_string(),
            Self::Damaged { .. }
            | Self::Io { .. }
            | Self::Log(_)
            | Self::Illegal(_)
            | Self::Untrue { .. }
            | Self::Stopped => self.to_string(),
        }
    }

    /// Whether it says that the checkpoint of this name, of which another one was to be made, is not to be believed.
    pub fn is_of_the_one_before(&self, before: &str) -> bool {
        match self {
            Self::Damaged { name, .. } => name == before,
            Self::Illegal(_) | Self::Untrue { .. } => true,
            Self::Io { .. } | Self::Log(_) | Self::Stopped => false,
        }
    }
}
