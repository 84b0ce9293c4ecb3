//! How many sessions may be active, and who makes room (section 2).

use tenure::core::{
    Event, Policy, Position, SubjectEvent,
    command::{Command, CreateSession, RequestedTerms},
    event::{EndTrigger, EventKind, SessionDevice, SessionsRevoked, SubjectProfile},
    policy::OnLimit,
    refusal::Refusal,
};

use crate::scenario::*;

fn plain(number: u32) -> Command {
    create(number, RequestedTerms::default())
}

fn exceeded(active: &[(u32, u32)]) -> Refusal {
    full(false, active)
}

fn device_exceeded(active: &[(u32, u32)]) -> Refusal {
    full(true, active)
}

fn full(of_device: bool, active: &[(u32, u32)]) -> Refusal {
    Refusal::SessionLimitExceeded {
        of_device,
        active_count: active.len(),
        active: active.iter().map(|(number, seconds)| (session(*number), after(*seconds))).collect(),
        // The subject is registered first, and its sessions begin in the order of their numbers.
        caused_by: Position(1 + active.iter().map(|(number, _)| u64::from(*number)).max().unwrap_or(0)),
    }
}

/// The events but for the session that begins last.
#[track_caller]
fn evictions(scenario: &Scenario, before: usize, number: u32) -> usize {
    let live = scenario.agent().active_count(scenario.state().recorded_at);
    assert!(scenario.session(number).is_live(scenario.state().recorded_at), "the new session is live");
    before + 1 - live
}

/// A creation that makes room: exactly these sessions are evicted, in this order, and then it begins.
#[track_caller]
fn then_evicts(outcome: Outcome, expected: &[Event]) -> Scenario {
    let mut seen = Vec::new();
    let scenario = outcome.then_many(|events| seen.extend_from_slice(events));
    let (last, evicted) = seen.split_last().expect("a session begins");
    assert_eq!(last.kind(), EventKind::SessionCreated);
    assert_eq!(evicted, expected);
    scenario
}

fn tight(policy: &mut Policy) {
    policy.per_subject = 3;
    policy.per_device = 2;
    policy.on_limit = OnLimit::EvictOldest;
}

#[test]
fn five_sessions_may_be_active_and_the_sixth_is_refused() {
    let mut scenario = Scenario::given([registered()]);
    for number in 1..=5 {
        scenario = scenario.when(plain(number), after(number)).then_one(|_| ());
    }
    let active: Vec<_> = (1..=5).map(|number| (number, number)).collect();
    scenario.when(plain(6), after(6)).then_refused(exceeded(&active));
}

#[test]
fn ten_sessions_of_a_device_may_be_active_and_the_eleventh_evicts_the_oldest() {
    let facts =
        std::iter::once(registered()).chain((1..=9).map(|number| began_on(device(1), number, number)));
    let scenario = Scenario::given(facts).under(|policy| policy.per_subject = 100);
    let scenario = then_evicts(scenario.when(create_on(device(1), 10), after(20)), &[]);
    then_evicts(scenario.when(create_on(device(1), 11), after(20)), &[is_evicted(1)]);
}

#[test]
fn a_session_that_was_ended_makes_room() {
    Scenario::given([registered(), began(1, 0), ended(1, EndTrigger::ManualRevoke, 1)])
        .under(|policy| policy.per_subject = 1)
        .when(plain(2), after(1))
        .then_one(|_| ());
}

#[test]
fn an_expired_session_does_not_count_from_the_moment_it_expires() {
    let full = || Scenario::given([registered(), began(1, 0)]).under(|policy| policy.per_subject = 1);
    full().when(plain(2), just_before(1_000)).then_refused(exceeded(&[(1, 0)]));
    full().when(plain(2), after(1_000)).then_one(|_| ());
}

#[test]
fn only_sessions_that_are_live_are_counted_as_active() {
    let facts = [registered(), began(1, 0), began(2, 1), began(3, 2), ended(3, EndTrigger::ManualRevoke, 3)];
    let scenario = Scenario::given(facts);
    let count = |at| (scenario.agent().active_count(at), scenario.agent().active(None, at).len());
    assert_eq!(count(after(3)), (2, 2));
    assert_eq!(count(after(1_000)), (1, 1));
    assert_eq!(count(after(1_001)), (0, 0));
}

