//! A batch in the making: commands decided one after the other, each against the state that the ones before
//! it would leave, none of it durable yet and none of it visible to anyone.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{
    domain::{
        Commit, Event, EventKind, Position, Seconds, SessionId, Stream, SubjectId, Timestamp,
        activity::mark_seen,
        bulk::{Bulk, Matched, Selector},
        command::{Command, SystemCommand},
        decide::{decide, decide_system},
        event::{Presented, Seen},
        evolve::{IllegalEvent, evolve, evolve_system, mark_presented},
        id::CommitId,
        keys::Keys,
        record::RecordedAs,
        refusal::{Refusal, Refused},
        subject::Subject,
        system::System,
    },
    log::{EncodedCommit, LogError, StoredCommit, encode},
};

use super::{
    live::{Live, settled},
    request::Context,
};

/// The commits of a batch and the state that they would leave.
pub(super) struct Staging<'a> {
    live: &'a Live,
    subjects: HashMap<SubjectId, Arc<Subject>>,
    system: Arc<System>,
    is_system_changed: bool,
    /// The subjects that it erases: rarely any.
    erased: Vec<SubjectId>,
    /// The bulk revocations not settled everywhere: those published, and this batch's own.
    bulks: Vec<Bulk>,
    encoded: Vec<EncodedCommit>,
    commits: Vec<Arc<StoredCommit>>,
    head: Position,
    recorded_at: Timestamp,
}

/// What became of a command within the batch.
pub(super) struct Decided {
    /// The refusal, when it was refused.
    pub(super) refusal: Option<Refusal>,
    /// Which of the batch's commits records it.
    pub(super) commit: Option<Arc<StoredCommit>>,
    /// The subject after it.
    pub(super) subject: Option<Arc<Subject>>,
}

/// A decision that cannot be written down: ours is the fault, not the caller's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritable {
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
    #[error(transparent)]
    Encoding(#[from] LogError),
}

/// What is published once the batch is durable.
pub(super) struct Published {
    pub(super) subjects: HashMap<SubjectId, Arc<Subject>>,
    pub(super) system: Option<Arc<System>>,
    /// The bulk revocations among them.
    pub(super) bulks: Vec<Bulk>,
    pub(super) commits: Vec<Arc<StoredCommit>>,
    pub(super) head: Position,
    pub(super) recorded_at: Timestamp,
}

impl Published {
    /// Whether another key seals from now on.
    pub(super) fn rotates_keys(&self) -> bool {
        let mut events = self.commits.iter().flat_map(|commit| &commit.commit.events);
        events.any(|event| matches!(event, Event::KeyRotated(_)))
    }
}

impl<'a> Staging<'a> {
    /// An empty batch on top of what is published, with room for so many commits.
    pub(super) fn new(live: &'a Live, commits: usize) -> Self {
        Self {
            live,
            subjects: HashMap::with_capacity(commits),
            system: Arc::clone(&live.system().system),
            is_system_changed: false,
            erased: Vec::new(),
            bulks: live.unsettled_bulks().as_ref().clone(),
            encoded: Vec::with_capacity(commits),
            commits: Vec::with_capacity(commits),
            head: live.position(),
            recorded_at: live.recorded_at(),
        }
    }

    /// The moment of the next decision. Recorded time never goes back.
    pub(super) fn moment(&self, now: Timestamp) -> Timestamp {
        now.max(self.recorded_at)
    }

    /// Where the next commit will begin.
    pub(super) fn next(&self) -> Position {
        self.head.next()
    }

    /// Whether this batch erases the subject.
    pub(super) fn erases(&self, id: &SubjectId) -> bool {
        self.erased.contains(id)
    }

    /// A subject as this batch would leave it.
    pub(super) fn subject(&self, id: &SubjectId) -> Arc<Subject> {
        let staged = self.subjects.get(id).cloned();
        let known = staged.or_else(|| self.live.recorded_subject(id));
        let subject = known.unwrap_or_else(|| Arc::new(Subject::new(id.clone())));
        settled(&self.bulks, subject)
    }

