//! Sessions that end when nobody uses them, and sliding ones (sections 0, 3 and 9).

use tenure::core::{
    Event, Generation, Position, Seconds, SessionMode, SubjectEvent, SystemEvent, Timestamp,
    command::{Command, RefreshSession, RequestedTerms, SystemCommand},
    commit::EventMeta,
    event::{
        ExpiryCause, RejectionCode, SessionCreated, SessionExpired, SessionRefreshed, SessionSeen,
        SessionTerms, SessionsSeen,
    },
    fold::mark_seen,
    refusal::{FieldError, Refusal},
    session::{SessionStatus, TokenFault},
    state::AuthorityState,
};

use crate::scenario::*;

/// Ends after 100 s without use.
const IDLE: SessionTerms = SessionTerms { idle_timeout: Some(Seconds(100)), ..TERMS };
const SLIDING: SessionTerms =
    SessionTerms { idle_timeout: Some(Seconds(101)), mode: SessionMode::Sliding, max_renewals: 0, ..TERMS };
const FIRST: Generation = Generation::FIRST;
const ASK: RequestedTerms = RequestedTerms {
    ttl: None,
    max_renewals: None,
    absolute_lifetime: None,
    renewal_reject_window: None,
    idle_timeout: None,
    mode: SessionMode::Fixed,
    on_reuse: None,
    purpose: None,
};

fn begun(terms: SessionTerms) -> Scenario {
    Scenario::given([registered(), began_under(terms, 1, 0)])
}

fn seen(number: u32, at: Timestamp, recorded: u32) -> Fact {
    let seen = vec![SessionSeen { session_id: session(number), seen_at: at }];
    Fact::of_system(Event::System(SystemEvent::SessionsSeen(SessionsSeen { seen })), after(recorded))
}

fn refresh() -> Command {
    Command::RefreshSession(RefreshSession { session_id: session(1), generation: FIRST })
}

fn refreshed(seconds: u32) -> Event {
    Event::Subject(SubjectEvent::SessionRefreshed(SessionRefreshed {
        session_id: session(1),
        expires_at: after(seconds),
    }))
}

fn is_idle_expiry(seconds: u32) -> Event {
    Event::Subject(SubjectEvent::SessionExpired(SessionExpired {
        session_id: session(1),
        expires_at: after(seconds),
        cause: ExpiryCause::Idle,
    }))
}

/// The terms that a create gets.
fn granted(asked: RequestedTerms, idle_setting: Option<u32>) -> SessionTerms {
    let mut granted = None;
    Scenario::given([registered()])
        .under(|policy| policy.idle_timeout = idle_setting.map(Seconds))
        .when(create(1, asked), T0)
        .then_one(|event| {
            let Event::Subject(SubjectEvent::SessionCreated(SessionCreated { terms, .. })) = event else {
                panic!("{event:?}")
            };
            granted = Some(*terms);
        });
    granted.expect("it was granted")
}

#[test]
fn idle_is_exactly_from_the_last_use_and_the_idle_time_on() {
    let scenario = begun(IDLE);
    let session = scenario.session(1);
    assert_eq!(session.judge(FIRST, None, just_before(100)), Ok(()));
    assert_eq!(session.judge(FIRST, None, after(100)), Err(TokenFault::Idle));
    assert_eq!(session.cause_of(TokenFault::Idle), Position(2));
    assert_eq!(session.status(just_before(100)), SessionStatus::Active);
    assert_eq!(session.status(after(100)), SessionStatus::Expired);

    let scenario = scenario.and([seen(1, after(60), 61)]);
    let session = scenario.session(1);
    assert_eq!(session.last_seen_at(), Some(after(60)));
    assert_eq!(session.judge(FIRST, None, just_before(160)), Ok(()));
    assert_eq!(session.judge(FIRST, None, after(160)), Err(TokenFault::Idle));
    assert_eq!(session.cause_of(TokenFault::Idle), Position(3));
}

