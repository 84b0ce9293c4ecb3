//! What has its own rule for repeats takes no notice of the mark of an idempotent request; and all other repeats cost as
//! little as their answers say.

use std::sync::Arc;

use tenure::{
    authority::{
        Authority, GrantedSession, NewCredential, NewProfile, NewSession, NewSuspension, NewUse,
        ProfilePatch, RegisteredSubject, RequestContext, RevocationRequest, SubjectRevocationRequest,
    },
    core::{
        Actor, Digest16, Seconds, SessionMode, SubjectId,
        budget::SessionUse,
        command::{RequestedTerms, Revoker, SuspensionActor},
        commit::IdempotencyMark,
        event::{PartChange, Role},
    },
    entropy::SeededEntropy,
    log::MemoryLog,
    tokens::ApiKey,
};

use crate::{
    faults::faulty,
    world::{World, context, world},
};

fn marked() -> RequestContext {
    marked_by(1)
}

fn marked_by(number: u128) -> RequestContext {
    let key = Digest16::from_bytes(number.to_be_bytes());
    let request = Digest16::from_bytes([2; 16]);
    RequestContext { idempotency: Some(IdempotencyMark { key, request }), ..context() }
}

/// An authority, and a session that may be renewed or refreshed now.
fn half_way(mode: SessionMode) -> (World, GrantedSession) {
    let world = world(Arc::new(MemoryLog::new()), 11);
    let terms = RequestedTerms { ttl: Some(Seconds(1_000)), mode, ..RequestedTerms::default() };
    let new = NewSession { terms, ..NewSession::of("agent".parse().unwrap()) };
    let granted = pollster::block_on(world.authority.create_session(context(), new)).unwrap();
    world.clock.advance(900).unwrap();
    (world, granted)
}

#[test]
fn a_renewal_is_repeated_by_its_own_key_and_not_by_the_mark() {
    let (world, granted) = half_way(SessionMode::Fixed);
    let holder = world.authority.holder(granted.token.expose()).unwrap();
    let renew = |key| pollster::block_on(world.authority.renew(marked(), &holder, key));
    let first = renew(Some("k")).unwrap();
    let again = renew(Some("k")).unwrap();
    assert_eq!((again.session.generation(), again.position), (first.session.generation(), first.position));
    // Another key is another renewal, with a token that works no more.
    assert!(renew(Some("other")).is_err());
}

#[test]
fn a_refresh_that_is_not_due_any_more_says_so_whatever_its_mark() {
    let (world, granted) = half_way(SessionMode::Sliding);
    let holder = world.authority.holder(granted.token.expose()).unwrap();
    let refresh = || pollster::block_on(world.authority.refresh(marked(), &holder)).unwrap();
    assert!(refresh().is_some());
    assert!(refresh().is_none());
}

#[test]
fn a_key_that_is_issued_while_its_caller_waits_is_admitted_whatever_its_mark() {
    let world = world(Arc::new(MemoryLog::new()), 12);
    let chance = SeededEntropy::new(13);
    for _ in 0..2 {
        let key = ApiKey::draw(&chance);
        let new = NewCredential { role: Role::Verifier, owner_id: None, name: None, expires_in: None };
        let (id, _) = world.authority.issue_credential_blocking(marked(), &key, new).unwrap();
        assert_eq!(world.authority.credential(key.expose()).unwrap().id, id);
    }
}

