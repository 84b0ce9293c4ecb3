//! Reads the checkpoints again, and once a day folds the newest one again, from the first event on: what a start goes
//! on from is right only if the history leads to it.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::checkpoint::{CheckpointError, CheckpointFolder, TrustedCheckpoints, difference_to_a_fold};
use tenure_log::SegmentedLog;
use tenure_protocol::clock::stopwatch;

/// How often the newest one is folded again, apart from each start: the fold is written to disk on the way.
const AGAIN: Duration = Duration::from_hours(24);
/// About how many bytes are read for a folded event: its own, twice.
const BYTES_OF_AN_EVENT: u64 = 512;

/// Looks after the checkpoints.
pub(super) struct CheckpointScrub {
    log: Arc<dyn SegmentedLog>,
    known: Arc<TrustedCheckpoints>,
    folder: CheckpointFolder,
    folded: Option<Instant>,
}

impl CheckpointScrub {
    pub(super) fn new(log: Arc<dyn SegmentedLog>, known: Arc<TrustedCheckpoints>, data: &Path) -> Self {
        Self { log, known, folder: CheckpointFolder::of(data), folded: None }
    }

    /// What they are, and what was found.
    pub(super) fn known(&self) -> Arc<TrustedCheckpoints> {
        Arc::clone(&self.known)
    }

    /// One round. What is not to be believed is named, and the thread that makes checkpoints sets it aside.
    pub(super) fn round(&mut self, pace: &mut dyn FnMut(u64) -> bool) {
        match self.read(pace).and_then(|()| self.fold(pace)) {
            Ok(()) | Err(CheckpointError::Stopped) => {}
            Err(error) => tracing::warn!(%error, "the checkpoints could not be looked at; it is tried again"),
        }
    }

    fn read(&self, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), CheckpointError> {
        for checkpoint in self.known.all() {
            match checkpoint.read_whole(pace) {
                Err(CheckpointError::Damaged { name, why }) => self.known.found_damaged(&name, &why),
                read => read?,
            }
        }
        Ok(())
    }

    /// When it differs, those before it cannot be verified either, so the next is made from the first event on.
    fn fold(&mut self, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), CheckpointError> {
        let is_due = self.folded.is_none_or(|folded| folded.elapsed() >= AGAIN);
        let Some(newest) = self.known.newest().filter(|_| is_due) else { return Ok(()) };
        let work = self.folder.place_for_a_fold()?;
        let mut pace = |events: u64| pace(events * BYTES_OF_AN_EVENT);
        let difference = difference_to_a_fold(&newest, &*self.log, &work, &mut pace);
        remove(&work);
        if let Some(difference) = difference? {
            self.known.found_untrue(&difference);
        }
        self.folded = Some(stopwatch());
        Ok(())
    }
}

fn remove(work: &Path) {
    for left in [work.to_owned(), work.with_extension("next")] {
        // It may not have come so far. What is left goes with the next start.
        drop(fs::remove_file(left));
    }
}
