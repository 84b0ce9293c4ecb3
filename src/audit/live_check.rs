//! Whether what is answered from memory is what the log says.
//!
//! The log is replayed from its first event beside the running authority, at a bounded rate, and what comes out is
//! compared with what is published. Not all at once: a *slice* of the subjects at a time, so that memory stays small;
//! a round is over when each had its turn. It does not start from a snapshot, which may be the faulty part.
//!
//! The authority goes on meanwhile. A subject that differs may only be ahead of the replay, so it is looked at again,
//! with the log replayed to at least the position that was published before; only one whose published state stays
//! the same, and stays different, is a difference.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use tenure_core::{
    Position, SubjectId,
    eviction::{EvictionHorizon, evict_from_subject},
    evolve::IllegalEvent,
    scope::{FoldScope, SubjectSlice},
    state::AuthorityState,
    subject::Subject,
    system::SystemState,
};
use tenure_log::{EventLog, LogError};
use tenure_threads::{
    panics::PanicWatch,
    priority::stand_back,
    worker::{StopSignal, WorkerThread},
};

/// Subjects replayed at a time, approximately.
pub const SLICE: usize = 10_000;
/// Events per read of the log.
const PAGE: usize = 1_000;
/// The pause behind each page of a check in the background: 10 000 events a second, some hundredths of a processor.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause between two rounds in the background.
const REST: Duration = Duration::from_mins(1);
/// How often a difference is seen, with its published state unchanged, before it counts: for a second, because on a busy
/// machine who publishes may have to wait for a processor between a subject and the position that it is of.
const LOOKS: u32 = 20;
/// Maximum looks at something that changes all the time; after that it is left to the next round.
const MOST_LOOKS: u32 = 100;
/// Between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What is published: the state that answers are given from.
pub trait PublishedView: Send + Sync {
    /// The last position that every answer reflects.
    fn position(&self) -> Position;
    /// The subjects that there are.
    fn subjects(&self) -> Vec<SubjectId>;
    /// A subject with its sessions, each as a check of its token would find it.
    fn subject(&self, id: &SubjectId) -> Option<Subject>;
    /// The authority's own state.
    fn system(&self) -> Arc<SystemState>;
    /// Behind which sessions of the subjects looked at so far may have left memory.
    fn horizon(&self) -> EvictionHorizon;
}

/// Something that memory and log say differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDifference {
    /// Which subject; `None` for the authority's own state.
    pub subject: Option<SubjectId>,
    /// The position up to which the log was replayed.
    pub position: Position,
    /// BLAKE3 of the canonical bytes from the log, in hex; `None` if the log has no such subject.
    pub replayed: Option<String>,
    /// The same of what is published.
    pub live: Option<String>,
}

/// What a check of everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckFindings {
    /// The last position that was replayed.
    pub position: Position,
    /// How many subjects were compared.
    pub subjects: u64,
    /// How many sessions.
    pub sessions: u64,
    /// What differed.
    pub differences: Vec<StateDifference>,
}

/// Why a check could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log holds what cannot have happened.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    /// The authority stops.
    #[error("the check was ended with the authority")]
    Over,
    /// No caller waits for it any more.
    #[error("the check was cancelled")]
    Unwanted,
}

/// Compares memory with the log, over and over, and on demand.
pub struct LiveCheck {
    duty: Arc<LiveChecker>,
    _worker: WorkerThread,
}

struct LiveChecker {
    log: Arc<dyn EventLog>,
    published: Arc<dyn PublishedView>,
    on_demand: Mutex<()>,
    alarm: OnceLock<String>,
    rounds: AtomicU64,
    differences: AtomicU64,
    slice: usize,
    stop: Arc<StopSignal>,
    watch: PanicWatch,
}

impl LiveCheck {
    /// Begins to check in the background, about `slice` subjects at a time (see [`SLICE`]).
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(
        log: Arc<dyn EventLog>,
        published: Arc<dyn PublishedView>,
        slice: usize,
    ) -> std::io::Result<Self> {
        let duty = Arc::new(LiveChecker {
            log,
            published,
            on_demand: Mutex::new(()),
            alarm: OnceLock::new(),
            rounds: AtomicU64::new(0),
            differences: AtomicU64::new(0),
            slice,
            stop: Arc::default(),
            watch: PanicWatch::over("the comparison of memory with the log"),
        });
        let own = Arc::clone(&duty);
        let stop = Arc::clone(&duty.stop);
        let worker = WorkerThread::with(stop, "tenure-check", move |_| {
            stand_back();
            own.watch.run(|| own.run());
        })?;
        Ok(Self { duty, _worker: worker })
    }

