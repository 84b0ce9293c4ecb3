//! Uses of sessions that are not recorded one by one: every answer sees them at once, no decision rests on one that
//! the log does not hold, and a crash forgets little.

use std::sync::Arc;

use tenure::{
    authority::{GrantedSession, InactiveToken, NewSession, PublishedState},
    core::{
        Event, EventKind, Position, Seconds, SessionId, SessionMode, SubjectEvent, Timestamp,
        command::RequestedTerms, event::ExpiryCause, session::TokenFault,
    },
    log::{EventLog, MemoryLog},
    projections::history,
};

use crate::world::{World, context, world};

const IDLE: u32 = 100;

struct Used {
    world: World,
    log: Arc<MemoryLog>,
    session: GrantedSession,
    begun: Timestamp,
}

/// A session that ends after 100 s without use, and may be renewed after 150 s.
fn used(mode: SessionMode) -> Used {
    let log = Arc::new(MemoryLog::new());
    let world = world(Arc::clone(&log) as Arc<dyn EventLog>, 7);
    let begun = world.authority.now();
    let session = create(&world, mode).unwrap();
    Used { world, log, session, begun }
}

fn create(world: &World, mode: SessionMode) -> Option<GrantedSession> {
    create_of(world, "agent", mode)
}

fn create_of(world: &World, subject: &str, mode: SessionMode) -> Option<GrantedSession> {
    let idle_timeout = Some(Seconds(IDLE));
    let terms = RequestedTerms { ttl: Some(Seconds(300)), idle_timeout, mode, ..RequestedTerms::default() };
    let new = NewSession { terms, ..NewSession::of(subject.parse().unwrap()) };
    pollster::block_on(world.authority.create_session(context(), new)).ok()
}

impl Used {
    fn id(&self) -> SessionId {
        self.session.session.id
    }

    fn introspect(&self) -> Result<(), InactiveToken> {
        self.world.authority.introspect(self.session.token.expose()).map(drop)
    }

    fn pass(&self, seconds: u64) {
        self.world.clock.advance(seconds).unwrap();
    }

    fn last_seen(&self) -> Option<i64> {
        let seen = self.world.authority.live().session(self.id()).unwrap().last_seen_at()?;
        Some(seen.millis_since(self.begun) / 1000)
    }

    fn recorded_last_seen(&self) -> Option<i64> {
        let seen = self.world.authority.live().recorded_session(self.id()).unwrap().last_seen_at()?;
        Some(seen.millis_since(self.begun) / 1000)
    }

    /// The kinds of all events about sessions since the first was created.
    fn told(&self) -> Vec<EventKind> {
        let commits = self.log.read(Position::ZERO, 1_000).unwrap();
        let kinds = commits.iter().flat_map(|stored| stored.commit.events.iter().map(Event::kind));
        let about = kinds.skip_while(|kind| *kind != EventKind::SessionCreated).skip(1);
        about.collect()
    }
}

#[test]
fn a_use_is_seen_at_once_by_every_answer_and_appends_nothing() {
    let used = used(SessionMode::Fixed);
    let before = used.world.authority.live().position();
    used.pass(9);
    assert_eq!(used.introspect(), Ok(()));
    assert_eq!((used.last_seen(), used.recorded_last_seen()), (Some(9), Some(0)));
    let subject = used.world.authority.live().subject(&"agent".parse().unwrap()).unwrap();
    assert_eq!(subject.session(used.id()).unwrap().last_seen_at(), Some(used.begun.plus(Seconds(9))));
    pollster::block_on(used.world.authority.keep_uses(&[used.id()]));
    assert_eq!(used.world.authority.live().position(), before);
}

#[test]
fn a_use_a_tenth_of_the_idle_time_later_is_recorded_before_it_is_answered() {
    let used = used(SessionMode::Fixed);
    used.pass(10);
    assert_eq!(used.introspect(), Ok(()));
    pollster::block_on(used.world.authority.keep_uses(&[used.id()]));
    assert_eq!(used.recorded_last_seen(), Some(10));
    assert_eq!(used.told(), [EventKind::SessionsSeen]);
}

