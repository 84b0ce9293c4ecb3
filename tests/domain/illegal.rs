//! An event that cannot follow from a state is an alarm that names its position and kind, and changes nothing.

use tenure::core::{
    Actor, CredentialId, Event, EventKind, Generation, KeyUse, Policy, Position, StreamId, SubjectEvent,
    SystemEvent, Timestamp,
    budget::Constraints,
    commit::EventMeta,
    event::{
        CredentialRevoked, EndTrigger, ExpiringSoon, ExpiryCause, KeyRotated, PolicyChanged, PresentedToken,
        RejectionCause, RejectionCode, RenewalRejected, Role, SessionCreated, SessionExpired, SessionRenewed,
        SessionsRevoked, SubjectErased, SubjectProfile, SubjectRegistered, SubjectResumed, SubjectSuspended,
        TokensPresented, UsageRecorded, WebhookDeleted,
    },
    evolve::IllegalEvent,
    keys::RetireMode,
    state::AuthorityState,
    subject::Subject,
};

use crate::{
    scenario::*,
    system::{credential, webhook},
};

const HERE: Position = Position(77);

fn recorded(at: Timestamp) -> EventMeta {
    EventMeta { position: HERE, at }
}

/// The event raises an alarm with its position and kind, and the subject stays as it was.
#[track_caller]
fn assert_illegal(subject: &Subject, event: &Event, at: Timestamp) {
    let mut changed = subject.clone();
    let Err(alarm) = evolve_subject(&mut changed, event, recorded(at)) else {
        panic!("{event:?} should be illegal at {at}");
    };
    assert_eq!((alarm.position, alarm.kind), (HERE, event.kind()), "{}", alarm.why);
    assert_eq!(changed, *subject, "an illegal event changes nothing");
    let text = alarm.to_string();
    assert!(text.contains("77") && text.contains(event.kind().name()), "{text}");
}

#[track_caller]
fn assert_legal(subject: &Subject, event: &Event, at: Timestamp) {
    let mut changed = subject.clone();
    assert_eq!(evolve_subject(&mut changed, event, recorded(at)), Ok(()), "{event:?}");
    assert_eq!(changed.version(), HERE, "the version of a subject is its last position");
}

fn unknown() -> Subject {
    Subject::new(subject_id())
}

fn subject(facts: impl IntoIterator<Item = Fact>) -> Subject {
    Scenario::given(facts).agent().clone()
}

fn without_sessions() -> Subject {
    subject([registered()])
}

fn begun() -> Subject {
    subject([registered(), began(1, 0)])
}

fn once_renewed() -> Subject {
    subject([registered(), began(1, 0), renewed(2, 600)])
}

fn ended_already() -> Subject {
    subject([registered(), began(1, 0), renewed(2, 600), ended(1, EndTrigger::Own, 700)])
}

fn renewal(generation: u32, at: Timestamp, change: impl FnOnce(&mut SessionRenewed)) -> Event {
    let mut event = SessionRenewed {
        session_id: session(1),
        generation: Generation(generation),
        expires_at: at.plus(TERMS.ttl).min(T0.plus(TERMS.absolute_lifetime)),
        renew_at: None,
        key_digest: None,
        expiring_soon: None,
    };
    change(&mut event);
    Event::Subject(SubjectEvent::SessionRenewed(event))
}

fn creation(number: u32, at: u32, change: impl FnOnce(&mut SessionCreated)) -> Event {
    let Event::Subject(SubjectEvent::SessionCreated(mut event)) = began(number, at).event else {
        unreachable!()
    };
    change(&mut event);
    Event::Subject(SubjectEvent::SessionCreated(event))
}

fn rejection(generation: u32, cause: RejectionCause, code: Option<RejectionCode>) -> Event {
    let generation = Generation(generation);
    Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session(1),
        generation,
        cause,
        code,
        expiring_soon: None,
        contested: false,
    }))
}

