//! Makes segments of the ranges of the log that are full, on a thread of its own.
//!
//! A failure is an alarm for as long as it lasts, and loses nothing: the range stays in its store, and is tried again
//! every second.

use std::{path::Path, sync::Arc, thread::JoinHandle};

use super::jobs::Stopping;
use crate::authority::Authority;
use tenure_audit::Evidence;
use tenure_core::Position;
use tenure_log::{LogError, SealError, SledLog};

/// The thread; it ends when this is dropped. What it was making then is begun again at the next start.
pub(super) struct Sealer {
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Begins to seal the log of this authority.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        log: Arc<SledLog>,
        authority: Arc<Authority>,
        evidence: Arc<Evidence>,
        data: &Path,
    ) -> std::io::Result<Self> {
        let stopping = Arc::new(Stopping::default());
        let data = format!("{}/", data.display());
        let work = Work { log, authority, evidence, data, stopping: Arc::clone(&stopping) };
        let thread = std::thread::Builder::new().name("tenure-sealer".into()).spawn(move || {
            let authority = Arc::clone(&work.authority);
            authority.storage().sealer().run(|| work.run());
        })?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.stopping.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic is an alarm.
            drop(thread.join());
        }
    }
}

struct Work {
    log: Arc<SledLog>,
    authority: Arc<Authority>,
    evidence: Arc<Evidence>,
    /// How paths begin that callers are not to read.
    data: String,
    stopping: Arc<Stopping>,
}

impl Work {
    fn run(&self) {
        self.tell_of_backlog();
        loop {
            self.authority.storage().sealed(self.seal_all());
            self.observe();
            if !self.stopping.wait() {
                return;
            }
        }
    }

    /// A directory of an earlier version has all of its history in one store.
    fn tell_of_backlog(&self) {
        let ranges = self.log.unsealed();
        if ranges > 0 {
            tracing::info!(
                ranges,
                "the history is brought into segments: each range is copied, and a store goes when all that it \
                 holds is sealed; until then the disk needs room for both"
            );
        }
    }

    /// Why a range that could be sealed is not.
    fn seal_all(&self) -> Result<(), String> {
        if self.log.unsealed() > 0 && !self.may_seal()? {
            return Ok(());
        }
        while self.stopping.goes_on() {
            match self.log.seal(self.signed(), &|| self.stopping.goes_on()) {
                Ok(Some(last)) => self.tell_of_progress(last),
                // Where the log is stopped, its own alarm says more.
                Ok(None) | Err(SealError::Stopped | SealError::Log(LogError::Stopped { .. })) => {
                    return Ok(());
                }
                Err(error) => return Err(error.to_string().replace(&self.data, "")),
            }
        }
        Ok(())
    }

    /// Only under a signed head, only where there is room, and with segments of one size for all time.
    fn may_seal(&self) -> Result<bool, String> {
        if self.signed() == Position::ZERO || self.authority.room().fault().is_some() {
            return Ok(false);
        }
        let events = self.log.segment_events();
        let fixed = self.authority.fix_segment_events(events).map_err(|failure| failure.to_string())?;
        if fixed == events {
            return Ok(true);
        }
        Err(format!("log.segment_events is {events}, but the log records {fixed}: set it to {fixed}"))
    }

    fn signed(&self) -> Position {
        Position(self.evidence.keeper.heads().signed())
    }

    fn tell_of_progress(&self, last: Position) {
        let left = self.log.unsealed();
        tracing::info!(%last, left, "the history is in segments up to this position");
        self.observe();
    }

    fn observe(&self) {
        match self.log.figures() {
            Ok(figures) => self.authority.storage().observe(figures),
            Err(error) => tracing::debug!(%error, "the size of the log is not known"),
        }
    }
}
