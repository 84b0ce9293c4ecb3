//! Costly work on threads of its own: a few jobs at once, a few more in a queue, and the rest refused.
//!
//! A job whose callers have all gone is given up: if it is queued it never begins, and if it runs, [`CancelCheck`]
//! says so. Equal questions share one job, and each of its callers reads the result in the job's thread, so that a
//! large result exists once and is gone before the next job begins.

mod shares;

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::Mutex;
use tenure_threads::priority::{stand_back, step_aside};
use tokio::sync::oneshot;

pub(crate) use self::shares::{CallerShares, ShareGuard};

/// Why costly work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateRefusal {
    /// As many jobs run and wait as may; try again.
    #[error("too many costly requests are in work")]
    Away,
    /// The job ended without a result: it panicked.
    #[error("a costly request ended without a result")]
    Lost,
}

/// Whether any caller still waits for a job.
pub(crate) struct CancelCheck<'a>(&'a (dyn Fn() -> bool + Sync));

impl CancelCheck<'_> {
    /// Whether to go on. Those who are answered beside the job go first at each such moment, so a job asks once in about
    /// a millisecond.
    pub(crate) fn is_wanted(&self) -> bool {
        step_aside();
        (self.0)()
    }
}

/// A gate: a fixed number of jobs at once behind it, and a fixed number of waiting ones.
#[derive(Clone)]
pub(crate) struct WorkGate(Arc<GateInner>);

struct GateInner {
    name: &'static str,
    threads: usize,
    places: usize,
    work: Mutex<WorkQueue>,
    refused: AtomicU64,
    done: AtomicU64,
    abandoned: AtomicU64,
    shared: AtomicU64,
}

#[derive(Default)]
struct WorkQueue {
    running: usize,
    waiting: VecDeque<Box<dyn GateJob>>,
}

/// What a gate is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GateLoad {
    /// Jobs that run.
    pub(crate) running: usize,
    /// Waiting jobs that still have a caller.
    pub(crate) waiting: usize,
    /// Requests that found no place.
    pub(crate) refused: u64,
    /// Jobs that were done.
    pub(crate) done: u64,
    /// Jobs given up because all their callers had gone.
    pub(crate) abandoned: u64,
    /// Requests that were answered by the job of an equal one.
    pub(crate) shared: u64,
}

trait GateJob: Send {
    fn is_wanted(&self) -> bool;
    /// Does it; returns whether a caller still waited at the end.
    fn run(self: Box<Self>) -> bool;
}

impl WorkGate {
    /// `threads` jobs run at once and `places` wait. Threads exist only while there is work.
    pub(crate) fn new(name: &'static str, threads: usize, places: usize) -> Self {
        let (work, refused, done) = (Mutex::default(), AtomicU64::new(0), AtomicU64::new(0));
        let (abandoned, shared) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(GateInner { name, threads, places, work, refused, done, abandoned, shared }))
    }

    /// What the metrics call it.
    pub(crate) fn name(&self) -> &'static str {
        self.0.name
    }

    /// How many jobs run and wait at most.
    fn room(&self) -> usize {
        self.0.threads + self.0.places
    }

    /// What it is doing.
    pub(crate) fn load(&self) -> GateLoad {
        let work = self.0.work.lock();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GateLoad {
            running: work.running,
            waiting: work.waiting.iter().filter(|job| job.is_wanted()).count(),
            refused: count(&self.0.refused),
            done: count(&self.0.done),
            abandoned: count(&self.0.abandoned),
            shared: count(&self.0.shared),
        }
    }

    /// Does this work behind the gate. When the future is dropped, the work is not wanted any more.
    ///
    /// # Errors
    /// There is no place, or the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CancelCheck<'_>) -> T + Send + 'static,
    ) -> Result<T, GateRefusal> {
        let (reply, answer) = oneshot::channel();
        self.put(Box::new(SingleJob { work, reply }))?;
        answer.await.map_err(|_| GateRefusal::Lost)
    }

    /// Begins work that says by itself when it is over.
    ///
    /// # Errors
    /// There is no place.
    pub(crate) fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<(), GateRefusal> {
        self.put(Box::new(DetachedJob(work)))
    }

    fn put(&self, job: Box<dyn GateJob>) -> Result<(), GateRefusal> {
        let mut work = self.0.work.lock();
        if work.running < self.0.threads {
            // A system that gives no thread now gives none to those that wait either.
            self.begin(job).map_err(|_| self.refuse())?;
            work.running += 1;
            return Ok(());
        }
        if work.waiting.len() >= self.0.places {
            let before = work.waiting.len();
            work.waiting.retain(|job| job.is_wanted());
            self.0.abandoned.fetch_add((before - work.waiting.len()) as u64, Ordering::Relaxed);
            if work.waiting.len() >= self.0.places {
                return Err(self.refuse());
            }
        }
        work.waiting.push_back(job);
        Ok(())
    }

    fn refuse(&self) -> GateRefusal {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        GateRefusal::Away
    }

    fn begin(&self, job: Box<dyn GateJob>) -> std::io::Result<()> {
        let gate = self.clone();
        let name = format!("tenure-{}", self.0.name);
        thread::Builder::new().name(name).spawn(move || gate.work_on(job)).map(drop)
    }

    fn work_on(&self, first: Box<dyn GateJob>) {
        stand_back();
        let _running = RunningThread(self);
        let mut next = Some(first);
        while let Some(job) = next {
            let is_done = job.is_wanted() && job.run();
            let outcome = if is_done { &self.0.done } else { &self.0.abandoned };
            outcome.fetch_add(1, Ordering::Relaxed);
            next = self.0.work.lock().waiting.pop_front();
        }
    }
}

