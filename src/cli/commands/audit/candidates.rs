//! Which session of a history is meant: one named by its id or the beginning of it, or the one of a subject. A history is
//! read once, and may be a pipe; so the story of each session that may be meant is kept until it is known which one is.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::{arguments::find, failure::CommandError};
use tenure_audit::{
    replay::{HistoryReplay, ReplayStep},
    story::Narrator,
};
use tenure_core::{
    SessionId, StreamId, SubjectEvent, SubjectId, event::Event, session::SessionStatus,
    state::AuthorityState, subject::Subject,
};

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

    /// The stories of the one thing; none of nothing.
    fn only(self, noun: &'static str, typed: &str) -> Result<BTreeMap<SessionId, Narrator>, CommandError> {
        if self.ids.len() > 1 {
            return Err(find::ambiguous(noun, typed, self.ids.into_iter().collect()));
        }
        Ok(self.tellers)
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

    /// The story of the one session meant: of a subject's sessions the one live at the end of the replay, or else the
    /// newest.
    pub(super) fn only(self, replay: &HistoryReplay) -> Result<Narrator, CommandError> {
        let typed = self.typed;
        let missing = || {
            CommandError::Missing(format!(
                "no session \"{typed}\" and no session of such a subject is in this history up to there (tenure audit \
                 replay --status all lists them; tenure audit ask answers about a subject without one)"
            ))
        };
        if let Some(teller) = self.session.and_then(|id| self.named.get(&id)) {
            return Ok(teller.clone());
        }
        let mut tellers = self.named;
        if tellers.is_empty() {
            tellers = self.sessions.only("session", &typed)?;
        }
        if tellers.is_empty() {
            tellers = self.subjects.only("subject", &typed)?;
        }
        let id = chosen(&tellers, replay, &typed)?.ok_or_else(missing)?;
        tellers.remove(&id).ok_or_else(missing)
    }
}

fn chosen(
    tellers: &BTreeMap<SessionId, Narrator>,
    replay: &HistoryReplay,
    typed: &str,
) -> Result<Option<SessionId>, CommandError> {
    let at = replay.moment();
    let all = replay.state().subjects.values();
    let of_subject = |subject: &Subject| -> Vec<_> {
        let sessions = subject.sessions.iter().filter(|session| tellers.contains_key(&session.id));
        sessions.map(|session| (session.created(), session.id, session.status(at))).collect()
    };
    let mut known: Vec<_> = all.flat_map(of_subject).collect();
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
