//! Yes or no, and in one sentence why.

use std::collections::BTreeMap;

use crate::cli::{
    commands::audit::candidates::{CandidateStories, NamedThing},
    failure::CommandError,
};
use tenure_audit::{
    replay::{HistoryReplay, ReplayStep},
    story::Narrator,
};
use tenure_core::{
    Actor, EventKind, Position, SessionId, SubjectId, Timestamp,
    budget::{ConstraintKind, SessionUse},
    commit::ActorKind,
    event::EndTrigger,
    session::{Session, SessionStatus},
    state::AuthorityState,
    subject::Subject,
};

/// What it must have been entitled to, apart from holding a live session.
pub(super) struct EntitlementQuestion {
    pub(super) scopes: Vec<String>,
    pub(super) wanted: Option<SessionUse>,
}

/// What is answered.
pub(super) struct EntitlementAnswer {
    pub(super) is_yes: bool,
    pub(super) words: String,
}

/// Listens to a replay for what the answer needs.
pub(super) struct ReplayWitness {
    /// A story for each session that may be the one.
    stories: CandidateStories,
    /// Who caused the ends.
    enders: BTreeMap<Position, Actor>,
}

impl ReplayWitness {
    /// Of a subject or a session; a subject's id may look like a session's.
    pub(super) fn of(whom: &str) -> Self {
        Self { stories: CandidateStories::by(whom), enders: BTreeMap::new() }
    }

    pub(super) fn observe(&mut self, before: &AuthorityState, step: ReplayStep<'_>) {
        let commit = &step.stored.commit;
        if matches!(
            commit.events[step.index].kind(),
            EventKind::SessionRevoked | EventKind::SessionsRevoked | EventKind::SelectionRevoked
        ) {
            self.enders.insert(step.position, commit.actor.clone());
        }
        self.stories.observe(before, step);
    }

    /// The answer, and who can tell the story of its session; `None` if the history does not have whom was asked about.
    pub(super) fn answer(
        &self,
        replay: &HistoryReplay,
        question: &EntitlementQuestion,
    ) -> Result<Option<(EntitlementAnswer, Option<Narrator>)>, CommandError> {
        let (state, at) = (replay.state(), replay.moment());
        let (subject, only) = match self.stories.meant(state)? {
            Some(NamedThing::Session(id)) => (state.holders.get(&id).cloned(), Some(id)),
            Some(NamedThing::Subject(subject)) => (Some(subject), None),
            None => (None, None),
        };
        let Some(subject) = subject.and_then(|id| state.subjects.get(&id)) else { return Ok(None) };
        let (words, is_yes, about) = self.judged(state, subject, only, question, at);
        let narrator = about.and_then(|id| self.stories.story_of(id));
        let word = if is_yes { "YES" } else { "NO" };
        Ok(Some((EntitlementAnswer { is_yes, words: format!("{word}. At {at} {words}") }, narrator)))
    }

    fn judged(
        &self,
        state: &AuthorityState,
        subject: &Subject,
        only: Option<SessionId>,
        question: &EntitlementQuestion,
        at: Timestamp,
    ) -> (String, bool, Option<SessionId>) {
        let meant = |session: &&Session| only.is_none_or(|only| session.id == only);
        let sessions = || subject.sessions.iter().filter(meant);
        let last = sessions().max_by_key(|session| (over_at(session), session.created()));
        let live: Vec<_> = sessions().filter(|session| session.status(at) == SessionStatus::Active).collect();
        let id = &subject.id;
        let Some(first) = live.last() else {
            let words = last.map_or_else(
                || format!("{id} had no live session, and never had one."),
                |session| self.ended(state, session, only.is_some(), at),
            );
            return (words, false, last.map(|session| session.id));
        };
        if let Some(suspension) = subject.suspension_at(at) {
            let words = format!("{id} was suspended, since {}: no token of it worked.", suspension.at);
            return (words, false, Some(first.id));
        }
        let opens = |session: &&Session| state.system.keys.retired_sealer_of(session.granted(), at).is_none();
        let live: Vec<_> = live.iter().copied().filter(opens).collect();
        let Some(first) = live.last().copied() else {
            let retired = state.system.keys.retired_sealer_of(first.granted(), at);
            let since = retired.map(|retired| format!(" at {retired}")).unwrap_or_default();
            let why = format!("no token of it worked: the key that sealed them was retired{since}");
            return (format!("{id} held session {}, but {why}.", first.id), false, Some(first.id));
        };
        if let Some(session) = live.iter().find(|session| lacks(session, question).is_none()) {
            return (permitted(id, session), true, Some(session.id));
        }
        let why = lacks(first, question).unwrap_or_default();
        (format!("{id} held session {}, but {why}.", first.id), false, Some(first.id))
    }