/// A thread at work. If its job panics, another thread takes its place if a caller waits.
struct RunningThread<'g>(&'g WorkGate);

impl Drop for RunningThread<'_> {
    fn drop(&mut self) {
        let mut work = self.0.0.work.lock();
        work.running -= 1;
        if let Some(job) = work.waiting.pop_front()
            && self.0.begin(job).is_ok()
        {
            work.running += 1;
        }
    }
}

struct SingleJob<W, T> {
    work: W,
    reply: oneshot::Sender<T>,
}

impl<T: Send, W: FnOnce(&CancelCheck<'_>) -> T + Send> GateJob for SingleJob<W, T> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(self: Box<Self>) -> bool {
        let Self { work, reply } = *self;
        let result = work(&CancelCheck(&|| !reply.is_closed()));
        reply.send(result).is_ok()
    }
}

struct DetachedJob<W>(W);

impl<W: FnOnce() + Send> GateJob for DetachedJob<W> {
    fn is_wanted(&self) -> bool {
        true
    }

    fn run(self: Box<Self>) -> bool {
        (self.0)();
        true
    }
}

/// Questions behind a gate: equal ones are answered together.
pub(crate) struct SharedQuestions<K, T> {
    gate: WorkGate,
    open: Arc<OpenQuestions<K, T>>,
}

type OpenQuestions<K, T> = Mutex<HashMap<K, Arc<WaitingCallers<T>>>>;
type WaitingCallers<T> = Mutex<Vec<Box<dyn WaitingCaller<T>>>>;

/// A caller who waits for an answer, and what it makes of that answer.
trait WaitingCaller<T>: Send {
    fn is_there(&self) -> bool;
    fn answer(self: Box<Self>, result: &T) -> bool;
}

struct AnswerReader<R, A> {
    read: R,
    reply: oneshot::Sender<A>,
}

impl<T, A: Send, R: FnOnce(&T) -> A + Send> WaitingCaller<T> for AnswerReader<R, A> {
    fn is_there(&self) -> bool {
        !self.reply.is_closed()
    }

    fn answer(self: Box<Self>, result: &T) -> bool {
        self.reply.send((self.read)(result)).is_ok()
    }
}

impl<K: Hash + Eq + Clone + Send + 'static, T: 'static> SharedQuestions<K, T> {
    /// That pass through this gate.
    pub(crate) fn at(gate: WorkGate) -> Self {
        Self { gate, open: Arc::default() }
    }

    /// Asks: `find` is run once for all who ask under the same key before it has ended, and each caller's `read` is
    /// given the result. What `find` gives must be a matter of the key alone.
    ///
    /// # Errors
    /// There is no place, or the work panicked.
    pub(crate) async fn ask<A: Send + 'static>(
        &self,
        key: K,
        find: impl FnOnce(&CancelCheck<'_>) -> T + Send + 'static,
        read: impl FnOnce(&T) -> A + Send + 'static,
    ) -> Result<A, GateRefusal> {
        let (reply, answer) = oneshot::channel();
        let otherwise = self.put(key, find, Box::new(AnswerReader { read, reply }))?;
        answer.await.map_err(|_| otherwise)
    }

    /// Gives back what it means when no answer comes: a job that was joined may have found no place.
    fn put(
        &self,
        key: K,
        find: impl FnOnce(&CancelCheck<'_>) -> T + Send + 'static,
        caller: Box<dyn WaitingCaller<T>>,
    ) -> Result<GateRefusal, GateRefusal> {
        let callers = {
            let mut open = self.open.lock();
            if let Some(callers) = open.get(&key) {
                callers.lock().push(caller);
                self.gate.0.shared.fetch_add(1, Ordering::Relaxed);
                return Ok(GateRefusal::Away);
            }
            let callers = Arc::new(Mutex::new(vec![caller]));
            open.insert(key.clone(), Arc::clone(&callers));
            callers
        };
        // Refused, it is dropped, and with it those who have joined it meanwhile.
        let question = QuestionJob { key, find: Some(find), callers, open: Arc::clone(&self.open) };
        self.gate.put(Box::new(question)).map(|()| GateRefusal::Lost)
    }
}

fn is_anybody_there<T>(callers: &WaitingCallers<T>) -> bool {
    callers.lock().iter().any(|caller| caller.is_there())
}

struct QuestionJob<K: Hash + Eq, F, T> {
    key: K,
    find: Option<F>,
    callers: Arc<WaitingCallers<T>>,
    open: Arc<OpenQuestions<K, T>>,
}

impl<K: Hash + Eq, F, T> QuestionJob<K, F, T> {
    /// From now on no caller joins it.
    fn close(&self) -> Vec<Box<dyn WaitingCaller<T>>> {
        let mut open = self.open.lock();
        if open.get(&self.key).is_some_and(|callers| Arc::ptr_eq(callers, &self.callers)) {
            open.remove(&self.key);
        }
        std::mem::take(&mut *self.callers.lock())
    }
}

impl<K: Hash + Eq + Send, F: FnOnce(&CancelCheck<'_>) -> T + Send, T> GateJob for QuestionJob<K, F, T> {
    fn is_wanted(&self) -> bool {
        is_anybody_there(&self.callers)
    }

    fn run(mut self: Box<Self>) -> bool {
        let Some(find) = self.find.take() else { return false };
        let callers = &*self.callers;
        let result = find(&CancelCheck(&|| is_anybody_there(callers)));
        let answered = self.close().into_iter().filter(|caller| caller.is_there());
        answered.map(|caller| caller.answer(&result)).fold(false, |any, one| any | one)
    }
}

impl<K: Hash + Eq, F, T> Drop for QuestionJob<K, F, T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[cfg(test)]
mod tests;
