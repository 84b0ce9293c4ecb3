//! Repeated requests: each is answered as the first was, whose commit is read back from the log.

use std::sync::Arc;

use crate::gate::{CallerShares, CancelCheck, SharedQuestions, WorkGate};
use tenure_core::{Position, StreamId};
use tenure_log::EventLog;

use crate::authority::{
    SubjectHistory,
    pipeline::request::{CommandEffect, CommandError},
};

/// First answers read back at once, and those that wait.
const AT_ONCE: usize = 4;
const WAITING: usize = 64;
/// What one caller has of them when more than half are taken.
const SHARE: usize = 8;

/// Who repeats: the id of a credential or session.
pub(crate) type RepeatCaller = Option<String>;

/// Reads the first answers, off the threads that answer checks.
pub(crate) struct RepeatedRequests {
    gate: WorkGate,
    answers: SharedQuestions<Position, Result<CommandEffect, CommandError>>,
    shares: Arc<CallerShares<RepeatCaller>>,
}

impl RepeatedRequests {
    pub(crate) fn new() -> Self {
        let gate = WorkGate::new("repeats", AT_ONCE, WAITING);
        Self { answers: SharedQuestions::at(gate.clone()), shares: CallerShares::of(&gate, SHARE), gate }
    }

    pub(crate) const fn gate(&self) -> &WorkGate {
        &self.gate
    }

    /// The answer of the request whose commit begins here. Equal repeats share one reading of it.
    pub(crate) async fn answer(
        &self,
        (log, past): (Arc<dyn EventLog>, SubjectHistory),
        repeater: RepeatCaller,
        first: Position,
    ) -> Result<CommandEffect, CommandError> {
        let _share = self.shares.take(repeater).ok_or_else(not_now)?;
        let find = move |_: &CancelCheck<'_>| done_before(&*log, &past, first);
        let found = self.answers.ask(first, find, Result::clone).await;
        found.unwrap_or_else(|_| Err(not_now()))
    }
}

/// It had its effect, so the answer must not say that nothing was done.
fn not_now() -> CommandError {
    CommandError::AnswerUnread { why: "too many repeated requests are in work".into() }
}

/// What was done by the request whose commit begins here, read back from the log.
fn done_before(
    log: &dyn EventLog,
    past: &SubjectHistory,
    first: Position,
) -> Result<CommandEffect, CommandError> {
    let unreadable = |why: String| CommandError::AnswerUnread { why };
    let before = Position(first.0.saturating_sub(1));
    let read = log.read(before, 1).map_err(|error| unreadable(error.to_string()))?;
    let stored = read.into_iter().next().ok_or_else(|| unreadable(format!("{first} is missing")))?;
    let subject = match &stored.commit.stream {
        StreamId::System => None,
        StreamId::Subject(id) => Some(past(id, stored.last()).map_err(unreadable)?.into()),
    };
    let (at, commit) = (stored.commit.recorded_at, Some(Arc::new(stored)));
    Ok(CommandEffect { at, commit, subject, sample: vec![], is_repeat: true })
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use parking_lot::Mutex;
    use tokio::task::JoinHandle;

    use super::*;
    use tenure_core::{
        Actor, Commit, CommitId, Event, SubjectEvent, Timestamp,
        event::{SubjectProfile, SubjectRegistered},
        subject::Subject,
    };
    use tenure_log::{MemoryLog, encode};

    /// Subjects that were registered, each in a commit of its own.
    const SUBJECTS: u64 = 60;

    /// Repeats of requests in a log; none is answered before this channel is dropped.
    struct SlowLog {
        repeats: Arc<RepeatedRequests>,
        log: Arc<MemoryLog>,
        past: SubjectHistory,
        go_on: mpsc::Sender<()>,
    }

    fn registered(number: u64) -> tenure_log::EncodedCommit {
        let profile = SubjectProfile::default();
        let commit = Commit {
            id: CommitId::from_bytes((u128::from(number) << 64).to_be_bytes()),
            stream: StreamId::Subject(format!("agent-{number}").parse().unwrap()),
            expected: Position::ZERO,
            recorded_at: Timestamp::ZERO,
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: vec![Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile }))],
        };
        encode(&commit).unwrap()
    }

    impl SlowLog {
        fn new() -> Self {
            let log = Arc::new(MemoryLog::new());
            log.append(Position::ZERO, (0..SUBJECTS).map(registered).collect()).unwrap();
            let (go_on, wait) = mpsc::channel::<()>();
            let wait = Mutex::new(wait);
            let past: SubjectHistory = Arc::new(move |id, _| {
                assert!(wait.lock().recv().is_err(), "nothing is sent; the other end is dropped");
                Ok(Subject::new(id.clone()))
            });
            Self { repeats: Arc::new(RepeatedRequests::new()), log, past, go_on }
        }

        fn ask(&self, repeater: &str, first: u64) -> JoinHandle<Result<CommandEffect, CommandError>> {
            let (repeats, log, past) =
                (Arc::clone(&self.repeats), Arc::clone(&self.log), Arc::clone(&self.past));
            let repeater = Some(repeater.to_owned());
            tokio::spawn(async move { repeats.answer((log, past), repeater, Position(first)).await })
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
        let slow = SlowLog::new();
        let greedy: Vec<_> = (1..=SUBJECTS).map(|first| slow.ask("greedy", first)).collect();
        slow.until(|gate| gate.load().running == 4 && gate.load().waiting == 30).await;
        let other = slow.ask("other", SUBJECTS);
        slow.until(|gate| gate.load().waiting == 31 || gate.load().shared == 1).await;
        drop(slow.go_on);
        assert!(other.await.unwrap().unwrap().is_repeat);
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
        let slow = SlowLog::new();
        let equal: Vec<_> = (0..30).map(|number| slow.ask(&format!("{number}"), 7)).collect();
        slow.until(|gate| gate.load().running == 1 && gate.load().shared == 29).await;
        drop(slow.go_on);
        for answer in equal {
            assert_eq!(answer.await.unwrap().unwrap().position(), Some(Position(7)));
        }
    }
}
