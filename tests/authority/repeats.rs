//! What has its own rule for repeats takes no notice of the mark of an idempotent request.

use std::sync::Arc;

use tenure::{
    authority::{GrantedSession, NewCredential, NewSession, RequestContext},
    core::{Digest16, Seconds, SessionMode, command::RequestedTerms, commit::IdempotencyMark, event::Role},
    entropy::SeededEntropy,
    log::MemoryLog,
    tokens::ApiKey,
};

use crate::world::{World, context, world};

fn marked() -> RequestContext {
    let digest = |byte| Digest16::from_bytes([byte; 16]);
    RequestContext { idempotency: Some(IdempotencyMark { key: digest(1), request: digest(2) }), ..context() }
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
    assert_eq!((again.session.generation, again.position), (first.session.generation, None));
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