    /// Replays the whole log now, at full speed, and compares everything. Waits for the disk. `None` if such a check
    /// is already running for another caller.
    ///
    /// # Errors
    /// A log that cannot be read or folded.
    pub fn now(&self) -> Option<Result<CheckFindings, CheckError>> {
        self.now_while(&|| true)
    }

    /// The same, for as long as it is wanted.
    pub fn now_while(&self, is_wanted: &dyn Fn() -> bool) -> Option<Result<CheckFindings, CheckError>> {
        let _one_at_a_time = self.duty.on_demand.try_lock()?;
        Some(self.duty.round(Duration::ZERO, is_wanted))
    }

    /// Ends what is being checked, and every check from now on.
    pub fn end(&self) {
        self.duty.stop.end();
    }

    /// The first difference found since the start, in words; `None` as long as memory and log agree.
    pub fn alarm(&self) -> Option<&str> {
        self.duty.alarm.get().map(String::as_str).or_else(|| self.duty.watch.alarm())
    }

    /// How many rounds are over.
    pub fn rounds(&self) -> u64 {
        self.duty.rounds.load(Ordering::Relaxed)
    }

    /// How many differences were found.
    pub fn differences(&self) -> u64 {
        self.duty.differences.load(Ordering::Relaxed)
    }
}

impl LiveChecker {
    fn run(&self) {
        while self.pause(REST).is_continue() {
            if let Err(error) = self.round(PAUSE, &|| true)
                && error != CheckError::Over
            {
                self.raise(&format!("the log cannot be replayed: {error}"));
            }
        }
    }

    /// Lets time pass; breaks at the end.
    fn pause(&self, length: Duration) -> ControlFlow<()> {
        self.stop.pause(length)
    }

    fn round(&self, pause: Duration, is_wanted: &dyn Fn() -> bool) -> Result<CheckFindings, CheckError> {
        let slices = self.published.subjects().len().div_ceil(self.slice).max(1) as u64;
        let mut findings = CheckFindings::default();
        for number in 0..slices {
            let slice = SubjectSlice { number, of: slices };
            SliceReplay::new(self, slice, (pause, is_wanted)).check(&mut findings)?;
        }
        self.rounds.fetch_add(1, Ordering::Relaxed);
        for difference in &findings.differences {
            self.differences.fetch_add(1, Ordering::Relaxed);
            let whose = difference.subject.as_ref().map_or("the authority itself", SubjectId::as_str);
            self.raise(&format!(
                "memory and log differ about {whose}, the log replayed to position {}",
                difference.position
            ));
        }
        Ok(findings)
    }

    fn raise(&self, why: &str) {
        tracing::error!(%why, "what is answered is not what is recorded; restart the authority, and keep its log");
        // The first one stays until a restart, which folds the log again.
        drop(self.alarm.set(why.to_owned()));
    }
}

/// The replay of one slice.
struct SliceReplay<'a> {
    duty: &'a LiveChecker,
    slice: SubjectSlice,
    pause: Duration,
    is_wanted: &'a dyn Fn() -> bool,
    state: AuthorityState,
    position: Position,
}

/// What memory and log say of one thing.
#[derive(PartialEq, Eq)]
struct StateDigests {
    replayed: Option<blake3::Hash>,
    live: Option<blake3::Hash>,
}

impl StateDigests {
    fn differs(&self) -> bool {
        self.replayed != self.live
    }
}

/// Something that differed at the last look.
struct SuspectedDifference {
    subject: Option<SubjectId>,
    seen: StateDigests,
    /// How often in a row its published state was this one.
    steady: u32,
}

