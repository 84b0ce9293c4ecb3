//! Commands about sessions that left memory. The sequencer gives such a command back; whoever asked reads the sessions
//! from the log, outside of the sequencer, and asks again with them. They are decided on if nothing happened to their
//! subject meanwhile.

use std::sync::Arc;

use tenure_core::{Position, SubjectId, command::Command, session::SharedSession, subject::Subject};

use super::{batch::Batch, request::CommandRequest, sequencer::Sequencer};

/// Sessions of a subject that were read back.
#[derive(Debug)]
pub(crate) struct RecalledSessions {
    /// The last position of the subject's stream then.
    pub(crate) version: Position,
    /// Those that the command needs, if they are the subject's.
    pub(crate) sessions: Vec<SharedSession>,
}

impl RecalledSessions {
    /// What a command needs of a subject that was read back whole.
    pub(crate) fn of(subject: &Subject, command: &Command) -> Self {
        let sessions = match command.session_id() {
            Some(id) => subject.session(id).into_iter().cloned().collect(),
            None => subject.sessions.clone(),
        };
        Self { version: subject.version, sessions }
    }

    /// The subject with them.
    pub(crate) fn put_all_into(carried: Option<Self>, mut subject: Arc<Subject>) -> Arc<Subject> {
        for session in carried.map(|carried| carried.sessions).unwrap_or_default() {
            if let Err(place) = subject.sessions.binary_search_by(|known| known.id.cmp(&session.id)) {
                Arc::make_mut(&mut subject).sessions.insert(place, session);
            }
        }
        subject
    }
}

impl Sequencer {
    /// Whether a command must be given back, because it needs sessions that are not in memory.
    pub(super) fn lacks_sessions(
        &self,
        staging: &Batch<'_>,
        ask: &CommandRequest,
        carried: Option<&RecalledSessions>,
    ) -> bool {
        let (CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _)) = ask else {
            return false;
        };
        if !self.may_need(id, command) {
            return false;
        }
        let subject = staging.subject(id);
        let needs = match command.session_id() {
            Some(id) => subject.session(id).is_none(),
            None => subject.profile().is_some_and(|known| command.moves(known)),
        };
        needs && carried.is_none_or(|carried| carried.version != subject.version)
    }

    fn may_need(&self, id: &SubjectId, command: &Command) -> bool {
        self.live.horizon().is_there()
            && (command.session_id().is_some()
                || matches!(command, Command::RegisterSubject(_) | Command::ChangeSubject(_)))
            && self.live.has_left(id)
    }
}
