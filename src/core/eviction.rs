//! Sessions that ended long ago leave memory. What is left is the same state without them, and folding goes on from it
//! as before: a late event about a session that left changes nothing kept.
//!
//! The history keeps everything, so a comparison with memory trims both sides by the same [`EvictionHorizon`].

use super::{
    id::Position,
    session::{OneTimeFact, Session},
    state::AuthorityState,
    subject::Subject,
    time::Timestamp,
};

/// Up to where ended sessions leave: those that had ended by this moment and by this position. It only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvictionHorizon {
    /// The last event that counts.
    pub position: Position,
    /// The latest end that counts.
    pub moment: Timestamp,
}

impl Default for EvictionHorizon {
    /// Behind which there is nothing.
    fn default() -> Self {
        Self { position: Position::ZERO, moment: Timestamp::ZERO }
    }
}

impl EvictionHorizon {
    /// Whether anything may be behind it.
    pub const fn is_there(self) -> bool {
        self.position.0 > 0
    }

    /// The nearest horizon with everything behind it that either of the two has behind it.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { position: self.position.max(other.position), moment: self.moment.max(other.moment) }
    }

    /// Whether a session is behind it.
    ///
    /// Its first end counts. One that has expired may be revoked later on or refused a renewal; if that brought it
    /// back, the trimmed state could not be folded any further without reading what left.
    pub fn is_past(self, session: &Session) -> bool {
        let (at, position) = if session.said.contains(OneTimeFact::Expired) {
            (session.ends_at(), session.granted())
        } else if let Some(end) = session.revocation() {
            (end.at, end.position)
        } else {
            return false;
        };
        self.is_there() && at <= self.moment && position <= self.position
    }
}

/// Takes the sessions behind a horizon out of a subject, and gives them.
pub fn evict_from_subject(subject: &mut Subject, horizon: EvictionHorizon) -> Vec<Session> {
    let left: Vec<_> = subject.sessions.iter().filter(|session| horizon.is_past(session)).cloned().collect();
    if !left.is_empty() {
        subject.sessions.retain(|session| !horizon.is_past(session));
        subject.sessions.shrink_to_fit();
    }
    left
}

/// Takes the sessions behind a horizon out of a state.
pub fn evict_ended(state: &mut AuthorityState, horizon: EvictionHorizon) {
    for subject in state.subjects.values_mut() {
        for session in evict_from_subject(subject, horizon) {
            state.holders.remove(&session.id);
        }
    }
    state.horizon = state.horizon.and(horizon);
}
