//! Records sessions and suspensions that have ended by themselves, once for each: for the history and the notices. No
//! answer depends on it, so it may come late, and a failed record is tried again.
//!
//! An index of the near future, ordered by when sessions end, says what is due. It is filled by a walk over the
//! state every [`AHEAD`]; between two walks no session can begin and end, for the shortest period and the shortest idle
//! time are as long. A known end only ever moves to a later time: so what is due is looked at, and again when
//! a use, a renewal or a refresh has moved its end.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use tenure_core::{
    Actor, Event, EventKind, Position, Seconds, SessionId, SubjectId, Timestamp, command::Command,
    session::Session,
};

use crate::authority::{
    Authority,
    pipeline::{
        request::{CommandError, CommandOutcome, CommandRequest, RequestContext},
        timings::CommandTimings,
    },
};

/// How far the index looks ahead.
const AHEAD: Seconds = Seconds(60);
/// Subjects handled at a time, so that callers find room in between.
const BATCH: usize = 256;

/// What sweeps remember and count.
#[derive(Default)]
pub(crate) struct ExpirySweep {
    index: Mutex<ExpiryIndex>,
    recorded: AtomicU64,
    failures: AtomicU64,
}

/// What ends soon.
struct ExpiryIndex {
    /// Which session ends when; the latest first, so that what is due is at the end.
    ends: Vec<(Timestamp, SessionId)>,
    /// It knows of every end up to this moment.
    until: Timestamp,
    /// What is being recorded, and is no longer in `ends`.
    in_work: HashSet<SessionId>,
}

impl Default for ExpiryIndex {
    fn default() -> Self {
        Self { ends: Vec::new(), until: Timestamp::ZERO, in_work: HashSet::new() }
    }
}

impl ExpiryIndex {
    fn sort(&mut self) {
        self.ends.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepResult {
    /// How many sessions were found to have ended.
    pub recorded: u64,
    /// The last event that says so; `None` if there was none.
    pub position: Option<Position>,
}

impl Authority {
    /// Records every session that has ended by itself without a record of it.
    ///
    /// # Errors
    /// Why it could not be recorded. What was recorded before that stays so.
    pub async fn sweep(&self) -> Result<SweepResult, CommandError> {
        let mut due = self.live.ended_suspensions(self.now());
        self.for_each_end(self.now(), |session| due.push(session.subject.clone()));
        let swept = self.record_ended(due).await?;
        self.look_ahead();
        Ok(swept)
    }

    /// The same for what ended since the last call, in little time however many sessions there are. For callers
    /// that ask every second or so.
    ///
    /// # Errors
    /// As [`Authority::sweep`]; what was not recorded is tried again by a later call.
    pub async fn sweep_due(&self) -> Result<SweepResult, CommandError> {
        let (due, now) = (self.due(), self.now());
        let sessions = due.iter().filter_map(|id| self.live.session(*id));
        let ended = sessions.filter(|session| session.awaits_expiry(now));
        let ended = ended.map(|session| session.subject.clone());
        let swept = self.record_ended(ended.chain(self.live.ended_suspensions(now)).collect()).await;
        self.recheck(&due);
        swept
    }

    /// How many sessions were swept since the start, and how many sweeps failed.
    pub fn sweeps(&self) -> (u64, u64) {
        (self.sweep.recorded.load(Ordering::Relaxed), self.sweep.failures.load(Ordering::Relaxed))
    }

    /// Takes the sessions out of the index that end by now, as far as it knows.
    fn due(&self) -> Vec<SessionId> {
        let now = self.now();
        if now >= self.sweep.index.lock().until {
            self.look_ahead();
        }
        let mut index = self.sweep.index.lock();
        let later = index.ends.partition_point(|(end, _)| *end > now);
        let due: Vec<_> = index.ends.drain(later..).map(|(_, session)| session).collect();
        index.in_work.extend(&due);
        due
    }

    /// Fills the index by a walk over all sessions, which takes its time.
    pub(crate) fn look_ahead(&self) {
        let (mut ends, until) = (Vec::new(), self.now().plus(AHEAD));
        self.for_each_end(until, |session| ends.push((session.ends_at(), session.id)));
        let mut index = self.sweep.index.lock();
        if until >= index.until {
            (index.ends, index.until) = (ends, until);
            index.sort();
        }
    }

    /// The sessions that may have ended by themselves up to this moment without a record of it; `None` if they are
    /// unknown, or more than `most`.
    pub fn unrecorded_ends(&self, at: Timestamp, most: usize) -> Option<Vec<SessionId>> {
        let index = self.sweep.index.lock();
        let due = &index.ends[index.ends.partition_point(|(end, _)| *end > at)..];
        let is_known = at < index.until && due.len() + index.in_work.len() <= most;
        is_known.then(|| due.iter().map(|(_, id)| *id).chain(index.in_work.iter().copied()).collect())
    }

    /// Puts those of these sessions back into the index that have not ended for the record.
    fn recheck(&self, at: &[SessionId]) {
        let sessions: Vec<_> = at.iter().filter_map(|id| self.live.session(*id)).collect();
        let done: HashSet<_> = at.iter().collect();
        let mut index = self.sweep.index.lock();
        let until = index.until;
        index.in_work.retain(|id| !done.contains(id));
        let open = sessions.iter().filter(|session| session.awaits_expiry(until));
        let ends: Vec<_> = open.map(|session| (session.ends_at(), session.id)).collect();
        if !ends.is_empty() {
            index.ends.extend(ends);
            index.sort();
        }
    }

    /// Visits every session that ends up to this moment if nothing else happens to it, and of which no end is
    /// recorded; unrecorded uses count as something else.
    fn for_each_end(&self, up_to: Timestamp, mut visit: impl FnMut(&Session)) {
        self.live.for_each_subject(|subject| {
            subject.sessions.iter().filter(|session| session.awaits_expiry(up_to)).for_each(&mut visit);
        });
    }

    async fn record_ended(&self, mut due: Vec<SubjectId>) -> Result<SweepResult, CommandError> {
        due.sort_unstable();
        due.dedup();
        let mut swept = SweepResult::default();
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
    async fn record_batch(&self, batch: &[SubjectId], swept: &mut SweepResult) -> Result<(), CommandError> {
        let mut open = batch.to_vec();
        while !open.is_empty() {
            let asked: Result<Vec<_>, _> = open.iter().map(|subject| self.ask_of(subject)).collect();
            let mut more = Vec::new();
            for (subject, answer) in open.into_iter().zip(asked?) {
                let CommandOutcome::Done(done) = answer.await.unwrap_or(Err(CommandError::OutcomeUnknown))?
                else {
                    continue;
                };
                let Some(commit) = done.commit else { continue };
                let recorded =
                    commit.commit.events.iter().filter(|event| is_end_of_session(event)).count() as u64;
                self.sweep.recorded.fetch_add(recorded, Ordering::Relaxed);
                swept.recorded += recorded;
                swept.position = swept.position.max(Some(commit.last()));
                more.push(subject);
            }
            open = more;
        }
        Ok(())
    }

    fn ask_of(&self, subject: &SubjectId) -> Result<crate::authority::PendingOutcome, CommandError> {
        self.put(
            CommandRequest::Subject(subject.clone(), Command::RecordExpiries),
            RequestContext::of(Actor::AUTHORITY),
            None,
            CommandTimings::default(),
        )
    }
}

fn is_end_of_session(event: &Event) -> bool {
    event.kind() == EventKind::SessionExpired
}
