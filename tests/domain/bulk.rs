//! Bulk revocation: what a selector means, and whose sessions are ended (section 3, "Bulk").

use tenure::core::{
    Commit, Event, StreamId, SubjectEvent, SystemEvent,
    bulk::{MatchCount, OWNERS_COUNTED, SAMPLE, SessionSelector},
    command::{RevokeMatching, SystemCommand},
    event::{EndTrigger, KeyRotated, OwnerMatchCount, SelectionRevoked, SubjectProfile},
    keys::{KeyId, KeyUse, RetireMode, SealingSpan},
    session::SessionStatus,
    state::AuthorityState,
    subject::Subject,
};

use crate::scenario::*;

fn revoke(selector: &SessionSelector) -> SystemCommand {
    SystemCommand::RevokeMatching(RevokeMatching { selector: selector.clone(), reason: sealed("stolen") })
}

fn is_ended_with(selector: SessionSelector, matched: u32) -> SelectionRevoked {
    SelectionRevoked {
        selector: Box::new(selector),
        matched,
        reason: Some(sealed("stolen")),
        owners: Some(vec![OwnerMatchCount { owner_id: Some(owner(ALICE)), matched }]),
        cause: None,
    }
}

/// Sessions 1 (on device 1) and 2 begin at 0 s and 100 s; 1 is renewed at 500 s.
fn two() -> Scenario {
    Scenario::given([registered(), began_on(device(1), 1, 0), began(2, 100), renewed(2, 500)])
}

#[test]
fn one_event_ends_all_that_match_and_says_how_many_of_each_owner() {
    let all = SessionSelector::default();
    let command = revoke(&all);
    let scenario = two()
        .when_system(&command, after(600))
        .then([Event::System(SystemEvent::SelectionRevoked(is_ended_with(all.clone(), 2)))]);
    for number in [1, 2] {
        let session = scenario.session(number);
        let revocation = session.revocation().unwrap();
        assert_eq!((revocation.at, revocation.trigger), (after(600), EndTrigger::Bulk));
        assert_eq!(revocation.reason, None, "it is with the event, under another key");
        assert_eq!(scenario.session(number).status(after(600)), SessionStatus::Revoked);
    }
    let again = revoke(&all);
    scenario.when_system(&again, after(600)).then_nothing();
}

#[test]
fn a_selector_means_what_all_of_it_means() {
    for (selector, met) in [
        (SessionSelector { owner_id: Some(owner(ALICE)), ..SessionSelector::default() }, vec![1, 2]),
        (SessionSelector { owner_id: Some(owner("bob")), ..SessionSelector::default() }, vec![]),
        (SessionSelector { subject_id: Some(subject_id()), ..SessionSelector::default() }, vec![1, 2]),
        (SessionSelector { device_digest: Some(digest(1)), ..SessionSelector::default() }, vec![1]),
        (SessionSelector { device_digest: Some(digest(2)), ..SessionSelector::default() }, vec![]),
        (SessionSelector { issued_before: Some(after(100)), ..SessionSelector::default() }, vec![]),
        (
            SessionSelector { issued_before: Some(after(100).plus_millis(1)), ..SessionSelector::default() },
            vec![2],
        ),
        (SessionSelector { issued_before: Some(after(500)), ..SessionSelector::default() }, vec![2]),
        (
            SessionSelector { issued_before: Some(after(500).plus_millis(1)), ..SessionSelector::default() },
            vec![1, 2],
        ),
        (
            SessionSelector {
                device_digest: Some(digest(1)),
                issued_before: Some(after(500)),
                ..SessionSelector::default()
            },
            vec![],
        ),
    ] {
        let command = revoke(&selector);
        let outcome = two().when_system(&command, after(600));
        let count = u32::try_from(met.len()).unwrap();
        let event = Event::System(SystemEvent::SelectionRevoked(is_ended_with(selector.clone(), count)));
        let scenario = outcome.then((count > 0).then_some(event));
        let ended: Vec<_> =
            [1, 2].into_iter().filter(|number| !scenario.session(*number).is_live(after(600))).collect();
        assert_eq!(ended, met, "{selector:?}");
    }
}

fn key(letter: char) -> KeyId {
    format!("k4.lid.{}", letter.to_string().repeat(44)).parse().expect("the id is right")
}

fn rotated(letter: char, previous: Option<char>, seconds: u32) -> Fact {
    let rotated = KeyRotated {
        which: KeyUse::Session,
        key_id: key(letter),
        previous_key_id: previous.map(key),
        retire: previous.map(|_| RetireMode::Overlap),
        retire_at: previous.map(|_| after(9_000)),
    };
    Fact::of_system(Event::System(SystemEvent::KeyRotated(rotated)), after(seconds))
}

/// Session 1 begins under the first key and is renewed under the second, 2 begins under the first, 3 under the third.
fn under_three_keys() -> Scenario {
    Scenario::given([registered(), rotated('a', None, 0), began(1, 0), began(2, 100)]).and([
        rotated('b', Some('a'), 200),
        renewed(2, 500),
        rotated('c', Some('b'), 600),
        began(3, 650),
    ])
}

