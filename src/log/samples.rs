//! Commits to test with: plain ones, the largest, and one of every kind of event.

use super::{EncodedCommit, encode};
use tenure_core::{
    Actor, Commit, CommitId, CredentialId, Digest16, Event, Generation, KeyUse, NoticeKind, Policy, Position,
    SealedText, Seconds, SessionId, SessionMode, StreamId, SubjectEvent, SystemEvent, Timestamp, WebhookId,
    bulk::SessionSelector,
    commit::{ActorKind, IdempotencyMark},
    event::{
        CredentialConfirmed, CredentialIssued, CredentialRevoked, EndTrigger, EpochBegan, ExpiryCause,
        KeyRotated, LogSegmented, OwnerMatchCount, PolicyChanged, PresentedToken, RejectionCause,
        RejectionCode, RenewalRejected, Role, SelectionRevoked, SessionCreated, SessionDevice,
        SessionExpired, SessionRefreshed, SessionRenewed, SessionRevoked, SessionSeen, SessionTerms,
        SessionsRevoked, SessionsSeen, SubjectErased, SubjectKind, SubjectProfile, SubjectRegistered,
        SubjectResumed, SubjectSuspended, TokensPresented, UsageRecorded, WebhookCreated, WebhookDeleted,
    },
    keys::{RetireMode, SealingSpan},
    policy::{OnLimit, OnReuse},
    webhook::WebhookFormat,
};

/// The moment at which all samples begin: 2026-01-01T00:00:00Z.
const BEGIN: i64 = 1_767_225_600_000;

/// A moment a number of milliseconds after the begin.
pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(BEGIN + millis)
}

pub(super) fn subject(n: u64) -> StreamId {
    StreamId::Subject(format!("agent-{n}").parse().unwrap())
}

fn commit_id(n: u64) -> CommitId {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    bytes[14..].fill(0);
    CommitId::from_bytes(bytes)
}

pub(super) fn revoked(n: u64) -> Event {
    let mut session = [0x11; 16];
    session[..8].copy_from_slice(&n.to_be_bytes());
    Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: SessionId::from_bytes(session),
        trigger: EndTrigger::ManualRevoke,
        reason: None,
    }))
}

/// A commit of `events` events that continues a stream after `expected`.
pub(super) fn commit(n: u64, stream: StreamId, expected: u64, millis: i64, events: u64) -> Commit {
    Commit {
        id: commit_id(n),
        stream,
        expected: Position(expected),
        recorded_at: at(millis),
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events: (0..events).map(|event| revoked(n * 100 + event)).collect(),
    }
}

/// A commit of one event that begins a stream of its own.
pub(super) fn small(n: u64) -> EncodedCommit {
    encode(&commit(n, subject(n), 0, i64::try_from(n).unwrap(), 1)).unwrap()
}

/// A commit of exactly the largest size, that begins a stream of its own.
pub(super) fn largest(n: u64) -> EncodedCommit {
    let encoded = encode(&padded(
        n,
        super::codec::MAX_COMMIT_BYTES - encode(&padded(n, 1000)).unwrap().bytes.len() + 1000,
    ));
    encoded.unwrap()
}

/// A commit with a sealed text of this size.
pub(super) fn padded(n: u64, text: usize) -> Commit {
    let reason = Some(SealedText::from_bytes(vec![0x77; text]));
    let session_id = SessionId::from_bytes([3; 16]);
    let event = SessionRevoked { session_id, trigger: EndTrigger::Own, reason };
    Commit {
        events: vec![Event::Subject(SubjectEvent::SessionRevoked(event))],
        ..commit(n, subject(n), 0, i64::try_from(n).unwrap(), 0)
    }
}

/// A commit with every field of the header filled, around this event.
pub(super) fn full(event: Event) -> Commit {
    Commit {
        id: commit_id(0x0193_75c1_6a3e_7c52),
        stream: StreamId::Subject("svc:build@eu-1".parse().unwrap()),
        expected: Position(41),
        recorded_at: at(1_234),
        actor: full_actor(),
        correlation_id: Some("req-42".to_owned()),
        idempotency: Some(IdempotencyMark { key: digest(0xa0), request: digest(0xb0) }),
        events: vec![event],
    }
}

fn full_actor() -> Actor {
    Actor { kind: ActorKind::Credential, id: Some("019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".to_owned()) }
}

fn digest(byte: u8) -> Digest16 {
    Digest16::from_bytes([byte; 16])
}

fn sealed(byte: u8) -> SealedText {
    SealedText::from_bytes(vec![byte; 40])
}

