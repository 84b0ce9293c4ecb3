//! The checkpoints that are believed, for those who read them while the server runs, and what is wrong with others.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{Checkpoint, CheckpointError};
use crate::projections::fold_marks::{FoldedSubject, SubjectStates};
use tenure_core::{Position, SubjectId, state::AuthorityState, subject::Subject};
use tenure_protocol::clock::stopwatch;

/// How many can be read: as many as are kept.
const KEPT: usize = 2;

/// The last ones, newest first.
#[derive(Debug)]
pub struct TrustedCheckpoints {
    believed: Mutex<Vec<Arc<Checkpoint>>>,
    /// Files that are not to be believed, each with what is wrong with it.
    damaged: Mutex<Vec<(String, String)>>,
    /// What was found to be wrong since the start, until it is made good: nothing is granted meanwhile.
    found: Mutex<Vec<String>>,
    /// The one that the start went on from.
    begun: OnceLock<String>,
    /// Why what is in memory may be wrong, which only another start makes good.
    suspicion: OnceLock<String>,
    /// Why none could be made; `None` while all is well.
    failure: Mutex<Option<String>>,
    failures: AtomicU64,
    /// How many are not believed any more.
    disproved: AtomicU64,
    /// When the last one was made, or the start.
    made: Mutex<Instant>,
}

impl Default for TrustedCheckpoints {
    fn default() -> Self {
        Self {
            believed: Mutex::default(),
            damaged: Mutex::default(),
            found: Mutex::default(),
            begun: OnceLock::new(),
            suspicion: OnceLock::new(),
            failure: Mutex::default(),
            failures: AtomicU64::default(),
            disproved: AtomicU64::default(),
            made: Mutex::new(stopwatch()),
        }
    }
}

impl TrustedCheckpoints {
    /// The newest one.
    pub fn newest(&self) -> Option<Arc<Checkpoint>> {
        self.believed.lock().first().cloned()
    }

    /// All of them, newest first.
    pub fn all(&self) -> Vec<Arc<Checkpoint>> {
        self.believed.lock().clone()
    }

    /// The newest one that stands at this position or before it.
    pub fn at_or_before(&self, position: Position) -> Option<Arc<Checkpoint>> {
        self.believed.lock().iter().find(|known| known.end().position <= position).cloned()
    }

    /// The state of everything at the newest one that stands at this position or before it, and behind another one. One
    /// that does not read as it was written is a finding, and there is none then.
    pub fn state_between(&self, after: Position, until: Position) -> Option<AuthorityState> {
        let found = self.at_or_before(until).filter(|found| found.end().position > after)?;
        self.read_of(&found, found.read()).map(|read| read.state)
    }