    /// The keys as this batch would leave them.
    pub(super) fn keys(&self) -> &Keys {
        &self.system.keys
    }

    /// Counts the sessions that match and are active at this moment, as this batch would leave them.
    pub(super) fn matching(&self, selector: &Selector, at: Timestamp) -> Matched {
        let mut matched = self.live.matching_under(&self.bulks, selector, at, self.subjects.keys());
        for subject in self.subjects.values() {
            matched.count(selector, subject, &self.bulks, at);
        }
        matched
    }

    /// Decides a command about a subject, which is as this batch would leave it.
    pub(super) fn decide_subject(
        &mut self,
        mut subject: Arc<Subject>,
        command: &Command,
        stamp: Stamp,
    ) -> Result<Decided, Unwritable> {
        let decision = decide(self.system.policy_in_force(), &subject, command, stamp.at);
        let (events, refusal) = match decision {
            Ok(events) => (events, None),
            Err(Refused { refusal, record }) => (record, Some(refusal)),
        };
        if events.is_empty() {
            return Ok(Decided { refusal, commit: None, subject: Some(subject) });
        }
        let staged = self.write(Stream::Subject(subject.id.clone()), subject.version, events, stamp)?;
        let working = Arc::make_mut(&mut subject);
        for (event, recorded) in recorded_events(&staged) {
            evolve(working, event, recorded)?;
            if let Event::SubjectErased(_) = event {
                self.erased.push(working.id.clone());
            }
        }
        self.subjects.insert(subject.id.clone(), Arc::clone(&subject));
        Ok(Decided { refusal, commit: Some(self.add(staged)), subject: Some(subject) })
    }

    /// The longest period that a session was ever granted, as far as this process knows.
    pub(super) fn longest_ttl(&self) -> Seconds {
        let staged = self.subjects.values().flat_map(|subject| &subject.sessions);
        staged.map(|session| session.terms.ttl).fold(self.live.longest_ttl(), Seconds::max)
    }

    /// Whether a command about the authority itself would be granted.
    pub(super) fn grants(&self, command: &SystemCommand, at: Timestamp) -> bool {
        decide_system(&self.system, command, at).is_ok()
    }

    /// Decides a command about the authority itself.
    pub(super) fn decide_system(
        &mut self,
        command: &SystemCommand,
        stamp: Stamp,
    ) -> Result<Decided, Unwritable> {
        let (events, refusal) = match decide_system(&self.system, command, stamp.at) {
            Ok(events) => (events, None),
            Err(refusal) => (vec![], Some(refusal)),
        };
        if events.is_empty() {
            return Ok(Decided { refusal, commit: None, subject: None });
        }
        let staged = self.write(Stream::System, self.system.version, events, stamp)?;
        let mut system = Arc::clone(&self.system);
        let working = Arc::make_mut(&mut system);
        for (event, recorded) in recorded_events(&staged) {
            evolve_system(working, event, recorded)?;
            if let Event::TokensPresented(marks) = event {
                self.mark(&marks.presented);
            }
            if let Event::SessionsRevoked(event) = event {
                self.bulks.extend(Bulk::of(event, recorded));
            }
            if let Event::SessionsSeen(marks) = event {
                self.mark_seen(&marks.seen, recorded)?;
            }
        }
        self.system = system;
        self.is_system_changed = true;
        Ok(Decided { refusal, commit: Some(self.add(staged)), subject: None })
    }

    /// Those marks that still say something: the session has not been renewed again since.
    pub(super) fn still_true(&self, marks: Vec<Presented>) -> Vec<Presented> {
        let is_true = |mark: &Presented| {
            self.holder_of(mark).is_some_and(|subject| {
                subject.session(mark.session_id).is_some_and(|session| {
                    session.generation == mark.generation && session.awaits_presentation()
                })
            })
        };
        marks.into_iter().filter(is_true).collect()
    }

