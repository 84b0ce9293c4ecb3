//! One event in words, as far as it is about the session.

use super::{
    RefusalReason,
    durations::{between, seconds},
    refusals,
};
use crate::replay::ReplayStep;
use tenure_core::{
    Generation, KeyUse, SessionId, SessionMode, StreamId, SubjectId, Timestamp,
    bulk::{BulkRevocation, end_of},
    commit::{ActorKind, EventMeta},
    event::{
        EndTrigger, Event, ExpiryCause, KeyRotated, PresentedToken, RenewalRejected, SelectionRevoked,
        SessionCreated, SessionExpired, SessionRefreshed, SessionRenewed, SessionRevoked, SessionSeen,
        SubjectEvent, SubjectRegistered, SubjectResumed, SubjectSuspended, SystemEvent, UsageRecorded,
    },
    keys::RetireMode,
    session::Session,
    state::AuthorityState,
    subject::Subject,
};

type Narration = (String, Option<RefusalReason>);

/// What the event says about the session; `None` if it is about something else.
pub(super) fn narrate(
    id: SessionId,
    holder: Option<&SubjectId>,
    before: &AuthorityState,
    step: ReplayStep<'_>,
) -> Option<Narration> {
    let commit = &step.stored.commit;
    let holder = holder?;
    let is_own_stream = commit.stream == StreamId::Subject(holder.clone());
    if !is_own_stream && commit.stream != StreamId::System {
        return None;
    }
    let subject = before.subjects.get(holder);
    let session = subject.and_then(|subject| subject.session(id));
    let narrator = EventNarrator {
        id,
        holder,
        subject,
        session,
        before,
        step,
        at: commit.recorded_at,
        whom: actor(step),
    };
    match &commit.events[step.index] {
        Event::Subject(SubjectEvent::RenewalRejected(event)) => narrator.refusal(event),
        Event::Subject(event) => narrator.of_subject(event).map(|words| (words, None)),
        Event::System(event) => narrator.of_system(event).map(|words| (words, None)),
    }
}

/// What an event is put in words with.
struct EventNarrator<'a> {
    id: SessionId,
    holder: &'a SubjectId,
    /// As they were before the event; `None` if it is the first about them.
    subject: Option<&'a Subject>,
    session: Option<&'a Session>,
    before: &'a AuthorityState,
    step: ReplayStep<'a>,
    at: Timestamp,
    whom: String,
}

impl EventNarrator<'_> {
    fn refusal(&self, event: &RenewalRejected) -> Option<Narration> {
        let (subject, session) = (self.subject?, self.session.filter(|_| event.session_id == self.id)?);
        let (words, because) = refusals::explain(event, subject, session, self.before, self.at, &self.whom);
        Some((words, Some(because)))
    }

    fn of_subject(&self, event: &SubjectEvent) -> Option<String> {
        let (id, whom, is_there) = (self.id, self.whom.as_str(), self.session.is_some());
        Some(match event {
            SubjectEvent::SessionCreated(event) if event.session_id == id => {
                created(event, self.holder, self.at, whom)
            }
            SubjectEvent::SessionRenewed(event) if event.session_id == id => {
                renewed(event, self.session?, self.at)
            }
            SubjectEvent::SessionRevoked(event) if event.session_id == id => {
                revoked(event, self.session?, self.at, whom)
            }
            SubjectEvent::SessionsRevoked(event)
                if is_there && event.matching(self.subject?, self.at).contains(&id) =>
            {
                ended_with_others(event.matched, event.trigger, whom)
            }
            SubjectEvent::SubjectRegistered(event) if is_there => owner_changed(event, self.subject?)?,
            SubjectEvent::SessionExpired(event) if event.session_id == id => expired(event),
            SubjectEvent::SubjectErased(_) if is_there => {
                format!("All text about its subject, and so about it, was erased by {whom}.")
            }
            SubjectEvent::UsageRecorded(event) if event.session_id == id => used(event, whom),
            SubjectEvent::SessionRefreshed(event) if event.session_id == id => refreshed(event),
            SubjectEvent::SubjectSuspended(event) if is_there => suspended(event, whom),
            SubjectEvent::SubjectResumed(event) if is_there => resumed(event, self.subject?, whom),
            SubjectEvent::RenewalRejected(_)
            | SubjectEvent::SessionCreated(_)
            | SubjectEvent::SessionRenewed(_)
            | SubjectEvent::SessionRevoked(_)
            | SubjectEvent::SessionsRevoked(_)
            | SubjectEvent::SubjectRegistered(_)
            | SubjectEvent::SessionExpired(_)
            | SubjectEvent::SubjectErased(_)
            | SubjectEvent::UsageRecorded(_)
            | SubjectEvent::SessionRefreshed(_)
            | SubjectEvent::SubjectSuspended(_)
            | SubjectEvent::SubjectResumed(_) => return None,
        })
    }

    fn of_system(&self, event: &SystemEvent) -> Option<String> {
        let session = self.session?;
        match event {
            SystemEvent::SelectionRevoked(event) => is_selected(event, self.subject?, session, self.step)
                .then(|| ended_with_others(event.matched, event.trigger(), &self.whom)),
            SystemEvent::KeyRotated(event) => (event.which == KeyUse::Session && session.is_live(self.at))
                .then(|| key_rotated(event, session, &self.whom)),
            SystemEvent::TokensPresented(event) => presented(&event.presented, session),
            SystemEvent::SessionsSeen(event) => seen(&event.seen, self.id),
            SystemEvent::CredentialIssued(_)
            | SystemEvent::CredentialRevoked(_)
            | SystemEvent::CredentialConfirmed(_)
            | SystemEvent::PolicyChanged(_)
            | SystemEvent::WebhookCreated(_)
            | SystemEvent::WebhookDeleted(_)
            | SystemEvent::EpochBegan(_)
            | SystemEvent::LogSegmented(_) => None,
        }
    }
}

