//! Makes a checkpoint behind the segments that were sealed, on the thread that seals them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    authority::{Authority, CheckpointStatus},
    checkpoint::{Checkpoint, CheckpointError, CheckpointFolder, TrustedCheckpoints},
    projections::ended::ListingError,
};
use tenure_log::{LogError, SegmentEnd, SegmentedLog};
use tenure_protocol::clock::stopwatch;

/// The making takes no more than this part of the time.
const SHARE: u32 = 20;

/// Has the sessions listed by a checkpoint that ended long before it.
pub(super) type ListEnded = Box<dyn Fn(&Arc<Checkpoint>) -> Result<(), ListingError> + Send>;

/// Makes checkpoints, one after the other.
pub(super) struct Checkpointer {
    log: Arc<dyn SegmentedLog>,
    authority: Arc<Authority>,
    known: Arc<TrustedCheckpoints>,
    folder: CheckpointFolder,
    list_ended: ListEnded,
    /// How paths begin that callers are not to read.
    data: String,
    /// How long the last one took, and when it was done.
    last: Option<(Duration, Instant)>,
}

impl Checkpointer {
    pub(super) fn new(
        log: Arc<dyn SegmentedLog>,
        authority: Arc<Authority>,
        known: Arc<TrustedCheckpoints>,
        data: &Path,
        list_ended: ListEnded,
    ) -> Self {
        let folder = CheckpointFolder::of(data);
        if let Err(error) = folder.remove_unfinished() {
            tracing::warn!(%error, "what an interrupted making of a checkpoint left cannot be removed");
        }
        let data = format!("{}/", data.display());
        Self { log, authority, known, folder, list_ended, data, last: None }
    }

    /// Makes a checkpoint of what is sealed, if it is time for one.
    pub(super) fn step(&mut self, goes_on: &dyn Fn() -> bool) {
        match self.advance(goes_on) {
            Ok(()) | Err(CheckpointError::Stopped) => {}
            // Others give back what is wanting, and then it is tried again.
            Err(CheckpointError::Log(error @ LogError::Exhausted { .. })) => {
                tracing::debug!(%error, "no checkpoint now");
            }
            Err(error) => self.known.failed(Some(error.to_string().replace(&self.data, ""))),
        }
        self.authority.storage().observe_checkpoints(CheckpointStatus {
            position: self.known.position(),
            made: self.known.last_made(),
            failures: self.known.failures(),
            alarms: self.known.alarms(),
        });
    }

    fn advance(&mut self, goes_on: &dyn Fn() -> bool) -> Result<(), CheckpointError> {
        let ends = self.log.segment_ends();
        // What was found to be wrong is out of the way before anything is made.
        self.set_aside()?;
        let Some(last) = ends.last().filter(|last| self.is_due(last)) else { return Ok(()) };
        let begun = stopwatch();
        while self.known.position() < last.position {
            self.go_on(&ends, goes_on)?;
        }
        self.last = Some((begun.elapsed(), stopwatch()));
        Ok(())
    }

    fn is_due(&self, end: &SegmentEnd) -> bool {
        let is_behind = self.known.position() < end.position;
        is_behind
            && self.authority.disk_room().fault().is_none()
            // While one was found to be wrong, nothing is granted.
            && (self.last.is_none_or(|(took, then)| then.elapsed() >= took * SHARE)
                || !self.known.findings().is_empty())
    }

    /// One that cannot be read, or that does not lead on, is set aside for the one before it.
    fn go_on(&self, ends: &[SegmentEnd], goes_on: &dyn Fn() -> bool) -> Result<(), CheckpointError> {
        let before = self.known.newest();
        match (self.folder.advance(&*self.log, before.as_deref(), ends, &mut |_| goes_on()), before) {
            // What it was made of was found to be wrong meanwhile.
            (Ok(Some(made)), Some(before)) if !self.known.believes(before.name()) => {
                self.known.distrust(made.name(), "was made of one that is not to be believed");
                self.set_aside()?;
            }
            (Ok(Some(made)), _) => self.believe(made),
            (Ok(None), _) => {}
            (Err(error), Some(before)) if error.is_of_the_one_before(before.name()) => {
                self.known.distrust(before.name(), &error.about(before.name()));
                self.set_aside()?;
            }
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    fn believe(&self, made: Checkpoint) {
        let (position, bytes) = (made.end().position, made.bytes_on_disk());
        tracing::info!(%position, bytes, "a checkpoint was made");
        let made = Arc::new(made);
        self.known.made(Arc::clone(&made));
        if let Err(error) = (self.list_ended)(&made) {
            tracing::warn!(%error, "more stays in memory until the next checkpoint");
        }
    }

    fn set_aside(&self) -> Result<(), CheckpointError> {
        self.known.distrusted().iter().try_for_each(|name| self.folder.set_aside(name))
    }
}
