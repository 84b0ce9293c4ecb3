//! Answers that the facts give and a decision never asks for: lists, histories, earlier states.
//!
//! All of it is derived and disposable: a start rebuilds it from the log, and the sequencer reports to it every
//! batch before the callers of that batch are answered, so that everybody reads their own writes.

pub mod ended;
pub mod fold_marks;
mod from_checkpoint;
pub mod history;
mod past;
pub mod pulse;
pub mod revocations;
pub mod session_list;
mod session_stretch;
mod sorted;
pub mod subject_list;
mod subject_story;
pub mod timeline;

use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use tenure_core::{
    Event, OwnerId, Position, SealedText, SessionId, StreamId, SubjectEvent, SubjectId,
    fold::FoldTarget,
    session::{OneTimeFact, Session},
    state::AuthorityState,
    subject::Subject,
};
use tenure_log::StoredCommit;

use self::{
    ended::EndedSessions,
    fold_marks::{FoldMarks, SubjectStates},
    pulse::DayPulse,
    revocations::{RetainedCounts, RevocationList},
    session_list::SessionList,
    subject_list::{FormerOwner, SubjectList},
    timeline::StreamTimeline,
};

/// Every projection kept in memory. What grows with the history is only of its latest part: of the part before, the
/// files of the log are asked.
#[derive(Debug, Default)]
pub struct Projections {
    sessions: RwLock<SessionList>,
    /// What is listed elsewhere.
    ended: RwLock<EndedSessions>,
    subjects: RwLock<SubjectList>,
    timeline: RwLock<StreamTimeline>,
    revocations: RwLock<RevocationList>,
    pulse: RwLock<DayPulse>,
    /// The reason last read from the log, and of which bulk revocation.
    old_reason: Mutex<Option<(Position, Option<SealedText>)>>,
    /// What questions about the past have folded.
    marks: FoldMarks,
    /// Where else folds of a subject may begin.
    states: OnceLock<Arc<dyn SubjectStates>>,
}

/// The state that a commit led to. It may be further on: what is put together from it is right in the end.
pub trait SubjectLookup {
    /// Whose session it is.
    fn subject_of(&self, id: SessionId) -> Option<SubjectId>;

    /// What is made of a subject.
    fn of_subject<T>(&self, id: &SubjectId, look: impl FnOnce(&Subject) -> T) -> Option<T>;
}

impl SubjectLookup for AuthorityState {
    fn subject_of(&self, id: SessionId) -> Option<SubjectId> {
        FoldTarget::subject_of(self, id)
    }

    fn of_subject<T>(&self, id: &SubjectId, look: impl FnOnce(&Subject) -> T) -> Option<T> {
        self.subjects.get(id).map(look)
    }
}

impl Projections {
    /// Empty, keeping this many of the latest revocations.
    pub fn keeping(kept: RetainedCounts) -> Self {
        Self { revocations: RevocationList::keeping(kept).into(), ..Self::default() }
    }

    /// With a mark behind each this many commits of a subject that a question about its past has folded.
    #[must_use]
    pub fn marking_every(self, commits: usize) -> Self {
        Self { marks: FoldMarks::every(commits), ..self }
    }

    /// From now on long folds of a subject may begin at what these files know of it.
    pub fn begin_folds_at(&self, states: Arc<dyn SubjectStates>) {
        drop(self.states.set(states));
    }

