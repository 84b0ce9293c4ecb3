//! The story of one session in words: each fact about it, for each refusal the rule and the numbers that decided it,
//! and what could happen next.

mod durations;
mod narrate;
mod outlook;
mod refusals;

use serde::Serialize;
use serde_json::{Map, Value};

use super::replay::{HistoryReplay, ReplayStep};
use crate::replay::view::ReplayedSession;
use tenure_core::{
    Actor, EventId, EventKind, Position, SessionId, StreamId, SubjectEvent, SubjectId, Timestamp,
    event::Event, session::Session, state::AuthorityState,
};

/// A story so far.
#[derive(Clone, Debug)]
pub struct Narrator {
    session: SessionId,
    subject: Option<SubjectId>,
    chapters: Vec<StoryEntry>,
    reasons: Vec<GivenReason>,
    live: LiveDetails,
}

/// What a running server knows of a session, and no export says.
#[derive(Clone, Debug, Default)]
pub struct LiveDetails {
    /// The text of the reason with which it was ended.
    pub reason: Option<String>,
    /// When it was last used; that may not be recorded yet.
    pub last_seen_at: Option<Timestamp>,
}

/// A reason that was given, sealed.
#[derive(Clone, Debug)]
struct GivenReason {
    /// Of which chapter.
    chapter: usize,
    /// Whether it is sealed with the key of the session's subject, and so goes with it.
    is_own: bool,
    /// Whether the session was ended for it; otherwise its subject was suspended or resumed.
    is_of_end: bool,
    /// When that key was destroyed.
    erased_at: Option<Timestamp>,
}

/// One fact about the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoryEntry {
    /// Where it stands.
    pub position: Position,
    /// Its name.
    pub event_id: EventId,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Its kind.
    pub kind: EventKind,
    /// The actor that caused it.
    pub actor: Actor,
    /// The request that caused it.
    pub correlation_id: Option<String>,
    /// What happened.
    pub words: String,
    /// Of a refusal: the rule, and the numbers that decided it.
    pub because: Option<RefusalReason>,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusalReason {
    /// The rule, in words.
    pub rule: &'static str,
    /// The code that the caller got; `None` for a veto.
    pub code: Option<Value>,
    /// What was compared.
    pub numbers: Map<String, Value>,
    /// Whether the rules, applied again to the state at that moment, give the same answer; `None` if the request is
    /// not recorded.
    pub confirmed: Option<bool>,
}

/// A complete story.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStory {
    /// The session at the end of the story.
    pub session: ReplayedSession,
    /// What happened, in order.
    pub chapters: Vec<StoryEntry>,
    /// What could happen next, in words.
    pub next: Vec<String>,
}

impl Narrator {
    /// Of this session.
    pub const fn of(session: SessionId) -> Self {
        let live = LiveDetails { reason: None, last_seen_at: None };
        Self { session, subject: None, chapters: Vec::new(), reasons: Vec::new(), live }
    }

    /// The session that it tells of.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Goes on with a session that had begun before.
    pub fn go_on(&mut self, subject: SubjectId) {
        self.subject = Some(subject);
    }

    /// Further remarks.
    pub fn know(&mut self, live: LiveDetails) {
        self.live = live;
    }

    /// Listens to a [`HistoryReplay`]: an event, and the state before it.
    pub fn observe(&mut self, before: &AuthorityState, step: ReplayStep<'_>) {
        let event = &step.stored.commit.events[step.index];
        if let (Event::Subject(SubjectEvent::SessionCreated(created)), StreamId::Subject(subject)) =
            (event, &step.stored.commit.stream)
            && created.session_id == self.session
        {
            self.subject = Some(subject.clone());
        }
        let Some((words, because)) = narrate::narrate(self.session, self.subject.as_ref(), before, step)
        else {
            return;
        };
        self.observe_reason(event, step);
        self.chapters.push(chapter(step, words, because));
    }

    fn observe_reason(&mut self, event: &Event, step: ReplayStep<'_>) {
        let commit = &step.stored.commit;
        if event.kind() == EventKind::SubjectErased {
            for reason in self.reasons.iter_mut().filter(|reason| reason.is_own) {
                reason.erased_at.get_or_insert(commit.recorded_at);
            }
        } else if event.texts().iter().any(|(name, text)| *name == "reason" && text.is_some()) {
            let is_own = commit.stream != StreamId::System;
            let is_of_end = !matches!(event.kind(), EventKind::SubjectSuspended | EventKind::SubjectResumed);
            let chapter = self.chapters.len();
            self.reasons.push(GivenReason { chapter, is_own, is_of_end, erased_at: None });
        }
    }

    fn narrate_reasons(&mut self) {
        for reason in &self.reasons {
            let known = self.live.reason.as_ref().filter(|_| reason.is_of_end);
            let told = match (reason.erased_at, known) {
                (Some(at), _) => format!(" A reason was given; it was erased on {at}."),
                (None, Some(text)) => format!(" The reason given: \"{text}\"."),
                (None, None) => " A reason was given; it is sealed.".to_owned(),
            };
            self.chapters[reason.chapter].words.push_str(&told);
        }
    }

    /// The story up to where the replay stands; `None` for an unknown session.
    pub fn end(mut self, replay: &HistoryReplay) -> Option<SessionStory> {
        self.narrate_reasons();
        let state = replay.state();
        let subject = state.subjects.get(&self.subject?)?;
        let session = subject.session(self.session)?;
        let at = replay.moment();
        let used = self.live.last_seen_at.and_then(|seen_at| with_use(session, seen_at, at));
        let session = used.as_ref().unwrap_or(session);
        Some(SessionStory {
            session: ReplayedSession::of(state, subject, session, at),
            chapters: self.chapters,
            next: outlook::possible(subject, session, &state.system, at),
        })
    }
}

/// The session with an unrecorded use.
fn with_use(session: &Session, seen_at: Timestamp, at: Timestamp) -> Option<Session> {
    let is_later = session.last_seen_at().is_some_and(|recorded| recorded < seen_at) && seen_at <= at;
    is_later.then(|| session.seen_unrecorded(seen_at))
}

fn chapter(step: ReplayStep<'_>, words: String, because: Option<RefusalReason>) -> StoryEntry {
    let commit = &step.stored.commit;
    StoryEntry {
        position: step.position,
        event_id: commit.id.event(u16::try_from(step.index).expect("a commit has fewer than 65 536 events")),
        recorded_at: commit.recorded_at,
        kind: commit.events[step.index].kind(),
        actor: commit.actor.clone(),
        correlation_id: commit.correlation_id.clone(),
        words,
        because,
    }
}
