//! Answers that the facts give and a decision never asks for: lists, histories, earlier states.
//!
//! All of it is derived and disposable: a start rebuilds it from the log, and the sequencer tells it of every
//! batch before the callers of that batch are answered, so that everybody reads their own writes.

pub mod history;
pub mod revocations;
pub mod session_list;
pub mod timeline;

use parking_lot::RwLock;

use crate::{
    domain::{Event, SessionId, Stream, SubjectEvent, SubjectId},
    log::StoredCommit,
};

use self::{revocations::Revocations, session_list::SessionList, timeline::Timeline};

/// Every projection that is kept in memory.
#[derive(Debug, Default)]
pub struct Projections {
    sessions: RwLock<SessionList>,
    timeline: RwLock<Timeline>,
    revocations: RwLock<Revocations>,
}

impl Projections {
    /// Adds one commit; they come in order. `subject_of` says whose the sessions are that it names.
    pub fn fold(&self, stored: &StoredCommit, subject_of: impl Fn(SessionId) -> Option<SubjectId>) {
        self.timeline.write().add(&stored.commit.stream, stored.first);
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if let Event::Subject(SubjectEvent::SessionCreated(created)) = event {
                self.sessions.write().add(position, created.session_id);
            }
            if Revocations::is_one(event) {
                self.revocations.write().add(position, stored.commit.recorded_at, event);
            }
            if let Event::System(event) = event {
                for subject in event.sessions_named().into_iter().filter_map(&subject_of) {
                    self.timeline.write().add_reaching(&Stream::Subject(subject), stored.first);
                }
            }
        }
    }

    /// Reads which revocations there were.
    pub fn revocations<T>(&self, read: impl FnOnce(&Revocations) -> T) -> T {
        read(&self.revocations.read())
    }

    /// Reads the list of sessions.
    pub fn sessions<T>(&self, read: impl FnOnce(&SessionList) -> T) -> T {
        read(&self.sessions.read())
    }

    /// Reads which commits each stream has.
    pub fn timeline<T>(&self, read: impl FnOnce(&Timeline) -> T) -> T {
        read(&self.timeline.read())
    }
}