    /// Adds one commit; they come in order.
    pub fn fold(&self, stored: &StoredCommit, known: &impl SubjectLookup) {
        // The commits of the authority alone are never asked for.
        if stored.commit.stream != StreamId::System {
            self.timeline.write().add(&stored.commit.stream, stored.first);
        }
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if DayPulse::is_one(event) {
                self.pulse.write().add(&stored.commit.stream, stored.commit.recorded_at, event);
            }
            if RevocationList::is_one(event) {
                self.revocations.write().add(position, stored.commit.recorded_at, event);
            }
            match (event, &stored.commit.stream) {
                (Event::Subject(event), StreamId::Subject(id)) => self.list(position, event, id, known),
                (Event::Subject(_), StreamId::System) => {}
                (Event::System(event), _) => {
                    if RevocationList::is_bulk(event) {
                        self.sessions.write().note_bulk(position);
                    }
                    for subject in event.sessions_named().into_iter().filter_map(|id| known.subject_of(id)) {
                        self.timeline.write().add_reaching(&StreamId::Subject(subject), stored.first);
                    }
                }
            }
        }
    }

    /// What lists have of an event.
    fn list(&self, position: Position, event: &SubjectEvent, id: &SubjectId, known: &impl SubjectLookup) {
        match event {
            SubjectEvent::SubjectRegistered(_) => self.place(position, id, known),
            SubjectEvent::SessionCreated(event) => {
                // The name in the state: one in memory serves all.
                let whose = known.of_subject(id, |subject| (subject.id.clone(), owner_of(subject)));
                let (subject, owner) = whose.unwrap_or_else(|| (id.clone(), None));
                let device = event.device.as_ref().map(|device| device.digest);
                self.sessions.write().add(position, &subject, owner.as_ref(), device);
            }
            SubjectEvent::SessionRevoked(event) => {
                let began = beginning(id, event.session_id, known);
                if !began.is_some_and(|began| self.sessions.write().mark_revoked(began)) {
                    self.ended.write().note_change(id, position);
                }
            }
            SubjectEvent::SessionsRevoked(_) => {
                let ended = known.of_subject(id, |subject| ended_by(subject, position)).unwrap_or_default();
                self.mark_revoked(&ended);
            }
            SubjectEvent::SessionExpired(event) => {
                if let Some(began) = beginning(id, event.session_id, known) {
                    self.sessions.write().mark_expired(began);
                }
            }
            SubjectEvent::SessionRenewed(_)
            | SubjectEvent::RenewalRejected(_)
            | SubjectEvent::SubjectErased(_)
            | SubjectEvent::UsageRecorded(_)
            | SubjectEvent::SessionRefreshed(_)
            | SubjectEvent::SubjectSuspended(_)
            | SubjectEvent::SubjectResumed(_) => {}
        }
    }

    /// A subject that has another owner takes its sessions along.
    fn place(&self, position: Position, id: &SubjectId, known: &impl SubjectLookup) {
        let owner = known.of_subject(id, owner_of).flatten();
        if let FormerOwner::Under(before) = self.subjects.write().place(id, owner.as_ref()) {
            let all = |subject: &Subject| subject.sessions.iter().map(Session::created).collect();
            let began: Vec<_> = known.of_subject(id, all).unwrap_or_default();
            self.sessions.write().move_to(&began, before.as_ref(), owner.as_ref());
            self.ended.write().note_change(id, position);
        }
    }

    /// The sessions that began at these positions were revoked.
    pub fn mark_revoked(&self, began: &[Position]) {
        let mut sessions = self.sessions.write();
        for began in began {
            sessions.mark_revoked(*began);
        }
    }

    /// These sessions leave memory: from now on their marks alone say in lists how they ended.
    pub fn mark_ended(&self, leaving: &[Session]) {
        let mut sessions = self.sessions.write();
        for session in leaving {
            if session.revocation().is_some() {
                sessions.mark_revoked(session.created());
            }
            if session.said.contains(OneTimeFact::Expired) {
                sessions.mark_expired(session.created());
            }
        }
    }

    /// All sessions that were ended by the bulk revocations up to this one are marked.
    pub fn bulk_is_marked(&self, position: Position) {
        self.sessions.write().bulk_is_marked(position);
    }

    /// Reads which revocations there were lately.
    fn revocations<T>(&self, read: impl FnOnce(&RevocationList) -> T) -> T {
        read(&self.revocations.read())
    }

    /// Reads the list of sessions.
    pub fn sessions<T>(&self, read: impl FnOnce(&SessionList) -> T) -> T {
        read(&self.sessions.read())
    }

    /// Reads the list of subjects.
    pub fn subjects<T>(&self, read: impl FnOnce(&SubjectList) -> T) -> T {
        read(&self.subjects.read())
    }

    /// Reads what happened in the last day.
    pub fn pulse<T>(&self, read: impl FnOnce(&DayPulse) -> T) -> T {
        read(&self.pulse.read())
    }

    /// Reads which commits each stream had lately.
    fn timeline<T>(&self, read: impl FnOnce(&StreamTimeline) -> T) -> T {
        read(&self.timeline.read())
    }
}

fn owner_of(subject: &Subject) -> Option<OwnerId> {
    subject.profile().and_then(|profile| profile.owner_id.clone())
}

fn beginning(subject: &SubjectId, session: SessionId, known: &impl SubjectLookup) -> Option<Position> {
    known.of_subject(subject, |subject| subject.session(session).map(Session::created)).flatten()
}

/// Where the sessions began that the event at this position ended.
fn ended_by(subject: &Subject, position: Position) -> Vec<Position> {
    let ids = subject.ended_by(position).into_iter();
    ids.filter_map(|id| subject.session(id).map(Session::created)).collect()
}
