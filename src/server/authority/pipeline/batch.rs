//! A batch in the making: commands decided one after the other, each against the state that the ones before
//! it would leave, none of it durable yet and none of it visible to anyone.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;

use tenure_core::{
    ActiveSessions, Commit, Digest16, Event, Position, Seconds, SessionId, StreamId, SubjectEvent, SubjectId,
    SystemEvent, Timestamp,
    bulk::{BulkRevocation, MatchCount, SessionSelector},
    command::{Command, SystemCommand},
    commit::IdempotencyMark,
    decide::{decide, decide_system},
    event::{PresentedToken, SessionSeen},
    evolve::IllegalEvent,
    fold::{self, FoldTarget},
    id::CommitId,
    observed::Observation,
    refusal::{RecordedRefusal, Refusal},
    subject::Subject,
    system::SystemState,
};
use tenure_log::{EncodedCommit, LogError, StoredCommit, encode};

use super::request::{RequestContext, StateAfter};
use crate::authority::state::{
    idempotency::{IdempotencyEntry, IdempotencyLookup, IdempotencyTable},
    published::{PublishedState, settled},
    registrations::RegistrationChange,
};

/// Maximum marks per commit: 24 bytes each, far below the size that a commit may have.
pub(crate) const MARKS_PER_COMMIT: usize = 1_000;

/// What a look at all sessions of a subject is worth remembering for: fewer are looked at in no time.
const CROWD: usize = 64;

/// The commits of a batch and the state that they would leave.
pub(crate) struct Batch<'a> {
    live: &'a PublishedState,
    subjects: HashMap<SubjectId, Arc<Subject>>,
    /// The subject being decided about, so that the fold need not look it up again.
    at_hand: Option<Arc<Subject>>,
    /// The crowded subjects that creates were for, with their active sessions if nothing but creates has followed.
    crowds: HashMap<SubjectId, Option<ActiveSessions>>,
    /// The sessions that it begins.
    begun: HashMap<SessionId, SubjectId>,
    system: Arc<SystemState>,
    is_system_changed: bool,
    /// The subjects that it erases: rarely any.
    erased: Vec<SubjectId>,
    /// The bulk revocations not settled everywhere: those published, and this batch's own.
    bulks: Vec<BulkRevocation>,
    /// The keys of its requests that had an effect. They count once the batch is durable.
    idempotency: HashMap<Digest16, IdempotencyEntry>,
    /// What was registered of subjects before this batch changed it.
    registrations: Vec<RegistrationChange>,
    /// The sessions whose due uses it records, or found to say nothing. They are due until the batch is durable.
    uses: BTreeSet<SessionId>,
    encoded: Vec<EncodedCommit>,
    commits: Vec<Arc<StoredCommit>>,
    head: Position,
    recorded_at: Timestamp,
}

/// What became of a command within the batch.
pub(crate) struct Decision {
    /// The refusal, when it was refused.
    pub(crate) refusal: Option<Refusal>,
    /// Which of the batch's commits records it.
    pub(crate) commit: Option<Arc<StoredCommit>>,
    /// The subject after it, or the one session that it was about.
    pub(crate) after: Option<StateAfter>,
}

/// A decision that cannot be written down: ours is the fault, not the caller's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    #[error(transparent)]
    Encoding(#[from] LogError),
}

/// What is published once the batch is durable.
pub(crate) struct BatchChanges {
    pub(crate) subjects: HashMap<SubjectId, Arc<Subject>>,
    pub(crate) system: Option<Arc<SystemState>>,
    /// The bulk revocations among them.
    pub(crate) bulks: Vec<BulkRevocation>,
    /// What was registered of the subjects before, where that changes.
    pub(crate) registrations: Vec<RegistrationChange>,
    /// The sessions whose uses are not due any more, unless they were used again.
    pub(crate) uses: BTreeSet<SessionId>,
    pub(crate) commits: Vec<Arc<StoredCommit>>,
    pub(crate) head: Position,
    pub(crate) recorded_at: Timestamp,
}

impl BatchChanges {
    /// Whether another key seals from now on.
    pub(crate) fn rotates_keys(&self) -> bool {
        let mut events = self.commits.iter().flat_map(|commit| &commit.commit.events);
        events.any(|event| matches!(event, Event::System(SystemEvent::KeyRotated(_))))
    }
}

