//! Ending sessions: by hand, by veto, by their own holder, all of a subject's at once (sections 2 and 3).

use tenure::core::{
    Event, Position, SubjectEvent,
    command::{Command, RevokeSession, RevokeSessions, Revoker, VetoLink},
    event::{EndTrigger, SessionDevice, SessionRevoked, SessionTerms, SessionsRevoked},
    refusal::Refusal,
    session::SessionStatus,
};

use crate::scenario::*;

fn begun() -> Scenario {
    Scenario::given([registered(), began(1, 0)])
}

/// Session 1 is renewed at 500 s; the window of 300 s closes at 800 s.
fn once_renewed() -> Scenario {
    begun().and([renewed(2, 500)])
}

// By hand

#[test]
fn an_admin_an_issuer_and_the_owner_may_end_a_session() {
    for by in [Revoker::Admin, Revoker::Issuer, by_alice()] {
        let scenario = begun().when(revoke(by), after(7)).then([is_ended(1, EndTrigger::ManualRevoke)]);
        assert_eq!(scenario.session(1).status(after(7)), SessionStatus::Revoked);
        let revocation = scenario.session(1).revocation().unwrap();
        assert_eq!((revocation.at, revocation.position), (after(7), Position(3)));
        assert_eq!(revocation.trigger, EndTrigger::ManualRevoke);
    }
}

#[test]
fn the_reason_is_recorded_in_the_words_of_whoever_revoked() {
    let command = RevokeSession {
        session_id: session(1),
        by: Revoker::Admin,
        reject_renewal: None,
        reason: Some(sealed("stolen laptop")),
    };
    let expected = SessionRevoked {
        session_id: session(1),
        trigger: EndTrigger::ManualRevoke,
        reason: Some(sealed("stolen laptop")),
    };
    let scenario = begun()
        .when(Command::RevokeSession(command), after(1))
        .then([Event::Subject(SubjectEvent::SessionRevoked(expected))]);
    let revocation = scenario.session(1).revocation().unwrap();
    assert_eq!(revocation.reason, Some(sealed("stolen laptop")));
}

#[test]
fn ending_a_session_again_changes_nothing_and_is_no_fault() {
    let again = [Revoker::Admin, Revoker::Issuer, by_alice(), by_itself(1)];
    for by in again {
        let scenario = begun().and([ended(1, EndTrigger::Evicted, 3)]);
        let scenario = scenario.when(revoke(by), after(9)).then_nothing();
        let revocation = scenario.session(1).revocation().unwrap();
        assert_eq!((revocation.at, revocation.trigger), (after(3), EndTrigger::Evicted));
    }
}

#[test]
fn an_expired_session_can_still_be_ended() {
    let scenario =
        begun().when(revoke(Revoker::Issuer), after(5_000)).then([is_ended(1, EndTrigger::ManualRevoke)]);
    assert_eq!(scenario.session(1).status(after(5_000)), SessionStatus::Revoked);
}

#[test]
fn an_unknown_session_is_not_found() {
    for by in [Revoker::Admin, Revoker::Issuer, by_alice()] {
        begun().when(revoke(by).of_session(2), after(1)).then_refused(Refusal::SessionNotFound);
    }
}

#[test]
fn another_owners_session_does_not_exist() {
    begun().when(revoke(by_bob()), after(1)).then_refused(Refusal::SessionNotFound);
    let ended = begun().and([ended(1, EndTrigger::ManualRevoke, 1)]);
    ended.when(revoke(by_bob()), after(2)).then_refused(Refusal::SessionNotFound);
}

#[test]
fn a_subject_without_an_owner_is_nobodys() {
    Scenario::given([registered_as(tenure::core::event::SubjectProfile::default()), began(1, 0)])
        .when(revoke(by_alice()), after(1))
        .then_refused(Refusal::SessionNotFound);
}

#[test]
fn another_owner_is_not_told_that_a_veto_would_be_wrong() {
    begun().when(revoke(by_bob()).reject_renewal(true), after(1)).then_refused(Refusal::SessionNotFound);
}

// By its own token

#[test]
fn a_session_may_end_itself() {
    begun().when(revoke(by_itself(1)), after(1)).then([is_ended(1, EndTrigger::Own)]);
    once_renewed().when(revoke(by_itself(2)), after(501)).then([is_ended(1, EndTrigger::Own)]);
}

