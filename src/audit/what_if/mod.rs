//! The history under other limits: each recorded request is asked again, of the state that the other limits would
//! have led to, and what would have gone otherwise is reported.
//!
//! What such a replay cannot know is in [`UNKNOWN`]; it belongs to every answer.

mod overrides;
mod requests;
mod sessions;
mod system_events;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

pub use self::overrides::{PolicyOverrides, ReplaceableSetting, WrongPolicy};
use self::requests::{CommitRequests, ReplayedRequest};
use tenure_core::{
    Commit, Event, Policy, Position, SessionId, StreamId, SubjectEvent, SubjectId, SystemEvent, Timestamp,
    bulk::{self, BulkRevocation},
    commit::EventMeta,
    decide::decide,
    evolve::IllegalEvent,
    refusal::RecordedRefusal,
    state::AuthorityState,
    subject::Subject,
};
use tenure_log::StoredCommit;

/// What such a replay cannot know.
pub const UNKNOWN: [&str; 6] = [
    "Requests that left no event: a create refused for want of a place, a renewal refused for the same reason twice.",
    "What callers would have done upon another answer: who was refused may have tried again, or asked for less.",
    "What was asked and what was left open: a limit equal to the default of its time counts as left open.",
    "Sessions that were never created, and events of them: it is unknown when they would have been renewed.",
    "Which token was shown where one of another generation was refused, unless the session was contested or ended for it.",
    "Whether a use of a session would have come in time: introspections are not recorded.",
];

/// What would have gone otherwise with one session, for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Divergence {
    /// The session.
    pub session_id: SessionId,
    /// Who holds it.
    pub subject_id: SubjectId,
    /// The event at which the two histories part.
    pub position: Position,
    /// When that was.
    pub recorded_at: Timestamp,
    /// What happened.
    pub happened: String,
    /// What would have happened.
    pub instead: String,
}

