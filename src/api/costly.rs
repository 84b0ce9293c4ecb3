//! Costly reads: what folds or searches the history, or walks over all that there is. They pass through gates of their
//! own, off the threads that answer checks, and each caller has a share of the places.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::{
    domain::{Position, SubjectId, state::State, subject::Subject},
    gate::{Gate, Questions, Turned, Wanted},
    projections::history,
};

use super::{
    Api,
    access::Caller,
    problem::{Code, Problem},
};

/// Readings of the whole history at once: each holds a state of everything.
const WHOLE: usize = 2;
/// Readings of a part of it at once.
const PARTS: usize = 4;
/// Exports at once; none waits.
const EXPORTS: usize = 4;
/// So many wait for each of the first two.
const PLACES: usize = 16;
/// Costly reads of one caller in flight, running or waiting.
const SHARE: usize = 2;
/// Exports of one caller in flight.
const EXPORTS_SHARE: usize = 1;
/// A caller that found no place tries again after so many seconds.
const SOON: u32 = 2;

/// The gates, and who is behind them.
pub(super) struct Costly {
    whole: Gate,
    parts: Gate,
    exports: Gate,
    states: Questions<Position, Result<State, Problem>>,
    subjects: Questions<(SubjectId, Position), Result<Arc<Subject>, Problem>>,
    reads: Arc<Shares>,
    exporters: Arc<Shares>,
}

impl Costly {
    pub(super) fn new() -> Self {
        let (whole, parts) = (Gate::new("whole", WHOLE, PLACES), Gate::new("parts", PARTS, PLACES));
        Self {
            states: Questions::at(whole.clone()),
            subjects: Questions::at(parts.clone()),
            whole,
            parts,
            exports: Gate::new("exports", EXPORTS, 0),
            reads: Arc::new(Shares::of(SHARE)),
            exporters: Arc::new(Shares::of(EXPORTS_SHARE)),
        }
    }

    /// Every gate.
    pub(super) fn gates(&self) -> [&Gate; 3] {
        [&self.whole, &self.parts, &self.exports]
    }

    /// How many requests were refused because their callers had their shares in flight.
    pub(super) fn beyond_shares(&self) -> u64 {
        self.reads.refused() + self.exporters.refused()
    }

    /// Work that reads the whole history.
    pub(super) async fn whole<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Wanted<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _share = self.reads.take(caller)?;
        self.whole.run(work).await.map_err(turned)
    }

    /// Work that reads a part of the history, or walks over much of what there is.
    pub(super) async fn part<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&Wanted<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _share = self.reads.take(caller)?;
        self.parts.run(work).await.map_err(turned)
    }

    /// An export, which goes on when its request has been answered. What the work gives back ends the reply when it is
    /// dropped: a caller that has read all of it may ask for the next one.
    pub(super) fn export<E>(
        &self,
        caller: &Caller,
        work: impl FnOnce() -> E + Send + 'static,
    ) -> Result<(), Problem> {
        let share = self.exporters.take(caller)?;
        let work = move || {
            let end = work();
            drop(share);
            drop(end);
        };
        self.exports.start(work).map_err(turned)
    }
}

/// What `read` makes of everything as of a position. Whoever asks about the same position meanwhile shares the fold; the
/// state is dropped as soon as they have read it.
pub(super) async fn read_state<A: Send + 'static>(
    api: &Arc<Api>,
    caller: &Caller,
    position: Position,
    read: impl FnOnce(&State) -> A + Send + 'static,
) -> Result<A, Problem> {
    let _share = api.costly.reads.take(caller)?;
    let authority = Arc::clone(&api.authority);
    let find = move |wanted: &Wanted<'_>| {
        let state = history::state_at_while(&|| wanted.is_wanted(), authority.log(), position);
        state.map_err(Problem::from)
    };
    let read = move |state: &Result<State, Problem>| state.as_ref().map(read).map_err(Problem::clone);
    api.costly.states.ask(position, find, read).await.map_err(turned)?
}

/// A subject as of a position; equal questions share one answer.
pub(super) async fn subject_at(
    api: &Arc<Api>,
    caller: &Caller,
    id: &SubjectId,
    position: Position,
) -> Result<Arc<Subject>, Problem> {
    let _share = api.costly.reads.take(caller)?;
    let key = (id.clone(), position);
    let (authority, projections, id) = (Arc::clone(&api.authority), Arc::clone(&api.projections), id.clone());
    let find = move |wanted: &Wanted<'_>| {
        let is_wanted = || wanted.is_wanted();
        let subject = history::subject_at_while(&is_wanted, authority.log(), &projections, &id, position);
        subject.map(Arc::new).map_err(Problem::from)
    };
    api.costly.subjects.ask(key, find, Result::clone).await.map_err(turned)?
}

fn turned(turned: Turned) -> Problem {
    match turned {
        Turned::Away => {
            let mut problem = Problem::from(Code::Overloaded).saying(turned.to_string());
            problem.retry_after = Some(SOON);
            problem
        }
        Turned::Lost => Code::Internal.into(),
    }
}

/// How many requests each caller has in flight.
struct Shares {
    each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    of_callers: HashMap<[u8; 16], usize>,
    refused: u64,
}

/// A request in flight, counted until this is dropped.
struct Share {
    shares: Arc<Shares>,
    caller: [u8; 16],
}

impl Shares {
    fn of(each: usize) -> Self {
        Self { each, taken: Mutex::default() }
    }

    fn refused(&self) -> u64 {
        self.taken.lock().refused
    }

    fn take(self: &Arc<Self>, caller: &Caller) -> Result<Option<Share>, Problem> {
        let caller = match caller {
            Caller::Key(key) => *key.id.as_bytes(),
            Caller::Session(holder) => *holder.session.id.as_bytes(),
            Caller::Anyone => return Ok(None),
        };
        let mut taken = self.taken.lock();
        let count = taken.of_callers.entry(caller).or_default();
        if *count >= self.each {
            taken.refused += 1;
            return Err(self.beyond());
        }
        *count += 1;
        Ok(Some(Share { shares: Arc::clone(self), caller }))
    }

    fn beyond(&self) -> Problem {
        let why = format!("a credential may have {} such requests in flight", self.each);
        let mut problem = Problem::from(Code::RateLimited).saying(why);
        problem.retry_after = Some(SOON);
        problem
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        if let Some(count) = taken.of_callers.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                taken.of_callers.remove(&self.caller);
            }
        }
    }
}