#[test]
fn the_own_token_may_repeat_the_end() {
    let scenario = once_renewed().when(revoke(by_itself(2)), after(501)).then([is_ended(1, EndTrigger::Own)]);
    scenario
        .when(revoke(by_itself(2)), after(502))
        .then_nothing()
        .when(revoke(by_itself(2)), after(9_000))
        .then_nothing();
}

#[test]
fn a_superseded_token_ends_nothing() {
    once_renewed()
        .when(revoke(by_itself(1)), after(501))
        .then_refused(Refusal::TokenSuperseded { caused_by: Position(3) });
}

#[test]
fn a_superseded_token_of_a_session_that_was_ended_hears_of_the_end() {
    once_renewed()
        .and([ended(1, EndTrigger::ManualRevoke, 600)])
        .when(revoke(by_itself(1)), after(601))
        .then_refused(Refusal::SessionRevoked { caused_by: Position(4), trigger: EndTrigger::ManualRevoke });
}

#[test]
fn an_expired_token_ends_nothing() {
    begun().when(revoke(by_itself(1)), just_before(1_000)).then([is_ended(1, EndTrigger::Own)]);
    begun()
        .when(revoke(by_itself(1)), after(1_000))
        .then_refused(Refusal::TokenExpired { caused_by: Position(2) });
}

#[test]
fn a_superseded_token_of_an_expired_session_is_superseded_first() {
    once_renewed()
        .when(revoke(by_itself(1)), after(1_500))
        .then_refused(Refusal::TokenSuperseded { caused_by: Position(3) });
}

// The owner's veto

#[test]
fn within_the_window_the_owner_and_an_admin_veto() {
    for by in [by_alice(), Revoker::Admin] {
        let scenario = once_renewed().when(revoke(by), after(501)).then(is_vetoed(2));
        let revocation = scenario.session(1).revocation().unwrap();
        assert_eq!((revocation.at, revocation.position), (after(501), Position(5)));
        assert_eq!(revocation.trigger, EndTrigger::RenewalRejected);
    }
}

#[test]
fn the_window_ends_with_its_last_millisecond() {
    once_renewed().when(revoke(by_alice()), after(500)).then(is_vetoed(2));
    once_renewed().when(revoke(by_alice()), after(800)).then(is_vetoed(2));
    once_renewed()
        .when(revoke(by_alice()), after(800).plus_millis(1))
        .then([is_ended(1, EndTrigger::ManualRevoke)]);
}

#[test]
fn the_window_is_that_of_the_latest_renewal() {
    let twice = || once_renewed().and([renewed(3, 1_000)]);
    twice().when(revoke(by_alice()), after(1_300)).then(is_vetoed(3));
    twice().when(revoke(by_alice()), after(1_301)).then([is_ended(1, EndTrigger::ManualRevoke)]);
}

#[test]
fn the_window_is_that_of_the_session_not_of_the_policy() {
    let terms = SessionTerms { renewal_reject_window: tenure::core::Seconds(400), ..TERMS };
    Scenario::given([registered(), began_under(terms, 1, 0), renewed(2, 500)])
        .under(|policy| policy.renewal_reject_window = tenure::core::Seconds(300))
        .when(revoke(by_alice()), after(900))
        .then(is_vetoed(2));
}

#[test]
fn after_the_window_reject_renewal_is_a_veto_all_the_same() {
    for by in [by_alice(), Revoker::Admin] {
        once_renewed().when(revoke(by).reject_renewal(true), after(1_200)).then(is_vetoed(2));
    }
}

#[test]
fn an_expired_session_may_be_vetoed() {
    once_renewed().when(revoke(by_alice()).reject_renewal(true), after(1_500)).then(is_vetoed(2));
}

#[test]
fn reject_renewal_false_prevents_a_veto() {
    for by in [by_alice(), Revoker::Admin, Revoker::Issuer] {
        once_renewed()
            .when(revoke(by).reject_renewal(false), after(501))
            .then([is_ended(1, EndTrigger::ManualRevoke)]);
    }
    begun()
        .when(revoke(by_alice()).reject_renewal(false), after(1))
        .then([is_ended(1, EndTrigger::ManualRevoke)]);
    once_renewed()
        .when(revoke(by_itself(2)).reject_renewal(false), after(501))
        .then([is_ended(1, EndTrigger::Own)]);
}

#[test]
fn a_session_never_renewed_cannot_be_vetoed() {
    for by in [by_alice(), Revoker::Admin] {
        begun().when(revoke(by).reject_renewal(true), after(1)).then_invalid(&["rejectRenewal"]);
    }
    begun().when(revoke(by_alice()), after(1)).then([is_ended(1, EndTrigger::ManualRevoke)]);
}