    /// What was read of a checkpoint; `None` if it does not read as it was written, which is a finding.
    fn read_of<T>(&self, checkpoint: &Checkpoint, read: Result<T, CheckpointError>) -> Option<T> {
        let error = match read {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        tracing::warn!(%error, "the past is folded without a checkpoint");
        if matches!(error, CheckpointError::Damaged { .. }) {
            self.found_damaged(checkpoint.name(), &error.about(checkpoint.name()));
        }
        None
    }

    /// Where the newest one stands; at 0 if there is none.
    pub fn position(&self) -> Position {
        self.newest().map_or(Position::ZERO, |newest| newest.end().position)
    }

    /// Believes one that was there already.
    pub fn add(&self, found: Arc<Checkpoint>) {
        let mut believed = self.believed.lock();
        believed.push(found);
        believed.sort_by_key(|known| std::cmp::Reverse(known.end().position));
        believed.truncate(KEPT);
    }

    /// Believes one that was made now. What was wrong with those before is past.
    pub fn made(&self, made: Arc<Checkpoint>) {
        self.add(made);
        *self.made.lock() = stopwatch();
        self.damaged.lock().clear();
        self.found.lock().clear();
        self.failed(None);
    }

    /// The start went on from this one.
    pub fn begun_on(&self, name: &str) {
        drop(self.begun.set(name.to_owned()));
    }

    /// One that was believed does not read as it was written. What is in memory was read of it when it did.
    pub fn found_damaged(&self, name: &str, why: &str) {
        self.found.lock().push(format!("{name}: {why}"));
        self.distrust(name, why);
    }

    /// The history does not lead to the newest one, and those before it cannot be verified. If the start went on from
    /// one, what is in memory may be as wrong.
    pub fn found_untrue(&self, why: &str) {
        for known in self.all() {
            self.found_damaged(known.name(), why);
        }
        if let Some(begun) = self.begun.get() {
            let suspicion = format!(
                "{begun}: the start went on from it, and the history does not lead to what was made of it: restart the \
                 server, which then folds the history"
            );
            tracing::error!(%suspicion, "what is in memory may be wrong");
            drop(self.suspicion.set(suspicion));
        }
    }

    /// Why nothing is to be granted; `None` while all is well.
    pub fn findings(&self) -> Vec<String> {
        self.found.lock().iter().chain(self.suspicion.get()).cloned().collect()
    }

    /// Whether what is in memory may be wrong, as it was made of one that is.
    pub fn suspects_memory(&self) -> bool {
        self.suspicion.get().is_some()
    }

    /// Whether this one is believed.
    pub fn believes(&self, name: &str) -> bool {
        self.believed.lock().iter().any(|known| known.name() == name)
    }

    /// Does not believe this one any more, nor any that was made of it.
    pub fn distrust(&self, name: &str, why: &str) {
        tracing::error!(checkpoint = name, %why, "a checkpoint is not to be believed; the history is folded instead");
        let mut believed = self.believed.lock();
        let position = believed.iter().find(|known| known.name() == name).map(|known| known.end().position);
        if let Some(position) = position {
            let (gone, kept) = believed.drain(..).partition(|known| known.end().position >= position);
            *believed = kept;
            drop(believed);
            let gone: Vec<Arc<Checkpoint>> = gone;
            let others = gone.iter().map(|gone| (gone.name().to_owned(), why.to_owned()));
            self.damaged.lock().extend(others.filter(|(other, _)| other != name));
        }
        // Whoever reads this number first finds none of those any more.
        self.disproved.fetch_add(1, Ordering::Release);
        self.damaged.lock().push((name.to_owned(), why.to_owned()));
    }

    /// The files that are not to be believed.
    pub fn distrusted(&self) -> Vec<String> {
        self.damaged.lock().iter().map(|(name, _)| name.clone()).collect()
    }

    /// The outcome of an attempt to make one. A change is logged for the operator.
    pub(crate) fn failed(&self, failure: Option<String>) {
        self.failures.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        let mut before = self.failure.lock();
        if *before != failure
            && let Some(why) = &failure
        {
            tracing::error!(%why, "no checkpoint can be made; the next start folds more of the history");
        }
        *before = failure;
    }

    /// How often none could be made since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// When one was made, or the start.
    pub fn last_made(&self) -> Instant {
        *self.made.lock()
    }

    /// What an operator must look into; `None` while all is well.
    pub fn alarms(&self) -> Vec<String> {
        let failure = self.failure.lock().as_ref().map(|why| format!("no checkpoint can be made: {why}"));
        let damaged: Vec<_> =
            self.damaged.lock().iter().map(|(name, why)| format!("{name}: {why}")).collect();
        failure.into_iter().chain(damaged).chain(self.suspicion.get().cloned()).collect()
    }
}

impl SubjectStates for TrustedCheckpoints {
    fn position_up_to(&self, until: Position) -> Position {
        self.at_or_before(until).map_or(Position::ZERO, |found| found.end().position)
    }

    fn disproved(&self) -> u64 {
        self.disproved.load(Ordering::Acquire)
    }

    fn subject_between(&self, id: &SubjectId, after: Position, until: Position) -> Option<FoldedSubject> {
        let found = self.at_or_before(until).filter(|found| found.end().position > after)?;
        let subject = self.read_of(&found, found.subject(id))?.unwrap_or_else(|| Subject::new(id.clone()));
        let end = found.end();
        Some(FoldedSubject { position: end.position, recorded_at: end.recorded_at, subject })
    }
}
