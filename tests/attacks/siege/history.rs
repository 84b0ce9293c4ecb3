//! A long history, written without a server: what is costly to read.

use tenure::{
    core::{
        Actor, Commit, CommitId, Event, Position, Seconds, SessionId, SessionMode, StreamId, SubjectEvent,
        SubjectId, Timestamp,
        event::{SessionCreated, SessionTerms, SubjectProfile, SubjectRegistered},
    },
    log::{self, AppendOutcome, EncodedCommit, EventLog, SledLog, encode},
};

use super::length;
use crate::client::Server;

const BATCH: u64 = 500;
const CROWD: u64 = 4_000;
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

/// How many sessions the history has.
pub(super) fn sessions() -> u64 {
    if length().is_some() { 100_000 } else { 20_000 }
}

/// A server with as many subjects of an owner `fleet`, each with a session.
pub(super) fn long(settings: &[&str]) -> Server {
    with(settings, |log| {
        let at = log.head().recorded_at;
        for from in (0..sessions()).step_by(500) {
            append(log, (from..from + BATCH).map(|number| begun(number, at)).collect());
        }
    })
}

/// A server with one subject, `crowded`, that has thousands of sessions.
pub(super) fn crowded(settings: &[&str]) -> Server {
    with(settings, |log| {
        let at = log.head().recorded_at;
        let registered =
            SubjectEvent::SubjectRegistered(SubjectRegistered { profile: SubjectProfile::default() });
        let created = (0..CROWD).map(|number| SubjectEvent::SessionCreated(created(number, at)));
        let events: Vec<_> = [registered].into_iter().chain(created).map(Event::Subject).collect();
        let mut expected = Position::ZERO;
        for (number, events) in (0..).zip(events.chunks(500)) {
            let subject = "crowded".parse().unwrap();
            append(log, vec![commit(number, subject, expected, at, events.to_vec())]);
            expected = log.head().position;
        }
    })
}

fn with(settings: &[&str], fill: impl FnOnce(&SledLog)) -> Server {
    let settings = [&["security.limit_loopback=true"], settings].concat();
    Server::after(1_024, &settings, |data| fill(&log::open(data, &mut |_| Ok(())).unwrap()))
}

fn append(log: &SledLog, batch: Vec<EncodedCommit>) {
    assert_eq!(log.append(log.head().position, batch), Ok(AppendOutcome::Appended));
}

fn begun(number: u64, at: Timestamp) -> EncodedCommit {
    let profile = SubjectProfile { owner_id: Some("fleet".parse().unwrap()), ..SubjectProfile::default() };
    let events = vec![
        Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile })),
        Event::Subject(SubjectEvent::SessionCreated(created(number, at))),
    ];
    commit(number, format!("agent-{number:06}").parse().unwrap(), Position::ZERO, at, events)
}

fn created(number: u64, at: Timestamp) -> SessionCreated {
    SessionCreated {
        session_id: SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes()),
        terms: TERMS,
        expires_at: at.plus(TERMS.ttl),
        renew_at: Some(at.plus(TERMS.ttl.half())),
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    }
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
