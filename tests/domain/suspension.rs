//! Suspension (section 2): who may suspend, lengthen and lift, what is refused meanwhile, and how it ends.

use tenure::core::{
    Actor, Event, Generation, Position, Seconds, SubjectEvent,
    budget::SessionUse,
    command::{
        Command, EndAndSuspend, EraseSubject, RecordUsage, RefreshSession, RequestedTerms, ResumeSubject,
        RevokeSession, Revoker, SuspendSubject, SuspensionActor,
    },
    commit::ActorKind,
    event::{
        EndTrigger, ExpiryCause, Role, SessionExpired, SubjectProfile, SubjectResumed, SubjectSuspended,
    },
    refusal::Refusal,
    session::{SessionStatus, TokenFault},
};

use crate::scenario::*;

fn by(role: Role) -> SuspensionActor {
    let of = (role == Role::Owner).then(|| owner(ALICE));
    SuspensionActor { role, owner: of, actor: actor(role) }
}

fn actor(role: Role) -> Actor {
    Actor { kind: ActorKind::Credential, id: Some(format!("{role:?}")) }
}

fn suspend(role: Role, until: Option<u32>) -> Command {
    suspend_for(role, until, None)
}

fn suspend_for(role: Role, until: Option<u32>, reason: Option<&str>) -> Command {
    Command::SuspendSubject(suspension(role, until, reason))
}

fn suspension(role: Role, until: Option<u32>, reason: Option<&str>) -> SuspendSubject {
    SuspendSubject { by: by(role), until: until.map(after), reason: reason.map(sealed) }
}

fn resume(role: Role) -> Command {
    Command::ResumeSubject(ResumeSubject { by: by(role), reason: None })
}

fn is_suspended(role: Role, until: Option<u32>) -> Event {
    Event::Subject(SubjectEvent::SubjectSuspended(SubjectSuspended {
        reason: None,
        until: until.map(after),
        by: actor(role),
        role,
    }))
}

fn is_resumed(role: Role) -> Event {
    Event::Subject(SubjectEvent::SubjectResumed(SubjectResumed {
        reason: None,
        by: actor(role),
        role: Some(role),
    }))
}

/// With the token of this generation, or on the session's behalf.
fn pay(generation: Option<u32>) -> Command {
    let wanted = SessionUse { operation: "pay".into(), amount: None, destination: None };
    let generation = generation.map(Generation);
    Command::RecordUsage(RecordUsage { session_id: session(1), generation, wanted })
}

fn is_over() -> Event {
    Event::Subject(SubjectEvent::SubjectResumed(SubjectResumed::BY_ITSELF))
}

/// Suspended at 100 s.
fn suspended(role: Role, until: Option<u32>) -> Fact {
    Fact::of_agent(is_suspended(role, until), after(100))
}

/// A session that began at once, suspended at 100 s at position 3.
fn given(role: Role, until: Option<u32>) -> Scenario {
    Scenario::given([registered(), began(1, 0), suspended(role, until)])
}

fn refused(until: Option<u32>, of_own_token: bool) -> Refusal {
    Refusal::SubjectSuspended { caused_by: Position(3), until: until.map(after), of_own_token }
}

fn held(is_admins: bool) -> Refusal {
    Refusal::SuspensionHeld { is_admins, caused_by: Position(3) }
}

#[test]
fn admin_issuer_and_owner_may_suspend_a_subject_that_exists_for_them() {
    for role in [Role::Admin, Role::Issuer, Role::Owner] {
        Scenario::given([registered()])
            .when(suspend(role, Some(200)), after(100))
            .then([is_suspended(role, Some(200))]);
        Scenario::given([]).when(suspend(role, None), after(100)).then_refused(Refusal::SubjectNotFound);
        Scenario::given([]).when(resume(role), after(100)).then_refused(Refusal::SubjectNotFound);
    }
    let foreign = Scenario::given([registered_as(SubjectProfile {
        owner_id: Some(owner("bob")),
        ..SubjectProfile::default()
    })]);
    foreign
        .when(suspend(Role::Owner, None), after(1))
        .then_refused(Refusal::SubjectNotFound)
        .when(resume(Role::Owner), after(1))
        .then_refused(Refusal::SubjectNotFound);
}

#[test]
fn its_end_lies_ahead() {
    for until in [99, 100] {
        Scenario::given([registered()])
            .when(suspend(Role::Admin, Some(until)), after(100))
            .then_invalid(&["until"]);
    }
    Scenario::given([registered()])
        .when(suspend(Role::Admin, Some(100)), just_before(100))
        .then([is_suspended(Role::Admin, Some(100))]);
}