fn expiry(number: u32, at: u32, change: impl FnOnce(&mut SessionExpired)) -> Event {
    let mut event =
        SessionExpired { session_id: session(number), expires_at: after(at), cause: ExpiryCause::Ttl };
    change(&mut event);
    Event::Subject(SubjectEvent::SessionExpired(event))
}

/// The first use of a session, which cost 2.5.
fn usage(number: u32, change: impl FnOnce(&mut UsageRecorded)) -> Event {
    let mut event = UsageRecorded {
        session_id: session(number),
        operation: "pay".into(),
        amount: Some(amount("2.5")),
        destination: Some("bob".into()),
        transactions: 1,
        total_amount: amount("2.5"),
    };
    change(&mut event);
    Event::Subject(SubjectEvent::UsageRecorded(event))
}

fn registration() -> Event {
    Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: SubjectProfile::default() }))
}

fn marks(number: u32, generation: u32) -> Event {
    let mark = PresentedToken { session_id: session(number), generation: Generation(generation) };
    Event::System(SystemEvent::TokensPresented(TokensPresented { presented: vec![mark] }))
}

fn rotation(letter: char, previous: Option<char>, retire: Option<(RetireMode, Timestamp)>) -> Event {
    let id = |letter: char| {
        format!("k4.pid.{}", letter.to_string().repeat(44)).parse().expect("it has the form of an id")
    };
    Event::System(SystemEvent::KeyRotated(KeyRotated {
        which: KeyUse::Access,
        key_id: id(letter),
        previous_key_id: previous.map(id),
        retire: retire.map(|(retire, _)| retire),
        retire_at: retire.map(|(_, at)| at),
    }))
}

fn erasure() -> Event {
    Event::Subject(SubjectEvent::SubjectErased(SubjectErased { reason: sealed("asked for it") }))
}

fn withdrawal(number: u8) -> Event {
    Event::System(SystemEvent::CredentialRevoked(CredentialRevoked {
        credential_id: CredentialId::from_bytes([number; 16]),
    }))
}

fn new_policy() -> Event {
    Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: Policy::default() }))
}

fn suspension(role: Role, until: Option<u32>) -> Event {
    Event::Subject(SubjectEvent::SubjectSuspended(SubjectSuspended {
        reason: None,
        until: until.map(after),
        by: Actor::AUTHORITY,
        role,
    }))
}

fn resumption(role: Option<Role>) -> Event {
    let resumed = SubjectResumed { reason: None, by: Actor::AUTHORITY, role };
    Event::Subject(SubjectEvent::SubjectResumed(resumed))
}

/// One of each kind, such as it could follow the first renewal of session 1 at 1200 s.
fn one_of_each(at: Timestamp) -> [Event; 18] {
    [
        registration(),
        creation(2, 1_200, |_| ()),
        renewal(3, at, |_| ()),
        rejection(2, RejectionCause::Policy, Some(RejectionCode::RenewalTooEarly)),
        is_ended(1, EndTrigger::ManualRevoke),
        Event::Subject(SubjectEvent::SessionsRevoked(are_ended(1))),
        marks(1, 2),
        Event::System(SystemEvent::CredentialIssued(credential(1, Role::Admin))),
        withdrawal(1),
        new_policy(),
        expiry(1, 1_600, |_| ()),
        erasure(),
        rotation('b', None, None),
        usage(1, |_| ()),
        Event::System(SystemEvent::WebhookCreated(webhook(1, None))),
        Event::System(SystemEvent::WebhookDeleted(WebhookDeleted {
            webhook_id: webhook(1, None).webhook_id,
        })),
        suspension(Role::Owner, None),
        resumption(Some(Role::Owner)),
    ]
}

use EventKind::{
    RenewalRejected as Rejected, SessionCreated as Created, SessionExpired as Expired,
    SessionRenewed as Renewed, SessionRevoked as Revoked, SessionsRevoked as AllRevoked,
    SubjectErased as Erased, SubjectRegistered as Registered, SubjectResumed as Resumed,
    SubjectSuspended as Suspended, UsageRecorded as Used,
};

