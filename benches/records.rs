//! What it costs to give a commit its bytes and the hash of each of its events, and to read them back.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tenure::{
    core::{
        Actor, Commit, CommitId, Digest16, Event, Generation, Position, SessionId, StreamId, SubjectEvent,
        Timestamp,
        commit::ActorKind,
        event::{EndTrigger, SessionRenewed, SessionRevoked},
    },
    log::{StoredCommit, encode},
};

/// As in the program that is measured for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn commit_of(events: Vec<Event>) -> Commit {
    Commit {
        id: CommitId::from_bytes([7; 16]),
        stream: StreamId::Subject("agent-0123456789".parse().expect("a name")),
        expected: Position(1_234_567),
        recorded_at: Timestamp::from_millis(1_767_225_600_000),
        actor: Actor { kind: ActorKind::Session, id: Some("019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".into()) },
        correlation_id: None,
        idempotency: None,
        events,
    }
}

fn renewal() -> Event {
    Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
        session_id: SessionId::from_bytes([1; 16]),
        generation: Generation(2),
        expires_at: Timestamp::from_millis(1_767_229_200_000),
        renew_at: Some(Timestamp::from_millis(1_767_227_700_000)),
        key_digest: Some(Digest16::from_bytes([2; 16])),
        expiring_soon: None,
    }))
}

fn eviction(number: u8) -> Event {
    let session_id = SessionId::from_bytes([number; 16]);
    Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
        session_id,
        trigger: EndTrigger::Evicted,
        reason: None,
    }))
}

fn records(c: &mut Criterion) {
    let renewed = commit_of(vec![renewal()]);
    c.bench_function("encode a renewal", |b| b.iter(|| encode(black_box(&renewed))));
    let many = commit_of((0..=u8::MAX).map(eviction).collect());
    c.bench_function("encode 256 evictions", |b| b.iter(|| encode(black_box(&many))));

    let stored = encode(&renewed).expect("a commit within the limits");
    c.bench_function("decode a renewal", |b| {
        b.iter(|| StoredCommit::decode(Position(1), black_box(stored.bytes())));
    });
}

criterion_group!(benches, records);
criterion_main!(benches);
