//! The state from nothing: what the facts up to a moment say, folded by the same function as everywhere.

pub mod diff;
pub mod view;

use std::ops::ControlFlow;

use serde::Serialize;

use self::view::ReplayedSession;
use tenure_core::{
    Policy, Position, Timestamp, evolve::IllegalEvent, session::SessionStatus, state::AuthorityState,
};
use tenure_log::StoredCommit;

/// How far a replay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayEnd {
    /// To the last event.
    End,
    /// To this position, and to the moment at which it was recorded.
    Position(Position),
    /// To the last event recorded at or before this moment, and to the moment.
    Time(Timestamp),
}

/// A replay on its way.
#[derive(Clone, Debug)]
pub struct HistoryReplay {
    until: ReplayEnd,
    state: AuthorityState,
}

impl HistoryReplay {
    /// Of nothing yet.
    pub fn new(until: ReplayEnd) -> Self {
        Self { until, state: AuthorityState::default() }
    }

    /// Of one subject alone, from an earlier state of it, to be shown the commits behind that say something of it. The
    /// limits in force are given: what set them is not among those.
    pub fn of_subject(mut state: AuthorityState, policy: Option<Policy>, until: ReplayEnd) -> Self {
        state.system.policy = policy;
        Self { until, state }
    }

    /// Adds the next commit, as far as it belongs to the request. Breaks at its end.
    ///
    /// # Errors
    /// The event that cannot follow; the replay stands before its commit's first illegal event.
    pub fn add(&mut self, stored: &StoredCommit) -> Result<ControlFlow<()>, IllegalEvent> {
        let commit = &stored.commit;
        let is_whole = match self.until {
            ReplayEnd::End => true,
            ReplayEnd::Position(last) => stored.last() <= last,
            ReplayEnd::Time(last) => commit.recorded_at <= last,
        };
        if is_whole {
            return self.state.apply(commit).map(|()| ControlFlow::Continue(()));
        }
        self.add_with_listener(stored, &mut |_, _| ())
    }

    /// Like [`HistoryReplay::add`], but reports each event, with the state before it, before applying it.
    ///
    /// # Errors
    /// As `add`.
    pub fn add_with_listener(
        &mut self,
        stored: &StoredCommit,
        tell: &mut dyn FnMut(&AuthorityState, ReplayStep<'_>),
    ) -> Result<ControlFlow<()>, IllegalEvent> {
        if let ReplayEnd::Time(last) = self.until
            && stored.commit.recorded_at > last
        {
            return Ok(ControlFlow::Break(()));
        }
        for (index, position) in stored.positions().enumerate() {
            if let ReplayEnd::Position(last) = self.until
                && position > last
            {
                return Ok(ControlFlow::Break(()));
            }
            tell(&self.state, ReplayStep { stored, index, position });
            self.state.apply_part(stored.first, &stored.commit, index..index + 1)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What the facts so far say.
    pub const fn state(&self) -> &AuthorityState {
        &self.state
    }

    /// The moment that it is judged at.
    pub const fn moment(&self) -> Timestamp {
        match self.until {
            ReplayEnd::Time(at) => at,
            ReplayEnd::End | ReplayEnd::Position(_) => self.state.recorded_at,
        }
    }

    /// What it comes to.
    pub fn outcome(&self) -> ReplaySummary {
        ReplaySummary::of(&self.state, self.moment())
    }
}

/// One event of a commit.
#[derive(Clone, Copy, Debug)]
pub struct ReplayStep<'s> {
    /// Its commit.
    pub stored: &'s StoredCommit,
    /// Which of the commit's events it is.
    pub index: usize,
    /// Its position.
    pub position: Position,
}

/// A state in figures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplaySummary {
    /// The last position that it reflects.
    pub as_of_position: Position,
    /// The moment at which expiry is judged.
    pub as_of_time: Timestamp,
    /// BLAKE3 of the state's canonical bytes, in hex: equal states have equal digests.
    pub state_digest: String,
    /// Number of subjects.
    pub subjects: u64,
    /// Number of API keys, including withdrawn ones.
    pub credentials: u64,
    /// Number of sessions whose current token works.
    pub active: u64,
    /// Number of sessions whose period is over.
    pub expired: u64,
    /// Number of sessions that were ended.
    pub revoked: u64,
    /// The limits in force.
    pub policy: Option<Policy>,
}

impl ReplaySummary {
    /// Of this state at this moment.
    pub fn of(state: &AuthorityState, at: Timestamp) -> Self {
        let sessions = || state.subjects.values().flat_map(|subject| &subject.sessions);
        let count =
            |status: SessionStatus| sessions().filter(|session| session.status(at) == status).count() as u64;
        Self {
            as_of_position: state.position,
            as_of_time: at,
            state_digest: digest(state),
            subjects: state.subjects.len() as u64,
            credentials: state.system.credentials.len() as u64,
            active: count(SessionStatus::Active),
            expired: count(SessionStatus::Expired),
            revoked: count(SessionStatus::Revoked),
            policy: state.system.policy.clone(),
        }
    }
}

/// BLAKE3 of the state's canonical bytes, in hex.
pub fn digest(state: &AuthorityState) -> String {
    blake3::hash(&state.to_bytes()).to_hex().to_string()
}

/// The sessions of a state with one of these statuses, newest first; all when it is none.
pub fn sessions(
    state: &AuthorityState,
    status: Option<SessionStatus>,
    at: Timestamp,
) -> Vec<ReplayedSession> {
    let all = state.subjects.values().flat_map(|subject| {
        subject.sessions.iter().map(move |session| (session.created(), subject, session))
    });
    let mut found: Vec<_> =
        all.filter(|(_, _, session)| status.is_none_or(|status| session.status(at) == status)).collect();
    found.sort_by_key(|(created, _, _)| std::cmp::Reverse(*created));
    found.into_iter().map(|(_, subject, session)| ReplayedSession::of(state, subject, session, at)).collect()
}