/// Which kinds may follow which state of a subject; all others are illegal.
#[test]
fn what_may_follow_what() {
    let table: [(&str, Subject, u32, &[EventKind]); 7] = [
        ("unknown", unknown(), 1_200, &[Registered]),
        (
            "without sessions",
            without_sessions(),
            1_200,
            &[Registered, AllRevoked, Created, Erased, Suspended],
        ),
        // Generation 3 does not follow generation 1, and generation 2 is not the current one.
        ("begun", begun(), 700, &[Registered, Revoked, AllRevoked, Created, Erased, Used, Suspended]),
        (
            "renewed",
            once_renewed(),
            1_200,
            &[Registered, Created, Renewed, Rejected, Revoked, AllRevoked, Erased, Used, Suspended],
        ),
        (
            "expired",
            once_renewed(),
            1_600,
            &[Registered, Created, Rejected, Revoked, AllRevoked, Expired, Erased, Suspended],
        ),
        ("ended", ended_already(), 1_200, &[Registered, AllRevoked, Created, Erased, Suspended]),
        (
            "suspended",
            suspended(Role::Owner, None),
            1_200,
            &[Registered, Rejected, Revoked, AllRevoked, Erased, Suspended, Resumed],
        ),
    ];
    for (name, subject, seconds, legal) in table {
        for event in one_of_each(after(seconds)) {
            println!("{name}: {}", event.kind().name());
            if legal.contains(&event.kind()) {
                assert_legal(&subject, &event, after(seconds));
            } else {
                assert_illegal(&subject, &event, after(seconds));
            }
        }
    }
}

/// Once renewed, and suspended at 1100 s.
fn suspended(role: Role, until: Option<u32>) -> Subject {
    let mut subject = once_renewed();
    evolve_subject(&mut subject, &suspension(role, until), recorded(after(1_100))).expect("it may follow");
    subject
}

#[test]
fn a_suspension_is_lifted_and_shortened_by_those_who_may_and_ends_when_it_says() {
    let admins = suspended(Role::Admin, Some(1_500));
    for role in [Role::Owner, Role::Issuer] {
        assert_illegal(&admins, &resumption(Some(role)), after(1_200));
        assert_illegal(&admins, &suspension(role, Some(1_500)), after(1_200));
        assert_legal(&admins, &suspension(role, Some(1_501)), after(1_200));
    }
    assert_legal(&admins, &resumption(Some(Role::Admin)), after(1_200));
    assert_legal(&admins, &suspension(Role::Admin, Some(1_300)), after(1_200));
    assert_illegal(&admins, &suspension(Role::Admin, Some(1_200)), after(1_200));
    assert_illegal(&suspended(Role::Owner, None), &resumption(Some(Role::Issuer)), after(1_200));
    for role in [Role::Verifier, Role::Auditor] {
        assert_illegal(&once_renewed(), &suspension(role, None), after(1_200));
        assert_illegal(&suspended(Role::Owner, None), &resumption(Some(role)), after(1_200));
    }
    // It ends by itself exactly when it says, and that is told before another one begins.
    assert_illegal(&admins, &resumption(None), just_before(1_500));
    assert_legal(&admins, &resumption(None), after(1_500));
    assert_illegal(&admins, &resumption(Some(Role::Admin)), after(1_500));
    assert_illegal(&admins, &suspension(Role::Admin, None), after(1_500));
}

