//! Bulk revocation while others are at work: what the answer says has ended is over for every look from then on,
//! though it is written into the sessions only afterwards, and the log alone leads to the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use tenure::{
    authority::{
        AskedBulk, Authority, Failure, Granted, Inactive, NewSession, Revocation, RevokedInBulk, Selection,
    },
    domain::{
        Event, Position, Seconds, SessionId,
        command::{AskedTerms, Revoker},
        event::Trigger,
        refusal::Refusal,
        session::TokenFault,
    },
    log::{EventLog, MemoryLog},
    projections::history,
};

use crate::world::{World, context, world};

/// More subjects than are settled between two batches, so that the answer comes before that is done.
const SUBJECTS: usize = 1_500;
/// So many renew at the same time.
const RENEWERS: usize = 4;

/// Many sessions, one of each subject; all may be renewed.
struct Fleet {
    world: World,
    log: Arc<MemoryLog>,
    sessions: Vec<Granted>,
}

fn name(number: usize) -> String {
    format!("agent-{number}")
}

fn create(authority: &Authority, number: usize, terms: AskedTerms) -> Granted {
    let new = NewSession { terms, ..NewSession::of(name(number).parse().unwrap()) };
    pollster::block_on(authority.create_session(context(), new)).unwrap().now().unwrap()
}

impl Fleet {
    fn of(subjects: usize, terms: AskedTerms) -> Self {
        let log = Arc::new(MemoryLog::new());
        let world = world(Arc::clone(&log) as Arc<dyn EventLog>, 5);
        let sessions = (0..subjects).map(|number| create(&world.authority, number, terms)).collect();
        Self { world, log, sessions }
    }

    fn end(&self, selection: Selection) -> RevokedInBulk {
        let asked = AskedBulk { selection, reason: "an incident".to_owned() };
        pollster::block_on(self.world.authority.revoke_matching(context(), asked)).unwrap().now().unwrap()
    }

