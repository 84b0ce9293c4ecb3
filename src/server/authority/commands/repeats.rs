//! Repeated requests: each is answered as the first was, whose commit is read back from the log.
//!
//! Mostly the commit says all that the answer does. Only where it does not is the subject folded up to it, which takes
//! the longer the more has happened to the subject.

use std::sync::Arc;

use crate::gate::{CallerShares, CancelCheck, GateRefusal, SharedQuestions, WorkGate};
use tenure_core::{
    Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, bulk::SAMPLE, commit::EventMeta,
    evolve::session_begun, session::Session, subject::Subject,
};
use tenure_log::{EventLog, StoredCommit};

use super::bulk::ended_by as ended_by_bulk;
use crate::authority::{
    Authority, SessionEnd, SessionsEnd, SubjectHistory,
    pipeline::request::{CommandEffect, CommandError, StateAfter},
    state::published::PublishedState,
};

/// First answers read back at once, and those that wait.
const AT_ONCE: usize = 4;
const WAITING: usize = 64;
/// What one caller has of them when more than half are taken.
const SHARE: usize = 8;

/// Who repeats: the id of a credential or session.
pub(crate) type RepeatCaller = Option<String>;

/// A commit, or a subject, read back for those who ask for it at once.
type Questions<T> = SharedQuestions<Position, Result<Arc<T>, CommandError>>;

/// Reads the first answers, off the threads that answer checks.
pub(crate) struct RepeatedRequests {
    gate: WorkGate,
    commits: Questions<StoredCommit>,
    subjects: Questions<Subject>,
    /// The sessions that a bulk revocation ended, as its first answer named some.
    ended: SharedQuestions<Position, Vec<SessionId>>,
    shares: Arc<CallerShares<RepeatCaller>>,
}

impl RepeatedRequests {
    pub(crate) fn new() -> Self {
        let gate = WorkGate::new("repeats", AT_ONCE, WAITING);
        Self {
            commits: SharedQuestions::at(gate.clone()),
            subjects: SharedQuestions::at(gate.clone()),
            ended: SharedQuestions::at(gate.clone()),
            shares: CallerShares::of(&gate, SHARE),
            gate,
        }
    }

    pub(crate) const fn gate(&self) -> &WorkGate {
        &self.gate
    }

    /// What the request did whose commit begins here. Equal repeats share one reading of it.
    pub(crate) async fn effect(
        &self,
        log: Arc<dyn EventLog>,
        repeater: RepeatCaller,
        first: Position,
    ) -> Result<CommandEffect, CommandError> {
        let _share = self.shares.take(repeater).ok_or_else(not_now)?;
        let read = move || commit_at(&*log, first).map(Arc::new);
        let commit = answered(self.commits.ask(first, move |_| read(), Result::clone).await)?;
        let at = commit.commit.recorded_at;
        Ok(CommandEffect { at, commit: Some(commit), after: None, sample: vec![], is_repeat: true })
    }

    /// A subject as it was at this position. Who asks at the same time shares one fold of it.
    async fn subject(
        &self,
        past: SubjectHistory,
        repeater: RepeatCaller,
        (id, at): (SubjectId, Position),
    ) -> Result<Arc<Subject>, CommandError> {
        let _share = self.shares.take(repeater).ok_or_else(not_now)?;
        let fold = move || past(&id, at).map(Arc::new).map_err(unread);
        answered(self.subjects.ask(at, move |_| fold(), Result::clone).await)
    }

    /// Some of the sessions that the bulk revocation at this position ended. The commit does not say which, so every
    /// session is looked at.
    pub(super) async fn ended(
        &self,
        live: Arc<PublishedState>,
        repeater: RepeatCaller,
        position: Position,
    ) -> Result<Vec<SessionId>, CommandError> {
        let _share = self.shares.take(repeater).ok_or_else(not_now)?;
        let find = move |_: &CancelCheck<'_>| ended_by_bulk(&live, position, SAMPLE);
        self.ended.ask(position, find, Vec::clone).await.map_err(|_| not_now())
    }
}

impl Authority {
    /// The subject as a command about it as a whole left it. For a repeat it is folded from the log.
    pub(crate) async fn subject_after(&self, done: &CommandEffect) -> Result<Arc<Subject>, CommandError> {
        if let Some(StateAfter::Subject(subject)) = &done.after {
            return Ok(Arc::clone(subject));
        }
        let stored = done.commit.as_ref().expect("what had no effect is no repeat, and has the subject");
        let StreamId::Subject(id) = &stored.commit.stream else {
            unreachable!("it was a command about a subject")
        };
        // Keys are each caller's own, so the first request was of the same one.
        let repeater = stored.commit.actor.id.clone();
        self.repeats.subject(Arc::clone(&self.past), repeater, (id.clone(), stored.last())).await
    }

    /// The sessions that a commit ended in one step, if all of them are in memory: how they ended does not change.
    pub(super) fn all_still_known(&self, stored: &StoredCommit) -> Option<SessionsEnd> {
        let StreamId::Subject(id) = &stored.commit.stream else { return None };
        let Some(Event::Subject(SubjectEvent::SessionsRevoked(event))) = stored.commit.events.last() else {
            return None;
        };
        let position = stored.last();
        let session_ids = self.live.subject(id)?.ended_by(position);
        (session_ids.len() == event.matched as usize).then(|| SessionsEnd {
            session_ids,
            has_reason: event.reason.is_some(),
            position: Some(position),
        })
    }
}