#[test]
fn the_sums_of_a_use_follow_from_those_before() {
    assert_legal(&begun(), &usage(1, |_| ()), after(1));
    for change in [
        (|event| event.transactions = 2) as fn(&mut UsageRecorded),
        |event| event.transactions = 0,
        |event| event.total_amount = amount("2.6"),
        |event| event.amount = None,
        |event| event.session_id = session(2),
    ] {
        assert_illegal(&begun(), &usage(1, change), after(1));
    }
    let used = subject([registered(), began(1, 0), Fact::of_agent(usage(1, |_| ()), after(1))]);
    assert_illegal(&used, &usage(1, |_| ()), after(2));
    let second = |event: &mut UsageRecorded| {
        event.transactions = 2;
        event.total_amount = amount("5");
    };
    assert_legal(&used, &usage(1, second), after(2));
    assert_illegal(&used, &usage(1, second), after(1_000));
}

#[test]
fn a_use_keeps_to_the_constraints() {
    let within = |limits| subject([registered(), began_within(limits, 1, 0)]);
    let most = |text| Constraints { max_total_amount: Some(amount(text)), ..Constraints::default() };
    assert_legal(&within(most("2.5")), &usage(1, |_| ()), after(1));
    assert_illegal(&within(most("2.49")), &usage(1, |_| ()), after(1));
}

#[test]
fn a_session_does_not_begin_twice() {
    assert_illegal(&begun(), &creation(1, 10, |_| ()), after(10));
    assert_illegal(&ended_already(), &creation(1, 800, |_| ()), after(800));
}

#[test]
fn a_session_does_not_begin_beyond_its_own_lifetime() {
    let until = |end: Timestamp| creation(1, 10, |event| event.expires_at = end);
    let registered = without_sessions();
    assert_illegal(&registered, &until(after(10)), after(10));
    assert_illegal(&registered, &until(after(9)), after(10));
    assert_legal(&registered, &until(after(10).plus_millis(1)), after(10));
    assert_legal(&registered, &until(after(10_010)), after(10));
    assert_illegal(&registered, &until(after(10_010).plus_millis(1)), after(10));
}

#[test]
fn an_expired_session_is_not_renewed() {
    assert_legal(&begun(), &renewal(2, just_before(1_000), |_| ()), just_before(1_000));
    assert_illegal(&begun(), &renewal(2, after(1_000), |_| ()), after(1_000));
}

#[test]
fn the_generation_moves_by_one() {
    for generation in [0, 1, 3, u32::MAX] {
        assert_illegal(&begun(), &renewal(generation, after(600), |_| ()), after(600));
    }
    assert_legal(&begun(), &renewal(2, after(600), |_| ()), after(600));
}

#[test]
fn no_more_renewals_than_granted() {
    let spent = subject([registered(), began(1, 0), renewed(2, 500), renewed(3, 1_000), renewed(4, 1_500)]);
    assert_illegal(&spent, &renewal(5, after(2_000), |_| ()), after(2_000));
}

#[test]
fn no_period_goes_beyond_the_absolute_end() {
    let until = |end: Timestamp| renewal(2, after(600), |event| event.expires_at = end);
    assert_legal(&begun(), &until(after(10_000)), after(600));
    assert_illegal(&begun(), &until(after(10_000).plus_millis(1)), after(600));
}

#[test]
fn a_new_period_does_not_end_before_it_begins() {
    let until = |end: Timestamp| renewal(2, after(600), |event| event.expires_at = end);
    assert_illegal(&begun(), &until(after(599)), after(600));
    assert_illegal(&begun(), &until(after(600)), after(600));
}

#[test]
fn a_session_that_does_not_exist_is_neither_renewed_nor_refused_nor_ended() {
    let other = |event: &mut SessionRenewed| event.session_id = session(2);
    assert_illegal(&begun(), &renewal(2, after(600), other), after(600));
    assert_illegal(&begun(), &is_ended(2, EndTrigger::ManualRevoke), after(600));
    let rejected = RenewalRejected {
        session_id: session(2),
        generation: Generation(1),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::TokenExpired),
        expiring_soon: None,
        contested: false,
    };
    assert_illegal(&begun(), &Event::Subject(SubjectEvent::RenewalRejected(rejected)), after(600));
}