#[test]
fn what_it_forbids_is_forbidden_exactly_until_its_end() {
    let create = || create(2, RequestedTerms::default());
    given(Role::Owner, Some(700))
        .when(create(), just_before(700))
        .then_refused(refused(Some(700), false))
        .when(renew(1), just_before(700))
        .then_refused(refused(Some(700), true))
        .when(renew(1), after(700))
        .then_one(|event| assert_eq!(event.kind().name(), "SessionRenewed"));
    given(Role::Owner, Some(700)).when(create(), after(700)).then_one(|event| {
        assert_eq!(event.kind().name(), "SessionCreated");
    });
    given(Role::Owner, None).when(create(), after(900)).then_refused(refused(None, false));
}

#[test]
fn terms_that_are_wrong_are_told_before_and_a_full_subject_after_it() {
    let wrong = RequestedTerms { ttl: Some(Seconds(1)), ..RequestedTerms::default() };
    given(Role::Owner, None).when(create(2, wrong), after(200)).then_invalid(&["ttl"]);
    let full = given(Role::Owner, None).under(|policy| policy.per_subject = 1);
    full.when(create(2, RequestedTerms::default()), after(200)).then_refused(refused(None, false));
}

/// Row 3a stands between the end of a session and its generation, and leaves nothing in the record.
#[test]
fn a_renewal_is_refused_after_row_3_and_before_row_4() {
    let ended = || given(Role::Owner, None).and([ended(1, EndTrigger::ManualRevoke, 200)]);
    let revoked = Refusal::SessionRevoked { caused_by: Position(4), trigger: EndTrigger::ManualRevoke };
    ended().when(renew(1), after(300)).then_refused(revoked);
    // Superseded, with the key of the renewal that replaced it, expired: all the same.
    let renewed = || {
        Scenario::given([registered(), began(1, 0)])
            .and([renewed_with_key(7, 2, 500), Fact::of_agent(is_suspended(Role::Owner, None), after(600))])
    };
    let refused = || Refusal::SubjectSuspended { caused_by: Position(4), until: None, of_own_token: true };
    for asked in [renew(1), renew(1).with_key(7), renew(2), renew(2).with_key(7)] {
        renewed().when(asked, after(700)).then_refused(refused());
        renewed().when(asked, after(9_000)).then_refused(refused());
    }
}

#[test]
fn a_lost_reply_can_be_repeated_once_the_subject_is_resumed() {
    Scenario::given([registered(), began(1, 0), renewed_with_key(7, 2, 500)])
        .when(suspend(Role::Owner, None), after(600))
        .then([is_suspended(Role::Owner, None)])
        .when(resume(Role::Owner), after(700))
        .then([is_resumed(Role::Owner)])
        .when(renew(1).with_key(7), after(800))
        .then_nothing();
}

#[test]
fn usage_is_refused_to_the_token_and_to_those_who_act_for_it() {
    given(Role::Issuer, Some(500))
        .when(pay(Some(1)), after(200))
        .then_refused(refused(Some(500), true))
        .when(pay(None), after(200))
        .then_refused(refused(Some(500), false));
    let ended = given(Role::Issuer, None).and([ended(1, EndTrigger::ManualRevoke, 150)]);
    ended
        .when(pay(None), after(200))
        .then_refused(Refusal::SessionNotActive { status: SessionStatus::Revoked, caused_by: Position(4) });
}

#[test]
fn a_refresh_is_refused() {
    let command = RefreshSession { session_id: session(1), generation: Generation(1) };
    given(Role::Owner, None)
        .when(Command::RefreshSession(command), after(200))
        .then_refused(refused(None, true));
}

#[test]
fn a_session_may_still_end_itself_and_others_may_end_it() {
    given(Role::Admin, None).when(revoke(by_itself(1)), after(200)).then([is_ended(1, EndTrigger::Own)]);
    given(Role::Admin, None)
        .when(revoke(by_alice()), after(200))
        .then([is_ended(1, EndTrigger::ManualRevoke)]);
    // Only with its current token.
    let renewed = Scenario::given([registered(), began(1, 0), renewed(2, 500)])
        .and([Fact::of_agent(is_suspended(Role::Admin, None), after(600))]);
    renewed
        .when(revoke(by_itself(1)), after(700))
        .then_refused(Refusal::TokenSuperseded { caused_by: Position(3) });
}