    /// How a session was over: the one that was asked about, or the last one of its subject.
    fn ended(
        &self,
        state: &AuthorityState,
        session: &Session,
        is_asked_about: bool,
        at: Timestamp,
    ) -> String {
        let subject = &session.subject;
        let it = if is_asked_about {
            format!("session {} of {subject} was not live: it", session.id)
        } else {
            format!("{subject} had no live session: its last one")
        };
        // One that had expired may be ended later on, for the record.
        let revocation = session.revocation().filter(|revocation| revocation.at < session.ends_at());
        let Some(revocation) = revocation else {
            let end = session.ends_at();
            return format!("{it} had expired at {end}, {} before.", ago(end, at));
        };
        let (when, position) = (revocation.at, revocation.position);
        let by = self.enders.get(&position).map(|actor| who(state, actor)).unwrap_or_default();
        let done = how(revocation.trigger);
        format!("{it} {done} at {when}, {} before{by} (position {position}).", ago(when, at))
    }
}

/// When a session was over, or will be.
fn over_at(session: &Session) -> Timestamp {
    let end = session.ends_at();
    session.revocation().map_or(end, |revocation| revocation.at.min(end))
}

fn ago(earlier: Timestamp, later: Timestamp) -> String {
    crate::cli::output::humanize::duration(later.seconds_since(earlier))
}

const fn how(trigger: EndTrigger) -> &'static str {
    match trigger {
        EndTrigger::RenewalRejected => "was vetoed",
        EndTrigger::ManualRevoke => "was revoked",
        EndTrigger::Own => "was ended by its holder",
        EndTrigger::Evicted => "had made room for a newer one",
        EndTrigger::TokenReuse => "was ended because a replaced token came back",
        EndTrigger::SubjectRevoked => "was ended with all of the subject's",
        EndTrigger::Bulk => "was ended with a selection",
        EndTrigger::Restore => "was ended when the authority was restored from a backup",
    }
}

/// By the key of an owner, or of a role.
fn who(state: &AuthorityState, actor: &Actor) -> String {
    let key = actor
        .id
        .as_ref()
        .and_then(|id| state.system.credentials.values().find(|credential| credential.id.to_string() == *id));
    match (actor.kind, key) {
        (ActorKind::Credential, Some(key)) => {
            let role = serde_json::json!(key.role);
            let role = role.as_str().unwrap_or("an unknown role").to_owned();
            let whose = key.owner_id.as_ref().map_or(role, |owner| format!("owner {owner}"));
            format!(", by {whose}")
        }
        (ActorKind::Credential, None) => ", by an API key".to_owned(),
        (ActorKind::Session, _) => ", by itself".to_owned(),
        (ActorKind::Authority, _) => ", by the authority".to_owned(),
        (ActorKind::Operator, _) => ", by the operator".to_owned(),
        (ActorKind::Link, _) => ", by the owner with the link in a notice".to_owned(),
    }
}

fn permitted(id: &SubjectId, session: &Session) -> String {
    let scopes = if session.scopes().is_empty() {
        "without scopes".to_owned()
    } else {
        format!("with {}", session.scopes().join(" "))
    };
    let renewals = match session.renewal_count() {
        0 => "not renewed yet".to_owned(),
        count => format!("renewal {count} of {}", session.terms.max_renewals),
    };
    format!(
        "{id} held session {}, since {} ({renewals}), live until {}, {scopes}.",
        session.id,
        session.created_at(),
        session.ends_at()
    )
}

/// What the question needs and a live session does not give; `None` if it gives everything.
fn lacks(session: &Session, question: &EntitlementQuestion) -> Option<String> {
    if let Some(scope) = question.scopes.iter().find(|scope| !session.scopes().contains(scope)) {
        let has = match session.scopes() {
            [] => "none".to_owned(),
            scopes => scopes.join(" "),
        };
        return Some(format!("not the scope {scope} (it had {has})"));
    }
    let wanted = question.wanted.as_ref()?;
    let violated = session.constraints()?.violated_by(wanted, session.usage())?;
    let limit = match violated {
        ConstraintKind::AllowedOperations => format!("its operations did not include {}", wanted.operation),
        ConstraintKind::AllowedDestinations => "its destinations did not include that one".to_owned(),
        ConstraintKind::MaxAmountPerTx => "one use might not cost so much".to_owned(),
        ConstraintKind::MaxTransactions => "all of its uses were spent".to_owned(),
        ConstraintKind::MaxTotalAmount => "its budget was not enough".to_owned(),
    };
    Some(limit)
}
