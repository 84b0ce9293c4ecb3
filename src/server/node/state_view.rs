//! The published state, as the live check sees it.

use std::sync::Arc;

use crate::authority::{Authority, PublishedState};
use crate::projections::SubjectLookup;
use tenure_audit::live_check::PublishedView;
use tenure_core::{
    Position, SessionId, SubjectId, eviction::EvictionHorizon, session::Session, subject::Subject,
    system::SystemState,
};

/// What projections are put together from.
impl SubjectLookup for PublishedState {
    fn subject_of(&self, id: SessionId) -> Option<SubjectId> {
        Self::subject_of(self, id)
    }

    fn of_subject<T>(&self, id: &SubjectId, look: impl FnOnce(&Subject) -> T) -> Option<T> {
        self.recorded_subject(id).map(|subject| look(&subject))
    }
}

/// Looks at the state from which an authority answers.
pub(super) struct StateView(pub(super) Arc<Authority>);

impl PublishedView for StateView {
    fn position(&self) -> Position {
        self.0.live().position()
    }

    fn subjects(&self) -> Vec<SubjectId> {
        self.0.live().subjects().iter().map(|subject| subject.id.clone()).collect()
    }

    /// Tokens are judged by the table of sessions, decisions are made on the subject: where the two differ, one of
    /// them is not what the log says.
    fn subject(&self, id: &SubjectId) -> Option<Subject> {
        let live = self.0.live();
        let mut subject = live.recorded_subject(id)?.as_ref().clone();
        let known = |session: &Session| live.recorded_session(session.id).map(|known| known.as_ref().clone());
        subject.sessions = subject.sessions.iter().filter_map(known).collect();
        Some(subject)
    }

    fn horizon(&self) -> EvictionHorizon {
        self.0.live().horizon()
    }

    fn system(&self) -> Arc<SystemState> {
        Arc::clone(&self.0.live().system().system)
    }
}