    fn holder_of(&self, mark: &Presented) -> Option<Arc<Subject>> {
        self.holder(mark.session_id)
    }

    fn holder(&self, id: SessionId) -> Option<Arc<Subject>> {
        let session = self.live.recorded_session(id)?;
        Some(self.subject(&session.subject))
    }

    /// Those uses that still say something, at this moment: the session has not ended, nor been seen later. None is
    /// later than what is recorded of it, though the clock may have been set back since.
    pub(super) fn still_news(&self, uses: Vec<Seen>, at: Timestamp) -> Vec<Seen> {
        let known = |seen: Seen| {
            let subject = self.holder(seen.session_id)?;
            let session = subject.session(seen.session_id)?;
            let seen = Seen { seen_at: seen.seen_at.min(at), ..seen };
            (session.can_be_seen() && session.last_seen_at() < Some(seen.seen_at)).then_some(seen)
        };
        uses.into_iter().filter_map(known).collect()
    }

    fn mark_seen(&mut self, marks: &[Seen], recorded: RecordedAs) -> Result<(), IllegalEvent> {
        for mark in marks {
            if let Some(mut subject) = self.holder(mark.session_id) {
                let marked = mark_seen(Arc::make_mut(&mut subject), *mark, recorded);
                let (position, kind) = (recorded.position, EventKind::SessionsSeen);
                marked.map_err(|why| IllegalEvent { position, kind, why })?;
                self.subjects.insert(subject.id.clone(), subject);
            }
        }
        Ok(())
    }

    fn mark(&mut self, marks: &[Presented]) {
        for mark in marks {
            if let Some(mut subject) = self.holder_of(mark) {
                mark_presented(Arc::make_mut(&mut subject), mark.session_id, mark.generation);
                self.subjects.insert(subject.id.clone(), subject);
            }
        }
    }

    fn write(
        &self,
        stream: Stream,
        expected: Position,
        events: Vec<Event>,
        stamp: Stamp,
    ) -> Result<Staged, Unwritable> {
        let commit = Commit {
            id: stamp.id,
            stream,
            expected,
            system_seen: self.system.version,
            recorded_at: stamp.at,
            actor: stamp.context.actor,
            correlation_id: stamp.context.correlation_id,
            idempotency: stamp.context.idempotency,
            events,
        };
        let encoded = encode(&commit)?;
        let stored =
            StoredCommit { first: self.next(), commit, record_hashes: encoded.record_hashes().to_vec() };
        Ok(Staged { stored, encoded })
    }

    fn add(&mut self, staged: Staged) -> Arc<StoredCommit> {
        let stored = Arc::new(staged.stored);
        self.head = stored.last();
        self.recorded_at = stored.commit.recorded_at;
        self.encoded.push(staged.encoded);
        self.commits.push(Arc::clone(&stored));
        stored
    }

    /// The bytes for the log, and what to publish once it has them.
    pub(super) fn finish(self) -> (Vec<EncodedCommit>, Published) {
        let Self { live, subjects, encoded, commits, mut bulks, head, recorded_at, .. } = self;
        let system = self.is_system_changed.then_some(self.system);
        bulks.retain(|bulk| bulk.position > live.position());
        (encoded, Published { subjects, system, bulks, commits, head, recorded_at })
    }
}

/// What a commit is marked with besides its events.
pub(super) struct Stamp {
    pub(super) id: CommitId,
    pub(super) at: Timestamp,
    pub(super) context: Context,
}

struct Staged {
    stored: StoredCommit,
    encoded: EncodedCommit,
}

fn recorded_events(staged: &Staged) -> impl Iterator<Item = (&Event, RecordedAs)> {
    let at = staged.stored.commit.recorded_at;
    let positions = staged.stored.positions();
    staged
        .stored
        .commit
        .events
        .iter()
        .zip(positions)
        .map(move |(event, position)| (event, RecordedAs { position, at }))
}