#[test]
fn a_stop_records_every_use() {
    let used = used(SessionMode::Fixed);
    used.pass(3);
    assert_eq!(used.introspect(), Ok(()));
    used.world.authority.stop();
    assert_eq!(used.told(), [EventKind::SessionsSeen]);
    assert_eq!(used.world.authority.uses_forgotten_before(), Ok(None));
}

#[test]
fn a_decision_that_a_use_makes_a_difference_to_finds_it_in_the_log() {
    let used = used(SessionMode::Fixed);
    used.pass(9);
    assert_eq!(used.introspect(), Ok(()));
    used.pass(96);
    // By the record alone it has been idle for 5 s.
    assert_eq!(used.recorded_last_seen(), Some(0));
    pollster::block_on(used.world.authority.sweep()).unwrap();
    assert_eq!((used.told(), used.recorded_last_seen()), (vec![EventKind::SessionsSeen], Some(9)));
    used.pass(3);
    assert_eq!(used.introspect(), Ok(()));
    used.pass(99);
    let holder = used.world.authority.holder(used.session.token.expose()).unwrap();
    pollster::block_on(used.world.authority.renew(context(), &holder, None)).unwrap();
    assert_eq!(used.told(), [EventKind::SessionsSeen, EventKind::SessionsSeen, EventKind::SessionRenewed]);
    // So the log alone leads to what is answered from.
    let live = used.world.authority.live();
    let rebuilt = history::state_at(&*used.log, live.position()).unwrap();
    assert!(rebuilt.to_bytes() == live.capture().to_bytes());
}

/// A list of expired sessions looks at these and at the recorded ones, and at no others: if they are not known, at all
/// that live.
#[test]
fn after_a_sweep_it_is_known_for_a_minute_what_may_have_expired_since() {
    let used = used(SessionMode::Fixed);
    let unrecorded = || {
        let authority = &used.world.authority;
        authority.unrecorded_ends(authority.now(), 10)
    };
    assert_eq!(unrecorded(), None);
    used.pass(50);
    pollster::block_on(used.world.authority.sweep()).unwrap();
    assert_eq!(unrecorded(), Some(vec![]));
    used.pass(59);
    assert_eq!(unrecorded(), Some(vec![used.id()]));
    used.pass(1);
    assert_eq!(unrecorded(), None, "others may have ended, too");
    pollster::block_on(used.world.authority.sweep()).unwrap();
    assert_eq!(unrecorded(), Some(vec![]));
}

#[test]
fn a_sweep_ends_an_idle_session_once_and_exactly() {
    let used = used(SessionMode::Fixed);
    used.pass(5);
    assert_eq!(used.introspect(), Ok(()));
    used.pass(99);
    assert_eq!(pollster::block_on(used.world.authority.sweep()).unwrap().recorded, 0);
    used.pass(1);
    assert!(matches!(used.introspect(), Err(InactiveToken::Fault(TokenFault::Idle, _))));
    assert_eq!(pollster::block_on(used.world.authority.sweep()).unwrap().recorded, 1);
    assert_eq!(pollster::block_on(used.world.authority.sweep()).unwrap().recorded, 0);
    let last = used.log.read(Position::ZERO, 1_000).unwrap().pop().unwrap();
    let Event::Subject(SubjectEvent::SessionExpired(expired)) = &last.commit.events[0] else {
        panic!("{last:?}")
    };
    assert_eq!((expired.expires_at, expired.cause), (used.begun.plus(Seconds(105)), ExpiryCause::Idle));
}

#[test]
fn a_sweep_of_what_is_due_ends_an_idle_session_when_it_ends() {
    let used = used(SessionMode::Fixed);
    let swept_after = |seconds| {
        used.pass(seconds);
        pollster::block_on(used.world.authority.sweep_due()).unwrap().recorded
    };
    assert_eq!(swept_after(0), 0);
    // Its period lasts 300 s.
    assert_eq!([swept_after(60), swept_after(39), swept_after(1), swept_after(1)], [0, 0, 1, 0]);
}