#[test]
fn a_token_is_judged_in_the_order_of_the_contract() {
    let scenario = given(Role::Owner, Some(5_000)).and([Fact::of_agent(is_resumed(Role::Owner), after(400))]);
    let scenario =
        scenario.and([renewed(2, 500), Fact::of_agent(is_suspended(Role::Owner, Some(5_000)), after(600))]);
    let (agent, suspension) = (scenario.agent(), scenario.agent().suspension());
    let session = agent.session(session(1)).unwrap();
    let fault = TokenFault::Suspended { position: Position(6), until: Some(after(5_000)) };
    for generation in [1, 2] {
        for at in [700, 4_999] {
            assert_eq!(session.judge(Generation(generation), suspension, after(at)), Err(fault));
        }
    }
    assert_eq!(session.cause_of(fault), Position(6));
    assert_eq!(session.judge(Generation(1), suspension, after(5_000)), Err(TokenFault::Superseded));
    assert_eq!(session.judge(Generation(2), suspension, after(5_000)), Err(TokenFault::Expired));
    let ended = scenario.and([ended(1, EndTrigger::ManualRevoke, 800)]);
    let judged = ended.session(1).judge(Generation(2), ended.agent().suspension(), after(900));
    assert_eq!(judged, Err(TokenFault::Revoked(EndTrigger::ManualRevoke)));
}

#[test]
fn an_admins_suspension_is_for_admins_to_lift_and_shorten() {
    for role in [Role::Owner, Role::Issuer] {
        for until in [Some(499), Some(500)] {
            given(Role::Admin, Some(500))
                .when(suspend_for(role, until, Some("other words")), after(200))
                .then_refused(held(true));
        }
        given(Role::Admin, None)
            .when(suspend_for(role, None, Some("x")), after(200))
            .then_refused(held(true));
        given(Role::Admin, Some(500)).when(resume(role), after(200)).then_refused(held(true));
        for until in [Some(501), None] {
            let longer = given(Role::Admin, Some(500)).when(suspend(role, until), after(200));
            let longer = longer.then([is_suspended(role, until)]);
            let held = Refusal::SuspensionHeld { is_admins: true, caused_by: Position(4) };
            longer.when(resume(Role::Owner), after(300)).then_refused(held);
        }
    }
    given(Role::Admin, Some(500))
        .when(suspend(Role::Admin, Some(300)), after(200))
        .then([is_suspended(Role::Admin, Some(300))]);
    given(Role::Admin, None).when(resume(Role::Admin), after(200)).then([is_resumed(Role::Admin)]);
}

#[test]
fn one_by_owner_or_issuer_is_for_the_owner_too_and_never_for_an_issuer() {
    for role in [Role::Owner, Role::Issuer] {
        for lifting in [Role::Admin, Role::Owner] {
            given(role, Some(500)).when(resume(lifting), after(200)).then([is_resumed(lifting)]);
            given(role, None)
                .when(suspend(lifting, Some(300)), after(200))
                .then([is_suspended(lifting, Some(300))]);
        }
        given(role, Some(500)).when(resume(Role::Issuer), after(200)).then_refused(held(false));
        given(role, Some(500)).when(suspend(Role::Issuer, Some(499)), after(200)).then_refused(held(false));
        given(role, Some(500))
            .when(suspend(Role::Issuer, None), after(200))
            .then([is_suspended(Role::Issuer, None)]);
    }
}

#[test]
fn the_same_words_change_nothing_but_that_an_admin_takes_it_over() {
    for role in [Role::Admin, Role::Owner, Role::Issuer] {
        for again in [Role::Owner, Role::Issuer] {
            given(role, Some(500)).when(suspend(again, Some(500)), after(200)).then_nothing();
        }
    }
    given(Role::Admin, Some(500)).when(suspend(Role::Admin, Some(500)), after(200)).then_nothing();
    for role in [Role::Owner, Role::Issuer] {
        let taken = given(role, Some(500)).when(suspend(Role::Admin, Some(500)), after(200));
        let taken = taken.then([is_suspended(Role::Admin, Some(500))]);
        let held = Refusal::SuspensionHeld { is_admins: true, caused_by: Position(4) };
        taken.when(resume(Role::Owner), after(300)).then_refused(held);
    }
    Scenario::given([registered()]).when(resume(Role::Owner), after(1)).then_nothing();
}

#[test]
fn a_suspension_that_is_over_is_none_and_its_end_is_recorded_once() {
    given(Role::Admin, Some(500)).when(resume(Role::Owner), after(500)).then_nothing();
    given(Role::Admin, Some(500)).when(Command::RecordExpiries, just_before(500)).then_nothing();
    given(Role::Admin, Some(500))
        .when(Command::RecordExpiries, after(500))
        .then([is_over()])
        .when(Command::RecordExpiries, after(600))
        .then_nothing();
    // Another one begins: the end of the first is told before it, and it was not an admin's.
    given(Role::Admin, Some(500))
        .when(suspend(Role::Owner, Some(800)), after(600))
        .then([is_over(), is_suspended(Role::Owner, Some(800))])
        .when(resume(Role::Owner), after(700))
        .then([is_resumed(Role::Owner)]);
    let swept = given(Role::Admin, Some(500)).when(Command::RecordExpiries, after(1_000));
    let expired =
        SessionExpired { session_id: session(1), expires_at: after(1_000), cause: ExpiryCause::Ttl };
    swept.then([is_over(), Event::Subject(SubjectEvent::SessionExpired(expired))]);
}

