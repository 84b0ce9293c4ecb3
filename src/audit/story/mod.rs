//! The story of one session in words: each fact about it, for each refusal the rule and the numbers that decided it,
//! and what could happen next.

mod lasting;
mod next;
mod refusals;
mod telling;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    replay::{Replay, Step},
    view::SessionState,
};
use crate::domain::{
    Actor, EventId, Position, SessionId, Stream, SubjectId, Timestamp, event::Event, state::State,
};

/// A story so far.
#[derive(Clone, Debug)]
pub struct Teller {
    session: SessionId,
    subject: Option<SubjectId>,
    chapters: Vec<Chapter>,
}

/// One fact about the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chapter {
    /// Where it stands.
    pub position: Position,
    /// Its name.
    pub event_id: EventId,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Its kind.
    pub kind: &'static str,
    /// Who caused it.
    pub actor: Actor,
    /// The request that caused it.
    pub correlation_id: Option<String>,
    /// What happened.
    pub words: String,
    /// Of a refusal: the rule, and the numbers that decided it.
    pub because: Option<Reason>,
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The rule, in words.
    pub rule: &'static str,
    /// The code that the caller got; none of a veto.
    pub code: Option<Value>,
    /// What was compared.
    pub numbers: Map<String, Value>,
    /// Whether the rules, asked again of the state at that moment, say the same; none when what was asked is not
    /// recorded.
    pub confirmed: Option<bool>,
}

/// A story, told to its end.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Story {
    /// The session at the end of the story.
    pub session: SessionState,
    /// What happened, in order.
    pub chapters: Vec<Chapter>,
    /// What could happen next, in words.
    pub next: Vec<String>,
}

impl Teller {
    /// Of this session.
    pub const fn of(session: SessionId) -> Self {
        Self { session, subject: None, chapters: Vec::new() }
    }

    /// Listens to a [`Replay`]: an event, and the state before it.
    pub fn hear(&mut self, before: &State, step: Step<'_>) {
        let event = &step.stored.commit.events[step.index];
        if let (Event::SessionCreated(created), Stream::Subject(subject)) =
            (event, &step.stored.commit.stream)
            && created.session_id == self.session
        {
            self.subject = Some(subject.clone());
        }
        let told = telling::told(self.session, self.subject.as_ref(), before, step);
        self.chapters.extend(told.map(|(words, because)| chapter(step, words, because)));
    }

    /// The story up to where the replay stands; none of a session that it has not met.
    pub fn end(self, replay: &Replay) -> Option<Story> {
        let state = replay.state();
        let subject = state.subjects.get(&self.subject?)?;
        let session = subject.session(self.session)?;
        let at = replay.moment();
        Some(Story {
            session: SessionState::of(subject, session, state.position, at),
            chapters: self.chapters,
            next: next::possible(subject, session, state.system.policy.as_ref(), at),
        })
    }
}

fn chapter(step: Step<'_>, words: String, because: Option<Reason>) -> Chapter {
    let commit = &step.stored.commit;
    Chapter {
        position: step.position,
        event_id: commit.id.event(u16::try_from(step.index).expect("a commit has fewer than 65 536 events")),
        recorded_at: commit.recorded_at,
        kind: commit.events[step.index].kind().name(),
        actor: commit.actor.clone(),
        correlation_id: commit.correlation_id.clone(),
        words,
        because,
    }
}
