//! Every checkpoint of a directory, each compared with a fold of the history from the first event on.

use std::{io, path::Path};

use super::{
    Checkpoint, CheckpointError, CheckpointFolder, fold::fold_from_the_first_event, folder::unfit,
    reader::name_of,
};
use tenure_core::Position;
use tenure_log::{SegmentedLog, SledLog};

/// What one checkpoint is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedCheckpoint {
    /// Its file, below the data directory.
    pub name: String,
    /// Where it stands.
    pub position: Position,
    /// What is wrong with it; `None` if the history leads to it.
    pub fault: Option<String>,
}

/// Folds the history of this data directory, which this log has, up to each checkpoint, and compares. What is folded is
/// written to this directory for work; the data directory is not changed.
///
/// # Errors
/// The directory cannot be listed.
pub fn check_checkpoints(data: &Path, log: &SledLog, work: &Path) -> io::Result<Vec<CheckedCheckpoint>> {
    let mut files = CheckpointFolder::of(data).files()?;
    files.reverse();
    let checked = files.into_iter().map(|(position, path)| {
        let name = name_of(&path);
        let fault = fault_of(&path, log, work).unwrap_or_else(|error| Some(error.about(&name)));
        CheckedCheckpoint { name, position, fault }
    });
    Ok(checked.collect())
}

fn fault_of(path: &Path, log: &SledLog, work: &Path) -> Result<Option<String>, CheckpointError> {
    let checkpoint = Checkpoint::open(path)?;
    let ends = log.segment_ends();
    if !ends.contains(checkpoint.end()) {
        return Ok(Some(unfit(&checkpoint, &ends)));
    }
    checkpoint.read_whole(&mut |_| true)?;
    checkpoint.read()?;
    difference_to_a_fold(&checkpoint, log, &work.join("checkpoint.new"), &mut |_| true)
}

/// Folds the history up to this checkpoint again, by way of this file, and says what differs.
///
/// # Errors
/// See [`CheckpointError`].
pub fn difference_to_a_fold(
    checkpoint: &Checkpoint,
    log: &dyn SegmentedLog,
    work: &Path,
    pace: &mut super::FoldPace<'_>,
) -> Result<Option<String>, CheckpointError> {
    let mut ends = log.segment_ends();
    ends.retain(|end| end.position <= checkpoint.end().position);
    let folded = fold_from_the_first_event(log, &ends, work, pace)?;
    let difference = folded.and_then(|folded| checkpoint.difference_to(&folded));
    Ok(difference.map(|what| format!("is not what the history leads to: {what}")))
}
