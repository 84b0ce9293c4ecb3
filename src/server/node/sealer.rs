//! Makes segments of the ranges of the log that are full, their indexes, and checkpoints behind them, on a thread of
//! its own.
//!
//! What an index covers is let go of in memory. Indexes that are missing, or damaged, are made again.
//!
//! A failure is an alarm for as long as it lasts, and loses nothing: the range stays in its store, and is tried again
//! every second.

use std::{path::Path, sync::Arc, time::Duration};

use super::checkpointer::{Checkpointer, ListEnded};
use crate::{authority::Authority, checkpoint::TrustedCheckpoints};
use tenure_audit::Evidence;
use tenure_core::Position;
use tenure_log::{LogError, SealError, SegmentedLog};
use tenure_threads::worker::{StopSignal, WorkerThread};

/// Lets go of what is in memory of the history up to a position.
pub(super) type ReleaseMemory = Box<dyn Fn(Position) + Send>;

/// How often it is looked for ranges that are full.
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to seal the log of this authority, until what is given back is dropped. What it was making then is begun
/// again at the next start.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    log: Arc<dyn SegmentedLog>,
    authority: Arc<Authority>,
    evidence: Arc<Evidence>,
    known: Arc<TrustedCheckpoints>,
    data: &Path,
    (list_ended, let_go): (ListEnded, ReleaseMemory),
) -> std::io::Result<WorkerThread> {
    let checkpointer = Checkpointer::new(Arc::clone(&log), Arc::clone(&authority), known, data, list_ended);
    let data = format!("{}/", data.display());
    WorkerThread::start("tenure-sealer", move |stop| {
        let sealer = Sealer { log, authority: Arc::clone(&authority), evidence, data, let_go, stop };
        // Its panic is an alarm.
        authority.storage().sealer().run(|| sealer.run(checkpointer));
    })
}

struct Sealer<'a> {
    log: Arc<dyn SegmentedLog>,
    authority: Arc<Authority>,
    evidence: Arc<Evidence>,
    /// How paths begin that callers are not to read.
    data: String,
    let_go: ReleaseMemory,
    stop: &'a StopSignal,
}

impl Sealer<'_> {
    fn run(&self, mut checkpointer: Checkpointer) {
        self.tell_of_backlog();
        loop {
            // A segment that gets no index holds up no other one.
            let indexed = self.index_all();
            self.authority.storage().sealed(self.seal_all().and(indexed));
            self.make_spare();
            self.observe();
            checkpointer.step(&|| !self.stop.is_over());
            if self.stop.pause(INTERVAL).is_break() {
                return;
            }
        }
    }

    /// A directory of an earlier version has all of its history in one store.
    fn tell_of_backlog(&self) {
        let ranges = self.log.unsealed();
        if ranges > 0 {
            let needs = self.log.figures().map_or(0, |figures| figures.needs) >> 20;
            let free = self.authority.disk_room().free().unwrap_or_default() >> 20;
            tracing::info!(
                ranges,
                "the history is brought into segments: each range is copied, and a store goes when all that it \
                 holds is sealed; until then the disk needs room for both: about {needs} MiB more, and {free} MiB \
                 are free"
            );
        }
    }

    /// Why a range that could be sealed is not.
    fn seal_all(&self) -> Result<(), String> {
        let events = self.log.cut(self.recorded());
        if self.log.unsealed() > 0 && !self.may_seal(events)? {
            return Ok(());
        }
        let nodes = self.evidence.keeper.heads().nodes();
        let root = |position: Position| nodes.root(&*self.log, position.0).ok();
        while !self.stop.is_over() {
            self.check_room()?;
            match self.log.seal(self.signed(), &root, &|| !self.stop.is_over()) {
                Ok(Some(last)) => {
                    self.tell_of_progress(last);
                    self.index_all()?;
                }
                // Where the log is stopped, its own alarm says more.
                Ok(None) | Err(SealError::Stopped | SealError::Log(LogError::Stopped { .. })) => {
                    return Ok(());
                }
                Err(error) => return Err(self.in_words(&error)),
            }
        }
        Ok(())
    }

    /// An append at the end of a range would wait for a store to be made.
    fn make_spare(&self) {
        if self.authority.disk_room().fault().is_some() {
            return;
        }
        if let Err(error) = self.log.make_spare() {
            tracing::debug!(%error, "no store stands ready for the next range; it is made when it is needed");
        }
    }

    /// Why a missing index cannot be made. Where there is little room it waits, as segments do.
    fn index_all(&self) -> Result<(), String> {
        let go_on = || !self.stop.is_over();
        while self.authority.disk_room().fault().is_none() {
            match self.log.index(&go_on) {
                Ok(true) => {}
                Ok(false) | Err(SealError::Stopped) => break,
                Err(error) => return Err(self.in_words(&error)),
            }
        }
        (self.let_go)(self.log.indexed().end());
        Ok(())
    }

    fn in_words(&self, error: &SealError) -> String {
        error.to_string().replace(&self.data, "")
    }

    /// A range is copied while its store stays, so the disk needs room for both until all of the store is sealed.
    fn check_room(&self) -> Result<(), String> {
        let needs = self.log.figures().map_or(0, |figures| figures.needs);
        let lacks = self.authority.disk_room().lacks(needs).filter(|_| needs > 0);
        let why = lacks.map(|lacks| {
            format!(
                "the disk needs room for about {} MiB more until the oldest store goes: {lacks}",
                needs >> 20
            )
        });
        why.map_or(Ok(()), Err)
    }

    /// Only under a signed head, only where there is room, and with segments of one size for all time.
    fn may_seal(&self, events: u64) -> Result<bool, String> {
        if self.signed() == Position::ZERO || self.authority.disk_room().fault().is_some() {
            return Ok(false);
        }
        if self.recorded().is_none() && !self.log.may_append() {
            // The node that leads will fix it.
            return Ok(false);
        }
        let fixed = self.authority.fix_segment_events(events).map_err(|failure| failure.to_string())?;
        if fixed == events {
            self.log.cut(Some(fixed));
            return Ok(true);
        }
        Err(format!("log.segment_events is {events}, but the log records {fixed}: set it to {fixed}"))
    }

    /// By how many events the log is cut, once it says so.
    fn recorded(&self) -> Option<u64> {
        self.authority.live().system().system.segment_events
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
            Ok(figures) => self.authority.storage().observe(figures, self.signed()),
            Err(error) => tracing::debug!(%error, "the size of the log is not known"),
        }
    }
}