#[test]
fn a_refusal_by_a_rule_has_a_code_and_is_recorded_once() {
    let early = rejection(1, RejectionCause::Policy, Some(RejectionCode::RenewalTooEarly));
    assert_legal(&begun(), &early, after(1));
    let known = subject([registered(), began(1, 0), Fact::of_agent(early.clone(), after(1))]);
    assert_illegal(&known, &early, after(2));
    assert_illegal(&begun(), &rejection(1, RejectionCause::Policy, None), after(1));
}

#[test]
fn a_refusal_names_the_generation_that_was_current() {
    let early =
        |generation| rejection(generation, RejectionCause::Policy, Some(RejectionCode::RenewalTooEarly));
    assert_legal(&once_renewed(), &early(2), after(700));
    assert_illegal(&once_renewed(), &early(1), after(700));
    assert_illegal(&once_renewed(), &early(3), after(700));
}

fn contesting(generation: u32, change: impl FnOnce(&mut RenewalRejected)) -> Event {
    let Event::Subject(SubjectEvent::RenewalRejected(mut event)) = is_contested(generation) else {
        unreachable!()
    };
    change(&mut event);
    Event::Subject(SubjectEvent::RenewalRejected(event))
}

#[test]
fn a_session_is_contested_once_by_a_token_that_a_renewal_replaced() {
    assert_legal(&once_renewed(), &is_contested(2), after(700));
    assert_illegal(&begun(), &is_contested(1), after(700));
    let early = |event: &mut RenewalRejected| event.code = Some(RejectionCode::RenewalTooEarly);
    assert_illegal(&once_renewed(), &contesting(2, early), after(700));
    let vetoed = |event: &mut RenewalRejected| (event.cause, event.code) = (RejectionCause::Owner, None);
    assert_illegal(&once_renewed(), &contesting(2, vetoed), after(700));

    let mismatch = is_refused(2, RejectionCode::SessionRenewalMismatch);
    let refused = [registered(), began(1, 0), renewed(2, 500), Fact::of_agent(mismatch.clone(), after(501))];
    assert_legal(&subject(refused.clone()), &is_contested(2), after(700));
    let contested = refused.into_iter().chain([Fact::of_agent(is_contested(2), after(700))]);
    let contested = subject(contested.chain([renewed(3, 1_000)]));
    assert_illegal(&contested, &is_contested(3), after(1_100));
    assert_legal(&contested, &is_refused(3, RejectionCode::SessionRenewalMismatch), after(1_100));
}

#[test]
fn an_expiry_is_of_a_session_that_has_ended_by_itself_and_is_recorded_once() {
    let over = expiry(1, 1_000, |_| ());
    assert_illegal(&begun(), &over, just_before(1_000));
    assert_legal(&begun(), &over, after(1_000));
    let known = subject([registered(), began(1, 0), Fact::of_agent(over.clone(), after(1_000))]);
    assert_illegal(&known, &over, after(1_001));
    assert_illegal(&ended_already(), &expiry(1, 1_600, |_| ()), after(1_600));
    assert_illegal(&begun(), &expiry(2, 1_000, |_| ()), after(1_000));
    assert_illegal(&begun(), &expiry(1, 999, |_| ()), after(1_000));
    assert_illegal(&begun(), &expiry(1, 1_000, |event| event.cause = ExpiryCause::Absolute), after(1_000));
}

#[test]
fn that_an_end_is_near_is_said_once_and_never_by_a_veto() {
    let soon =
        |generation, at| renewal(generation, at, |event| event.expiring_soon = Some(ExpiringSoon::Renewals));
    assert_legal(&begun(), &soon(2, after(600)), after(600));
    let told = subject([registered(), began(1, 0), Fact::of_agent(soon(2, after(600)), after(600))]);
    assert_illegal(&told, &soon(3, after(1_200)), after(1_200));
    let mut veto = rejection(2, RejectionCause::Owner, None);
    if let Event::Subject(SubjectEvent::RenewalRejected(event)) = &mut veto {
        event.expiring_soon = Some(ExpiringSoon::Absolute);
    }
    assert_illegal(&once_renewed(), &veto, after(700));
}

