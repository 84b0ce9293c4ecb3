//! Forgetting (section 7): what an erasure takes from the state, and what it leaves.

use tenure::core::{
    Event, SubjectEvent,
    command::{Command, EraseSubject, RegisterSubject, RevokeSession, Revoker},
    event::{EndTrigger, SessionDevice, SessionRevoked, SubjectErased, SubjectProfile, SubjectRegistered},
    observed::Observation,
    refusal::Refusal,
    state::AuthorityState,
};

use crate::scenario::*;

/// An erasure, where the key of the subject's texts is there still or was destroyed.
struct Erasing {
    is_forgotten: bool,
}

fn erase(is_forgotten: bool) -> Erasing {
    Erasing { is_forgotten }
}

impl From<Erasing> for Command {
    fn from(_: Erasing) -> Self {
        Self::EraseSubject(EraseSubject { reason: sealed("asked for it") })
    }
}

impl Asking for Erasing {
    fn observed(&self) -> Observation {
        Observation { is_forgotten: self.is_forgotten, ..Observation::default() }
    }
}

fn erased() -> Event {
    Event::Subject(SubjectEvent::SubjectErased(SubjectErased { reason: sealed("asked for it") }))
}

fn named() -> SubjectProfile {
    SubjectProfile { name: Some(sealed("Anna")), max_sessions: Some(3), ..SubjectProfile::default() }
}

/// Anna, with a session on her phone that was ended for a reason.
fn full_of_text() -> Scenario {
    let registered = Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: named() }));
    let Event::Subject(SubjectEvent::SessionCreated(mut created)) = began(1, 1).event else { unreachable!() };
    created.device = Some(SessionDevice { digest: digest(7), name: sealed("phone") });
    created.metadata = Some(sealed("{}"));
    let ended = SessionRevoked {
        session_id: session(1),
        trigger: EndTrigger::ManualRevoke,
        reason: Some(sealed("lost")),
    };
    Scenario::given([
        Fact::of_agent(registered, after(0)),
        Fact::of_agent(Event::Subject(SubjectEvent::SessionCreated(created)), after(1)),
        Fact::of_agent(Event::Subject(SubjectEvent::SessionRevoked(ended)), after(2)),
    ])
}

#[test]
fn no_text_is_left_and_everything_else_is() {
    let before = full_of_text();
    assert!(before.agent().has_text());
    let after_it = full_of_text().when(erase(false), after(5)).then([erased()]);
    let subject = after_it.agent();
    assert!(!subject.has_text());
    assert_eq!(subject.profile(), Some(&SubjectProfile { name: None, ..named() }));
    let (old, new) = (before.session(1), after_it.session(1));
    assert_eq!(new.device_digest(), Some(digest(7)), "rules about devices go on");
    assert_eq!(new.device_name(), None);
    let (old_end, new_end) = (old.revocation().unwrap(), new.revocation().unwrap());
    assert_eq!((new_end.at, new_end.trigger, &new_end.reason), (old_end.at, old_end.trigger, &None));
}

#[test]
fn sessions_go_on() {
    Scenario::given([registered(), began(1, 0)])
        .when(erase(false), after(5))
        .then([erased()])
        .when(Command::RevokeSession(end_of(1)), after(6))
        .then([is_ended(1, EndTrigger::ManualRevoke)]);
}

fn end_of(number: u32) -> RevokeSession {
    RevokeSession { session_id: session(number), by: Revoker::Admin, reject_renewal: None, reason: None }
}

#[test]
fn what_is_erased_is_not_erased_again() {
    full_of_text().when(erase(false), after(5)).then([erased()]).when(erase(true), after(6)).then_nothing();
}

#[test]
fn a_subject_that_is_said_to_be_who_it_was_is_registered_anew() {
    let command = RegisterSubject { profile: named(), may_change_policy: true };
    let again = Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: named() }));
    let scenario = full_of_text().when(erase(false), after(5)).then([erased()]);
    let scenario = scenario.when(Command::RegisterSubject(command), after(6)).then([again]);
    assert!(scenario.agent().has_text());
}

#[test]
fn an_unknown_subject_is_not_erased() {
    Scenario::given([]).when(erase(false), after(5)).then_refused(Refusal::SubjectNotFound);
}

#[test]
fn a_state_without_the_text_is_read_back_as_it_was_written() {
    let scenario = full_of_text().when(erase(false), after(5)).then([erased()]);
    let bytes = scenario.state().to_bytes();
    assert_eq!(&AuthorityState::from_bytes(&bytes).unwrap(), scenario.state());
}