fn key_rotated() -> Event {
    let id = |letter: &str| format!("k4.lid.{}", letter.repeat(44)).parse().unwrap();
    Event::System(SystemEvent::KeyRotated(KeyRotated {
        which: KeyUse::Session,
        key_id: id("b"),
        previous_key_id: Some(id("a")),
        retire: Some(RetireMode::Overlap),
        retire_at: Some(at(86_400_000)),
    }))
}

fn revoked_in_bulk() -> Event {
    let sealed_by = SealingSpan {
        key_id: format!("k4.lid.{}", "a".repeat(44)).parse().unwrap(),
        after: Position(3),
        until: Some(Position(70)),
    };
    let owner_id = Some("team:payments".parse().unwrap());
    let selector = SessionSelector {
        owner_id: owner_id.clone(),
        subject_id: Some("svc:build@eu-1".parse().unwrap()),
        device_digest: Some(digest(0xd0)),
        issued_before: Some(at(900_000)),
        sealed_by: Some(sealed_by),
    };
    Event::System(SystemEvent::SelectionRevoked(SelectionRevoked {
        selector: Box::new(selector),
        matched: 2,
        reason: Some(sealed(8)),
        owners: Some(vec![OwnerMatchCount { owner_id, matched: 2 }]),
        cause: None,
    }))
}

fn usage_recorded(session_id: SessionId) -> Event {
    Event::Subject(SubjectEvent::UsageRecorded(UsageRecorded {
        session_id,
        operation: "pay".to_owned(),
        amount: Some("12.50".parse().unwrap()),
        destination: Some("acct:supplier-7".to_owned()),
        transactions: 3,
        total_amount: "40".parse().unwrap(),
    }))
}

fn renewal_rejected(session_id: SessionId) -> Event {
    Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id,
        generation: Generation(2),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::RenewalTooEarly),
        expiring_soon: None,
        contested: false,
    }))
}

fn suspended() -> Event {
    Event::Subject(SubjectEvent::SubjectSuspended(SubjectSuspended {
        reason: Some(sealed(9)),
        until: Some(at(7_200_000)),
        by: full_actor(),
        role: Role::Owner,
    }))
}

fn resumed() -> Event {
    let (reason, by) = (Some(sealed(10)), full_actor());
    Event::Subject(SubjectEvent::SubjectResumed(SubjectResumed { reason, by, role: Some(Role::Admin) }))
}

/// The terms of the sessions in them.
const TERMS: SessionTerms = SessionTerms {
    ttl: Seconds(3_600),
    max_renewals: 30,
    absolute_lifetime: Seconds(86_400),
    renewal_reject_window: Seconds(600),
    idle_timeout: None,
    mode: SessionMode::Fixed,
    on_reuse: None,
    purpose: None,
};

/// One event of every kind, every field filled.
pub(super) fn every_kind() -> Vec<Event> {
    let session_id = SessionId::from_bytes([0x51; 16]);
    let credential_id = CredentialId::from_bytes([0xc1; 16]);
    let webhook_id = WebhookId::from_bytes([0xe3; 16]);
    vec![
        registered(),
        created(session_id),
        renewed(session_id),
        renewal_rejected(session_id),
        Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
            session_id,
            trigger: EndTrigger::TokenReuse,
            reason: Some(sealed(4)),
        })),
        evicted(session_id),
        revoked_in_bulk(),
        Event::System(SystemEvent::TokensPresented(TokensPresented {
            presented: vec![PresentedToken { session_id, generation: Generation(3) }],
        })),
        credential_issued(credential_id),
        Event::System(SystemEvent::CredentialRevoked(CredentialRevoked { credential_id })),
        Event::System(SystemEvent::PolicyChanged(PolicyChanged {
            policy: Policy { reuse_grace: Seconds(0), ..Policy::default() },
        })),
        Event::Subject(SubjectEvent::SessionExpired(SessionExpired {
            session_id,
            expires_at: at(3_600_000),
            cause: ExpiryCause::Absolute,
        })),
        Event::Subject(SubjectEvent::SubjectErased(SubjectErased { reason: sealed(7) })),
        Event::Subject(SubjectEvent::SessionRefreshed(SessionRefreshed {
            session_id,
            expires_at: at(7_200_000),
        })),
        Event::System(SystemEvent::SessionsSeen(SessionsSeen {
            seen: vec![SessionSeen { session_id, seen_at: at(1_860_000) }],
        })),
        usage_recorded(session_id),
        key_rotated(),
        webhook_created(webhook_id),
        Event::System(SystemEvent::WebhookDeleted(WebhookDeleted { webhook_id })),
        suspended(),
        resumed(),
        epoch_began(),
        Event::System(SystemEvent::CredentialConfirmed(CredentialConfirmed { credential_id })),
        Event::System(SystemEvent::LogSegmented(LogSegmented { segment_events: 250_000 })),
    ]
}