#[test]
fn an_expired_session_is_not_evicted() {
    let scenario =
        Scenario::given([registered(), began(1, 0), began(2, 600), began(3, 700)]).under(|policy| {
            policy.per_subject = 2;
            policy.on_limit = OnLimit::EvictOldest;
        });
    then_evicts(scenario.when(plain(4), after(1_000)), &[is_evicted(2)]);
}

#[test]
fn an_expired_session_of_a_device_does_not_count_against_it() {
    let scenario = Scenario::given([registered(), began_on(device(1), 1, 0)]).under(|policy| {
        policy.per_device = 1;
        policy.on_device_limit = OnLimit::Reject;
    });
    then_evicts(scenario.when(create_on(device(1), 2), after(1_000)), &[]);
}

#[test]
fn a_refusal_names_the_oldest_fifty_of_all() {
    let facts = std::iter::once(registered()).chain((1..=60).map(|number| began(number, 60 - number)));
    let oldest = (11..=60).rev().map(|number| (session(number), after(60 - number))).collect();
    Scenario::given(facts).under(|policy| policy.per_subject = 60).when(plain(61), after(61)).then_refused(
        Refusal::SessionLimitExceeded {
            of_device: false,
            active_count: 60,
            active: oldest,
            caused_by: Position(61),
        },
    );
}

#[test]
fn the_oldest_is_the_first_created_and_of_two_created_at_once_the_lower_id() {
    let facts = [registered(), began(7, 5), began(9, 1), began(3, 2), began(2, 2)];
    let scenario = || {
        Scenario::given(facts.clone()).under(|policy| {
            policy.per_subject = 4;
            policy.on_limit = OnLimit::EvictOldest;
        })
    };
    let one = then_evicts(scenario().when(plain(10), after(6)), &[is_evicted(9)]);
    then_evicts(one.when(plain(11), after(6)), &[is_evicted(2)]);
}