/// The session that a commit began.
pub(super) fn created_by(stored: &StoredCommit) -> Option<Session> {
    let StreamId::Subject(id) = &stored.commit.stream else { return None };
    stored.positions().zip(&stored.commit.events).find_map(|(position, event)| match event {
        Event::Subject(SubjectEvent::SessionCreated(created)) => {
            session_begun(id, created, EventMeta { position, at: stored.commit.recorded_at })
        }
        Event::Subject(_) | Event::System(_) => None,
    })
}

/// The end of a session that a commit records.
pub(super) fn ended_by(stored: &StoredCommit, id: SessionId) -> Option<SessionEnd> {
    stored.commit.events.iter().find_map(|event| match event {
        Event::Subject(SubjectEvent::SessionRevoked(revoked)) if revoked.session_id == id => {
            Some(SessionEnd {
                session_id: id,
                at: stored.commit.recorded_at,
                trigger: revoked.trigger,
                has_reason: revoked.reason.is_some(),
                position: Some(stored.last()),
            })
        }
        Event::Subject(_) | Event::System(_) => None,
    })
}

fn answered<T>(found: Result<Result<T, CommandError>, GateRefusal>) -> Result<T, CommandError> {
    found.unwrap_or_else(|_| Err(not_now()))
}

/// It had its effect, so the answer must not say that nothing was done.
fn not_now() -> CommandError {
    unread("too many repeated requests are in work".into())
}

fn unread(why: String) -> CommandError {
    CommandError::AnswerUnread { why }
}

/// The commit that begins here, read back from the log.
fn commit_at(log: &dyn EventLog, first: Position) -> Result<StoredCommit, CommandError> {
    let before = Position(first.0.saturating_sub(1));
    let read = log.read(before, 1).map_err(|error| unread(error.to_string()))?;
    read.into_iter().next().ok_or_else(|| unread(format!("{first} is missing")))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use parking_lot::Mutex;
    use tokio::task::JoinHandle;

    use super::*;

    /// Requests, each about another subject.
    const SUBJECTS: u64 = 60;

    /// A history that takes long: nothing of it is told before this channel is dropped.
    struct SlowHistory {
        repeats: Arc<RepeatedRequests>,
        past: SubjectHistory,
        go_on: mpsc::Sender<()>,
    }

    impl SlowHistory {
        fn new() -> Self {
            let (go_on, wait) = mpsc::channel::<()>();
            let wait = Mutex::new(wait);
            let past: SubjectHistory = Arc::new(move |id, at| {
                assert!(wait.lock().recv().is_err(), "nothing is sent; the other end is dropped");
                let mut subject = Subject::new(id.clone());
                subject.advance_to(at)?;
                Ok(subject)
            });
            Self { repeats: Arc::new(RepeatedRequests::new()), past, go_on }
        }

        fn ask(&self, repeater: &str, first: u64) -> JoinHandle<Result<Arc<Subject>, CommandError>> {
            let (repeats, past) = (Arc::clone(&self.repeats), Arc::clone(&self.past));
            let (repeater, id) = (Some(repeater.to_owned()), format!("agent-{first}").parse().unwrap());
            tokio::spawn(async move { repeats.subject(past, repeater, (id, Position(first))).await })
        }

        async fn until(&self, what: impl Fn(&WorkGate) -> bool) {
            let met = async {
                while !what(self.repeats.gate()) {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), met).await.expect("it comes to pass");
        }
    }

    /// One credential that repeated its requests took every place, and no other caller's repeat was answered. The
    /// refusals said that nothing was done.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_that_repeats_much_leaves_places_for_others_and_hears_that_it_was_done() {
        let slow = SlowHistory::new();
        let greedy: Vec<_> = (1..=SUBJECTS).map(|first| slow.ask("greedy", first)).collect();
        slow.until(|gate| gate.load().running == 4 && gate.load().waiting == 30).await;
        let other = slow.ask("other", SUBJECTS);
        slow.until(|gate| gate.load().waiting == 31 || gate.load().shared == 1).await;
        drop(slow.go_on);
        assert_eq!(other.await.unwrap().unwrap().version(), Position(SUBJECTS));
        let mut refused = 0;
        for answer in greedy {
            if let Err(failure) = answer.await.unwrap() {
                let CommandError::AnswerUnread { .. } = failure else { panic!("{failure}") };
                let why = failure.to_string();
                assert!(why.contains("was done") && why.contains("same Idempotency-Key"), "{why}");
                refused += 1;
            }
        }
        assert_eq!(refused, SUBJECTS - 34);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn equal_repeats_share_one_reading() {
        let slow = SlowHistory::new();
        let equal: Vec<_> = (0..30).map(|number| slow.ask(&format!("{number}"), 7)).collect();
        slow.until(|gate| gate.load().running == 1 && gate.load().shared == 29).await;
        drop(slow.go_on);
        for answer in equal {
            assert_eq!(answer.await.unwrap().unwrap().version(), Position(7));
        }
    }
}