#[test]
fn an_issuer_and_the_session_itself_cannot_veto() {
    for by in [Revoker::Issuer, by_itself(2)] {
        once_renewed().when(revoke(by).reject_renewal(true), after(501)).then_invalid(&["rejectRenewal"]);
    }
    once_renewed().when(revoke(Revoker::Issuer), after(501)).then([is_ended(1, EndTrigger::ManualRevoke)]);
    once_renewed().when(revoke(by_itself(2)), after(501)).then([is_ended(1, EndTrigger::Own)]);
}

/// The link in the notice of the renewal to this generation, as alice got it.
fn by_link(generation: u32) -> Revoker {
    let Revoker::Owner(owner) = by_alice() else { unreachable!("alice is an owner") };
    Revoker::Link(VetoLink { owner, generation: tenure::core::Generation(generation) })
}

#[test]
fn a_link_vetoes_its_renewal_until_the_window_is_over() {
    let over = Refusal::VetoLinkOver { is_overtaken: false, caused_by: Position(3) };
    once_renewed().when(revoke(by_link(2)).reject_renewal(true), after(800)).then(is_vetoed(2));
    let late = after(800).plus_millis(1);
    once_renewed().when(revoke(by_link(2)).reject_renewal(true), late).then_refused(over);
}

#[test]
fn a_link_does_nothing_about_a_later_renewal() {
    let overtaken = Refusal::VetoLinkOver { is_overtaken: true, caused_by: Position(4) };
    once_renewed()
        .and([renewed(3, 1_000)])
        .when(revoke(by_link(2)).reject_renewal(true), after(1_001))
        .then_refused(overtaken);
}

#[test]
fn a_link_is_used_up_and_void_for_another_owner() {
    let ended = Refusal::SessionRevoked { caused_by: Position(5), trigger: EndTrigger::RenewalRejected };
    once_renewed()
        .when(revoke(by_link(2)).reject_renewal(true), after(501))
        .then(is_vetoed(2))
        .when(revoke(by_link(2)).reject_renewal(true), after(502))
        .then_refused(ended);
    let Revoker::Owner(owner) = by_bob() else { unreachable!("bob is an owner") };
    let of_bob = Revoker::Link(VetoLink { owner, generation: tenure::core::Generation(2) });
    once_renewed().when(revoke(of_bob), after(501)).then_refused(Refusal::SessionNotFound);
}

#[test]
fn a_veto_of_a_session_already_ended_appends_nothing() {
    once_renewed()
        .when(revoke(by_alice()), after(501))
        .then(is_vetoed(2))
        .when(revoke(by_alice()), after(502))
        .then_nothing()
        .when(revoke(by_alice()).reject_renewal(true), after(502))
        .then_nothing();
}

#[test]
fn a_token_is_judged_before_its_wish_to_veto() {
    once_renewed()
        .when(revoke(by_itself(1)).reject_renewal(true), after(501))
        .then_refused(Refusal::TokenSuperseded { caused_by: Position(3) });
}

// All of a subject's

fn crowd() -> Scenario {
    let laptop = |number, seconds| began_on(device(1), number, seconds);
    Scenario::given([
        registered(),
        laptop(1, 0),
        laptop(2, 400),
        began_on(device(2), 3, 400),
        began(4, 400),
        laptop(5, 400),
        ended(5, EndTrigger::Own, 401),
    ])
}

fn all(command: RevokeSessions) -> Command {
    Command::RevokeSessions(command)
}

fn live(scenario: &Scenario, seconds: u32) -> Vec<u32> {
    (1..=5).filter(|number| scenario.session(*number).is_live(after(seconds))).collect()
}

#[test]
fn all_sessions_of_a_subject_end_in_one_event() {
    let scenario = crowd()
        .when(all(revoke_all()), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(are_ended(4)))]);
    assert!(live(&scenario, 500).is_empty());
    let revocation = scenario.session(4).revocation().unwrap();
    assert_eq!((revocation.at, revocation.position), (after(500), Position(8)));
    assert_eq!(revocation.trigger, EndTrigger::SubjectRevoked);
    let before = scenario.session(5).revocation().unwrap();
    assert_eq!((before.at, before.trigger), (after(401), EndTrigger::Own));
}

#[test]
fn only_active_sessions_are_ended_and_counted() {
    let scenario = crowd()
        .when(all(revoke_all()), after(1_000))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(are_ended(3)))]);
    assert_eq!(scenario.session(1).status(after(1_000)), SessionStatus::Expired);
}

