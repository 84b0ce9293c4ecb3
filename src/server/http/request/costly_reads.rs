//! Costly reads: what folds or searches the history, or walks over all that there is. They pass through gates of their
//! own, off the threads that answer checks, and when more than half of the places are taken, each caller has a share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    time::sleep,
};

use crate::authority::Authority;
use crate::gate::{CallerShares, CancelCheck, GateRefusal, ShareGuard, SharedQuestions, WorkGate};
use crate::projections::{Projections, history};
use crate::traces::stage;
use tenure_core::{Position, SubjectId, state::AuthorityState, subject::Subject};
use tenure_log::EventLog;

use super::{
    access::Caller,
    fold_cache::{FoldCache, FoldStart},
};
use crate::http::reply::problem::{Problem, ProblemCode};

/// Readings of the whole history at once: each holds a state of everything.
const WHOLE: usize = 2;
/// Readings of a part of it at once.
const PARTS: usize = 4;
/// Exports at once; none waits.
const EXPORTS: usize = 4;
/// How many requests wait for each of the first two.
const PLACES: usize = 16;
/// Reads of one caller behind each of them, running or waiting, when more than half is taken.
const SHARE: usize = 2;
/// The same of exports.
const EXPORTS_SHARE: usize = 1;
/// Backups at once.
const BACKUPS: usize = 1;
/// How many backups wait: one, requested as soon as another was answered, until the thread of that one is free.
const BACKUPS_PLACES: usize = 1;
/// After how many seconds a caller that found no place tries again.
const SOON: u32 = 2;
/// A refusal waits for so long. Many callers that are refused and ask again at once would otherwise keep the threads
/// that answer checks busy with refusals; one that waits for as long as the refusal says does not notice.
const REFUSED_AFTER: Duration = Duration::from_millis(100);

/// The gates, and who is behind them.
pub(crate) struct CostlyReads {
    whole: WorkGate,
    parts: WorkGate,
    exports: WorkGate,
    backups: WorkGate,
    /// Backups that may be begun.
    backup_turns: Arc<Semaphore>,
    states: SharedQuestions<Position, Result<Arc<AuthorityState>, Problem>>,
    kept: FoldCache,
    /// Where a fold may begin, behind one position and not behind another.
    begun: OnceLock<Box<BegunFolds>>,
    /// Events that were read from the log to fold everything.
    folded: AtomicU64,
    subjects: SharedQuestions<(SubjectId, Position), Result<Arc<Subject>, Problem>>,
    whole_shares: Arc<CallerShares<CallerId>>,
    parts_shares: Arc<CallerShares<CallerId>>,
    exports_shares: Arc<CallerShares<CallerId>>,
}

/// The state at a position behind the first one, and not behind the second; `None` if no caller has one.
type BegunFolds = dyn Fn(Position, Position) -> Option<AuthorityState> + Send + Sync;

/// A caller's: that of its credential or session.
type CallerId = [u8; 16];

impl CostlyReads {
    pub(crate) fn new() -> Self {
        let (whole, parts) = (WorkGate::new("whole", WHOLE, PLACES), WorkGate::new("parts", PARTS, PLACES));
        let exports = WorkGate::new("exports", EXPORTS, 0);
        Self {
            whole_shares: CallerShares::of(&whole, SHARE),
            parts_shares: CallerShares::of(&parts, SHARE),
            exports_shares: CallerShares::of(&exports, EXPORTS_SHARE),
            states: SharedQuestions::at(whole.clone()),
            kept: FoldCache::default(),
            begun: OnceLock::new(),
            folded: AtomicU64::new(0),
            subjects: SharedQuestions::at(parts.clone()),
            whole,
            parts,
            exports,
            backups: WorkGate::new("backups", BACKUPS, BACKUPS_PLACES),
            backup_turns: Arc::new(Semaphore::new(BACKUPS)),
        }
    }

    /// Folds of everything begin where this says.
    pub(crate) fn fold_from(&self, begun: Box<BegunFolds>) {
        drop(self.begun.set(begun));
    }

    /// Every gate.
    pub(crate) fn gates(&self) -> [&WorkGate; 4] {
        [&self.whole, &self.parts, &self.exports, &self.backups]
    }

    /// How many events were folded to answer requests about the past of everything.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// How many requests were refused because their callers had their shares in flight.
    pub(crate) fn beyond_shares(&self) -> u64 {
        let all = [&self.whole_shares, &self.parts_shares, &self.exports_shares];
        all.map(|shares| shares.refused()).iter().sum()
    }