/// A repeat folded all that had ever happened to its subject: of an agent that had recorded a thousand uses, a thousand
/// commits were read to repeat the answer to one of them.
#[tokio::test]
async fn a_repeat_reads_its_own_commit_whatever_has_happened_to_its_subject() {
    const USES: u128 = 200;
    let (log, world) = faulty();
    let authority = &world.authority;
    let create =
        |number| authority.create_session(marked_by(number), NewSession::of("agent".parse().unwrap()));
    let created = create(1_000).await.unwrap();
    let session_id = created.session.id;
    let wanted = || SessionUse { operation: "read".into(), amount: None, destination: None };
    let record_use = |number| {
        authority.record_usage(marked_by(number), NewUse { session_id, generation: None, wanted: wanted() })
    };
    let mut uses = Vec::new();
    for number in 0..USES {
        uses.push(record_use(number).await.unwrap());
    }
    let end = |number| {
        let asked = RevocationRequest {
            session_id,
            by: Revoker::Admin,
            reject_renewal: None,
            reason: Some("stolen".into()),
        };
        authority.revoke(marked_by(number), asked)
    };
    let ended = end(2_000).await.unwrap();
    for number in [1_001, 1_002] {
        create(number).await.unwrap();
    }
    let end_all = |number| {
        let asked = SubjectRevocationRequest {
            subject_id: "agent".parse().unwrap(),
            device: None,
            except: None,
            owner: None,
            reason: None,
        };
        authority.revoke_many(marked_by(number), asked)
    };
    let all_ended = end_all(3_000).await.unwrap();
    assert_eq!(all_ended.session_ids.len(), 2);

    log.take_reads();
    let again = create(1_000).await.unwrap();
    assert_eq!((again.session, again.position), (created.session, created.position));
    assert_eq!(log.take_reads(), 1, "of a create");
    for number in [0, USES / 2, USES - 1] {
        let (first, again) = (&uses[usize::try_from(number).unwrap()], record_use(number).await.unwrap());
        assert_eq!((&again.usage, again.position), (&first.usage, first.position));
        assert_eq!(log.take_reads(), 1, "of a use");
    }
    assert_eq!(format!("{:?}", end(2_000).await.unwrap()), format!("{ended:?}"));
    assert_eq!(log.take_reads(), 1, "of an end");
    assert_eq!(format!("{:?}", end_all(3_000).await.unwrap()), format!("{all_ended:?}"));
    assert_eq!(log.take_reads(), 1, "of the end of all");
}

fn agent() -> SubjectId {
    "agent".parse().unwrap()
}

/// Five requests about the agent, each with an idempotency key of its own.
const CHANGES: std::ops::Range<u128> = 0..5;

async fn change(authority: &Authority, number: u128) -> RegisteredSubject {
    let by = SuspensionActor { role: Role::Admin, owner: None, actor: Actor::AUTHORITY };
    let named = |name: &str| NewProfile { name: Some(name.into()), ..NewProfile::default() };
    let context = marked_by(number);
    let changed = match number {
        0 => authority.register_subject(context, agent(), named("Nightly build"), true).await,
        1 => {
            let patch = ProfilePatch { max_sessions: PartChange::To(Some(9)), ..ProfilePatch::default() };
            authority.change_subject(context, agent(), patch, true).await
        }
        2 => {
            let reason = Some("stolen".into());
            let asked = NewSuspension { subject_id: agent(), by, until: None, reason };
            authority.suspend_subject(context, asked).await
        }
        3 => authority.resume_subject(context, agent(), by, Some("found")).await,
        4 => authority.register_subject(context, agent(), named("Weekly build"), true).await,
        other => unreachable!("{other}"),
    };
    changed.unwrap()
}

/// A repeated change of a subject, and of whether it is suspended, folded all that had ever happened to it, too.
#[tokio::test]
async fn a_repeat_about_a_subject_reads_its_own_commit_whatever_has_happened_since() {
    let (log, world) = faulty();
    let authority = &world.authority;
    let create = || authority.create_session(context(), NewSession::of(agent()));
    let session_id = create().await.unwrap().session.id;
    let mut firsts = Vec::new();
    for number in CHANGES {
        world.clock.advance(1).unwrap();
        firsts.push(change(authority, number).await);
        if number == 3 {
            let asked =
                RevocationRequest { session_id, by: Revoker::Admin, reject_renewal: None, reason: None };
            authority.revoke(context(), asked).await.unwrap();
        } else if number != 2 {
            create().await.unwrap();
        }
    }
    let counted: Vec<_> = firsts.iter().map(|first| first.active_sessions).collect();
    assert_eq!(counted, [1, 2, 3, 3, 2]);
    let suspended: Vec<_> =
        firsts.iter().map(|first| first.registration.standing.suspension.is_some()).collect();
    assert_eq!(suspended, [false, false, true, false, false]);

    for (number, first) in CHANGES.zip(&firsts) {
        log.take_reads();
        let again = change(authority, number).await;
        assert_eq!(log.take_reads(), 1, "of request {number}");
        assert_eq!(format!("{again:?}"), format!("{first:?}"), "of request {number}");
    }
}