impl<'a> Batch<'a> {
    /// An empty batch on top of the published state, with capacity for this number of commits.
    pub(crate) fn new(live: &'a PublishedState, commits: usize) -> Self {
        Self {
            live,
            subjects: HashMap::with_capacity(commits),
            at_hand: None,
            crowds: HashMap::new(),
            begun: HashMap::new(),
            system: Arc::clone(&live.system().system),
            is_system_changed: false,
            erased: Vec::new(),
            bulks: live.unsettled_bulks().as_ref().clone(),
            idempotency: HashMap::new(),
            registrations: Vec::new(),
            uses: BTreeSet::new(),
            encoded: Vec::with_capacity(commits),
            commits: Vec::with_capacity(commits),
            head: live.position(),
            recorded_at: live.recorded_at(),
        }
    }

    /// The moment of the next decision. Recorded time never goes back.
    pub(crate) fn moment(&self, now: Timestamp) -> Timestamp {
        now.max(self.recorded_at)
    }

    /// Where the next commit will begin.
    pub(crate) fn next(&self) -> Position {
        self.head.next()
    }

    /// Whether this batch erases the subject.
    pub(crate) fn erases(&self, id: &SubjectId) -> bool {
        self.erased.contains(id)
    }

    /// A subject as this batch would leave it.
    pub(crate) fn subject(&self, id: &SubjectId) -> Arc<Subject> {
        let staged = self.subjects.get(id).cloned();
        let known = staged.or_else(|| self.live.recorded_subject(id));
        let subject = known.unwrap_or_else(|| Arc::new(Subject::new(id.clone())));
        settled(&self.bulks, subject)
    }

    /// Counts the sessions that match and are active at this moment, as this batch would leave them.
    pub(crate) fn matching(&self, selector: &SessionSelector, at: Timestamp) -> MatchCount {
        let selector = &selector.clone().under(&self.system.keys);
        let mut matched = self.live.matching_under(&self.bulks, selector, at, self.subjects.keys());
        for subject in self.subjects.values() {
            matched.count(selector, subject, &self.bulks, at);
        }
        matched
    }

    /// What is known of a request by its idempotency key: to this batch first, and then to the table of those that are
    /// recorded.
    pub(crate) fn look_up(
        &self,
        table: &IdempotencyTable,
        mark: IdempotencyMark,
        at: Timestamp,
    ) -> IdempotencyLookup {
        match self.idempotency.get(&mark.key) {
            Some(entry) => entry.judge(mark),
            None => table.look_up(mark, at),
        }
    }

    /// Decides a command about a subject, which is as this batch would leave it.
    pub(crate) fn decide_subject(
        &mut self,
        subject: Arc<Subject>,
        command: &Command,
        observed: &Observation,
        stamp: CommitStamp,
    ) -> Result<Decision, CommitError> {
        let crowd = self.crowd_for(&subject, command, stamp.at);
        let with_crowd = crowd.map(|active| Observation { active: Some(active), ..observed.clone() });
        let observed = with_crowd.as_ref().unwrap_or(observed);
        let decision = decide(self.system.policy_in_force(), &subject, command, observed, stamp.at);
        let (events, refusal) = match decision {
            Ok(events) => (events, None),
            Err(RecordedRefusal { refusal, record }) => (record, Some(refusal)),
        };
        let crowd = with_crowd.and_then(|observed| observed.active);
        if events.is_empty() {
            self.keep_crowd(&subject.id, crowd);
            let after = StateAfter::of(command, &subject);
            return Ok(Decision { refusal, commit: None, after });
        }
        if events.iter().any(|event| matches!(event, SubjectEvent::SubjectErased(_))) {
            self.erased.push(subject.id.clone());
        }
        let id = subject.id.clone();
        let staged =
            self.write(StreamId::Subject(id.clone()), subject.version(), events, stamp.of(refusal.as_ref()))?;
        // Held nowhere else, it is changed where it lies.
        self.subjects.remove(&id);
        self.at_hand = Some(subject);
        let stored = self.add(staged)?;
        let subject = self.subjects.get(&id);
        let after = subject.and_then(|subject| StateAfter::of(command, subject));
        let crowd = subject.zip(crowd).and_then(|(subject, active)| active.after(subject, &stored.commit));
        self.keep_crowd(&id, crowd);
        Ok(Decision { refusal, commit: Some(stored), after })
    }

    /// What the second create for a crowded subject is decided by, and those after it: each would look at all of its
    /// sessions.
    fn crowd_for(&mut self, subject: &Subject, command: &Command, at: Timestamp) -> Option<ActiveSessions> {
        if !matches!(command, Command::CreateSession(_)) || subject.sessions.len() < CROWD {
            return None;
        }
        let Some(kept) = self.crowds.get_mut(&subject.id) else {
            self.crowds.insert(subject.id.clone(), None);
            return None;
        };
        kept.take().filter(|active| active.holds_at(at)).or_else(|| ActiveSessions::of(subject, at))
    }

    fn keep_crowd(&mut self, id: &SubjectId, crowd: Option<ActiveSessions>) {
        if let Some(kept) = self.crowds.get_mut(id) {
            *kept = crowd;
        }
    }

