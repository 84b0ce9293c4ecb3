//! A long history, written to the log of a stopped server: what is costly to read.

use std::path::Path;

use tenure_core::{
    Actor, Commit, CommitId, Event, Position, Seconds, SessionId, SessionMode, StreamId, SubjectEvent,
    SubjectId, Timestamp,
    event::{SessionCreated, SessionTerms, SubjectProfile, SubjectRegistered},
};
use tenure_log::{AppendOutcome, EncodedCommit, EventLog, SledLog, encode};

/// Events of a commit, and commits of a batch, at most.
const BATCH: usize = 500;

const TERMS: SessionTerms = SessionTerms {
    ttl: Seconds(604_800),
    max_renewals: 100,
    absolute_lifetime: Seconds(7_776_000),
    renewal_reject_window: Seconds(3_600),
    idle_timeout: None,
    mode: SessionMode::Fixed,
    on_reuse: None,
    purpose: None,
};

/// Appends this many subjects `agent-000000`, `agent-000001`, … of an owner `fleet`, each with a session.
pub fn append_fleet(data: &Path, agents: u64) {
    let log = open(data);
    let at = log.head().recorded_at;
    let commits: Vec<_> = (0..agents).map(|number| agent(number, at)).collect();
    for batch in commits.chunks(BATCH) {
        append(&log, batch.to_vec());
    }
}

/// Appends one subject with this many sessions.
pub fn append_crowd(data: &Path, subject: &str, sessions: u64) {
    let log = open(data);
    let at = log.head().recorded_at;
    let events: Vec<_> = [registered(SubjectProfile::default())]
        .into_iter()
        .chain((0..sessions).map(|number| created(number, at)))
        .collect();
    let mut expected = Position::ZERO;
    for (number, events) in (0..).zip(events.chunks(BATCH)) {
        append(&log, vec![commit(number, subject.parse().unwrap(), expected, at, events.to_vec())]);
        expected = log.head().position;
    }
}

fn open(data: &Path) -> SledLog {
    tenure_log::open(data, &mut |_| Ok(())).unwrap()
}

fn append(log: &SledLog, batch: Vec<EncodedCommit>) {
    assert_eq!(log.append(log.head().position, batch), Ok(AppendOutcome::Appended));
}

fn agent(number: u64, at: Timestamp) -> EncodedCommit {
    let profile = SubjectProfile { owner_id: Some("fleet".parse().unwrap()), ..SubjectProfile::default() };
    let events = vec![registered(profile), created(number, at)];
    commit(number, format!("agent-{number:06}").parse().unwrap(), Position::ZERO, at, events)
}

fn registered(profile: SubjectProfile) -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile }))
}

fn created(number: u64, at: Timestamp) -> Event {
    Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
        session_id: SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes()),
        terms: TERMS,
        expires_at: at.plus(TERMS.ttl),
        renew_at: Some(at.plus(TERMS.ttl.half())),
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    }))
}

fn commit(
    number: u64,
    subject: SubjectId,
    expected: Position,
    at: Timestamp,
    events: Vec<Event>,
) -> EncodedCommit {
    let commit = Commit {
        id: CommitId::from_bytes((0x7000_u128 << 64 | u128::from(number) << 16).to_be_bytes()),
        stream: StreamId::Subject(subject),
        expected,
        recorded_at: at,
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events,
    };
    encode(&commit).unwrap()
}
