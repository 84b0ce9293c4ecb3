//! Whether the authority can write, and how it has been doing.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::RwLock;

use tenure_log::panics::Watch;

/// Counted by the sequencer, read by `/readyz` and `/metrics`.
#[derive(Debug)]
pub struct Health {
    stopped: RwLock<Option<String>>,
    commits: AtomicU64,
    batches: AtomicU64,
    busy_micros: AtomicU64,
    lost_keys: AtomicU64,
    uses_recorded: AtomicBool,
    jobs: Watch,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            stopped: RwLock::default(),
            commits: AtomicU64::default(),
            batches: AtomicU64::default(),
            busy_micros: AtomicU64::default(),
            lost_keys: AtomicU64::default(),
            uses_recorded: AtomicBool::default(),
            jobs: Watch::over("the sweep of ended sessions and retired keys"),
        }
    }
}

impl Health {
    /// Over the thread that sweeps.
    pub(crate) fn jobs(&self) -> &Watch {
        &self.jobs
    }

    /// Why no more is written until a restart; none while all is well.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.read().clone()
    }

    /// Notes idempotency keys that were forgotten inside of their window.
    pub(crate) fn lost_keys(&self, count: u64) {
        self.lost_keys.fetch_add(count, Ordering::Relaxed);
    }

    /// Idempotency keys that were forgotten inside of their window to make room, since the start.
    pub fn keys_lost(&self) -> u64 {
        self.lost_keys.load(Ordering::Relaxed)
    }

    /// Commits made durable since the start.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Batches made durable since the start.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// The time spent on deciding batches and making them durable.
    pub fn busy(&self) -> Duration {
        Duration::from_micros(self.busy_micros.load(Ordering::Relaxed))
    }

    pub(crate) fn committed(&self, commits: usize, took: Duration) {
        self.commits.fetch_add(commits as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Whether the authority stopped with all uses of sessions recorded.
    pub(crate) fn are_uses_recorded(&self) -> bool {
        self.uses_recorded.load(Ordering::Acquire)
    }

    pub(crate) fn all_uses_recorded(&self) {
        self.uses_recorded.store(true, Ordering::Release);
    }

    /// Stops writing for good. The first reason is the one that counts.
    pub(crate) fn stop(&self, why: String) {
        let mut stopped = self.stopped.write();
        if stopped.is_none() {
            tracing::error!(%why, "the authority writes no more; restart it when the cause is gone");
            *stopped = Some(why);
        }
    }
}
