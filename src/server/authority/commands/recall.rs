//! Sessions that left memory, read back from the log: through a gate of its own, off the threads that answer checks.

use std::sync::Arc;

use crate::gate::{CallerShares, CancelCheck, GateRefusal, SharedQuestions, WorkGate};
use tenure_core::{
    Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, Timestamp,
    event::{SessionCreated, SessionTerms},
    refusal::Refusal,
    session::Session,
    subject::{SharedSession, Subject},
};
use tenure_log::{EventLog, LogError, StoredCommit, waiting_for_disk};
use tenure_protocol::clock::stopwatch;

use crate::authority::{
    Authority,
    pipeline::{
        recalled_sessions::RecalledSessions,
        request::{CommandError, CommandRequest},
    },
};

/// Readings at once, and readings that wait.
const AT_ONCE: usize = 4;
const WAITING: usize = 64;
/// What one caller has of them when more than half are taken.
const SHARE: usize = 8;

/// Who asks: the id of a credential or session.
pub type RecallCaller = [u8; 16];

/// Reads sessions back.
pub(crate) struct SessionRecalls {
    gate: WorkGate,
    sessions: SharedQuestions<SessionId, Result<Option<Session>, CommandError>>,
    subjects: SharedQuestions<(SubjectId, Position), Result<Arc<Subject>, CommandError>>,
    shares: Arc<CallerShares<RecallCaller>>,
}

impl SessionRecalls {
    pub(crate) fn new() -> Self {
        let gate = WorkGate::new("ended", AT_ONCE, WAITING);
        Self {
            sessions: SharedQuestions::at(gate.clone()),
            subjects: SharedQuestions::at(gate.clone()),
            shares: CallerShares::of(&gate, SHARE),
            gate,
        }
    }

    pub(crate) const fn gate(&self) -> &WorkGate {
        &self.gate
    }
}

impl Authority {
    /// The session of a genuine token, if it is not in memory and may have left it.
    pub fn left_session_of(&self, token: &str) -> Option<SessionId> {
        if !self.live.horizon().is_there() {
            return None;
        }
        let id = self.secrets.tokens.open(token, || self.now())?.session;
        self.has_to_be_read(id).then_some(id)
    }

    fn has_to_be_read(&self, id: SessionId) -> bool {
        self.live.may_have_left(id) && self.live.session(id).is_none()
    }