#[test]
fn a_veto_is_of_a_renewal_and_breaks_no_rule() {
    assert_illegal(&begun(), &rejection(1, RejectionCause::Owner, None), after(1));
    assert_legal(&once_renewed(), &rejection(2, RejectionCause::Owner, None), after(700));
    assert_illegal(&once_renewed(), &rejection(1, RejectionCause::Owner, None), after(700));
    let with_a_code = rejection(2, RejectionCause::Owner, Some(RejectionCode::TokenExpired));
    assert_illegal(&once_renewed(), &with_a_code, after(700));
}

#[test]
fn a_session_does_not_end_twice() {
    for trigger in [EndTrigger::ManualRevoke, EndTrigger::Own, EndTrigger::Evicted, EndTrigger::TokenReuse] {
        assert_illegal(&ended_already(), &is_ended(1, trigger), after(800));
    }
}

/// How many its decider saw is information. A follower that folds a commit of another node ends what is active here.
#[test]
fn an_end_of_many_ends_what_is_active_whatever_number_it_says() {
    let three = [registered(), began(1, 0), began_on(device(1), 2, 400), began_on(device(1), 3, 400)];
    for (event, ended, seconds) in [
        (are_ended(0), vec![1, 2, 3], 500),
        (SessionsRevoked { device_digest: Some(digest(1)), ..are_ended(9) }, vec![2, 3], 500),
        (SessionsRevoked { except_session_id: Some(session(1)), ..are_ended(0) }, vec![2, 3], 500),
        (SessionsRevoked { oldest: Some(1), ..are_ended(2) }, vec![1], 500),
        (SessionsRevoked { oldest: Some(9), ..are_ended(0) }, vec![1, 2, 3], 500),
        // Session 1 has expired by then.
        (are_ended(3), vec![2, 3], 1_000),
    ] {
        let revoked =
            Fact::of_agent(Event::Subject(SubjectEvent::SessionsRevoked(event.clone())), after(seconds));
        let scenario = Scenario::given(three.clone()).and([revoked]);
        let is_ended = |number: &u32| scenario.session(*number).revocation().is_some();
        assert_eq!((1..=3).filter(is_ended).collect::<Vec<_>>(), ended, "{event:?}");
    }
}

// The system stream

#[track_caller]
fn assert_illegal_in_system(scenario: &Scenario, event: &Event) {
    let mut changed = scenario.state().clone();
    let commit = commit(&changed, StreamId::System, vec![event.clone()], after(2_000));
    let Err(IllegalEvent { position, kind, why }) = changed.apply_at(HERE, &commit) else {
        panic!("{event:?} should be illegal");
    };
    assert_eq!((position, kind), (HERE, event.kind()), "{why}");
    assert_eq!(changed.system, scenario.state().system, "an illegal event changes nothing");
}

#[test]
fn what_is_said_of_a_subject_does_not_belong_to_the_system() {
    let scenario = Scenario::given([registered(), began(1, 0), renewed(2, 600)]);
    for event in &one_of_each(after(1_200))[..6] {
        assert_illegal_in_system(&scenario, event);
    }
}

#[test]
fn a_credential_is_not_admitted_twice() {
    let admitted = Event::System(SystemEvent::CredentialIssued(credential(1, Role::Admin)));
    let scenario = Scenario::given([Fact::of_system(admitted, T0)]);
    assert_illegal_in_system(
        &scenario,
        &Event::System(SystemEvent::CredentialIssued(credential(1, Role::Issuer))),
    );
    let withdrawn = scenario.and([Fact::of_system(withdrawal(1), T0)]);
    assert_illegal_in_system(
        &withdrawn,
        &Event::System(SystemEvent::CredentialIssued(credential(1, Role::Admin))),
    );
}

