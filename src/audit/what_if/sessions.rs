//! The sessions of a subject in two histories, side by side.

use tenure_core::{
    Position, SessionId, Timestamp,
    event::{EndTrigger, Event, RejectionCause, SubjectEvent},
    session::{OneTimeFact, Session},
    subject::Subject,
};
use tenure_log::StoredCommit;

/// What is different in the two histories after this commit, in words: a session, what happened, what would have.
///
/// `before` is the real subject before the commit.
pub(super) fn differing(
    before: &Subject,
    real: &Subject,
    other: &Subject,
    stored: &StoredCommit,
    refusal: Option<&str>,
) -> Vec<(SessionId, String, String)> {
    let at = stored.commit.recorded_at;
    let mut found = Vec::new();
    for session in &real.sessions {
        let is_touched = before.session(session.id).is_none_or(|was| was != session);
        let is_asked = is_touched || place_in(session.id, stored).is_some();
        let counterpart = other.session(session.id);
        let happened = || what_happened(session, stored, at);
        match counterpart {
            None if is_asked => {
                let why = refusal.unwrap_or("it was not created");
                found.push((session.id, happened(), format!("it would not be there: {why}")));
            }
            Some(counterpart) if !is_same(session, counterpart) => {
                let why = refusal.map_or_else(String::new, |why| format!("refused ({why}): "));
                found.push((session.id, happened(), format!("{why}{}", described(counterpart, at))));
            }
            None | Some(_) => {}
        }
    }
    found
}

/// Whether all that was decided about the two so far was decided alike. Other limits are no other decision: it is when
/// one of them bites that the histories part.
fn is_same(real: &Session, other: &Session) -> bool {
    let ended = |session: &Session| session.revocation().map(|revocation| revocation.trigger);
    let expired = |session: &Session| session.said.contains(OneTimeFact::Expired).then(|| session.ends_at());
    real.generation() == other.generation()
        && real.refused == other.refused
        && real.usage() == other.usage()
        && ended(real) == ended(other)
        && expired(real) == expired(other)
}

fn what_happened(session: &Session, stored: &StoredCommit, at: Timestamp) -> String {
    let event = place_in(session.id, stored).map(|index| &stored.commit.events[index]);
    let verb = match event {
        Some(Event::Subject(SubjectEvent::SessionCreated(_))) => "created: ",
        Some(Event::Subject(SubjectEvent::SessionRenewed(_))) => "renewed: ",
        Some(Event::Subject(SubjectEvent::RenewalRejected(event)))
            if event.cause == RejectionCause::Policy =>
        {
            "a renewal was refused: "
        }
        Some(Event::Subject(SubjectEvent::RenewalRejected(_))) => "its renewal was vetoed: ",
        Some(Event::Subject(SubjectEvent::SessionRevoked(event))) if event.trigger == EndTrigger::Evicted => {
            "evicted: "
        }
        Some(Event::Subject(SubjectEvent::SessionRevoked(_))) => "ended: ",
        Some(Event::Subject(SubjectEvent::UsageRecorded(_))) => "used: ",
        Some(Event::Subject(SubjectEvent::SessionRefreshed(_))) => "refreshed: ",
        Some(
            Event::Subject(
                SubjectEvent::SubjectRegistered(_)
                | SubjectEvent::SubjectErased(_)
                | SubjectEvent::SessionExpired(_)
                | SubjectEvent::SessionsRevoked(_)
                | SubjectEvent::SubjectSuspended(_)
                | SubjectEvent::SubjectResumed(_),
            )
            | Event::System(_),
        )
        | None => "",
    };
    format!("{verb}{}", described(session, at))
}

/// What a session is, in a few words.
fn described(session: &Session, at: Timestamp) -> String {
    let renewals = format!("{} of {} renewals", session.renewal_count(), session.terms.max_renewals);
    match session.revocation() {
        Some(revocation) => {
            let trigger = serde_json::to_value(revocation.trigger).unwrap_or_default();
            format!("ended at {} ({}), {renewals}", revocation.at, trigger.as_str().unwrap_or_default())
        }
        None if session.is_idle(at) => format!("idle since {}, {renewals}", session.ends_at()),
        None if session.is_expired(at) => format!("expired since {}, {renewals}", session.expires_at()),
        None => format!("live until {}, {renewals}", session.expires_at()),
    }
}

/// The position of the first event of the commit about this session; of the commit itself if none is.
pub(super) fn place_of(id: SessionId, stored: &StoredCommit) -> Position {
    stored.first.plus(place_in(id, stored).unwrap_or(0) as u64)
}

fn place_in(id: SessionId, stored: &StoredCommit) -> Option<usize> {
    stored.commit.events.iter().position(|event| event.session_id() == Some(id))
}