#[test]
fn only_the_sessions_of_one_device_are_ended() {
    let command = RevokeSessions { device: Some(digest(1)), ..revoke_all() };
    let expected = SessionsRevoked { device_digest: Some(digest(1)), ..are_ended(2) };
    let scenario = crowd()
        .when(all(command), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
    assert_eq!(live(&scenario, 500), [3, 4]);
}

#[test]
fn all_sessions_but_one_are_ended() {
    let command = RevokeSessions { except: Some(session(3)), ..revoke_all() };
    let expected = SessionsRevoked { except_session_id: Some(session(3)), ..are_ended(3) };
    let scenario = crowd()
        .when(all(command), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
    assert_eq!(live(&scenario, 500), [3]);
}

#[test]
fn all_sessions_of_a_device_but_one_are_ended() {
    let command = RevokeSessions { device: Some(digest(1)), except: Some(session(1)), ..revoke_all() };
    let expected = SessionsRevoked {
        device_digest: Some(digest(1)),
        except_session_id: Some(session(1)),
        ..are_ended(1)
    };
    let scenario = crowd()
        .when(all(command), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
    assert_eq!(live(&scenario, 500), [1, 3, 4]);
}

/// Two tabs with two accounts: the session that was to stay was named by the id of another subject's. Nothing was
/// excepted, and the subject was signed out everywhere.
#[test]
fn an_exception_that_is_no_session_of_the_subject_ends_nothing() {
    let command = RevokeSessions { except: Some(session(77)), ..revoke_all() };
    crowd().when(all(command), after(500)).then_refused(Refusal::SessionNotFound);
}

#[test]
fn an_exception_that_has_ended_is_harmless() {
    let of_device = SessionsRevoked { device_digest: Some(digest(2)), ..are_ended(1) };
    let ended = crowd()
        .when(all(RevokeSessions { device: Some(digest(2)), ..revoke_all() }), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(of_device))]);
    let expected = SessionsRevoked { except_session_id: Some(session(3)), ..are_ended(3) };
    let command = RevokeSessions { except: Some(session(3)), ..revoke_all() };
    ended.when(all(command), after(501)).then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
}

#[test]
fn when_no_session_matches_nothing_is_appended() {
    let on_unknown_device = RevokeSessions { device: Some(digest(9)), ..revoke_all() };
    crowd().when(all(on_unknown_device), after(500)).then_nothing();
    let the_only_one = RevokeSessions { device: Some(digest(2)), except: Some(session(3)), ..revoke_all() };
    crowd().when(all(the_only_one), after(500)).then_nothing();
    crowd().when(all(revoke_all()), after(9_000)).then_nothing();
    Scenario::given([registered()]).when(all(revoke_all()), T0).then_nothing();
}

#[test]
fn the_owner_may_end_all_sessions_of_its_subject_and_no_other_owner() {
    let by_owner = |name| RevokeSessions { owner: Some(owner(name)), ..revoke_all() };
    crowd().when(all(by_owner("bob")), after(500)).then_refused(Refusal::SubjectNotFound);
    crowd()
        .when(all(by_owner(ALICE)), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(are_ended(4)))]);
}

#[test]
fn the_sessions_of_an_unknown_subject_cannot_be_ended() {
    Scenario::given([]).when(all(revoke_all()), T0).then_refused(Refusal::SubjectNotFound);
}

#[test]
fn the_reason_for_ending_all_is_kept_with_each() {
    let command = RevokeSessions { reason: Some(sealed("left the company")), ..revoke_all() };
    let expected = SessionsRevoked { reason: Some(sealed("left the company")), ..are_ended(4) };
    let scenario = crowd()
        .when(all(command), after(500))
        .then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
    for number in 1..=4 {
        let revocation = scenario.session(number).revocation().unwrap();
        assert_eq!(revocation.reason, Some(sealed("left the company")));
    }
}

#[test]
fn a_device_is_known_by_its_digest_whatever_its_sealed_name() {
    let renamed = SessionDevice { name: sealed("the same, sealed again"), ..device(1) };
    let scenario = Scenario::given([registered(), began_on(device(1), 1, 0), began_on(renamed, 2, 0)]);
    let command = RevokeSessions { device: Some(digest(1)), ..revoke_all() };
    let expected = SessionsRevoked { device_digest: Some(digest(1)), ..are_ended(2) };
    scenario.when(all(command), after(1)).then([Event::Subject(SubjectEvent::SessionsRevoked(expected))]);
}
