//! Commands about sessions that left memory. The sequencer gives such a command back; the caller's task reads the
//! sessions from the log and submits the command again with them. They are decided on if nothing happened to their
//! subject meanwhile.

use std::sync::Arc;

use tenure_core::{Position, command::Command, session::Session, subject::Subject};

/// Sessions of a subject that were read back.
#[derive(Debug)]
pub(crate) struct RecalledSessions {
    /// The last position of the subject's stream then.
    pub(crate) version: Position,
    /// Those that the command needs, if they are the subject's.
    pub(crate) sessions: Vec<Session>,
}

impl RecalledSessions {
    /// What a command needs of a subject that was read back whole.
    pub(crate) fn of(subject: &Subject, command: &Command) -> Self {
        let sessions = match command.session_id() {
            Some(id) => subject.session(id).into_iter().cloned().collect(),
            None => subject.sessions.clone(),
        };
        Self { version: subject.version(), sessions }
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
