//! A disk with room for ends alone: what a token brings to an end it ends there too.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tenure::{
    authority::{Authority, CommandError, DiskRoom, GrantedSession, NewProfile, NewSession, NewUse},
    core::{budget::SessionUse, event::EndTrigger, policy::OnReuse, refusal::Refusal},
    log::{EventLog, MemoryLog},
};

use crate::world::{World, context, world_by};

const MEBIBYTE: u64 = 1 << 20;

/// A contested session, and a disk that has got nearly full since; its newer token.
async fn contested() -> (World, GrantedSession) {
    let free = Arc::new(AtomicU64::new(1_000 * MEBIBYTE));
    let told = Arc::clone(&free);
    let room = DiskRoom::new(Arc::new(move || Ok(told.load(Ordering::SeqCst))), 64 * MEBIBYTE);
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
    let world = world_by(log, 7, room, |clock| clock);
    let mut new = NewSession::of("agent".parse().unwrap());
    new.terms.on_reuse = Some(OnReuse::Revoke);
    let first = world.authority.create_session(context(), new).await.unwrap();
    world.clock.advance(u64::from(first.session.terms.ttl.0) * 6 / 10).unwrap();
    let second = renew(&world.authority, &first).await.unwrap();
    world.clock.advance(60).unwrap();
    let refused = renew(&world.authority, &first).await.unwrap_err();
    assert!(
        matches!(refused, CommandError::Refused { refusal: Refusal::RenewalMismatch { .. }, .. }),
        "{refused}"
    );
    free.store(64 * MEBIBYTE, Ordering::SeqCst);
    (world, second)
}

async fn renew(authority: &Authority, granted: &GrantedSession) -> Result<GrantedSession, CommandError> {
    let holder = authority.holder(granted.token.expose()).unwrap();
    authority.renew(context(), &holder, None).await
}

/// A holder whose reply was lost asked for it again with its key, and was refused because there was no room for what is
/// not written: an agent lost its session to a disk that was nearly full.
#[tokio::test]
async fn what_adds_nothing_is_answered_whatever_room_there_is() {
    for mebibytes in [64, 8] {
        let free = Arc::new(AtomicU64::new(1_000 * MEBIBYTE));
        let told = Arc::clone(&free);
        let room = DiskRoom::new(Arc::new(move || Ok(told.load(Ordering::SeqCst))), 64 * MEBIBYTE);
        let log: Arc<dyn EventLog> = Arc::new(MemoryLog::default());
        let world = world_by(Arc::clone(&log), 7, room, |clock| clock);
        let authority = &world.authority;
        let first =
            authority.create_session(context(), NewSession::of("agent".parse().unwrap())).await.unwrap();
        world.clock.advance(u64::from(first.session.terms.ttl.0) * 6 / 10).unwrap();
        let holder = authority.holder(first.token.expose()).unwrap();
        let lost = authority.renew(context(), &holder, Some("lost")).await.unwrap();
        let before = log.head().position;
        free.store(mebibytes * MEBIBYTE, Ordering::SeqCst);

        let again = authority.renew(context(), &holder, Some("lost")).await.unwrap();
        assert_eq!((again.session.generation(), again.position), (lost.session.generation(), lost.position));
        assert!(authority.holder(again.token.expose()).unwrap().judge(authority.now()).is_ok());
        let unchanged = NewProfile::default();
        let registered =
            authority.register_subject(context(), "agent".parse().unwrap(), unchanged, true).await;
        assert_eq!(registered.unwrap().position, None);
        // What would be recorded is refused as before: a renewal, and the refusal of one.
        let holder = authority.holder(again.token.expose()).unwrap();
        for key in ["next", "lost"] {
            let full = authority.renew(context(), &holder, Some(key)).await.unwrap_err();
            assert!(matches!(full, CommandError::StorageUnavailable { .. }), "{full}");
        }
        assert_eq!(log.head().position, before);
    }
}

#[track_caller]
fn is_ended_for_reuse(failure: &CommandError) {
    let trigger = EndTrigger::TokenReuse;
    let CommandError::Refused { refusal: Refusal::SessionRevoked { trigger: told, .. }, .. } = failure else {
        panic!("{failure}");
    };
    assert_eq!(*told, trigger);
}

/// A renewal and a use were refused for want of room before it was seen that they end the session.
#[tokio::test]
async fn a_renewal_by_the_newer_token_ends_a_contested_session() {
    let (world, second) = contested().await;
    is_ended_for_reuse(&renew(&world.authority, &second).await.unwrap_err());
}

#[tokio::test]
async fn a_usage_by_the_newer_token_ends_a_contested_session() {
    let (world, second) = contested().await;
    let wanted = || SessionUse { operation: "pay".into(), amount: None, destination: None };
    let used = |generation| NewUse { session_id: second.session.id, generation, wanted: wanted() };
    let on_behalf = world.authority.record_usage(context(), used(None)).await.unwrap_err();
    assert!(matches!(on_behalf, CommandError::StorageUnavailable { .. }), "{on_behalf}");
    let shown = used(Some(second.session.generation()));
    is_ended_for_reuse(&world.authority.record_usage(context(), shown).await.unwrap_err());
}
