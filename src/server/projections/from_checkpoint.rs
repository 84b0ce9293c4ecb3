//! Projections that begin in the middle of the history: on a state of everything, and on the files of what led to it.

use std::sync::OnceLock;

use tenure_core::{session::OneTimeFact, state::AuthorityState};
use tenure_log::{IndexedHistory, IndexedKind, LogError};

use super::{
    Projections,
    ended::EndedSessions,
    fold_marks::FoldMarks,
    owner_of,
    past::bulks_at,
    pulse::DayPulse,
    revocations::{RetainedCounts, RevocationList},
    session_list::SessionList,
    subject_list::SubjectList,
    timeline::StreamTimeline,
};

impl Projections {
    /// What a start from a checkpoint needs: the projections as they are behind the last event of this history, which led
    /// to this state and this last day. The commits after that are folded as ever; [`MerkleIndex::from_index`] does the same
    /// for the tree.
    ///
    /// The history must end where the state does: [`IndexedHistory::up_to`] cuts one that goes on. The log asked later
    /// must have at least this history in its [`indexed`](tenure_log::EventLog::indexed), as it has once it is open.
    /// Lists of sessions and subjects are put together from the state; of the rest memory begins empty but for the
    /// latest revocations, and the files are asked.
    ///
    /// [`MerkleIndex::from_index`]: tenure_audit::MerkleIndex::from_index
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if the history ends elsewhere than the state; a file that cannot be read.
    pub fn from_checkpoint(
        state: &AuthorityState,
        day: DayPulse,
        indexed: &IndexedHistory,
        kept: RetainedCounts,
    ) -> Result<Self, LogError> {
        let position = state.position;
        if indexed.end() != position {
            let why = format!("the state stands here, and the indexed history ends at {}", indexed.end());
            return Err(LogError::Corrupt { position, why });
        }
        let last = indexed.latest(IndexedKind::Revocations, kept.revocations)?;
        let bulks = indexed.latest(IndexedKind::Bulks, kept.bulks)?;
        let bulks = bulks_at(&indexed.read_commits(&bulks)?, &bulks)?;
        Ok(Self {
            sessions: sessions_of(state).into(),
            ended: EndedSessions::default().into(),
            subjects: subjects_of(state).into(),
            timeline: StreamTimeline::behind(position).into(),
            revocations: RevocationList::behind(position, kept, last, bulks).into(),
            pulse: day.into(),
            old_reason: None.into(),
            marks: FoldMarks::default(),
            states: OnceLock::new(),
        })
    }
}

/// The sessions of a state in the order of their creation. What bulk revocations ended is settled in a state.
fn sessions_of(state: &AuthorityState) -> SessionList {
    let mut all: Vec<_> = state
        .subjects
        .values()
        .flat_map(|subject| subject.sessions.iter().map(move |session| (session.created(), subject, session)))
        .collect();
    all.sort_unstable_by_key(|(created, ..)| *created);
    let mut list = SessionList::default();
    for (created, subject, session) in all {
        let owner = owner_of(subject);
        list.add(created, &subject.id, owner.as_ref(), session.device_digest());
        if session.revocation().is_some() {
            list.mark_revoked(created);
        }
        if session.said.contains(OneTimeFact::Expired) {
            list.mark_expired(created);
        }
    }
    list
}

fn subjects_of(state: &AuthorityState) -> SubjectList {
    let mut registered: Vec<_> = state.subjects.values().filter(|subject| subject.is_registered()).collect();
    // What is added in order takes the least room.
    registered.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let mut list = SubjectList::default();
    for subject in registered {
        let owner = owner_of(subject);
        drop(list.place(&subject.id, owner.as_ref()));
    }
    list
}