/// How often each thing happened, and how often it would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeCounts {
    /// Sessions created.
    pub created: u64,
    /// Renewals granted.
    pub renewed: u64,
    /// Renewals refused by a rule, of the recorded ones.
    pub refused: u64,
    /// Sessions that made room for a newer one.
    pub evicted: u64,
    /// Sessions ended for the reuse of a token.
    pub ended_for_reuse: u64,
    /// Sessions ended by a caller.
    pub revoked: u64,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIfReport {
    /// The changed settings, with their values.
    pub policy: BTreeMap<String, Value>,
    /// The last position that was replayed.
    pub as_of_position: Position,
    /// What happened.
    pub happened: OutcomeCounts,
    /// What would have happened.
    pub instead: OutcomeCounts,
    /// Sessions that would have gone otherwise, each with its first divergence, in the order of those.
    pub divergences: Vec<Divergence>,
    /// What this replay cannot know.
    pub unknown: [&'static str; 6],
}

/// A history and, beside it, what it would have been.
#[derive(Debug)]
pub struct WhatIf {
    overrides: PolicyOverrides,
    real: AuthorityState,
    other: AuthorityState,
    happened: OutcomeCounts,
    instead: OutcomeCounts,
    parted: BTreeMap<SessionId, Divergence>,
    contradiction: Option<WrongPolicy>,
}

impl WhatIf {
    /// Of a history under these other limits.
    pub fn under(overrides: PolicyOverrides) -> Self {
        Self {
            overrides,
            real: AuthorityState::default(),
            other: AuthorityState::default(),
            happened: OutcomeCounts::default(),
            instead: OutcomeCounts::default(),
            parted: BTreeMap::new(),
            contradiction: None,
        }
    }

    /// Adds the next commit.
    ///
    /// # Errors
    /// An event of the real history that cannot follow.
    pub fn add(&mut self, stored: &StoredCommit) -> Result<(), IllegalEvent> {
        if let StreamId::Subject(id) = &stored.commit.stream {
            let unknown = Subject::new(id.clone());
            let real = self.real.subjects.get(id).unwrap_or(&unknown).clone();
            let asked = requests::asked(&real, self.real.system.policy.as_ref(), &stored.commit);
            let instead = self.ask(&asked, id, stored);
            self.real.apply(&stored.commit)?;
            self.happened.add(&stored.commit.events);
            self.compare(id, stored, &real, instead);
        } else {
            let before = self.reached(stored);
            let alike = system_events::of_other(&stored.commit, &self.real, &self.other);
            self.instead.add(&alike.events);
            self.real.apply(&stored.commit)?;
            self.other.apply_at(stored.first, &alike).expect("it was made for this state");
            let is_policy = |event: &Event| matches!(event, Event::System(SystemEvent::PolicyChanged(_)));
            if let Some(recorded) = &self.real.system.policy
                && stored.commit.events.iter().any(is_policy)
                && self.contradiction.is_none()
            {
                self.contradiction = self.overrides.contradiction(recorded, stored.first);
            }
            self.happened.add(&stored.commit.events);
            for subject in before {
                self.compare(&subject.id, stored, &subject, Ok(()));
            }
        }
        Ok(())
    }

    /// The answer, in the end.
    ///
    /// # Errors
    /// No server would have started with these limits beside those that were recorded.
    pub fn end(self) -> Result<WhatIfReport, WrongPolicy> {
        if let Some(contradiction) = self.contradiction {
            return Err(contradiction);
        }
        let mut divergences: Vec<_> = self.parted.into_values().collect();
        divergences.sort_by_key(|divergence| (divergence.position, divergence.session_id));
        Ok(WhatIfReport {
            policy: self.overrides.values(),
            as_of_position: self.real.position,
            happened: self.happened,
            instead: self.instead,
            divergences,
            unknown: UNKNOWN,
        })
    }

    /// The subjects of which this commit of the authority's own ends sessions, in either history, as they are before.
    fn reached(&self, stored: &StoredCommit) -> Vec<Subject> {
        let bulks = bulks(stored);
        let is_ended = |subject: &&Subject| {
            let other = self.other.subjects.get(&subject.id);
            bulk::is_unsettled(&bulks, subject)
                || other.is_some_and(|other| bulk::is_unsettled(&bulks, other))
        };
        if bulks.is_empty() {
            vec![]
        } else {
            self.real.subjects.values().filter(is_ended).cloned().collect()
        }
    }

    /// Asks again, under the other limits, of the other state.
    fn ask(
        &mut self,
        asked: &CommitRequests,
        id: &SubjectId,
        stored: &StoredCommit,
    ) -> Result<(), RecordedRefusal> {
        let Some(recorded) = &self.real.system.policy else { return Ok(()) };
        let policy = self.overrides.over(recorded);
        for request in &asked.requests {
            self.ask_one(request, &policy, id, stored)?;
        }
        Ok(())
    }

    fn ask_one(
        &mut self,
        request: &ReplayedRequest,
        policy: &Policy,
        id: &SubjectId,
        stored: &StoredCommit,
    ) -> Result<(), RecordedRefusal> {
        let at = stored.commit.recorded_at;
        let unknown = Subject::new(id.clone());
        let subject = self.other.subjects.get(id).unwrap_or(&unknown);
        let Some((command, observed)) = request.command(subject) else { return Ok(()) };
        let (events, outcome): (Vec<Event>, _) = match decide(policy, subject, &command, &observed, at) {
            Ok(events) => (events.into_iter().map(|event| as_then(event, stored)).collect(), Ok(())),
            Err(refused) => (refused.record.iter().cloned().map(Event::from).collect(), Err(refused)),
        };
        let expected = subject.version();
        self.instead.add(&events);
        if !events.is_empty() {
            // Its last event stands where that of the real commit does: later than all that was applied.
            let first = Position((stored.last().0 + 1).saturating_sub(events.len() as u64));
            let commit = with_events(&stored.commit, expected, events);
            self.other.apply_at(first, &commit).expect("what was just decided is legal");
        }
        outcome
    }

    /// Compares every session of the subject that this commit could have touched, in either history.
    fn compare(
        &mut self,
        id: &SubjectId,
        stored: &StoredCommit,
        before: &Subject,
        outcome: Result<(), RecordedRefusal>,
    ) {
        let (Some(real), Some(other)) = (self.real.subjects.get(id), self.other.subjects.get(id)) else {
            return;
        };
        let refusal = outcome.err().map(|refused| refused.refusal.to_string());
        let differ = sessions::differing(before, real, other, stored, refusal.as_deref());
        for (session_id, happened, instead) in differ {
            self.parted.entry(session_id).or_insert_with(|| Divergence {
                session_id,
                subject_id: id.clone(),
                position: sessions::place_of(session_id, stored),
                recorded_at: stored.commit.recorded_at,
                happened,
                instead,
            });
        }
    }
}

/// A session that began before it had a say in what a replaced token does follows the setting there, too.
fn as_then(mut event: SubjectEvent, stored: &StoredCommit) -> Event {
    let had_no_say = |event: &Event| matches!(event, Event::Subject(SubjectEvent::SessionCreated(then)) if then.terms.on_reuse.is_none());
    if let SubjectEvent::SessionCreated(new) = &mut event
        && stored.commit.events.iter().any(had_no_say)
    {
        new.terms.on_reuse = None;
    }
    event.into()
}

/// The same commit, of what happened in the other history.
fn with_events(commit: &Commit, expected: Position, events: Vec<Event>) -> Commit {
    Commit {
        stream: commit.stream.clone(),
        expected,
        actor: commit.actor.clone(),
        correlation_id: None,
        events,
        ..*commit
    }
}

/// The bulk revocations of a commit.
fn bulks(stored: &StoredCommit) -> Vec<BulkRevocation> {
    let at = stored.commit.recorded_at;
    let events = stored.positions().zip(&stored.commit.events);
    let bulk = |(position, event): (Position, &Event)| {
        let Event::System(SystemEvent::SelectionRevoked(event)) = event else { return None };
        Some(BulkRevocation::of(event, EventMeta { position, at }))
    };
    events.filter_map(bulk).collect()
}

impl OutcomeCounts {
    fn add(&mut self, events: &[Event]) {
        use tenure_core::event::{EndTrigger, RejectionCause};
        for event in events {
            let (place, count) = match event {
                Event::Subject(SubjectEvent::SessionCreated(_)) => (&mut self.created, 1),
                Event::Subject(SubjectEvent::SessionRenewed(_)) => (&mut self.renewed, 1),
                Event::Subject(SubjectEvent::RenewalRejected(event))
                    if event.cause == RejectionCause::Policy =>
                {
                    (&mut self.refused, 1)
                }
                Event::Subject(SubjectEvent::SessionRevoked(event)) => match event.trigger {
                    EndTrigger::Evicted => (&mut self.evicted, 1),
                    EndTrigger::TokenReuse => (&mut self.ended_for_reuse, 1),
                    EndTrigger::ManualRevoke
                    | EndTrigger::RenewalRejected
                    | EndTrigger::Own
                    | EndTrigger::SubjectRevoked
                    | EndTrigger::Bulk
                    | EndTrigger::Restore => (&mut self.revoked, 1),
                },
                Event::Subject(SubjectEvent::SessionsRevoked(event))
                    if event.trigger == EndTrigger::Evicted =>
                {
                    (&mut self.evicted, u64::from(event.matched))
                }
                Event::Subject(SubjectEvent::SessionsRevoked(event)) => {
                    (&mut self.revoked, u64::from(event.matched))
                }
                Event::System(SystemEvent::SelectionRevoked(event)) => {
                    (&mut self.revoked, u64::from(event.matched))
                }
                Event::Subject(
                    SubjectEvent::RenewalRejected(_)
                    | SubjectEvent::SubjectRegistered(_)
                    | SubjectEvent::SubjectErased(_)
                    | SubjectEvent::SessionExpired(_)
                    | SubjectEvent::UsageRecorded(_)
                    | SubjectEvent::SessionRefreshed(_)
                    | SubjectEvent::SubjectSuspended(_)
                    | SubjectEvent::SubjectResumed(_),
                )
                | Event::System(_) => continue,
            };
            *place += count;
        }
    }
}