#[test]
fn a_lowered_limit_evicts_as_many_as_needed() {
    let facts = std::iter::once(registered()).chain((1..=5).map(|number| began(number, number)));
    let scenario = Scenario::given(facts).under(|policy| {
        policy.per_subject = 2;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let expected: Vec<_> = (1..=4).map(is_evicted).collect();
    then_evicts(scenario.when(plain(6), after(6)), &expected);
}

#[test]
fn a_lowered_limit_ends_no_session_by_itself_and_refuses_the_next() {
    let facts = std::iter::once(registered()).chain((1..=3).map(|number| began(number, number)));
    Scenario::given(facts)
        .under(|policy| policy.per_subject = 2)
        .when(plain(4), after(6))
        .then_refused(exceeded(&[(1, 1), (2, 2), (3, 3)]));
}

#[test]
fn a_single_session_policy_lets_the_newest_win() {
    let single = SubjectProfile {
        max_sessions: Some(1),
        on_limit: Some(OnLimit::EvictOldest),
        ..SubjectProfile::default()
    };
    let scenario = then_evicts(Scenario::given([registered_as(single)]).when(plain(1), T0), &[]);
    let scenario = then_evicts(scenario.when(plain(2), after(1)), &[is_evicted(1)]);
    let scenario = then_evicts(scenario.when(create_on(device(1), 3), after(2)), &[is_evicted(2)]);
    assert_eq!(scenario.agent().active_count(after(2)), 1);
}

#[test]
fn a_single_session_may_be_replaced_in_the_millisecond_in_which_it_began() {
    let single = SubjectProfile {
        max_sessions: Some(1),
        on_limit: Some(OnLimit::EvictOldest),
        ..SubjectProfile::default()
    };
    then_evicts(Scenario::given([registered_as(single), began(5, 0)]).when(plain(4), T0), &[is_evicted(5)]);
}

#[test]
fn a_subject_has_limits_of_its_own() {
    let own = SubjectProfile { max_sessions: Some(2), ..SubjectProfile::default() };
    Scenario::given([registered_as(own), began(1, 0), began(2, 1)])
        .when(plain(3), after(2))
        .then_refused(exceeded(&[(1, 0), (2, 1)]));
    let generous = SubjectProfile { max_sessions: Some(3), ..SubjectProfile::default() };
    Scenario::given([registered_as(generous), began(1, 0), began(2, 1)])
        .under(|policy| policy.per_subject = 1)
        .when(plain(3), after(2))
        .then_one(|_| ());
}

#[test]
fn a_subject_says_itself_what_its_limit_does() {
    let evicting = SubjectProfile { on_limit: Some(OnLimit::EvictOldest), ..SubjectProfile::default() };
    let scenario = Scenario::given([registered_as(evicting), began(1, 0)]);
    then_evicts(scenario.under(|policy| policy.per_subject = 1).when(plain(2), after(2)), &[is_evicted(1)]);
    let refusing = SubjectProfile { on_limit: Some(OnLimit::Reject), ..SubjectProfile::default() };
    Scenario::given([registered_as(refusing), began(1, 0)])
        .under(|policy| {
            policy.per_subject = 1;
            policy.on_limit = OnLimit::EvictOldest;
        })
        .when(plain(2), after(2))
        .then_refused(exceeded(&[(1, 0)]));
}

#[test]
fn a_subject_has_device_limits_of_its_own() {
    let own = SubjectProfile {
        max_sessions_per_device: Some(1),
        on_device_limit: Some(OnLimit::Reject),
        ..SubjectProfile::default()
    };
    Scenario::given([registered_as(own), began_on(device(1), 1, 0)])
        .when(create_on(device(1), 2), after(2))
        .then_refused(device_exceeded(&[(1, 0)]));
    let evicting = SubjectProfile {
        max_sessions_per_device: Some(1),
        on_device_limit: Some(OnLimit::EvictOldest),
        ..SubjectProfile::default()
    };
    let scenario = Scenario::given([registered_as(evicting), began_on(device(1), 1, 0)]).under(|policy| {
        policy.on_device_limit = OnLimit::Reject;
    });
    then_evicts(scenario.when(create_on(device(1), 2), after(2)), &[is_evicted(1)]);
}

#[test]
fn a_device_counts_only_its_own_sessions() {
    let scenario =
        Scenario::given([registered(), began(1, 0), began_on(device(1), 2, 1), began_on(device(2), 3, 2)])
            .under(|policy| policy.per_device = 1);
    then_evicts(scenario.when(create_on(device(2), 4), after(3)), &[is_evicted(3)]);
}

#[test]
fn a_session_without_a_device_has_no_device_limit() {
    let scenario = Scenario::given([registered(), began(1, 0), began(2, 0)]).under(|policy| {
        policy.per_device = 1;
        policy.on_device_limit = OnLimit::Reject;
    });
    then_evicts(scenario.when(plain(3), after(3)), &[]);
}

/// Session 1 is the subject's oldest, session 2 the device's. Were the subject asked first, 1 would go too.
#[test]
fn the_device_is_checked_first_and_what_it_evicts_makes_room_in_the_subject() {
    let facts = [registered(), began(1, 0), began_on(device(1), 2, 1), began_on(device(1), 3, 2)];
    let scenario = Scenario::given(facts).under(tight);
    let scenario = then_evicts(scenario.when(create_on(device(1), 4), after(3)), &[is_evicted(2)]);
    assert!(scenario.session(1).is_live(after(3)));
}

#[test]
fn an_eviction_from_the_device_makes_room_where_the_subject_would_refuse() {
    let facts = [registered(), began(1, 0), began_on(device(1), 2, 1)];
    let scenario = Scenario::given(facts).under(|policy| {
        policy.per_subject = 2;
        policy.per_device = 1;
    });
    then_evicts(scenario.when(create_on(device(1), 3), after(3)), &[is_evicted(2)]);
}

#[test]
fn the_device_refuses_before_the_subject_does() {
    let facts = [registered(), began(1, 0), began_on(device(1), 2, 1)];
    Scenario::given(facts)
        .under(|policy| {
            policy.per_subject = 2;
            policy.per_device = 1;
            policy.on_device_limit = OnLimit::Reject;
        })
        .when(create_on(device(1), 3), after(3))
        .then_refused(device_exceeded(&[(2, 1)]));
}

#[test]
fn the_device_refuses_where_the_subject_would_evict() {
    let facts = [registered(), began(1, 0), began_on(device(1), 2, 1)];
    Scenario::given(facts)
        .under(|policy| {
            tight(policy);
            policy.per_subject = 1;
            policy.per_device = 1;
            policy.on_device_limit = OnLimit::Reject;
        })
        .when(create_on(device(1), 3), after(3))
        .then_refused(device_exceeded(&[(2, 1)]));
}

#[test]
fn when_the_subject_refuses_nothing_is_evicted_from_the_device() {
    let facts = [registered(), began(1, 0), began(2, 0), began_on(device(1), 3, 1)];
    Scenario::given(facts)
        .under(|policy| {
            policy.per_subject = 2;
            policy.per_device = 1;
        })
        .when(create_on(device(1), 4), after(3))
        .then_refused(exceeded(&[(1, 0), (2, 0)]));
}

#[test]
fn device_and_subject_may_both_evict_in_one_step() {
    let facts = [
        registered(),
        began(1, 0),
        began_on(device(1), 2, 1),
        began_on(device(1), 3, 2),
        began(4, 3),
        began(5, 4),
    ];
    let scenario = Scenario::given(facts).under(tight);
    let expected = [is_evicted(2), is_evicted(1), is_evicted(3)];
    let scenario = then_evicts(scenario.when(create_on(device(1), 6), after(5)), &expected);
    assert_eq!(scenario.agent().active_count(after(5)), 3);
}

fn crowd(size: u32, on: Option<SessionDevice>) -> impl Iterator<Item = Fact> {
    let began_there = move |number| match &on {
        Some(device) => began_on(device.clone(), number, 1),
        None => began(number, 1),
    };
    std::iter::once(registered()).chain((1..=size).map(began_there))
}

fn evicted_at_once(on: Option<u8>, count: u32) -> Event {
    Event::Subject(SubjectEvent::SessionsRevoked(SessionsRevoked {
        device_digest: on.map(digest),
        except_session_id: None,
        oldest: Some(count),
        matched: count,
        trigger: EndTrigger::Evicted,
        reason: None,
    }))
}

#[test]
fn up_to_256_evictions_are_recorded_one_by_one() {
    let scenario = Scenario::given(crowd(260, None)).under(|policy| {
        policy.per_subject = 5;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let expected: Vec<_> = (1..=256).map(is_evicted).collect();
    then_evicts(scenario.when(plain(999), after(2)), &expected);
}

#[test]
fn three_hundred_evictions_are_one_event() {
    let scenario = Scenario::given(crowd(300, None)).under(|policy| {
        policy.per_subject = 1;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let scenario = then_evicts(scenario.when(plain(999), after(2)), &[evicted_at_once(None, 300)]);
    assert_eq!(evictions(&scenario, 300, 999), 300);
    let revocation = scenario.session(300).revocation().unwrap();
    assert_eq!(revocation.trigger, EndTrigger::Evicted);
}

/// The event says how many of the oldest: exactly those end, and the younger stay.
#[test]
fn one_event_for_many_evictions_spares_the_youngest() {
    let scenario = Scenario::given(crowd(300, None)).under(|policy| {
        policy.per_subject = 11;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let scenario = then_evicts(scenario.when(plain(999), after(2)), &[evicted_at_once(None, 290)]);
    assert!(!scenario.session(290).is_live(after(2)));
    assert!(scenario.session(291).is_live(after(2)));
    assert_eq!(scenario.agent().active_count(after(2)), 11);
}

#[test]
fn many_evictions_from_a_device_and_then_from_the_subject_are_two_events() {
    let facts = crowd(300, Some(device(1))).chain((301..=600).map(|number| began(number, 2)));
    let scenario = Scenario::given(facts).under(|policy| {
        policy.per_device = 10;
        policy.per_subject = 20;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let expected = [evicted_at_once(Some(1), 291), evicted_at_once(None, 290)];
    let scenario = then_evicts(scenario.when(create_on(device(1), 999), after(3)), &expected);
    assert_eq!(scenario.agent().active_count(after(3)), 20);
    assert_eq!(scenario.agent().active(Some(digest(1)), after(3)).len(), 1);
}

#[test]
fn evictions_for_a_new_session_keep_its_own_terms() {
    let asked = CreateSession { scopes: vec!["read".into()], ..creation(2, RequestedTerms::default()) };
    let scenario = Scenario::given([registered(), began(1, 0)]).under(|policy| {
        policy.per_subject = 1;
        policy.on_limit = OnLimit::EvictOldest;
    });
    let scenario = then_evicts(scenario.when(Command::CreateSession(asked), after(1)), &[is_evicted(1)]);
    assert_eq!(scenario.session(2).scopes(), ["read"]);
}
