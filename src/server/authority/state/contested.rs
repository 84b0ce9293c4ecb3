//! Which sessions are contested and have not ended: mostly none. They are to end as soon as a token of their current
//! generation is known to have been presented, whatever else is asked meanwhile.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use tenure_core::{
    SessionId,
    session::{OneTimeFact, Session},
};

/// Contested sessions that have not been ended.
#[derive(Default)]
pub(crate) struct ContestedSessions {
    /// Of each, whether its own end is recorded.
    sessions: Mutex<BTreeMap<SessionId, bool>>,
}

impl ContestedSessions {
    /// Notes a published session.
    pub(crate) fn note(&self, session: &Session) {
        if session.said.contains(OneTimeFact::Contested) {
            let has_expired = session.said.contains(OneTimeFact::Expired);
            self.put(session.id, session.revocation().is_none().then_some(has_expired));
        }
    }

    fn put(&self, id: SessionId, has_expired: Option<bool>) {
        let mut sessions = self.sessions.lock();
        match has_expired {
            Some(has_expired) => sessions.insert(id, has_expired),
            None => sessions.remove(&id),
        };
    }

    /// All of them. An expired one is returned once more, for a token presented just before, and then forgotten.
    pub(crate) fn all(&self) -> Vec<SessionId> {
        let mut sessions = self.sessions.lock();
        let all = sessions.keys().copied().collect();
        sessions.retain(|_, has_expired| !*has_expired);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They stayed for as long as the process ran, and each was decided every few seconds.
    #[test]
    fn a_session_that_expired_unshown_is_told_once_more_and_forgotten() {
        let contested = ContestedSessions::default();
        let [lives, expires, ends] = [1, 2, 3].map(|byte| SessionId::from_bytes([byte; 16]));
        for id in [lives, expires, ends] {
            contested.put(id, Some(false));
        }
        contested.put(expires, Some(true));
        contested.put(ends, None);
        assert_eq!(contested.all(), [lives, expires]);
        assert_eq!(contested.all(), [lives]);
    }
}