    /// Work that reads the whole history.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&CancelCheck<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _share = take_or_refuse_later(&self.whole_shares, caller).await?;
        let _reading = stage("read the past");
        refuse_later(self.whole.run(work).await).await
    }

    /// Work that reads a part of the history, or walks over much of what there is.
    pub(crate) async fn part<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&CancelCheck<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _share = take_or_refuse_later(&self.parts_shares, caller).await?;
        let _reading = stage("read the past");
        refuse_later(self.parts.run(work).await).await
    }

    /// An export, which goes on when its request has been answered. What the work gives back ends the reply when it is
    /// dropped: a caller that has read all of it may ask for the next one.
    pub(crate) fn export<E>(
        &self,
        caller: &Caller,
        work: impl FnOnce() -> E + Send + 'static,
    ) -> Result<(), Problem> {
        let share = take(&self.exports_shares, caller)?;
        let work = move || {
            let end = work();
            drop(share);
            drop(end);
        };
        self.exports.start(work).map_err(turned)
    }

    /// Makes a backup, which goes on after its caller has gone: behind a proxy with a shorter timeout a caller would
    /// otherwise never get one. `None` if another one is in progress.
    pub(crate) async fn backup<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Result<T, Problem>> {
        let turn = Arc::clone(&self.backup_turns).try_acquire_owned().ok()?;
        let (reply, answer) = oneshot::channel();
        let work = move || {
            let made = work();
            // Before the answer: its caller may ask for the next one at once.
            drop(turn);
            drop(reply.send(made));
        };
        self.backups.start(work).ok()?;
        Some(answer.await.map_err(|_| ProblemCode::Internal.into()))
    }

    /// What `read` makes of everything as of a position. Callers who ask about the same position meanwhile share the
    /// fold, and so do those who ask for the next page soon.
    pub(crate) async fn read_state<A: Send + 'static>(
        self: &Arc<Self>,
        authority: &Arc<Authority>,
        caller: &Caller,
        position: Position,
        read: impl FnOnce(&AuthorityState) -> A + Send + 'static,
    ) -> Result<A, Problem> {
        let _share = take_or_refuse_later(&self.whole_shares, caller).await?;
        let _reading = stage("read the past");
        let (costly, authority) = (Arc::clone(self), Arc::clone(authority));
        let find = move |wanted: &CancelCheck<'_>| costly.state_at(authority.log(), position, wanted);
        let read = move |state: &Result<Arc<AuthorityState>, Problem>| {
            state.as_ref().map(|state| read(state)).map_err(Problem::clone)
        };
        let answer = refuse_later(self.states.ask(position, find, read).await).await;
        self.kept.watch();
        answer?
    }

    fn state_at(
        &self,
        log: &dyn EventLog,
        position: Position,
        wanted: &CancelCheck<'_>,
    ) -> Result<Arc<AuthorityState>, Problem> {
        let begun = match self.kept.start(position) {
            FoldStart::Whole(state) => return Ok(state),
            FoldStart::Earlier(state) => self.nearer(*state, position),
        };
        let from = begun.position;
        let state = history::folded_on_while(&|| wanted.is_wanted(), log, begun, position)?;
        self.folded.fetch_add(state.position.0 - from.0, Ordering::Relaxed);
        let state = Arc::new(state);
        self.kept.keep(&state);
        Ok(state)
    }

    /// This state, or a later one at which the fold up to a position may begin as well.
    fn nearer(&self, kept: AuthorityState, position: Position) -> AuthorityState {
        let begun = self.begun.get().and_then(|begun| begun(kept.position, position));
        begun.unwrap_or(kept)
    }

    /// A subject as of a position; equal questions share one answer.
    pub(crate) async fn subject_at(
        &self,
        (authority, projections): (&Arc<Authority>, &Arc<Projections>),
        caller: &Caller,
        id: &SubjectId,
        position: Position,
    ) -> Result<Arc<Subject>, Problem> {
        let _share = take_or_refuse_later(&self.parts_shares, caller).await?;
        let _reading = stage("read the past");
        let key = (id.clone(), position);
        let (authority, projections, id) = (Arc::clone(authority), Arc::clone(projections), id.clone());
        let find = move |wanted: &CancelCheck<'_>| {
            let is_wanted = || wanted.is_wanted();
            let subject = history::subject_at_while(&is_wanted, authority.log(), &projections, &id, position);
            subject.map(Arc::new).map_err(Problem::from)
        };
        refuse_later(self.subjects.ask(key, find, Result::clone).await).await?
    }
}

/// The same, where its caller waits for a refusal.
async fn take_or_refuse_later(
    shares: &Arc<CallerShares<CallerId>>,
    caller: &Caller,
) -> Result<Option<ShareGuard<CallerId>>, Problem> {
    let share = take(shares, caller);
    if share.is_err() {
        wait_to_refuse().await;
    }
    share
}

/// What a refusal waits for that would otherwise be made as fast as its caller can ask.
pub(crate) async fn wait_to_refuse() {
    sleep(REFUSED_AFTER).await;
}

/// What came of work behind a gate; that there was no place is said after a while.
async fn refuse_later<T>(outcome: Result<T, GateRefusal>) -> Result<T, Problem> {
    if let Err(GateRefusal::Away) = outcome {
        wait_to_refuse().await;
    }
    outcome.map_err(turned)
}

/// A share for this caller, if it has one of its own.
fn take(
    shares: &Arc<CallerShares<CallerId>>,
    caller: &Caller,
) -> Result<Option<ShareGuard<CallerId>>, Problem> {
    let Some(id) = caller.id() else { return Ok(None) };
    shares.take(id).map(Some).ok_or_else(|| beyond(shares.each()))
}

fn beyond(each: usize) -> Problem {
    let why = format!("while many such requests are in flight, a credential may have {each} of them");
    let mut problem = Problem::from(ProblemCode::RateLimited).saying(why);
    problem.retry_after = Some(SOON);
    problem
}

fn turned(turned: GateRefusal) -> Problem {
    match turned {
        GateRefusal::Away => {
            let mut problem = Problem::from(ProblemCode::Overloaded).saying(turned.to_string());
            problem.retry_after = Some(SOON);
            problem
        }
        GateRefusal::Lost => ProblemCode::Internal.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;
    use tenure_protocol::clock::stopwatch;

    use super::*;

    /// Sixty-four callers who found no place, and asked again at once, were all that the threads had to do that answer
    /// checks.
    #[tokio::test]
    async fn who_finds_no_place_hears_it_after_a_while() {
        let costly = CostlyReads::new();
        let (end, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..WHOLE + PLACES {
            let wait = Arc::clone(&wait);
            costly.whole.start(move || assert!(wait.lock().recv().is_err(), "nothing is sent")).unwrap();
        }
        let begun = stopwatch();
        let refused = costly.whole(&Caller::Anyone, |_| ()).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::Overloaded);
        assert!(begun.elapsed() >= REFUSED_AFTER, "{:?}", begun.elapsed());
        drop(end);
    }
}
