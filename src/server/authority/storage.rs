//! How the log lies on disk: set by the thread that seals, read by `/readyz` and `/metrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::storage_backlog::StorageBacklog;
use tenure_core::Position;
use tenure_log::StorageFigures;
use tenure_protocol::clock::stopwatch;
use tenure_threads::panics::PanicWatch;

/// How far the checkpoints are: what the history leads to at the ends of segments, in files.
#[derive(Clone, Debug)]
pub struct CheckpointStatus {
    /// Where the newest one stands; at 0 if there is none.
    pub position: Position,
    /// When one was made, or the start.
    pub made: Instant,
    /// How often none could be made since the start.
    pub failures: u64,
    /// What an operator must look into.
    pub alarms: Vec<String>,
}

/// Segments, the size of it all, and what keeps ranges from being sealed.
#[derive(Debug)]
pub struct StorageStatus {
    figures: Mutex<StorageFigures>,
    /// What keeps many ranges from being sealed, and how large the log was at the first look.
    backlog: Mutex<StorageBacklog>,
    failures: AtomicU64,
    /// Why a range is not sealed; `None` while all is well.
    failure: Mutex<Option<String>>,
    sealer: PanicWatch,
    scrubber: PanicWatch,
    /// When all segments had been read again, or the start.
    scrubbed: Mutex<Instant>,
    checkpoints: Mutex<CheckpointStatus>,
    /// How many the present round has read.
    scrubbed_segments: AtomicU64,
}

impl Default for StorageStatus {
    fn default() -> Self {
        Self {
            figures: Mutex::default(),
            backlog: Mutex::default(),
            failures: AtomicU64::default(),
            failure: Mutex::default(),
            sealer: PanicWatch::over("the sealing of the log"),
            scrubber: PanicWatch::over("the scrub of the segments"),
            scrubbed: Mutex::new(stopwatch()),
            checkpoints: Mutex::new(CheckpointStatus {
                position: Position::ZERO,
                made: stopwatch(),
                failures: 0,
                alarms: Vec::new(),
            }),
            scrubbed_segments: AtomicU64::default(),
        }
    }
}

impl StorageStatus {
    /// Over the thread that seals.
    pub(crate) fn sealer(&self) -> &PanicWatch {
        &self.sealer
    }

    /// Over the thread that reads segments again.
    pub(crate) fn scrubber(&self) -> &PanicWatch {
        &self.scrubber
    }

    /// Segments read again since the round began.
    pub(crate) fn scrubbed_up_to(&self, segments: u64) {
        self.scrubbed_segments.store(segments, Ordering::Relaxed);
    }

    /// How many segments the present scrub has read.
    pub fn scrubbed_segments(&self) -> u64 {
        self.scrubbed_segments.load(Ordering::Relaxed)
    }

    /// All segments were read again.
    pub(crate) fn scrubbed(&self) {
        *self.scrubbed.lock() = stopwatch();
    }

    /// How far the checkpoints are, as of the last look.
    pub fn checkpoints(&self) -> CheckpointStatus {
        self.checkpoints.lock().clone()
    }

    pub(crate) fn observe_checkpoints(&self, checkpoints: CheckpointStatus) {
        *self.checkpoints.lock() = checkpoints;
    }

    /// How long ago that was last, or the start.
    pub fn scrub_age(&self) -> Duration {
        self.scrubbed.lock().elapsed()
    }

    /// The size of the log, as of the last look.
    pub fn figures(&self) -> StorageFigures {
        *self.figures.lock()
    }

    /// How often a range could not be sealed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How large the log was at the first look.
    pub fn bytes_at_start(&self) -> u64 {
        self.backlog.lock().bytes_at_start.unwrap_or_default()
    }

    pub(crate) fn observe(&self, figures: StorageFigures, signed: Position) {
        *self.figures.lock() = figures;
        self.backlog.lock().observe(&figures, signed);
    }

    /// The outcome of an attempt to seal. A change is logged for the operator.
    pub(crate) fn sealed(&self, outcome: Result<(), String>) {
        let failure = outcome.err();
        self.failures.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        let mut before = self.failure.lock();
        if *before != failure {
            if let Some(why) = &failure {
                tracing::error!(%why, "the history is not sealed; nothing is lost");
            } else {
                tracing::info!("the history is sealed again");
            }
        }
        *before = failure;
    }

    /// What an operator must look into; `None` while all is well.
    pub(super) fn alarms(&self) -> Vec<String> {
        let failure =
            self.failure.lock().as_ref().map(|why| format!("a range of the log is not sealed: {why}"));
        let dead =
            [&self.sealer, &self.scrubber].into_iter().filter_map(PanicWatch::alarm).map(str::to_owned);
        let waiting = self.backlog.lock().alarm();
        failure.into_iter().chain(waiting).chain(dead).chain(self.checkpoints().alarms).collect()
    }
}
