//! Bulk revocation while others are at work: what the answer says has ended is over for every look from then on,
//! though it is written into the sessions only afterwards, and the log alone leads to the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tenure::{
    authority::{
        AskedBulk, Authority, BulkResult, CommandError, GrantedSession, InactiveToken, NewSession,
        RevocationRequest, SessionSelection,
    },
    clock::stopwatch,
    core::{
        Event, KeyUse, Position, Seconds, SessionId, SessionMode, SystemEvent,
        command::{RequestedTerms, Revoker},
        event::EndTrigger,
        keys::RetireMode,
        refusal::Refusal,
        session::TokenFault,
        subject::SharedSession,
    },
    log::{EventLog, MemoryLog},
    projections::history,
};

use crate::{
    faults::faulty,
    world::{World, context, world},
};

/// More subjects than are settled between two batches, so that the answer comes before that is done.
const SUBJECTS: usize = 1_500;
/// So many renew at the same time.
const RENEWERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// Many sessions, one of each subject; all may be renewed.
struct Fleet<L> {
    world: World,
    log: Arc<L>,
    sessions: Vec<GrantedSession>,
}

/// Waits for something that comes soon, or never.
#[track_caller]
fn wait_until(has_come: impl Fn() -> bool) {
    let begun = stopwatch();
    while !has_come() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        thread::yield_now();
    }
}

fn name(number: usize) -> String {
    format!("agent-{number}")
}

fn create(authority: &Authority, number: usize, terms: RequestedTerms) -> GrantedSession {
    let new = NewSession { terms, ..NewSession::of(name(number).parse().unwrap()) };
    pollster::block_on(authority.create_session(context(), new)).unwrap()
}

impl Fleet<MemoryLog> {
    fn of(subjects: usize, terms: RequestedTerms) -> Self {
        let log = Arc::new(MemoryLog::new());
        let world = world(Arc::clone(&log) as Arc<dyn EventLog>, 5);
        Fleet::on(log, world, subjects, terms)
    }
}

impl<L: EventLog> Fleet<L> {
    fn on(log: Arc<L>, world: World, subjects: usize, terms: RequestedTerms) -> Self {
        let sessions = (0..subjects).map(|number| create(&world.authority, number, terms)).collect();
        Self { world, log, sessions }
    }

    fn end(&self, selection: SessionSelection) -> BulkResult {
        let asked = AskedBulk { selection, reason: "an incident".to_owned() };
        pollster::block_on(self.world.authority.revoke_matching(context(), asked)).unwrap()
    }

    fn end_one(&self, session: &GrantedSession) {
        let asked = RevocationRequest {
            session_id: session.session.id,
            by: Revoker::Admin,
            reject_renewal: None,
            reason: None,
        };
        let ended = pollster::block_on(self.world.authority.revoke(context(), asked)).unwrap();
        assert_eq!(ended.session_id, session.session.id);
    }