    /// Whether it is known that no session of a subject can be found idle.
    pub(super) fn has_nothing_idle(&self, id: &SubjectId) -> bool {
        matches!(self.crowds.get(id), Some(Some(_)))
    }

    /// Whether a command about a subject would be granted and say nothing new.
    pub(super) fn changes_nothing(
        &self,
        subject: &Subject,
        command: &Command,
        observed: &Observation,
        at: Timestamp,
    ) -> bool {
        decide(self.system.policy_in_force(), subject, command, observed, at)
            .is_ok_and(|events| events.is_empty())
    }

    /// The longest period that a session was ever granted, as far as this process knows.
    pub(crate) fn longest_ttl(&self) -> Seconds {
        let staged = self.subjects.values().flat_map(|subject| &subject.sessions);
        staged.map(|session| session.terms.ttl).fold(self.live.longest_ttl(), Seconds::max)
    }

    /// Whether a command about the authority itself would be granted.
    pub(crate) fn grants(&self, command: &SystemCommand, observed: &Observation, at: Timestamp) -> bool {
        decide_system(&self.system, command, observed, at).is_ok()
    }

    /// Decides a command about the authority itself.
    pub(crate) fn decide_system(
        &mut self,
        command: &SystemCommand,
        observed: &Observation,
        stamp: CommitStamp,
    ) -> Result<Decision, CommitError> {
        let (events, refusal) = match decide_system(&self.system, command, observed, stamp.at) {
            Ok(events) => (events, None),
            Err(refusal) => (vec![], Some(refusal)),
        };
        if events.is_empty() {
            return Ok(Decision { refusal, commit: None, after: None });
        }
        let staged = self.write(StreamId::System, self.system.version, events, stamp.of(refusal.as_ref()))?;
        Ok(Decision { refusal, commit: Some(self.add(staged)?), after: None })
    }

    /// Those marks that still say something: the session has not been renewed again since.
    pub(crate) fn still_true(&self, marks: Vec<PresentedToken>) -> Vec<PresentedToken> {
        let is_true = |mark: &PresentedToken| {
            self.holder(mark.session_id).is_some_and(|subject| {
                subject.session(mark.session_id).is_some_and(|session| {
                    session.generation() == mark.generation && session.awaits_presentation()
                })
            })
        };
        marks.into_iter().filter(is_true).collect()
    }

    fn holder(&self, id: SessionId) -> Option<Arc<Subject>> {
        Some(self.subject(&self.subject_of(id)?))
    }

    /// The due uses of these sessions, and with them others that are due, up to `most` together.
    pub(crate) fn due_uses(&mut self, asked: &[SessionSeen], most: usize, at: Timestamp) -> Vec<SessionSeen> {
        let mut ids: BTreeSet<_> = asked.iter().map(|seen| seen.session_id).collect();
        ids.extend(self.live.uses().due_besides(&self.uses, most.saturating_sub(ids.len())));
        self.uses_of(&ids.into_iter().collect::<Vec<_>>(), at)
    }

    /// The latest uses of these sessions, those that still say something.
    pub(crate) fn uses_of(&mut self, ids: &[SessionId], at: Timestamp) -> Vec<SessionSeen> {
        self.uses.extend(ids);
        let noted = ids.iter().filter_map(|id| self.live.uses().noted(*id)).collect();
        self.still_new_uses(noted, at)
    }

    /// Those uses that still say something, at this moment: the session has not ended, nor been seen later. None is
    /// later than what is recorded of it, though the clock may have been set back since.
    pub(crate) fn still_new_uses(&self, uses: Vec<SessionSeen>, at: Timestamp) -> Vec<SessionSeen> {
        let known = |seen: SessionSeen| {
            let subject = self.holder(seen.session_id)?;
            let session = subject.session(seen.session_id)?;
            let seen = SessionSeen { seen_at: seen.seen_at.min(at), ..seen };
            (session.can_be_seen() && session.last_seen_at() < Some(seen.seen_at)).then_some(seen)
        };
        uses.into_iter().filter_map(known).collect()
    }

    fn write(
        &self,
        stream: StreamId,
        expected: Position,
        events: Vec<impl Into<Event>>,
        stamp: CommitStamp,
    ) -> Result<StagedCommit, CommitError> {
        let commit = Commit {
            id: stamp.id,
            stream,
            expected,
            recorded_at: stamp.at,
            actor: stamp.context.actor,
            correlation_id: stamp.context.correlation_id,
            idempotency: stamp.context.idempotency,
            events: events.into_iter().map(Into::into).collect(),
        };
        let encoded = encode(&commit)?;
        let stored =
            StoredCommit { first: self.next(), commit, record_hashes: encoded.record_hashes().to_vec() };
        Ok(StagedCommit { stored, encoded })
    }