#[test]
fn the_end_of_the_period_stands_before_the_idle_end_and_a_newer_token_before_both() {
    let scenario = begun(SessionTerms { idle_timeout: Some(Seconds(1_000)), ..TERMS });
    assert_eq!(scenario.session(1).judge(FIRST, None, after(1_000)), Err(TokenFault::Expired));
    assert_eq!(scenario.session(1).judge(Generation(2), None, after(1_000)), Err(TokenFault::Superseded));
    assert_eq!(scenario.session(1).expiry_cause(), ExpiryCause::Ttl);
}

#[test]
fn a_renewal_counts_as_seen() {
    let long = SessionTerms { idle_timeout: Some(Seconds(600)), ..TERMS };
    let scenario = begun(long).and([renewed_under(long, 2, 500)]);
    assert_eq!(scenario.session(1).last_seen_at(), Some(after(500)));
    assert_eq!(scenario.session(1).judge(Generation(2), None, just_before(1_100)), Ok(()));
    assert_eq!(scenario.session(1).judge(Generation(2), None, after(1_100)), Err(TokenFault::Idle));
}

#[test]
fn row_5_refuses_an_idle_session_and_that_is_recorded_once() {
    let refusal = || Refusal::SessionIdle { caused_by: Position(2) };
    begun(IDLE)
        .when(renew(1), after(100))
        .then_refused_and_recorded(refusal(), [is_refused(1, RejectionCode::SessionIdle)])
        .when(renew(1), after(101))
        .then_refused(refusal());
}

#[test]
fn an_idle_session_expires_once_at_its_idle_end_and_no_use_revives_it() {
    let expired = begun(IDLE)
        .when(Command::RecordExpiries, just_before(100))
        .then_nothing()
        .when(Command::RecordExpiries, after(100))
        .then([is_idle_expiry(100)])
        .when(Command::RecordExpiries, after(1_000))
        .then_nothing();
    let still = expired.and([seen(1, after(99), 101)]);
    assert_eq!(still.session(1).last_seen_at(), Some(T0));
}

#[test]
fn an_idle_session_makes_room() {
    let one = |policy: &mut tenure::core::Policy| policy.per_subject = 1;
    begun(IDLE).under(one).when(create(2, ASK), just_before(100)).then_refused(
        Refusal::SessionLimitExceeded {
            of_device: false,
            active_count: 1,
            active: vec![(session(1), T0)],
            caused_by: Position(2),
        },
    );
    begun(IDLE).under(one).when(create(2, ASK), after(100)).then_many(|events| assert_eq!(events.len(), 1));
}

#[test]
fn only_what_was_seen_later_moves_the_idle_end() {
    let scenario = begun(IDLE).and([seen(1, after(60), 61), seen(1, after(50), 62)]);
    assert_eq!(scenario.session(1).last_seen_at(), Some(after(60)));
}

#[test]
fn a_mark_of_what_cannot_be_seen_is_illegal() {
    let recorded = EventMeta { position: Position(9), at: after(10) };
    let mark = |number| SessionSeen { session_id: session(number), seen_at: after(10) };
    let mut agent = begun(TERMS).agent().clone();
    assert_eq!(mark_seen(&mut agent, mark(1), recorded), Err("the session has no idle time"));
    assert_eq!(mark_seen(&mut agent, mark(2), recorded), Err("there is no such session"));
    let mut agent = begun(IDLE).agent().clone();
    let early = EventMeta { at: after(9), ..recorded };
    assert_eq!(mark_seen(&mut agent, mark(1), early), Err("it was seen later than that was recorded"));
    assert_eq!(mark_seen(&mut agent, mark(1), recorded), Ok(()));
}

