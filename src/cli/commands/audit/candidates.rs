//! Which session of a history is meant: one named by its id or the beginning of it, or the one of a subject. A history is
//! read once, and may be a pipe; so the story of each session that may be meant is kept until it is known which one is.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::{arguments::find, failure::CommandError};
use tenure_audit::{
    replay::{HistoryReplay, ReplayStep},
    story::Narrator,
};
use tenure_core::{
    SessionId, StreamId, SubjectEvent, SubjectId, event::Event, session::SessionStatus, state::AuthorityState,
};

/// What an id, or the beginning of one, stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedThing {
    Session(SessionId),
    Subject(SubjectId),
}

/// Stories of sessions that may be meant.
pub(super) struct CandidateStories {
    typed: String,
    session: Option<SessionId>,
    subject: Option<SubjectId>,
    /// Of the very session, or of the very subject.
    named: BTreeMap<SessionId, Narrator>,
    sessions: PrefixMatches,
    subjects: PrefixMatches,
}

/// What begins with what was typed. Stories are kept while that is one thing only: of a common beginning there may be
/// very many.
#[derive(Default)]
struct PrefixMatches {
    ids: BTreeSet<String>,
    tellers: BTreeMap<SessionId, Narrator>,
}

impl PrefixMatches {
    fn meet(&mut self, id: String, session: SessionId) {
        if self.ids.len() <= find::MOST_CANDIDATES {
            self.ids.insert(id);
        }
        if self.ids.len() > 1 {
            self.tellers.clear();
        } else {
            self.tellers.insert(session, Narrator::of(session));
        }
    }
}

impl CandidateStories {
    pub(super) fn by(typed: &str) -> Self {
        Self {
            typed: typed.to_owned(),
            session: typed.parse().ok(),
            subject: typed.parse().ok(),
            named: BTreeMap::new(),
            sessions: PrefixMatches::default(),
            subjects: PrefixMatches::default(),
        }
    }

    /// Listens to a [`HistoryReplay`].
    pub(super) fn observe(&mut self, before: &AuthorityState, step: ReplayStep<'_>) {
        let commit = &step.stored.commit;
        if let (Event::Subject(SubjectEvent::SessionCreated(created)), StreamId::Subject(subject)) =
            (&commit.events[step.index], &commit.stream)
        {
            self.meet(created.session_id, subject);
        }
        let all = [&mut self.named, &mut self.sessions.tellers, &mut self.subjects.tellers];
        for teller in all.into_iter().flat_map(BTreeMap::values_mut) {
            teller.observe(before, step);
        }
    }

    fn meet(&mut self, session: SessionId, subject: &SubjectId) {
        let whole = session.to_string();
        if self.session == Some(session) || self.subject.as_ref() == Some(subject) {
            self.named.insert(session, Narrator::of(session));
        } else if self.typed.len() < find::SHORTEST {
            // Too few characters to mean anything.
        } else if whole.starts_with(&self.typed) {
            self.sessions.meet(whole, session);
        } else if subject.as_str().starts_with(&self.typed) {
            self.subjects.meet(subject.to_string(), session);
        }
    }

    /// What was meant, by the end of the replay: a session before a subject, a whole id before the beginning of one.
    pub(super) fn meant(&self, state: &AuthorityState) -> Result<Option<NamedThing>, CommandError> {
        if let Some(id) = self.session.filter(|id| state.holders.contains_key(id)) {
            return Ok(Some(NamedThing::Session(id)));
        }
        if let Some(subject) = self.subject.as_ref().filter(|id| state.subjects.contains_key(*id)) {
            return Ok(Some(NamedThing::Subject(subject.clone())));
        }
        if let Some(id) = only("session", &self.typed, &self.sessions.ids)? {
            return Ok(id.parse().ok().map(NamedThing::Session));
        }
        if self.typed.len() < find::SHORTEST {
            return Ok(None);
        }
        let begun = state.subjects.keys().map(SubjectId::as_str).filter(|id| id.starts_with(&self.typed));
        let begun = only("subject", &self.typed, &begun.map(str::to_owned).collect())?;
        Ok(begun.and_then(|id| id.parse().ok()).map(NamedThing::Subject))
    }

    /// The story of this session, if it may have been meant.
    pub(super) fn story_of(&self, session: SessionId) -> Option<Narrator> {
        let all = [&self.named, &self.sessions.tellers, &self.subjects.tellers];
        all.into_iter().find_map(|tellers| tellers.get(&session)).cloned()
    }

    /// The story of the one session meant: of a subject's sessions the one live at the end of the replay, or else the
    /// newest.
    pub(super) fn only(self, replay: &HistoryReplay) -> Result<Narrator, CommandError> {
        let typed = &self.typed;
        let missing = || {
            CommandError::Missing(format!(
                "no session \"{typed}\" and no session of such a subject is in this history up to there (tenure audit \
                 replay --status all lists them; tenure audit ask answers about a subject without one)"
            ))
        };
        let id = match self.meant(replay.state())?.ok_or_else(missing)? {
            NamedThing::Session(id) => id,
            NamedThing::Subject(subject) => chosen(&subject, replay, typed)?.ok_or_else(missing)?,
        };
        self.story_of(id).ok_or_else(missing)
    }
}

/// The one id of these.
fn only(noun: &'static str, typed: &str, ids: &BTreeSet<String>) -> Result<Option<String>, CommandError> {
    if ids.len() > 1 {
        return Err(find::ambiguous(noun, typed, ids.iter().cloned().collect()));
    }
    Ok(ids.first().cloned())
}

fn chosen(
    subject: &SubjectId,
    replay: &HistoryReplay,
    typed: &str,
) -> Result<Option<SessionId>, CommandError> {
    let at = replay.moment();
    let subject = replay.state().subjects.get(subject);
    let sessions = subject.into_iter().flat_map(|subject| subject.sessions.iter());
    let mut known: Vec<_> =
        sessions.map(|session| (session.created(), session.id, session.status(at))).collect();
    known.sort_unstable_by_key(|(created, ..)| *created);
    let live = || known.iter().filter(|(.., status)| *status == SessionStatus::Active).map(|(_, id, _)| *id);
    match (live().next(), live().nth(1)) {
        (Some(_), Some(_)) => {
            Err(find::ambiguous("session", typed, live().map(|id| id.to_string()).collect()))
        }
        (Some(one), None) => Ok(Some(one)),
        (None, _) => Ok(known.last().map(|(_, id, _)| *id)),
    }
}