    /// Renews a session: where that is recorded, or that it was too late.
    fn renew(&self, session: &GrantedSession) -> Option<GrantedSession> {
        let authority = &self.world.authority;
        let holder = authority.holder(session.token.expose()).unwrap();
        match pollster::block_on(authority.renew(context(), &holder, None)) {
            Ok(renewed) => Some(renewed),
            Err(CommandError::Refused { refusal: Refusal::SessionRevoked { .. }, .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn are_over(&self, sessions: &[GrantedSession], at: Position) {
        for session in sessions {
            self.is_over(session, at);
        }
    }

    /// That a session has ended, by every way to look at it.
    #[track_caller]
    fn is_over(&self, session: &GrantedSession, at: Position) {
        let live = self.world.authority.live();
        let (id, subject) = (session.session.id, &session.session.subject);
        let looks = [
            live.session(id),
            live.recorded_session(id),
            live.subject(subject).and_then(|subject| SharedSession::of(subject, id)),
            live.recorded_subject(subject).and_then(|subject| SharedSession::of(subject, id)),
        ];
        for look in looks {
            let look = look.unwrap();
            assert_eq!(
                look.revocation().map(|ended| (ended.position, ended.trigger)),
                Some((at, EndTrigger::Bulk))
            );
        }
        let judged = self.world.authority.introspect(session.token.expose());
        assert_eq!(judged.unwrap_err(), InactiveToken::Fault(TokenFault::Revoked(EndTrigger::Bulk), at));
    }

    /// That the log alone leads to what is answered from.
    #[track_caller]
    fn agrees(&self) {
        let live = self.world.authority.live();
        let rebuilt = history::state_at(&*self.log, live.position()).unwrap();
        assert!(rebuilt.to_bytes() == live.capture().to_bytes());
    }

    /// Of what is recorded after a position, what is about sessions.
    fn recorded_after(&self, position: Position) -> Vec<Event> {
        let commits = self.log.read(position, 10_000).unwrap();
        commits.iter().flat_map(|stored| stored.commit.events.clone()).collect()
    }
}

#[test]
fn all_that_it_ended_is_over_with_the_answer_and_stays_so_while_it_is_settled() {
    let fleet = Fleet::of(SUBJECTS, RequestedTerms::default());
    let ended = fleet.end(SessionSelection::default());
    let at = ended.position.unwrap();
    assert_eq!(ended.matched, u32::try_from(SUBJECTS).unwrap());
    fleet.are_over(&fleet.sessions, at);
    // Whoever comes after it is not meant.
    let later = create(&fleet.world.authority, 0, RequestedTerms::default());
    assert!(fleet.world.authority.introspect(later.token.expose()).is_ok());
    fleet.is_over(&fleet.sessions[0], at);
    fleet.agrees();
}

/// Every session was looked at for a caller that had left.
#[test]
fn a_look_at_what_would_end_stops_when_nobody_waits_for_it() {
    let fleet = Fleet::of(50, RequestedTerms::default());
    let matched = |is_wanted: bool| {
        let look = fleet.world.authority.matching_while(&|| is_wanted, &SessionSelection::default());
        look.unwrap().matched
    };
    assert_eq!((matched(true), matched(false)), (50, 0));
}

#[test]
fn a_renewal_is_granted_before_it_and_ended_by_it_or_is_refused() {
    let fleet = Fleet::of(SUBJECTS, RequestedTerms::default());
    fleet.world.clock.advance(43_200).unwrap();
    let (granted, is_answered) = (AtomicUsize::new(0), AtomicBool::new(false));
    let renew_all = |sessions: &[GrantedSession]| {
        let (last, first) = sessions.split_last().unwrap();
        let mut renewed = vec![];
        for session in first {
            renewed.extend(fleet.renew(session));
            granted.fetch_add(1, Ordering::Relaxed);
        }
        wait_until(|| is_answered.load(Ordering::Acquire));
        assert!(fleet.renew(last).is_none(), "after the answer");
        renewed
    };
    let (at, renewed) = thread::scope(|scope| {
        let renewing: Vec<_> = fleet
            .sessions
            .chunks(SUBJECTS / RENEWERS)
            .map(|sessions| scope.spawn(|| renew_all(sessions)))
            .collect();
        wait_until(|| granted.load(Ordering::Relaxed) >= SUBJECTS / 10);
        let ended = fleet.end(SessionSelection::default());
        is_answered.store(true, Ordering::Release);
        // Others are still at it.
        let at = ended.position.unwrap();
        fleet.are_over(&fleet.sessions, at);
        assert_eq!(ended.matched, u32::try_from(SUBJECTS).unwrap(), "renewed or not, each lived");
        (at, renewing.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    });
    assert!(!renewed.is_empty());
    assert!(renewed.iter().all(|session| session.position.unwrap() < at));
    fleet.are_over(&renewed, at);
    assert_eq!(fleet.recorded_after(at), []);
    fleet.agrees();
}

/// Single revocations are as urgent as bulk ones, so all come into one batch.
#[test]
fn what_was_ended_earlier_in_the_same_batch_is_not_counted() {
    let of_subject =
        SessionSelection { subject_id: Some(name(1).parse().unwrap()), ..SessionSelection::default() };
    for (selection, expected) in [(SessionSelection::default(), 3), (of_subject, 1)] {
        let (log, world) = faulty();
        let fleet = Fleet::on(log, world, 4, RequestedTerms::default());
        let other = create(&fleet.world.authority, 1, RequestedTerms::default());
        let gate = fleet.log.hold();
        let wait_for = |count| wait_until(|| fleet.world.authority.waiting() == count);
        let matched = thread::scope(|scope| {
            scope.spawn(|| fleet.end_one(&fleet.sessions[0]));
            wait_until(|| fleet.log.is_held());
            scope.spawn(|| fleet.end_one(&other));
            wait_for(1);
            let bulk = scope.spawn(|| fleet.end(selection).matched);
            wait_for(2);
            drop(gate);
            bulk.join().unwrap()
        });
        assert_eq!(matched, expected);
        fleet.agrees();
    }
}

/// When the request came in, the key was still the one that seals.
#[test]
fn a_rotation_that_comes_first_says_until_when_the_key_sealed() {
    let (log, world) = faulty();
    rotate(&world.authority);
    let fleet = Fleet::on(log, world, 3, RequestedTerms::default());
    let authority = &fleet.world.authority;
    let key = || authority.live().system().system.keys.of(KeyUse::Session).last().unwrap().clone();
    let before = key();
    let selection = SessionSelection { key_id: Some(before.id.clone()), ..SessionSelection::default() };
    let gate = fleet.log.hold();
    let ended = thread::scope(|scope| {
        scope.spawn(|| rotate(authority));
        wait_until(|| fleet.log.is_held());
        let bulk = scope.spawn(|| fleet.end(selection));
        wait_until(|| authority.waiting() == 1);
        drop(gate);
        bulk.join().unwrap()
    });
    assert_eq!(ended.matched, 3);
    let recorded = fleet.recorded_after(Position(ended.position.unwrap().0 - 1));
    let [Event::System(SystemEvent::SelectionRevoked(event))] = &recorded[..] else { panic!("{recorded:?}") };
    let sealed_by = event.selector.sealed_by.clone().unwrap();
    assert_eq!((sealed_by.key_id, sealed_by.until), (before.id.clone(), Some(key().since)));
    assert_ne!(key().id, before.id);
    fleet.agrees();
}

fn rotate(authority: &Authority) {
    let rotated = authority.rotate_key(context(), KeyUse::Session, RetireMode::Now);
    assert!(pollster::block_on(rotated).is_ok());
}

#[test]
fn each_session_is_ended_once_whoever_comes_first() {
    const EACH: usize = 400;
    let fleet = Fleet::of(EACH, RequestedTerms::default());
    let others: Vec<_> =
        (0..EACH).map(|number| create(&fleet.world.authority, number, RequestedTerms::default())).collect();
    let matched: u32 = thread::scope(|scope| {
        for sessions in [&fleet.sessions, &others] {
            scope.spawn(|| sessions.iter().step_by(2).for_each(|session| fleet.end_one(session)));
        }
        let of_subject = |number| SessionSelection {
            subject_id: Some(name(number).parse().unwrap()),
            ..SessionSelection::default()
        };
        (0..EACH).map(|number| fleet.end(of_subject(number)).matched).sum()
    });
    let live = fleet.world.authority.live();
    let triggers: Vec<_> = fleet
        .sessions
        .iter()
        .chain(&others)
        .map(|session| live.session(session.session.id).unwrap().revocation().unwrap().trigger)
        .collect();
    let in_bulk = triggers.iter().filter(|trigger| **trigger == EndTrigger::Bulk).count();
    assert_eq!(u32::try_from(in_bulk).unwrap(), matched);
    fleet.agrees();
}

#[test]
fn a_use_that_is_noted_and_not_recorded_keeps_a_session_in_reach_and_changes_nothing_afterwards() {
    for mode in [SessionMode::Fixed, SessionMode::Sliding] {
        let terms = RequestedTerms { idle_timeout: Some(Seconds(100)), mode, ..RequestedTerms::default() };
        noted_and_ended(&Fleet::of(300, terms));
    }
}

fn noted_and_ended(fleet: &Fleet<MemoryLog>) {
    let authority = &fleet.world.authority;
    fleet.world.clock.advance(9).unwrap();
    let (used, unused) = fleet.sessions.split_at(100);
    assert!(used.iter().all(|session| authority.introspect(session.token.expose()).is_ok()));
    fleet.world.clock.advance(95).unwrap();
    // By the records alone all are idle now, and those that were used live.
    let is_idle = |session: &GrantedSession| {
        matches!(authority.introspect(session.token.expose()), Err(InactiveToken::Fault(TokenFault::Idle, _)))
    };
    assert!(unused.iter().all(is_idle) && !used.iter().any(is_idle));
    let last_used: Vec<SessionId> = used.iter().map(|session| session.session.id).collect();
    let at = thread::scope(|scope| {
        scope.spawn(|| pollster::block_on(authority.keep_uses(&last_used)));
        fleet.end(SessionSelection::default()).position.unwrap()
    });
    fleet.are_over(used, at);
    pollster::block_on(authority.keep_uses(&last_used));
    pollster::block_on(authority.sweep()).unwrap();
    for session in used {
        let holder = authority.holder(session.token.expose()).unwrap();
        assert!(!matches!(pollster::block_on(authority.refresh(context(), &holder)), Ok(Some(_))));
    }
    fleet.agrees();
    authority.stop();
    fleet.are_over(used, at);
    assert_eq!(fleet.recorded_after(at), [], "neither a use nor an end by itself");
    fleet.agrees();
}