    /// Reads a session back if it has left memory: for some seconds every look at it finds it again. Does nothing for a
    /// session in memory, or one that never existed.
    ///
    /// # Errors
    /// [`CommandError::Overloaded`] when too many are being read; the log cannot be read.
    pub async fn recall(&self, id: SessionId, asker: RecallCaller) -> Result<(), CommandError> {
        if !self.has_to_be_read(id) {
            return Ok(());
        }
        let _share = self.recalls.shares.take(asker).ok_or(CommandError::Overloaded)?;
        let (log, past, position) = (Arc::clone(&self.log), Arc::clone(&self.past), self.live.position());
        let find = move |_: &CancelCheck<'_>| {
            let Some((subject, _)) = beginning(&*log, id).map_err(unread)? else { return Ok(None) };
            let subject = past(&subject, position).map_err(unread)?;
            Ok(subject.session(id).cloned())
        };
        let found = self.recalls.sessions.ask(id, find, Result::clone).await.map_err(turned)??;
        match found {
            Some(session) if !self.live.recall(&session, stopwatch()) => Err(CommandError::Overloaded),
            Some(_) | None => Ok(()),
        }
    }

    /// A session that a command is about, wherever it is.
    pub(super) async fn known_session(&self, id: SessionId) -> Result<SharedSession, CommandError> {
        self.recall(id, *id.as_bytes()).await?;
        Ok(self.live.session(id).ok_or(Refusal::SessionNotFound)?)
    }

    /// Reads the session of a link that vetoes back, if it has left memory.
    ///
    /// # Errors
    /// As [`Authority::recall`].
    pub async fn recall_veto_link(&self, token: &str) -> Result<(), CommandError> {
        match self.secrets.tokens.open_veto(token, || self.now()) {
            Some(claims) => self.recall(claims.session, *claims.session.as_bytes()).await,
            None => Ok(()),
        }
    }

    /// A subject with all of its sessions, those included that left memory.
    ///
    /// # Errors
    /// As [`Authority::recall`].
    pub async fn subject_in_full(
        &self,
        id: &SubjectId,
        asker: RecallCaller,
    ) -> Result<Option<Arc<Subject>>, CommandError> {
        let Some(subject) = self.live.subject(id) else { return Ok(None) };
        if !self.live.has_left(id) {
            return Ok(Some(subject));
        }
        let _share = self.recalls.shares.take(asker).ok_or(CommandError::Overloaded)?;
        self.read_back(id).await.map(Some)
    }

    /// The same as the log has it, whether or not a session left.
    async fn read_back(&self, id: &SubjectId) -> Result<Arc<Subject>, CommandError> {
        let version = self.live.recorded_subject(id).map_or(Position::ZERO, |subject| subject.version());
        let (past, position) = (Arc::clone(&self.past), self.live.position().max(version));
        let own = id.clone();
        let find = move |_: &CancelCheck<'_>| past(&own, position).map(Arc::new).map_err(unread);
        self.recalls.subjects.ask((id.clone(), version), find, Result::clone).await.map_err(turned)?
    }

    /// What a command needs that the sequencer gave back.
    pub(crate) async fn carried_for(
        &self,
        ask: &CommandRequest,
    ) -> Result<Option<RecalledSessions>, CommandError> {
        let (CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _)) = ask else {
            return Ok(None);
        };
        Ok(Some(RecalledSessions::of(&*self.read_back(id).await?, command)))
    }

    /// The same as [`Authority::subject_in_full`] in this thread, which waits for the disk.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn subject_in_full_now(&self, id: &SubjectId) -> Result<Option<Arc<Subject>>, CommandError> {
        let subject = self.live.subject(id).filter(|_| self.live.has_left(id));
        let Some(subject) = subject else { return Ok(self.live.subject(id)) };
        let position = self.live.position().max(subject.version());
        waiting_for_disk(|| (self.past)(id, position)).map(|subject| Some(Arc::new(subject))).map_err(unread)
    }

    /// What was fixed when a session began that left memory, and when that was. Waits for the disk.
    pub(crate) fn terms_of_left(&self, id: SessionId) -> Option<(SessionTerms, Timestamp)> {
        let began = waiting_for_disk(|| beginning(&*self.log, id));
        let (_, stored) =
            began.inspect_err(|error| tracing::error!(%error, "a notice cannot be made")).ok()??;
        let created = created_in(&stored, id)?;
        Some((created.terms, stored.commit.recorded_at))
    }
}

/// Whose a session is that left memory, and the commit that it began with.
fn beginning(log: &dyn EventLog, id: SessionId) -> Result<Option<(SubjectId, StoredCommit)>, LogError> {
    let began = log.indexed().beginning(id)?;
    let mut commits = log.read_commits(&began)?.into_iter();
    Ok(commits.find_map(|stored| {
        let StreamId::Subject(subject) = stored.commit.stream.clone() else { return None };
        created_in(&stored, id)?;
        Some((subject, stored))
    }))
}

fn created_in(stored: &StoredCommit, id: SessionId) -> Option<&SessionCreated> {
    stored.commit.events.iter().find_map(|event| match event {
        Event::Subject(SubjectEvent::SessionCreated(created)) if created.session_id == id => Some(created),
        Event::Subject(_) | Event::System(_) => None,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what a closure of `map_err` gets")]
fn unread(why: impl ToString) -> CommandError {
    CommandError::StorageUnavailable { why: why.to_string() }
}

fn turned(refusal: GateRefusal) -> CommandError {
    match refusal {
        GateRefusal::Away => CommandError::Overloaded,
        GateRefusal::Lost => unread("a session that ended long ago could not be read back"),
    }
}
