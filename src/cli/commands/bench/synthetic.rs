//! Made-up histories for benchmarks: sessions that are created, renewed and revoked by number.

use tenure_core::{
    Actor, Commit, CommitId, Event, Generation, Position, Seconds, SessionId, SessionMode, StreamId,
    SubjectEvent, SubjectId, Timestamp,
    event::{
        EndTrigger, SessionCreated, SessionRenewed, SessionRevoked, SessionTerms, SubjectProfile,
        SubjectRegistered,
    },
};

/// No session ends while it is measured, however long the history is.
pub(super) const TERMS: SessionTerms = SessionTerms {
    ttl: Seconds(604_800),
    max_renewals: u32::MAX,
    absolute_lifetime: Seconds(u32::MAX),
    renewal_reject_window: Seconds(3_600),
    idle_timeout: None,
    on_reuse: None,
    purpose: None,
    mode: SessionMode::Fixed,
};

/// A commit as a request would leave it.
pub(super) fn commit(
    id: CommitId,
    stream: StreamId,
    expected: Position,
    at: Timestamp,
    events: Vec<Event>,
) -> Commit {
    Commit {
        id,
        stream,
        expected,
        recorded_at: at,
        actor: Actor::AUTHORITY,
        correlation_id: Some("019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".to_owned()),
        idempotency: None,
        events,
    }
}

pub(super) fn subject(number: u64) -> SubjectId {
    format!("agent-{number}").parse().expect("such a name is right")
}

pub(super) fn session_id(number: u64) -> SessionId {
    SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes())
}

pub(super) fn registered() -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: SubjectProfile::default() }))
}

pub(super) fn created(number: u64, at: Timestamp) -> Event {
    Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
        session_id: session_id(number),
        terms: TERMS,
        expires_at: at.plus(TERMS.ttl),
        renew_at: Some(at.plus(TERMS.ttl.half())),
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    }))
}

pub(super) fn revoked(number: u64) -> Event {
    Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: session_id(number),
        trigger: EndTrigger::Own,
        reason: None,
    }))
}

pub(super) fn renewed(number: u64, round: u64, at: Timestamp) -> Event {
    Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
        session_id: session_id(number),
        generation: Generation(u32::try_from(round + 1).unwrap_or(u32::MAX)),
        expires_at: at.plus(TERMS.ttl),
        renew_at: Some(at.plus(TERMS.ttl.half())),
        key_digest: None,
        expiring_soon: None,
    }))
}