#[test]
fn a_key_means_those_of_whose_current_generation_it_sealed_a_token() {
    for (letter, met) in [('a', vec![2]), ('b', vec![1]), ('c', vec![3]), ('x', vec![])] {
        let scenario = under_three_keys();
        let sealed_by = Some(scenario.state().system.keys.sealing_of(&key(letter)));
        let selector = SessionSelector { sealed_by, ..SessionSelector::default() };
        assert!(!selector.is_all());
        let command = revoke(&selector);
        let count = u32::try_from(met.len()).unwrap();
        let event = Event::System(SystemEvent::SelectionRevoked(is_ended_with(selector, count)));
        let scenario = scenario.when_system(&command, after(700)).then((count > 0).then_some(event));
        let ended: Vec<_> =
            [1, 2, 3].into_iter().filter(|number| !scenario.session(*number).is_live(after(700))).collect();
        assert_eq!(ended, met, "{letter}");
    }
}

#[test]
fn when_a_key_sealed_is_what_the_rotations_say() {
    let scenario = under_three_keys();
    let keys = &scenario.state().system.keys;
    let right = keys.sealing_of(&key('a'));
    let wrong = keys.sealing_of(&key('b'));
    let mixed = SealingSpan { key_id: right.key_id.clone(), ..wrong };
    let asked = SessionSelector { sealed_by: Some(mixed.clone()), ..SessionSelector::default() };
    assert_eq!(asked.under(keys).sealed_by, Some(right));
    let event = is_ended_with(SessionSelector { sealed_by: Some(mixed), ..SessionSelector::default() }, 1);
    let commit = commit(
        scenario.state(),
        StreamId::System,
        vec![Event::System(SystemEvent::SelectionRevoked(event))],
        after(700),
    );
    let alarm = scenario.state().clone().apply(&commit).unwrap_err();
    assert!(alarm.to_string().contains("the key sealed at other positions"), "{alarm}");
}

#[test]
fn what_has_expired_is_not_met() {
    let all = SessionSelector::default();
    // Session 2 expires at 1100 s, session 1 at 1500 s.
    for (seconds, count) in [(1_099, 2), (1_100, 1), (1_499, 1), (1_500, 0)] {
        let observed = two().observed(&revoke(&all), after(seconds));
        assert_eq!(observed.matched.count, count, "at {seconds} s");
    }
}

#[test]
fn it_is_illegal_in_the_stream_of_a_subject_and_one_without_a_selector_in_that_of_the_authority() {
    let with = Event::System(SystemEvent::SelectionRevoked(is_ended_with(SessionSelector::default(), 2)));
    let without = Event::Subject(SubjectEvent::SessionsRevoked(are_ended(2)));
    let wrong = Event::System(SystemEvent::SelectionRevoked(is_ended_with(SessionSelector::default(), 1)));
    let apply = |stream: StreamId, event: &Event| {
        let mut state = two().state().clone();
        let commit: Commit = commit(&state, stream, vec![event.clone()], after(600));
        state.apply(&commit).map(|()| state)
    };
    assert!(apply(StreamId::System, &with).is_ok());
    assert!(apply(StreamId::Subject(subject_id()), &without).is_ok());
    assert!(apply(StreamId::Subject(subject_id()), &with).is_err());
    assert!(apply(StreamId::System, &without).is_err());
    // How many its decider saw is information.
    let state = apply(StreamId::System, &wrong).unwrap();
    assert_eq!(state.subjects[&subject_id()].active_count(after(600)), 0);
}

/// A state of this many subjects with a session each, every one of an owner of its own.
fn crowd(count: usize) -> AuthorityState {
    let mut state = AuthorityState::default();
    for number in 0..count {
        let stream = StreamId::Subject(format!("agent-{number}").parse().expect("the name is right"));
        let owner_id = Some(owner(&format!("owner-{number:03}")));
        let registered = registered_as(SubjectProfile { owner_id, ..SubjectProfile::default() });
        let began = began(u32::try_from(number).expect("a few"), 0);
        let next = commit(&state, stream, vec![registered.event, began.event], T0);
        state.apply(&next).expect("it is legal");
    }
    state
}

fn counted<'a>(subjects: impl Iterator<Item = &'a Subject>) -> MatchCount {
    let mut matched = MatchCount::default();
    subjects.for_each(|subject| matched.count(&SessionSelector::default(), subject, &[], after(1)));
    matched
}

#[test]
fn so_many_owners_are_counted_and_no_more() {
    for (count, is_counted) in [(OWNERS_COUNTED, true), (OWNERS_COUNTED + 1, false)] {
        let state = crowd(count);
        let matched = counted(state.subjects.values());
        assert_eq!(matched.count as usize, count);
        let owners = matched.owners();
        assert_eq!(owners.is_some(), is_counted);
        assert!(owners.is_none_or(|owners| {
            owners.len() == count && owners.is_sorted_by_key(|of| of.owner_id.clone())
        }));
    }
}

#[test]
fn to_count_in_parts_is_to_count_the_whole() {
    for count in [1, 30, OWNERS_COUNTED, OWNERS_COUNTED + 1] {
        let state = crowd(count);
        let whole = counted(state.subjects.values());
        let (evens, odds): (Vec<_>, Vec<_>) =
            state.subjects.values().enumerate().partition(|(index, _)| index % 2 == 0);
        let part = |of: Vec<(usize, &Subject)>| counted(of.into_iter().map(|(_, subject)| subject));
        let parts = part(evens).and(part(odds));
        assert_eq!(
            (parts.count, parts.sample(), parts.owners()),
            (whole.count, whole.sample(), whole.owners())
        );
        let expected: Vec<_> = (0..u32::try_from(count.min(SAMPLE)).unwrap()).map(session).collect();
        assert_eq!(whole.sample(), expected);
    }
}