#[test]
fn a_sweep_of_what_is_due_looks_again_at_what_was_used_meanwhile() {
    let used = used(SessionMode::Fixed);
    let swept_after = |seconds| {
        used.pass(seconds);
        pollster::block_on(used.world.authority.sweep_due()).unwrap().recorded
    };
    used.pass(5);
    assert_eq!(used.introspect(), Ok(()));
    // By the record it ends after 100 s, by its last use after 105 s.
    assert_eq!([swept_after(55), swept_after(40), swept_after(4), swept_after(1)], [0, 0, 0, 1]);
    let last = used.log.read(Position::ZERO, 1_000).unwrap().pop().unwrap();
    let Event::Subject(SubjectEvent::SessionExpired(expired)) = &last.commit.events[0] else {
        panic!("{last:?}")
    };
    assert_eq!(expired.expires_at, used.begun.plus(Seconds(105)));
}

#[test]
fn of_however_many_uses_the_caller_s_own_are_recorded_before_it_is_answered() {
    let used = used(SessionMode::Fixed);
    let others =
        (0..1_000).map(|n| create_of(&used.world, &format!("agent-{n}"), SessionMode::Fixed).unwrap());
    let sessions: Vec<_> = others.collect();
    used.pass(10);
    for session in &sessions {
        used.world.authority.introspect(session.token.expose()).unwrap();
    }
    assert_eq!(used.introspect(), Ok(()));
    // One more than are recorded together: the last by its id is not among the first.
    let last = sessions.iter().map(|session| session.session.id).max().unwrap();
    pollster::block_on(used.world.authority.keep_uses(&[last]));
    let recorded = used.world.authority.live().recorded_session(last).unwrap();
    assert_eq!(recorded.last_seen_at(), Some(used.begun.plus(Seconds(10))));
}

#[test]
fn what_is_granted_because_a_session_is_idle_is_not_undone_by_a_crash() {
    let used = used(SessionMode::Fixed);
    // Two more: as many as the subject may have.
    for _ in 0..2 {
        assert!(create(&used.world, SessionMode::Fixed).is_some());
    }
    assert!(create(&used.world, SessionMode::Fixed).is_none());
    used.pass(u64::from(IDLE));
    assert!(create(&used.world, SessionMode::Fixed).is_some());
    assert_eq!(used.told().iter().filter(|kind| **kind == EventKind::SessionExpired).count(), 3);

    let live = used.world.authority.live();
    let state = history::state_at(&*used.log, live.position()).unwrap();
    let now = used.world.authority.now();
    let after_a_crash = PublishedState::new(state, Some(now));
    let subject = after_a_crash.subject(&"agent".parse().unwrap()).unwrap();
    assert_eq!(subject.active_count(now), 1);
}

#[test]
fn after_a_crash_a_session_counts_as_seen_a_tenth_later_and_no_later_than_the_start() {
    let used = used(SessionMode::Fixed);
    let live = used.world.authority.live();
    let state = || history::state_at(&*used.log, live.position()).unwrap();
    for (started, seen) in [(0, 0), (4, 4), (10, 10), (50, 10)] {
        let live = PublishedState::new(state(), Some(used.begun.plus(Seconds(started))));
        let session = live.session(used.id()).unwrap();
        assert_eq!(session.last_seen_at(), Some(used.begun.plus(Seconds(seen))), "started after {started} s");
        assert_eq!(live.recorded_session(used.id()).unwrap().last_seen_at(), Some(used.begun));
    }
    let session = PublishedState::new(state(), None).session(used.id()).unwrap();
    assert_eq!(session.last_seen_at(), Some(used.begun));
}

#[test]
fn of_many_refreshes_at_once_one_is_recorded() {
    let used = used(SessionMode::Sliding);
    used.pass(50);
    let holder = used.world.authority.holder(used.session.token.expose()).unwrap();
    let refreshed = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| pollster::block_on(used.world.authority.refresh(context(), &holder)).unwrap())
            })
            .collect();
        asking.into_iter().filter_map(|thread| thread.join().unwrap()).count()
    });
    assert_eq!(refreshed, 1);
    assert_eq!(used.told(), [EventKind::SessionRefreshed]);
    assert_eq!(used.recorded_last_seen(), Some(50));
}