    /// Renews a session: where that is recorded, or that it was too late.
    fn renew(&self, session: &Granted) -> Option<Granted> {
        let authority = &self.world.authority;
        let holder = authority.holder(session.token.expose()).unwrap();
        match pollster::block_on(authority.renew(context(), &holder, None)) {
            Ok(renewed) => Some(renewed),
            Err(Failure::Refused { refusal: Refusal::SessionRevoked { .. }, .. }) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn are_over(&self, sessions: &[Granted], at: Position) {
        for session in sessions {
            self.is_over(session, at);
        }
    }

    /// That a session has ended, by every way to look at it.
    #[track_caller]
    fn is_over(&self, session: &Granted, at: Position) {
        let live = self.world.authority.live();
        let (id, subject) = (session.session.id, &session.session.subject);
        let looks = [
            live.session(id),
            live.recorded_session(id),
            live.subject(subject).and_then(|subject| subject.session(id).cloned()),
            live.recorded_subject(subject).and_then(|subject| subject.session(id).cloned()),
        ];
        for look in looks {
            let look = look.unwrap();
            assert_eq!(
                look.revocation.as_ref().map(|ended| (ended.position, ended.trigger)),
                Some((at, Trigger::Bulk))
            );
        }
        let judged = self.world.authority.introspect(session.token.expose());
        assert_eq!(judged.unwrap_err(), Inactive::Fault(TokenFault::Revoked, at));
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
    let fleet = Fleet::of(SUBJECTS, AskedTerms::default());
    let ended = fleet.end(Selection::default());
    let at = ended.position.unwrap();
    assert_eq!(ended.matched, u32::try_from(SUBJECTS).unwrap());
    fleet.are_over(&fleet.sessions, at);
    // Whoever comes after it is not meant.
    let later = create(&fleet.world.authority, 0, AskedTerms::default());
    assert!(fleet.world.authority.introspect(later.token.expose()).is_ok());
    fleet.is_over(&fleet.sessions[0], at);
    fleet.agrees();
}

#[test]
fn a_renewal_is_granted_before_it_and_ended_by_it_or_is_refused() {
    let fleet = Fleet::of(SUBJECTS, AskedTerms::default());
    fleet.world.clock.advance(43_200).unwrap();
    let (granted, is_answered) = (AtomicUsize::new(0), AtomicBool::new(false));
    let renew_all = |sessions: &[Granted]| {
        let (last, first) = sessions.split_last().unwrap();
        let mut renewed = vec![];
        for session in first {
            renewed.extend(fleet.renew(session));
            granted.store(granted.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        while !is_answered.load(Ordering::Acquire) {
            thread::yield_now();
        }
        assert!(fleet.renew(last).is_none(), "after the answer");
        renewed
    };
    let (at, renewed) = thread::scope(|scope| {
        let renewing: Vec<_> = fleet
            .sessions
            .chunks(SUBJECTS / RENEWERS)
            .map(|sessions| scope.spawn(|| renew_all(sessions)))
            .collect();
        while granted.load(Ordering::Relaxed) < SUBJECTS / 10 {
            thread::yield_now();
        }
        let ended = fleet.end(Selection::default());
        let at = ended.position.unwrap();
        // Others are still at it.
        fleet.are_over(&fleet.sessions, at);
        is_answered.store(true, Ordering::Release);
        assert_eq!(ended.matched, u32::try_from(SUBJECTS).unwrap(), "renewed or not, each lived");
        (at, renewing.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>())
    });
    assert!(!renewed.is_empty());
    assert!(renewed.iter().all(|session| session.position.unwrap() < at));
    fleet.are_over(&renewed, at);
    assert_eq!(fleet.recorded_after(at), []);
    fleet.agrees();
}

/// Single revocations are as urgent as bulk ones, so both often come into one batch.
#[test]
fn each_session_is_ended_once_whoever_comes_first() {
    const EACH: usize = 400;
    let fleet = Fleet::of(EACH, AskedTerms::default());
    let others: Vec<_> =
        (0..EACH).map(|number| create(&fleet.world.authority, number, AskedTerms::default())).collect();
    let end_one = |session: &Granted| {
        let asked = Revocation {
            session_id: session.session.id,
            by: Revoker::Admin,
            reject_renewal: None,
            reason: None,
        };
        let ended = pollster::block_on(fleet.world.authority.revoke(context(), asked)).unwrap();
        assert_eq!(ended.now().unwrap().session_id, session.session.id);
    };
    let matched: u32 = thread::scope(|scope| {
        for sessions in [&fleet.sessions, &others] {
            scope.spawn(move || sessions.iter().step_by(2).for_each(end_one));
        }
        let of_subject =
            |number| Selection { subject_id: Some(name(number).parse().unwrap()), ..Selection::default() };
        (0..EACH).map(|number| fleet.end(of_subject(number)).matched).sum()
    });
    let live = fleet.world.authority.live();
    let triggers: Vec<_> = fleet
        .sessions
        .iter()
        .chain(&others)
        .map(|session| live.session(session.session.id).unwrap().revocation.as_ref().unwrap().trigger)
        .collect();
    let in_bulk = triggers.iter().filter(|trigger| **trigger == Trigger::Bulk).count();
    assert_eq!(u32::try_from(in_bulk).unwrap(), matched);
    fleet.agrees();
}

#[test]
fn a_use_that_is_noted_and_not_recorded_keeps_a_session_in_reach_and_changes_nothing_afterwards() {
    let terms = AskedTerms { idle_timeout: Some(Seconds(100)), ..AskedTerms::default() };
    let fleet = Fleet::of(300, terms);
    let authority = &fleet.world.authority;
    fleet.world.clock.advance(9).unwrap();
    let (used, unused) = fleet.sessions.split_at(100);
    assert!(used.iter().all(|session| authority.introspect(session.token.expose()).is_ok()));
    fleet.world.clock.advance(95).unwrap();
    // By the records alone all are idle now, and those that were used live.
    let is_idle = |session: &Granted| {
        matches!(authority.introspect(session.token.expose()), Err(Inactive::Fault(TokenFault::Idle, _)))
    };
    assert!(unused.iter().all(is_idle) && !used.iter().any(is_idle));
    let last_used: Vec<SessionId> = used.iter().map(|session| session.session.id).collect();
    let at = thread::scope(|scope| {
        scope.spawn(|| pollster::block_on(authority.keep_uses(&last_used)));
        fleet.end(Selection::default()).position.unwrap()
    });
    fleet.are_over(used, at);
    pollster::block_on(authority.keep_uses(&last_used));
    pollster::block_on(authority.sweep()).unwrap();
    fleet.agrees();
    authority.stop();
    fleet.are_over(used, at);
    assert_eq!(fleet.recorded_after(at), [], "neither a use nor an end by itself");
    fleet.agrees();
}