#[test]
fn marks_are_recorded_as_they_are_given_and_none_is_nothing() {
    let seen = vec![SessionSeen { session_id: session(1), seen_at: after(7) }];
    begun(IDLE)
        .when_system(&SystemCommand::MarkSeen(vec![]), after(8))
        .then_nothing()
        .when_system(&SystemCommand::MarkSeen(seen.clone()), after(8))
        .then([Event::System(SystemEvent::SessionsSeen(SessionsSeen { seen }))]);
}

#[test]
fn a_use_is_worth_recording_from_a_tenth_of_the_idle_time_on() {
    let scenario = begun(IDLE);
    assert!(!scenario.session(1).is_worth_recording(just_before(10)));
    assert!(scenario.session(1).is_worth_recording(after(10)));
    assert_eq!(begun(TERMS).session(1).latest_unrecorded_use(), None);
}

#[test]
fn what_a_session_asks_for_comes_before_the_setting_and_that_before_half_an_hour() {
    let sliding = RequestedTerms { mode: SessionMode::Sliding, ..ASK };
    let idle = |asked, setting| granted(asked, setting).idle_timeout.map(|idle| idle.0);
    assert_eq!(idle(ASK, None), None);
    assert_eq!(idle(ASK, Some(600)), Some(600));
    assert_eq!(idle(sliding, None), Some(1_800));
    assert_eq!(idle(sliding, Some(600)), Some(600));
    assert_eq!(idle(RequestedTerms { idle_timeout: Some(Seconds(60)), ..sliding }, Some(600)), Some(60));
    assert_eq!(idle(RequestedTerms { idle_timeout: Some(Seconds(86_400)), ..ASK }, None), Some(86_400));
    assert_eq!(granted(sliding, None).max_renewals, 0);
}

#[test]
fn what_is_out_of_range_is_refused_by_its_name() {
    let range = || FieldError::new("idleTimeout", "must be from 60 to 86400");
    for seconds in [0, 59, 86_401] {
        let asked = RequestedTerms { idle_timeout: Some(Seconds(seconds)), ..ASK };
        begun(TERMS).when(create(2, asked), T0).then_refused(Refusal::Invalid(vec![range()]));
    }
    let renewed = RequestedTerms { mode: SessionMode::Sliding, max_renewals: Some(1), ..ASK };
    let must = "must be 0: a sliding session is refreshed by use, and never renewed";
    let fault = FieldError::new("maxRenewals", must);
    begun(TERMS).when(create(2, renewed), T0).then_refused(Refusal::Invalid(vec![fault]));
}

#[test]
fn a_sliding_session_is_refreshed_from_half_of_its_idle_time_on_and_once() {
    begun(SLIDING)
        .when(refresh(), just_before(50))
        .then_nothing()
        .when(refresh(), after(50))
        .then([refreshed(1_050)])
        .when(refresh(), after(50))
        .then_nothing()
        .when(refresh(), just_before(100))
        .then_nothing()
        .when(refresh(), after(100))
        .then([refreshed(1_100)]);
}

/// A session with a period of ten minutes and the default idle time was never refreshed: half of the idle time was
/// longer than the period. Its holder was signed out in the middle of the work.
#[test]
fn a_period_shorter_than_the_idle_time_is_refreshed_from_its_own_half_on() {
    let short = SessionTerms { ttl: Seconds(45), ..SLIDING };
    let refreshed_twice = begun(short)
        .when(refresh(), just_before(22))
        .then_nothing()
        .when(refresh(), after(22))
        .then([refreshed(67)])
        .when(refresh(), just_before(44))
        .then_nothing()
        .when(refresh(), after(44))
        .then([refreshed(89)]);
    assert_eq!(refreshed_twice.session(1).judge(FIRST, None, after(88)), Ok(()));
}

/// What was recorded while only the idle time counted came later than it would now, and stays legal.
#[test]
fn a_refresh_that_was_recorded_later_than_it_was_due_follows() {
    let short = SessionTerms { ttl: Seconds(90), ..SLIDING };
    let mut agent = begun(short).agent().clone();
    let recorded = EventMeta { position: Position(3), at: after(50) };
    assert_eq!(evolve_subject(&mut agent, &refreshed(140), recorded), Ok(()));
}