impl<'a> SliceReplay<'a> {
    fn new(
        duty: &'a LiveChecker,
        slice: SubjectSlice,
        (pause, is_wanted): (Duration, &'a dyn Fn() -> bool),
    ) -> Self {
        let state = AuthorityState::of(FoldScope::Slice(slice));
        Self { duty, slice, pause, is_wanted, state, position: Position::ZERO }
    }

    fn check(mut self, findings: &mut CheckFindings) -> Result<(), CheckError> {
        self.go_to(self.duty.published.position())?;
        // What the catching up has left is little: no more pauses.
        self.pause = Duration::ZERO;
        self.go_to(self.duty.published.position())?;
        let named: BTreeSet<Option<SubjectId>> = self.named();
        let mut suspects = Vec::new();
        for subject in named {
            findings.subjects += u64::from(subject.is_some());
            let replayed = subject.as_ref().and_then(|id| self.state.subjects.get(id));
            findings.sessions += replayed.map_or(0, |subject| subject.sessions.len() as u64);
            let seen = self.digests(subject.as_ref());
            if seen.differs() {
                suspects.push(SuspectedDifference { subject, seen, steady: 0 });
            }
        }
        self.settle(suspects, findings)?;
        findings.position = findings.position.max(self.position);
        Ok(())
    }

    /// All that memory or log know of, and the authority itself.
    fn named(&self) -> BTreeSet<Option<SubjectId>> {
        let live = self.duty.published.subjects().into_iter().filter(|id| self.slice.has(id));
        live.chain(self.state.subjects.keys().cloned()).map(Some).chain([None]).collect()
    }

    /// Looks again at what differed, until it does not, or it is certain.
    fn settle(
        &mut self,
        mut suspects: Vec<SuspectedDifference>,
        findings: &mut CheckFindings,
    ) -> Result<(), CheckError> {
        for _ in 0..MOST_LOOKS {
            if suspects.is_empty() {
                return Ok(());
            }
            self.rest(BETWEEN_LOOKS)?;
            self.go_to(self.duty.published.position())?;
            let mut left = Vec::new();
            for suspect in suspects {
                let seen = self.digests(suspect.subject.as_ref());
                if !seen.differs() {
                    continue;
                }
                let steady = if seen.live == suspect.seen.live { suspect.steady + 1 } else { 0 };
                if steady == LOOKS {
                    findings.differences.push(self.difference(suspect.subject, &seen));
                } else {
                    left.push(SuspectedDifference { subject: suspect.subject, seen, steady });
                }
            }
            suspects = left;
        }
        Ok(())
    }

    fn difference(&self, subject: Option<SubjectId>, seen: &StateDigests) -> StateDifference {
        let hex = |hash: &Option<blake3::Hash>| hash.map(|hash| hash.to_string());
        StateDifference {
            subject,
            position: self.position,
            replayed: hex(&seen.replayed),
            live: hex(&seen.live),
        }
    }

    fn digests(&self, subject: Option<&SubjectId>) -> StateDigests {
        let published = &self.duty.published;
        match subject {
            Some(id) => {
                let live = published.subject(id);
                // Asked behind the look: what it lacks is behind this.
                let horizon = published.horizon();
                let trimmed = |mut subject: Subject| {
                    evict_from_subject(&mut subject, horizon);
                    digest(&subject)
                };
                StateDigests {
                    replayed: self.state.subjects.get(id).cloned().map(trimmed),
                    live: live.map(trimmed),
                }
            }
            None => StateDigests {
                replayed: Some(digest(&self.state.system)),
                live: Some(digest(&*published.system())),
            },
        }
    }

    /// Replays to this position at least.
    fn go_to(&mut self, position: Position) -> Result<(), CheckError> {
        while self.position < position {
            let page = self.duty.log.read(self.position, PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            let end = last.last();
            for stored in &page {
                self.state.apply_at(stored.first, &stored.commit)?;
            }
            self.position = end;
            self.rest(self.pause)?;
        }
        Ok(())
    }

    /// Lets time pass, if the check is to go on.
    fn rest(&self, length: Duration) -> Result<(), CheckError> {
        if self.duty.pause(length).is_break() {
            return Err(CheckError::Over);
        }
        if (self.is_wanted)() { Ok(()) } else { Err(CheckError::Unwanted) }
    }
}

fn digest<T: minicbor::Encode<()>>(thing: &T) -> blake3::Hash {
    blake3::hash(&minicbor::to_vec(thing).expect("writing to memory does not fail"))
}