#[test]
fn a_credential_is_withdrawn_only_while_it_is_in_force() {
    assert_illegal_in_system(&Scenario::given([]), &withdrawal(1));
    let admitted = Event::System(SystemEvent::CredentialIssued(credential(1, Role::Admin)));
    let facts = [Fact::of_system(admitted, T0), Fact::of_system(withdrawal(1), T0)];
    assert_illegal_in_system(&Scenario::given(facts), &withdrawal(1));
}

#[test]
fn a_key_replaces_the_one_that_seals_and_none_comes_twice() {
    let scenario = Scenario::given([Fact::of_system(rotation('a', None, None), T0)]);
    let now = after(2_000);
    for illegal in [
        rotation('a', Some('a'), Some((RetireMode::Now, now))),
        rotation('b', None, None),
        rotation('b', Some('c'), Some((RetireMode::Now, now))),
        rotation('b', Some('a'), None),
        rotation('b', Some('a'), Some((RetireMode::Now, after(2_001)))),
        rotation('b', Some('a'), Some((RetireMode::Overlap, after(1_999)))),
    ] {
        assert_illegal_in_system(&scenario, &illegal);
    }
    let rotated = scenario.and([Fact::of_system(rotation('b', Some('a'), Some((RetireMode::Now, T0))), T0)]);
    assert_illegal_in_system(&rotated, &rotation('a', Some('b'), Some((RetireMode::Now, now))));
}

#[test]
fn a_webhook_is_made_and_deleted_once() {
    let made = Event::System(SystemEvent::WebhookCreated(webhook(1, None)));
    let deleted = Event::System(SystemEvent::WebhookDeleted(WebhookDeleted {
        webhook_id: webhook(1, None).webhook_id,
    }));
    assert_illegal_in_system(&Scenario::given([]), &deleted);
    let scenario = Scenario::given([Fact::of_system(made.clone(), T0)]);
    assert_illegal_in_system(&scenario, &made);
    let scenario = scenario.and([Fact::of_system(deleted.clone(), T0)]);
    assert_illegal_in_system(&scenario, &deleted);
}

// The state of all

#[track_caller]
fn alarm(state: &AuthorityState, stream: StreamId, event: Event) -> IllegalEvent {
    let commit = commit(state, stream, vec![registration(), event], after(2_000));
    let mut changed = state.clone();
    match changed.apply(&commit) {
        Err(alarm) => alarm,
        Ok(()) => panic!("{commit:?} should be illegal"),
    }
}

#[test]
fn the_alarm_names_the_position_of_the_event_within_its_commit() {
    let scenario = Scenario::given([registered(), began(1, 0)]);
    let alarm = alarm(scenario.state(), StreamId::Subject(subject_id()), is_ended(9, EndTrigger::Own));
    assert_eq!((alarm.position, alarm.kind), (Position(4), EventKind::SessionRevoked));
}

#[test]
fn a_session_id_is_not_given_to_two_subjects() {
    let scenario = Scenario::given([registered(), began(1, 0)]);
    let other = StreamId::Subject("other".parse().unwrap());
    let alarm = alarm(scenario.state(), other, creation(1, 2_000, |_| ()));
    assert_eq!((alarm.position, alarm.kind), (Position(4), EventKind::SessionCreated));
}

#[test]
fn only_tokens_that_were_issued_are_presented() {
    let scenario = Scenario::given([registered(), began(1, 0), renewed(2, 600)]);
    for (event, legal) in
        [(marks(1, 1), true), (marks(1, 2), true), (marks(1, 3), false), (marks(2, 1), false)]
    {
        let commit = commit(scenario.state(), StreamId::System, vec![event.clone()], after(700));
        let mut changed = scenario.state().clone();
        match changed.apply(&commit) {
            Ok(()) => assert!(legal, "{event:?}"),
            Err(alarm) => {
                assert!(!legal, "{alarm}");
                assert_eq!((alarm.position, alarm.kind), (Position(4), EventKind::TokensPresented));
            }
        }
    }
}