    /// Adds a commit to the batch: its effect, its key, its place.
    fn add(&mut self, staged: StagedCommit) -> Result<Arc<StoredCommit>, IllegalEvent> {
        let stored = Arc::new(staged.stored);
        self.note_registration(&stored);
        fold::apply(self, &stored.commit, stored.first)?;
        if let Some((key, entry)) = IdempotencyEntry::of(&stored) {
            self.idempotency.insert(key, entry);
        }
        self.head = stored.last();
        self.recorded_at = stored.commit.recorded_at;
        self.encoded.push(staged.encoded);
        self.commits.push(Arc::clone(&stored));
        Ok(stored)
    }

    /// What the next commit about this subject is added to.
    pub(super) fn takes_at_hand(&mut self, subject: Arc<Subject>) {
        self.at_hand = Some(subject);
    }

    /// Adds a commit that the log holds already.
    pub(super) fn follow(&mut self, stored: &Arc<StoredCommit>) -> Result<(), IllegalEvent> {
        self.note_registration(stored);
        fold::apply(self, &stored.commit, stored.first)?;
        self.head = stored.last();
        self.recorded_at = stored.commit.recorded_at;
        for event in &stored.commit.events {
            if let Event::System(SystemEvent::SessionsSeen(seen)) = event {
                self.uses.extend(seen.seen.iter().map(|seen| seen.session_id));
            }
        }
        self.commits.push(Arc::clone(stored));
        Ok(())
    }

    /// Remembers what is registered of a subject, if this commit changes it.
    fn note_registration(&mut self, stored: &StoredCommit) {
        let StreamId::Subject(id) = &stored.commit.stream else { return };
        let changes = |event: &Event| matches!(event, Event::Subject(event) if event.changes_registration());
        if !stored.commit.events.iter().any(changes) {
            return;
        }
        let subject = self.at_hand.clone().filter(|subject| subject.id == *id);
        let subject = subject.unwrap_or_else(|| self.subject(id));
        if let Some(before) = subject.registration() {
            let change = RegistrationChange { subject: id.clone(), position: stored.first, before };
            self.registrations.push(change);
        }
    }

    /// The bytes for the log, and what to publish once it has them.
    pub(crate) fn finish(self) -> (Vec<EncodedCommit>, BatchChanges) {
        let Self { live, subjects, encoded, commits, mut bulks, registrations, uses, head, .. } = self;
        let system = self.is_system_changed.then_some(self.system);
        bulks.retain(|bulk| bulk.position > live.position());
        let recorded_at = self.recorded_at;
        let published =
            BatchChanges { subjects, system, bulks, registrations, uses, commits, head, recorded_at };
        (encoded, published)
    }
}

/// The marks of a commit beyond its events.
pub(crate) struct CommitStamp {
    pub(crate) id: CommitId,
    pub(crate) at: Timestamp,
    pub(crate) context: RequestContext,
}

impl CommitStamp {
    /// Only a request that was granted is known again by its key.
    fn of(mut self, refusal: Option<&Refusal>) -> Self {
        if refusal.is_some() {
            self.context.idempotency = None;
        }
        self
    }
}

struct StagedCommit {
    stored: StoredCommit,
    encoded: EncodedCommit,
}

/// A selection's end is remembered, and written into a subject before anything else happens to it.
impl FoldTarget for Batch<'_> {
    fn covers(&self, _: &SubjectId) -> bool {
        true
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn lets_go(&self) -> bool {
        self.live.horizon().is_there()
    }

    fn subject_of(&self, id: SessionId) -> Option<SubjectId> {
        self.begun.get(&id).cloned().or_else(|| self.live.subject_of(id))
    }

    fn change<T>(&mut self, id: &SubjectId, change: impl FnOnce(&mut Subject) -> T) -> T {
        self.keep_crowd(id, None);
        let at_hand = self.at_hand.take().filter(|subject| subject.id == *id);
        let mut subject = at_hand.unwrap_or_else(|| self.subject(id));
        let outcome = change(Arc::make_mut(&mut subject));
        self.subjects.insert(id.clone(), subject);
        outcome
    }

    fn begin(&mut self, session: SessionId, id: &SubjectId) {
        self.begun.insert(session, id.clone());
    }

    fn system(&mut self) -> Option<&mut SystemState> {
        self.is_system_changed = true;
        Some(Arc::make_mut(&mut self.system))
    }

    fn end_selected(&mut self, bulk: BulkRevocation) {
        self.crowds.values_mut().for_each(|active| *active = None);
        self.bulks.push(bulk);
    }
}