/// What becomes of its tokens. Which of them its holder has is not recorded, only how long the last of them works.
fn key_rotated(event: &KeyRotated, session: &Session, whom: &str) -> String {
    match (event.retire, event.retire_at) {
        (Some(RetireMode::Now), _) => format!(
            "No token of it works any more: the key of session tokens was replaced by {whom}, and those before it \
             were retired at once. The session itself goes on until {}.",
            session.expires_at()
        ),
        (Some(RetireMode::Overlap), Some(over)) => format!(
            "The key of session tokens was replaced by {whom}: the token of its present period works until {}, \
             and its next one is sealed with the new key.",
            over.min(session.expires_at())
        ),
        (Some(RetireMode::Overlap) | None, _) => "The key of session tokens came to be recorded.".to_owned(),
    }
}

/// Who caused the event.
fn actor(step: ReplayStep<'_>) -> String {
    let actor = &step.stored.commit.actor;
    let kind = match actor.kind {
        ActorKind::Authority => "the authority itself",
        ActorKind::Credential => "API key",
        ActorKind::Session => "session",
        ActorKind::Operator => "the operator of a stopped server",
        ActorKind::Link => "the owner, by the link in the notice",
    };
    actor.id.as_ref().map_or_else(|| kind.to_owned(), |id| format!("{kind} {id}"))
}

fn created(event: &SessionCreated, holder: &SubjectId, at: Timestamp, whom: &str) -> String {
    let terms = event.terms;
    let renewals = match terms.max_renewals {
        0 => "never renewable".to_owned(),
        most => format!("{most} renewals at most"),
    };
    let scopes = if event.scopes.is_empty() { "no scopes".to_owned() } else { event.scopes.join(" ") };
    let idle = match (terms.mode, terms.idle_timeout) {
        (_, None) => String::new(),
        (SessionMode::Fixed, Some(idle)) => format!(", at its end after {} without use", seconds(idle)),
        (SessionMode::Sliding, Some(idle)) => {
            format!(", sliding, at its end after {} without use", seconds(idle))
        }
    };
    let limits = if event.constraints.is_some() { "; its use is constrained" } else { "" };
    format!(
        "It began, for subject {holder}, created by {whom}: periods of {}, {renewals}, no longer than {} in all \
         (until {}){idle}; scopes: {scopes}{limits}. Its first period ends at {}.",
        seconds(terms.ttl),
        seconds(terms.absolute_lifetime),
        at.plus(terms.absolute_lifetime),
        event.expires_at,
    )
}

fn renewed(event: &SessionRenewed, session: &Session, at: Timestamp) -> String {
    let count = session.renewal_count() + 1;
    let cut = if event.expires_at < at.plus(session.terms.ttl) { ", cut at its absolute end" } else { "" };
    format!(
        "It was renewed, {} before its period was over: renewal {count} of {}. A token of generation {} took the \
         place of the one before; the new period ends at {}{cut}.",
        between(at, session.expires_at()),
        session.terms.max_renewals,
        event.generation.0,
        event.expires_at,
    )
}