fn registered() -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered {
        profile: SubjectProfile {
            name: Some(sealed(1)),
            kind: Some(SubjectKind::Service),
            owner_id: Some("team:payments".parse().unwrap()),
            max_sessions: Some(3),
            max_sessions_per_device: Some(2),
            on_limit: Some(OnLimit::EvictOldest),
            on_device_limit: Some(OnLimit::Reject),
        },
    }))
}

fn created(session_id: SessionId) -> Event {
    Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
        session_id,
        terms: TERMS,
        expires_at: at(3_600_000),
        renew_at: Some(at(1_800_000)),
        device: Some(SessionDevice { digest: digest(0xd0), name: SealedText::from_bytes(vec![2; 48]) }),
        scopes: vec!["read".to_owned(), "write:orders".to_owned()],
        metadata: Some(sealed(3)),
        constraints: None,
    }))
}

fn renewed(session_id: SessionId) -> Event {
    Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
        session_id,
        generation: Generation(2),
        expires_at: at(7_200_000),
        renew_at: Some(at(5_400_000)),
        key_digest: Some(digest(0xe0)),
        expiring_soon: None,
    }))
}

fn evicted(except: SessionId) -> Event {
    Event::Subject(SubjectEvent::SessionsRevoked(SessionsRevoked {
        device_digest: Some(digest(0xd0)),
        except_session_id: Some(except),
        oldest: Some(2),
        matched: 2,
        trigger: EndTrigger::Evicted,
        reason: Some(sealed(5)),
    }))
}

fn credential_issued(credential_id: CredentialId) -> Event {
    Event::System(SystemEvent::CredentialIssued(CredentialIssued {
        credential_id,
        role: Role::Owner,
        owner_id: Some("team:payments".parse().unwrap()),
        name: Some(sealed(6)),
        key_hash: [0x4b; 32],
        expires_in: None,
    }))
}

fn webhook_created(webhook_id: WebhookId) -> Event {
    Event::System(SystemEvent::WebhookCreated(WebhookCreated {
        webhook_id,
        owner_id: Some("team:payments".parse().unwrap()),
        kinds: Some(vec![NoticeKind::SessionRenewed, NoticeKind::SessionRevoked]),
        format: WebhookFormat::Ntfy,
        host: "https://ntfy.example".to_owned(),
        name: None,
    }))
}

fn epoch_began() -> Event {
    Event::System(SystemEvent::EpochBegan(EpochBegan {
        epoch: 2,
        from: Position(907),
        reason: "a restore without proof of the end".into(),
        previous_name: "tenure/6b1f0a7d92c4e385".into(),
        previous_head: Some("tenure/6b1f0a7d92c4e385\n907\n".into()),
        credentials_held: true,
    }))
}

/// Events with fields that their kinds got later, each with a word on it.
pub(super) fn grown() -> Vec<(&'static str, Event)> {
    let session_id = SessionId::from_bytes([0x51; 16]);
    let created = every_kind().into_iter().find_map(|event| match event {
        Event::Subject(SubjectEvent::SessionCreated(created)) => Some(created),
        Event::Subject(_) | Event::System(_) => None,
    });
    let mut created = created.unwrap();
    created.terms.on_reuse = Some(OnReuse::Revoke);
    let contested = RenewalRejected {
        session_id,
        generation: Generation(2),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::SessionRenewalMismatch),
        expiring_soon: None,
        contested: true,
    };
    let restored = SelectionRevoked {
        selector: Box::default(),
        matched: 3,
        reason: None,
        owners: None,
        cause: Some(EndTrigger::Restore),
    };
    let mut hook = every_kind().into_iter().find_map(|event| match event {
        Event::System(SystemEvent::WebhookCreated(hook)) => Some(hook),
        Event::Subject(_) | Event::System(_) => None,
    });
    hook.as_mut().unwrap().name = Some(sealed(11));
    vec![
        ("onReuse", Event::Subject(SubjectEvent::SessionCreated(created))),
        ("contested", Event::Subject(SubjectEvent::RenewalRejected(contested))),
        ("cause", Event::System(SystemEvent::SelectionRevoked(restored))),
        ("name", Event::System(SystemEvent::WebhookCreated(hook.unwrap()))),
        (
            "reuseGrace",
            Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: Policy::default() })),
        ),
    ]
}
