//! Which sessions are contested and have not ended: mostly none. They are to end as soon as a token of their current
//! generation is known to have been presented, whoever asks for something else meanwhile or does not.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::domain::{
    SessionId,
    session::{Once, Session},
};

/// Contested sessions that have not ended.
#[derive(Default)]
pub(super) struct Contested {
    sessions: Mutex<BTreeSet<SessionId>>,
}

impl Contested {
    /// Notes a session that is published.
    pub(super) fn note(&self, session: &Session) {
        if !session.said.contains(Once::Contested) {
            return;
        }
        let mut sessions = self.sessions.lock();
        if session.revocation.is_none() {
            sessions.insert(session.id);
        } else {
            sessions.remove(&session.id);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<SessionId> {
        self.sessions.lock().iter().copied().collect()
    }
}