#[test]
fn a_refresh_moves_the_period_and_nothing_of_the_token() {
    let scenario = begun(SLIDING).when(refresh(), after(60)).then([refreshed(1_060)]);
    let session = scenario.session(1);
    assert_eq!((session.generation(), session.renewal_count()), (FIRST, 0));
    assert_eq!((session.expires_at(), session.granted()), (after(1_060), Position(3)));
    assert_eq!((session.last_seen_at(), session.refreshed_at()), (Some(after(60)), Some(after(60))));
    assert_eq!(session.renewed_at(), None);
}

#[test]
fn the_absolute_end_cuts_the_last_refresh_and_leaves_nothing_to_refresh() {
    let short = SessionTerms { absolute_lifetime: Seconds(1_040), ..SLIDING };
    let cut = begun(short).when(refresh(), after(50)).then([refreshed(1_040)]);
    assert_eq!(cut.session(1).refresh_at(), None);
    cut.and([seen(1, after(120), 120)]).when(refresh(), after(150)).then_nothing();
}

#[test]
fn nothing_is_refreshed_when_that_is_switched_off_and_the_ends_hold() {
    let off = begun(SLIDING).under(|policy| policy.sliding_enabled = false);
    let off = off.when(refresh(), after(60)).then_nothing();
    assert_eq!(off.session(1).judge(FIRST, None, after(101)), Err(TokenFault::Idle));
    begun(IDLE).when(refresh(), after(60)).then_nothing();
}

#[test]
fn what_has_ended_is_not_refreshed() {
    begun(SLIDING).when(refresh(), after(101)).then_refused(Refusal::SessionIdle { caused_by: Position(2) });
    begun(SLIDING)
        .and([ended(1, tenure::core::event::EndTrigger::ManualRevoke, 10)])
        .when(refresh(), after(60))
        .then_refused(Refusal::SessionRevoked {
            caused_by: Position(3),
            trigger: tenure::core::event::EndTrigger::ManualRevoke,
        });
}

#[test]
fn a_refresh_that_cannot_follow_is_an_alarm() {
    for (terms, event, at, why) in [
        (SLIDING, refreshed(1_049), 49, "a refresh was not due"),
        (IDLE, refreshed(1_060), 60, "a refresh was not due"),
        (SLIDING, refreshed(1_061), 60, "its period is not the session's own"),
        (SLIDING, refreshed(1_101), 101, "the session had expired"),
    ] {
        let mut agent = begun(terms).agent().clone();
        let recorded = EventMeta { position: Position(3), at: after(at) };
        assert_eq!(evolve_subject(&mut agent, &event, recorded).unwrap_err().why, why);
    }
}

#[test]
fn a_sliding_session_without_an_idle_time_or_with_renewals_cannot_have_begun() {
    for terms in [SessionTerms { idle_timeout: None, ..SLIDING }, SessionTerms { max_renewals: 1, ..SLIDING }]
    {
        let mut agent = Scenario::given([registered()]).agent().clone();
        let recorded = EventMeta { position: Position(2), at: T0 };
        let illegal = evolve_subject(&mut agent, &began_under(terms, 1, 0).event, recorded).unwrap_err();
        assert_eq!(illegal.why, "a sliding session has an idle time and no renewals");
    }
}

#[test]
fn the_state_of_used_sessions_is_read_back_as_it_was() {
    let scenario = begun(SLIDING).when(refresh(), after(60)).then([refreshed(1_060)]);
    let scenario = scenario.and([began_under(IDLE, 2, 70), seen(2, after(90), 91)]);
    let state = scenario.state();
    let read = AuthorityState::from_bytes(&state.to_bytes()).expect("it was just written");
    assert_eq!(read, *state);
}
