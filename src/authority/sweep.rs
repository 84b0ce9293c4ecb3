//! Records that sessions have ended by themselves, once for each: for the history and the news. No answer depends
//! on it, so it may come late, and one that fails is tried again.
//!
//! An index of the near future, ordered by when sessions end, says what is due. It is filled by a walk over the
//! state every [`AHEAD`]; between two walks no session can begin and end, for the shortest period is longer. The
//! one exception, a renewal cut short by the absolute end, is found by the next walk.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::domain::{Actor, Position, Seconds, SubjectId, Timestamp, command::Command};

use super::{
    Authority,
    request::{Answer, Ask, Context, Failure},
};

/// So far the index looks ahead.
const AHEAD: Seconds = Seconds(60);
/// So many subjects are asked about at a time, so that callers find room in between.
const BATCH: usize = 256;

/// What sweeps remember and count.
#[derive(Default)]
pub(super) struct Sweep {
    index: Mutex<Index>,
    recorded: AtomicU64,
    failures: AtomicU64,
}

/// What ends soon.
struct Index {
    /// Whose session ends when; the latest first, so that what is due is at the end.
    ends: Vec<(Timestamp, SubjectId)>,
    /// It knows of every end before this moment.
    until: Timestamp,
}

impl Default for Index {
    fn default() -> Self {
        Self { ends: Vec::new(), until: Timestamp::ZERO }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// So many sessions were found to have ended.
    pub recorded: u64,
    /// The last event that says so; none when there was none.
    pub position: Option<Position>,
}

impl Authority {
    /// Records every session that has ended by itself and of which that is not recorded yet.
    ///
    /// # Errors
    /// Why it could not be recorded. What was recorded before that stays so.
    pub async fn sweep(&self) -> Result<Swept, Failure> {
        let due = self.ending_before(self.now().plus_millis(1));
        self.record_ended(&due).await
    }

    /// The same for what ended since the last call, in little time however many sessions there are. For whoever
    /// calls every second or so.
    ///
    /// # Errors
    /// As [`Authority::sweep`]; what was not recorded is tried again by a later call.
    pub async fn sweep_due(&self) -> Result<Swept, Failure> {
        let due = self.due();
        self.record_ended(&due).await
    }

    /// How many sessions were swept since the start, and how many sweeps failed.
    pub fn sweeps(&self) -> (u64, u64) {
        (self.sweep.recorded.load(Ordering::Relaxed), self.sweep.failures.load(Ordering::Relaxed))
    }

    fn due(&self) -> Vec<SubjectId> {
        let now = self.now();
        let mut index = self.sweep.index.lock();
        if now >= index.until {
            index.until = now.plus(AHEAD);
            index.ends = self.ends_before(index.until);
            index.ends.sort_unstable_by(|a, b| b.cmp(a));
        }
        let later = index.ends.partition_point(|(end, _)| *end > now);
        let mut due: Vec<_> = index.ends.drain(later..).map(|(_, subject)| subject).collect();
        due.sort_unstable();
        due.dedup();
        due
    }

    fn ending_before(&self, moment: Timestamp) -> Vec<SubjectId> {
        let mut subjects: Vec<_> = self.ends_before(moment).into_iter().map(|(_, subject)| subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// Every session that ends before this moment if nothing else happens to it, and of which no end is recorded.
    fn ends_before(&self, moment: Timestamp) -> Vec<(Timestamp, SubjectId)> {
        let last = moment.plus_millis(-1);
        let mut ends = Vec::new();
        self.live.for_each_subject(|subject| {
            let ending = subject.sessions.iter().filter(|session| session.awaits_expiry(last));
            ends.extend(ending.map(|session| (session.expires_at, subject.id.clone())));
        });
        ends
    }

    async fn record_ended(&self, due: &[SubjectId]) -> Result<Swept, Failure> {
        let mut swept = Swept::default();
        for batch in due.chunks(BATCH) {
            if let Err(failure) = self.record_batch(batch, &mut swept).await {
                self.sweep.failures.fetch_add(1, Ordering::Relaxed);
                self.sweep.index.lock().until = Timestamp::ZERO;
                tracing::error!(%failure, "ended sessions could not be recorded; the next sweep tries again");
                return Err(failure);
            }
        }
        Ok(swept)
    }

    /// Asks about some subjects together, and again about those that had too much to say for one commit.
    async fn record_batch(&self, batch: &[SubjectId], swept: &mut Swept) -> Result<(), Failure> {
        let mut open = batch.to_vec();
        while !open.is_empty() {
            let asked: Result<Vec<_>, _> = open.iter().map(|subject| self.ask_of(subject)).collect();
            let mut more = Vec::new();
            for (subject, answer) in open.into_iter().zip(asked?) {
                let Answer::Done(done) = answer.await.unwrap_or(Err(Failure::OutcomeUnknown))? else {
                    continue;
                };
                let Some(commit) = done.commit else { continue };
                let recorded = commit.commit.events.len() as u64;
                self.sweep.recorded.fetch_add(recorded, Ordering::Relaxed);
                swept.recorded += recorded;
                swept.position = swept.position.max(Some(commit.last()));
                more.push(subject);
            }
            open = more;
        }
        Ok(())
    }

    fn ask_of(&self, subject: &SubjectId) -> Result<super::Waiting, Failure> {
        self.put(Ask::Subject(subject.clone(), Command::RecordExpiries), Context::of(Actor::AUTHORITY))
    }
}
