//! Whether the authority can write, and how it has been doing.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::RwLock;

use tenure_core::EventKind;
use tenure_log::StoredCommit;
use tenure_protocol::clock::stopwatch;
use tenure_threads::panics::PanicWatch;

use crate::counters::{Histogram, ShardedCounters};

/// The number of a kind is one byte.
const KINDS: usize = 256;
/// For so long a log counts as full that had no room for a batch.
const FULL_FOR: Duration = Duration::from_secs(30);

/// Counted by the sequencer, read by `/readyz` and `/metrics`.
#[derive(Debug)]
pub struct SequencerHealth {
    stopped: RwLock<Option<String>>,
    /// Why the last batch found no room, and when.
    full: RwLock<Option<(String, Instant)>>,
    commits: AtomicU64,
    events: ShardedCounters,
    batch_durations: Histogram,
    append_durations: Histogram,
    lost_keys: AtomicU64,
    uses_recorded: AtomicBool,
    jobs: PanicWatch,
}

impl Default for SequencerHealth {
    fn default() -> Self {
        Self {
            stopped: RwLock::default(),
            full: RwLock::default(),
            commits: AtomicU64::default(),
            events: ShardedCounters::new(KINDS),
            batch_durations: Histogram::default(),
            append_durations: Histogram::default(),
            lost_keys: AtomicU64::default(),
            uses_recorded: AtomicBool::default(),
            jobs: PanicWatch::over("the sweep of ended sessions and retired keys"),
        }
    }
}

impl SequencerHealth {
    /// Over the thread that sweeps.
    pub(crate) fn jobs(&self) -> &PanicWatch {
        &self.jobs
    }

    /// Why writing has stopped until a restart; `None` if it has not.
    pub fn stopped(&self) -> Option<String> {
        self.stopped.read().clone()
    }

    /// Why the log took nothing just now, for want of room. Only a batch shows that there is some again, and a node that is
    /// not ready may be sent none; so this holds for a while only.
    pub fn full(&self) -> Option<String> {
        let full = self.full.read();
        full.as_ref().filter(|(_, at)| at.elapsed() < FULL_FOR).map(|(why, _)| why.clone())
    }

    /// Notes whether there was room for the last batch.
    pub(in crate::authority) fn found_room(&self, lacks: Option<&str>) {
        if lacks.is_some() || self.full.read().is_some() {
            *self.full.write() = lacks.map(|why| (why.to_owned(), stopwatch()));
        }
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
        self.batch_durations.count()
    }

    /// Events of this kind made durable since the start.
    pub(crate) fn events(&self, kind: EventKind) -> u64 {
        self.events.total(kind as usize)
    }

    /// How long each batch took, from its first decision until it was durable.
    pub(crate) const fn batch_durations(&self) -> &Histogram {
        &self.batch_durations
    }

    /// How long the log took to write each batch and to sync it.
    pub(crate) const fn append_durations(&self) -> &Histogram {
        &self.append_durations
    }

    pub(in crate::authority) fn committed(&self, commits: &[Arc<StoredCommit>], took: Duration) {
        self.commits.fetch_add(commits.len() as u64, Ordering::Relaxed);
        let events = commits.iter().flat_map(|stored| &stored.commit.events);
        events.for_each(|event| self.events.add(event.kind() as usize, 1));
        self.batch_durations.observe(took);
    }

    /// Appends, and notes how long that took.
    pub(in crate::authority) fn appending<T>(&self, append: impl FnOnce() -> T) -> (T, Duration) {
        let begun = stopwatch();
        let appended = append();
        let took = begun.elapsed();
        self.append_durations.observe(took);
        (appended, took)
    }

    /// Whether the authority stopped with all uses of sessions recorded.
    pub(crate) fn are_uses_recorded(&self) -> bool {
        self.uses_recorded.load(Ordering::Acquire)
    }

    pub(crate) fn all_uses_recorded(&self) {
        self.uses_recorded.store(true, Ordering::Release);
    }

    /// Stops writing permanently. Only the first reason counts.
    pub(crate) fn stop(&self, why: String) {
        let mut stopped = self.stopped.write();
        if stopped.is_none() {
            tracing::error!(%why, "the authority writes no more; restart it when the cause is gone");
            *stopped = Some(why);
        }
    }
}