fn suspended(event: &SubjectSuspended, whom: &str) -> String {
    let end = event.until.map_or_else(|| "until it is resumed".to_owned(), |until| format!("until {until}"));
    format!("Its subject was suspended by {whom}, {end}: no token of it works, and its clocks go on.")
}

fn resumed(event: &SubjectResumed, before: &Subject, whom: &str) -> String {
    let until = before.suspension().and_then(|suspension| suspension.until);
    match (event.role, until) {
        (None, Some(until)) => format!("The suspension of its subject had ended by itself at {until}."),
        (Some(_) | None, _) => format!("The suspension of its subject was lifted by {whom}."),
    }
}

/// Nothing rests on it: who asked between the end and this event was answered by the clock.
fn expired(event: &SessionExpired) -> String {
    let limit = match event.cause {
        ExpiryCause::Ttl | ExpiryCause::Absolute => "by its own limits",
        ExpiryCause::Idle => "for want of use",
    };
    format!("It had ended {limit} at {}; from then on no token of it worked.", event.expires_at)
}

fn refreshed(event: &SessionRefreshed) -> String {
    format!(
        "It was refreshed by use behind a proxy; its token stayed, and its period ends at {}.",
        event.expires_at
    )
}

fn seen(marks: &[SessionSeen], id: SessionId) -> Option<String> {
    let mark = marks.iter().find(|mark| mark.session_id == id)?;
    Some(format!("It had been used at {}.", mark.seen_at))
}

fn used(event: &UsageRecorded, whom: &str) -> String {
    let amount = event.amount.as_ref().map(|amount| format!(", {amount}")).unwrap_or_default();
    let destination = event.destination.as_ref().map(|name| format!(", to {name}")).unwrap_or_default();
    format!(
        "It was used by {whom}: {}{amount}{destination}. That was use {}, and makes {} in all.",
        event.operation, event.transactions, event.total_amount,
    )
}

fn revoked(event: &SessionRevoked, session: &Session, at: Timestamp, whom: &str) -> String {
    let lost = if session.is_expired(at) {
        format!("{} after its period was over", between(session.expires_at(), at))
    } else if session.is_idle(at) {
        format!("{} after it had become idle", between(session.ends_at(), at))
    } else {
        format!("{} before its period was over", between(at, session.expires_at()))
    };
    format!("It was ended by {whom}, {lost}: {}.", trigger(event.trigger))
}

fn ended_with_others(matched: u32, why: EndTrigger, whom: &str) -> String {
    let others = match matched.saturating_sub(1) {
        0 => String::new(),
        1 => " together with one other".into(),
        others => format!(" together with {others} others"),
    };
    format!("It was ended{others} by {whom}: {}.", trigger(why))
}

const fn trigger(trigger: EndTrigger) -> &'static str {
    match trigger {
        EndTrigger::ManualRevoke => "it was revoked",
        EndTrigger::RenewalRejected => "its owner vetoed its renewal",
        EndTrigger::Own => "its own holder ended it",
        EndTrigger::Evicted => "a newer session needed its place",
        EndTrigger::TokenReuse => {
            "a token that a renewal had replaced came back and the newer one was shown, so one of its two holders is a \
             thief"
        }
        EndTrigger::SubjectRevoked => "all sessions of its subject, or of a device, were ended",
        EndTrigger::Bulk => "all sessions that a selection met were ended, whosever they were",
        EndTrigger::Restore => "the authority was restored from a backup, and every session was ended",
    }
}

fn is_selected(event: &SelectionRevoked, subject: &Subject, session: &Session, step: ReplayStep<'_>) -> bool {
    let recorded = EventMeta { position: step.position, at: step.stored.commit.recorded_at };
    end_of(&[BulkRevocation::of(event, recorded)], subject, session).is_some()
}

fn presented(marks: &[PresentedToken], session: &Session) -> Option<String> {
    let mark = marks.iter().find(|mark| mark.session_id == session.id)?;
    let generation = mark.generation;
    let meaning = if generation > Generation::FIRST {
        ": who renewed has the reply, and the token before it is no longer excused"
    } else {
        ""
    };
    Some(format!("A token of generation {} had been presented{meaning}.", generation.0))
}

fn owner_changed(event: &SubjectRegistered, subject: &Subject) -> Option<String> {
    let was = subject.profile().and_then(|profile| profile.owner_id.as_ref());
    let is = event.profile.owner_id.as_ref();
    let name = |owner: Option<&tenure_core::OwnerId>| owner.map_or("nobody".to_owned(), ToString::to_string);
    (was != is).then(|| format!("Its subject went from owner {} to {}.", name(was), name(is)))
}