#[test]
fn a_registration_and_an_erasure_leave_it_alone() {
    let reason = |scenario: &Scenario| scenario.agent().suspension().unwrap().reason.clone();
    let scenario = Scenario::given([registered(), began(1, 0)]);
    let scenario = scenario
        .when(suspend_for(Role::Owner, None, Some("it spends")), after(100))
        .then_one(|_| ())
        .when(register_as_admin(SubjectProfile::default()), after(200))
        .then_one(|_| ());
    assert_eq!(reason(&scenario), Some(sealed("it spends")));
    let erase = Command::EraseSubject(EraseSubject { reason: sealed("asked") });
    let scenario = scenario.when(erase, after(300)).then_one(|_| ());
    assert_eq!(reason(&scenario), None);
    assert!(!scenario.agent().has_text());
    scenario.when(renew(1), after(600)).then_refused(refused(None, true));
}

fn end_and_suspend(revoker: Revoker, role: Role) -> Command {
    let end = RevokeSession { session_id: session(1), by: revoker, reject_renewal: None, reason: None };
    Command::EndAndSuspend(EndAndSuspend { end, suspension: suspension(role, None, None) })
}

#[test]
fn a_session_is_ended_and_its_subject_suspended_in_one_step() {
    let begun = || Scenario::given([registered(), began(1, 0)]);
    let both = [is_ended(1, EndTrigger::ManualRevoke), is_suspended(Role::Owner, None)];
    begun()
        .when(end_and_suspend(by_alice(), Role::Owner), after(200))
        .then(both)
        .when(end_and_suspend(by_alice(), Role::Owner), after(300))
        .then_nothing()
        .when(resume(Role::Owner), after(400))
        .then([is_resumed(Role::Owner)])
        .when(end_and_suspend(by_alice(), Role::Owner), after(500))
        .then([is_suspended(Role::Owner, None)]);
    let foreign = end_and_suspend(by_bob(), Role::Owner);
    begun().when(foreign, after(200)).then_refused(Refusal::SessionNotFound);
    let vetoed = begun().and([renewed(2, 500)]).when(end_and_suspend(by_alice(), Role::Owner), after(600));
    let [rejected, ended] = is_vetoed(2);
    vetoed.then([rejected, ended, is_suspended(Role::Owner, None)]);
}

/// The end is not refused because of a suspension, and an admin's stays an admin's.
#[test]
fn ending_with_suspension_leaves_a_suspension_that_lasts_as_long() {
    let ended = || [is_ended(1, EndTrigger::ManualRevoke)];
    let asked = || end_and_suspend(by_alice(), Role::Owner);
    given(Role::Admin, None).when(asked(), after(200)).then(ended());
    given(Role::Owner, None).when(asked(), after(200)).then(ended());
    let [end] = ended();
    let longer = given(Role::Admin, Some(500)).when(asked(), after(200));
    let longer = longer.then([end.clone(), is_suspended(Role::Owner, None)]);
    assert!(longer.agent().suspension().unwrap().is_admins);
    let taken = given(Role::Owner, None).when(end_and_suspend(Revoker::Admin, Role::Admin), after(200));
    taken.then([end, is_suspended(Role::Admin, None)]);
}

/// An admin ended a session with suspension and gave no reason: that of the suspension in force was gone.
#[test]
fn ending_with_suspension_keeps_the_known_reason_where_none_is_given() {
    for (until, revoker, role) in [
        (None, Revoker::Admin, Role::Admin),
        (Some(900), Revoker::Admin, Role::Admin),
        (Some(900), by_alice(), Role::Owner),
    ] {
        let scenario = Scenario::given([registered(), began(1, 0)])
            .when(suspend_for(Role::Owner, until, Some("spends too much")), after(200))
            .then_many(|_| ())
            .when(end_and_suspend(revoker, role), after(300))
            .then_many(|_| ());
        let suspension = scenario.agent().suspension().unwrap().clone();
        assert_eq!(suspension.reason, Some(sealed("spends too much")));
        assert_eq!((suspension.until, suspension.is_admins), (None, role == Role::Admin));
    }
}

#[test]
fn the_end_of_a_suspension_is_a_moment_and_not_a_second() {
    let moment = |millis| after(500).plus_millis(millis);
    let scenario = given(Role::Admin, Some(500));
    let suspension = scenario.agent().suspension().unwrap();
    assert!(suspension.is_in_force(moment(-1)) && !suspension.is_in_force(moment(0)));
}
