//! Beginning a session: what it may ask for, and what it is granted (section 3, "Create").

use tenure::core::{
    Event, Generation, Policy, Seconds, SessionMode, SubjectEvent, SystemEvent, Timestamp,
    command::{Command, CreateSession, RequestedTerms},
    event::{PolicyChanged, SessionCreated, SessionTerms, SubjectProfile, SubjectRegistered},
    policy::OnReuse,
    refusal::Refusal,
};

use crate::scenario::*;

const NOTHING_ASKED: RequestedTerms = RequestedTerms {
    ttl: None,
    max_renewals: None,
    absolute_lifetime: None,
    renewal_reject_window: None,
    idle_timeout: None,
    mode: SessionMode::Fixed,
    on_reuse: None,
    purpose: None,
};

fn asked_ttl(seconds: u32) -> RequestedTerms {
    RequestedTerms { ttl: Some(Seconds(seconds)), ..NOTHING_ASKED }
}

fn asked_renewals(count: u32) -> RequestedTerms {
    RequestedTerms { max_renewals: Some(count), ..NOTHING_ASKED }
}

fn asked_lifetime(seconds: u32) -> RequestedTerms {
    RequestedTerms { absolute_lifetime: Some(Seconds(seconds)), ..NOTHING_ASKED }
}

fn asked_window(seconds: u32) -> RequestedTerms {
    RequestedTerms { renewal_reject_window: Some(Seconds(seconds)), ..NOTHING_ASKED }
}

#[track_caller]
fn created(event: &Event) -> &SessionCreated {
    let Event::Subject(SubjectEvent::SessionCreated(created)) = event else {
        panic!("{event:?} should be a session")
    };
    created
}

/// Whether these terms are granted to a session that begins now; the fields found wrong otherwise.
#[track_caller]
fn granted(asked: RequestedTerms, policy: impl FnOnce(&mut Policy)) -> SessionTerms {
    let mut terms = None;
    Scenario::given([registered()])
        .under(policy)
        .when(create(1, asked), T0)
        .then_one(|event| terms = Some(created(event).terms));
    terms.expect("a granted session has terms")
}

#[track_caller]
fn refused(asked: RequestedTerms, policy: impl FnOnce(&mut Policy), fields: &[&str]) {
    Scenario::given([registered()]).under(policy).when(create(1, asked), T0).then_invalid(fields);
}

const fn as_it_is(_: &mut Policy) {}

#[test]
fn a_session_that_asks_for_nothing_gets_the_defaults() {
    let expected = SessionCreated {
        session_id: session(1),
        terms: SessionTerms {
            ttl: Seconds(86_400),
            max_renewals: 30,
            absolute_lifetime: Seconds(2_592_000),
            renewal_reject_window: Seconds(3_600),
            on_reuse: Some(OnReuse::Reject),
            purpose: None,
            ..TERMS
        },
        expires_at: after(86_400),
        renew_at: Some(after(43_200)),
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    };
    let scenario = Scenario::given([registered()])
        .when(create(1, NOTHING_ASKED), T0)
        .then([Event::Subject(SubjectEvent::SessionCreated(expected))]);
    let begun = scenario.session(1);
    assert_eq!(begun.absolute_expires_at(), after(2_592_000));
    assert_eq!((begun.renewal_count(), begun.generation()), (0, Generation::FIRST));
    assert_eq!(begun.renewed_at(), None);
    assert!(begun.is_live(T0));
}

#[test]
fn the_defaults_are_those_of_the_policy() {
    let terms = granted(NOTHING_ASKED, |policy| {
        policy.ttl = Seconds(600);
        policy.max_renewals = 7;
        policy.absolute_lifetime = Seconds(90_000);
        policy.renewal_reject_window = Seconds(301);
        policy.on_reuse = OnReuse::Revoke;
    });
    let expected = SessionTerms {
        ttl: Seconds(600),
        max_renewals: 7,
        absolute_lifetime: Seconds(90_000),
        renewal_reject_window: Seconds(301),
        on_reuse: Some(OnReuse::Revoke),
        purpose: None,
        ..TERMS
    };
    assert_eq!(terms, expected);
}

#[test]
fn the_device_the_scopes_and_the_metadata_are_kept() {
    let asked = CreateSession {
        device: Some(device(4)),
        scopes: vec!["read".into(), "write:all".into()],
        metadata: Some(sealed("{}")),
        ..creation(1, NOTHING_ASKED)
    };
    let scenario =
        Scenario::given([registered()]).when(Command::CreateSession(asked), T0).then_one(|event| {
            let event = created(event);
            assert_eq!(event.device, Some(device(4)));
            assert_eq!(event.scopes, ["read", "write:all"]);
            assert_eq!(event.metadata, Some(sealed("{}")));
        });
    let begun = scenario.session(1);
    assert_eq!(begun.device_digest(), Some(digest(4)));
    assert_eq!(begun.scopes(), ["read", "write:all"]);
}

#[test]
fn the_ttl_is_from_300_to_604_800_seconds() {
    refused(asked_ttl(0), as_it_is, &["ttl"]);
    refused(asked_ttl(299), as_it_is, &["ttl"]);
    assert_eq!(granted(asked_ttl(300), as_it_is).ttl, Seconds(300));
    assert_eq!(granted(asked_ttl(604_800), as_it_is).ttl, Seconds(604_800));
    refused(asked_ttl(604_801), as_it_is, &["ttl"]);
}

#[test]
fn the_longest_ttl_is_a_setting() {
    let lowered = |policy: &mut Policy| policy.ttl_max = Seconds(100_000);
    assert_eq!(granted(asked_ttl(100_000), lowered).ttl, Seconds(100_000));
    refused(asked_ttl(100_001), lowered, &["ttl"]);
}

#[test]
fn a_session_is_renewable_from_0_to_100_times() {
    assert_eq!(granted(asked_renewals(0), as_it_is).max_renewals, 0);
    assert_eq!(granted(asked_renewals(100), as_it_is).max_renewals, 100);
    refused(asked_renewals(101), as_it_is, &["maxRenewals"]);
}

#[test]
fn the_most_renewals_are_a_setting() {
    let lowered = |policy: &mut Policy| policy.max_renewals_max = 40;
    assert_eq!(granted(asked_renewals(40), lowered).max_renewals, 40);
    refused(asked_renewals(41), lowered, &["maxRenewals"]);
}

#[test]
fn the_reject_window_is_from_300_to_86_400_seconds() {
    refused(asked_window(299), as_it_is, &["renewalRejectWindow"]);
    assert_eq!(granted(asked_window(300), as_it_is).renewal_reject_window, Seconds(300));
    assert_eq!(granted(asked_window(86_400), as_it_is).renewal_reject_window, Seconds(86_400));
    refused(asked_window(86_401), as_it_is, &["renewalRejectWindow"]);
}

#[test]
fn the_absolute_lifetime_is_at_least_the_ttl_and_at_most_the_global_one() {
    refused(asked_lifetime(86_399), as_it_is, &["absoluteLifetime"]);
    assert_eq!(granted(asked_lifetime(86_400), as_it_is).absolute_lifetime, Seconds(86_400));
    assert_eq!(granted(asked_lifetime(2_592_000), as_it_is).absolute_lifetime, Seconds(2_592_000));
    refused(asked_lifetime(2_592_001), as_it_is, &["absoluteLifetime"]);
}

#[test]
fn a_short_session_may_ask_for_a_short_lifetime() {
    let asked = RequestedTerms { absolute_lifetime: Some(Seconds(300)), ..asked_ttl(300) };
    assert_eq!(granted(asked, as_it_is).absolute_lifetime, Seconds(300));
    let asked = RequestedTerms { absolute_lifetime: Some(Seconds(300)), ..asked_ttl(301) };
    refused(asked, as_it_is, &["absoluteLifetime"]);
}

/// Such a session would outlive its own absolute end.
#[test]
fn a_ttl_beyond_the_global_lifetime_is_refused_by_its_own_name() {
    let short = |policy: &mut Policy| policy.absolute_lifetime = Seconds(86_400);
    assert_eq!(granted(asked_ttl(86_400), short).ttl, Seconds(86_400));
    refused(asked_ttl(86_401), short, &["ttl"]);
}

#[test]
fn every_field_out_of_range_is_named() {
    let asked = RequestedTerms {
        ttl: Some(Seconds(299)),
        max_renewals: Some(101),
        absolute_lifetime: Some(Seconds(2_592_001)),
        renewal_reject_window: Some(Seconds(299)),
        ..NOTHING_ASKED
    };
    refused(asked, as_it_is, &["ttl", "maxRenewals", "renewalRejectWindow", "absoluteLifetime"]);
}

fn renew_at(asked: RequestedTerms, jitter: u16) -> Option<Timestamp> {
    let mut found = None;
    let command = CreateSession { jitter, ..creation(1, asked) };
    Scenario::given([registered()])
        .when(Command::CreateSession(command), T0)
        .then_one(|event| found = created(event).renew_at);
    found
}

#[test]
fn the_holder_should_renew_between_half_and_four_fifths_of_the_period() {
    assert_eq!(renew_at(asked_ttl(1_000), 0), Some(after(500)));
    assert_eq!(renew_at(asked_ttl(1_000), u16::MAX), Some(after(800)));
    assert_eq!(renew_at(asked_ttl(604_800), u16::MAX), Some(after(483_840)));
    for jitter in (0..=u16::MAX).step_by(257) {
        let moment = renew_at(asked_ttl(86_400), jitter).unwrap();
        assert!((after(43_200)..=after(69_120)).contains(&moment), "{jitter} gives {moment}");
    }
}

#[test]
fn the_jitter_spreads_a_fleet_over_the_whole_span() {
    let moments: Vec<_> =
        (0..=u16::MAX).step_by(4_369).map(|jitter| renew_at(asked_ttl(1_000), jitter).unwrap()).collect();
    assert_eq!(moments.len(), 16);
    assert!(moments.windows(2).all(|pair| pair[1].millis_since(pair[0]) == 20_000), "{moments:?}");
}

/// Whoever renews exactly then must not be too early: half of 301 s is 150 s in the rule.
#[test]
fn an_odd_period_has_its_moment_not_before_half() {
    let moment = renew_at(asked_ttl(301), 0).unwrap();
    assert_eq!(moment, after(150).plus_millis(500));
}

#[test]
fn a_session_that_cannot_be_renewed_has_no_moment_to_renew() {
    assert_eq!(renew_at(asked_renewals(0), 0), None);
    let one_period = RequestedTerms { absolute_lifetime: Some(Seconds(500)), ..asked_ttl(500) };
    assert_eq!(renew_at(one_period, 0), None);
    let and_a_second = RequestedTerms { absolute_lifetime: Some(Seconds(501)), ..asked_ttl(500) };
    assert_eq!(renew_at(and_a_second, 0), Some(after(250)));
}

#[test]
fn a_later_change_of_policy_does_not_touch_a_session() {
    let stricter = Policy {
        ttl: Seconds(300),
        ttl_max: Seconds(300),
        max_renewals: 0,
        max_renewals_max: 0,
        absolute_lifetime: Seconds(86_400),
        renewal_reject_window: Seconds(300),
        ..Policy::default()
    };
    let changed = Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: stricter.clone() }));
    let scenario = Scenario::given([registered()]).when(create(1, NOTHING_ASKED), T0).then_one(|_| ());
    let before = scenario.session(1).clone();
    let scenario = scenario.and([Fact::of_system(changed, after(1))]).under(|policy| *policy = stricter);
    assert_eq!(*scenario.session(1), before);
    scenario.when(renew(1), after(43_200)).then_one(|event| {
        let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event else { panic!("{event:?}") };
        assert_eq!(renewed.expires_at, after(43_200 + 86_400));
    });
}

#[test]
fn a_session_for_an_unknown_subject_is_refused() {
    Scenario::given([]).when(create(1, NOTHING_ASKED), T0).then_refused(Refusal::SubjectNotFound);
}

#[test]
fn with_auto_register_the_first_session_registers_its_subject_in_the_same_step() {
    let scenario = Scenario::given([]).under(|policy| policy.auto_register = true);
    let outcome = scenario.when(create(1, asked_renewals(0)), T0);
    let terms = SessionTerms {
        ttl: Seconds(86_400),
        max_renewals: 0,
        absolute_lifetime: Seconds(2_592_000),
        renewal_reject_window: Seconds(3_600),
        on_reuse: Some(OnReuse::Reject),
        purpose: None,
        ..TERMS
    };
    let scenario = outcome.then([
        Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered {
            profile: SubjectProfile::default(),
        })),
        Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
            session_id: session(1),
            terms,
            expires_at: after(86_400),
            renew_at: None,
            device: None,
            scopes: vec![],
            metadata: None,
            constraints: None,
        })),
    ]);
    scenario.when(create(2, NOTHING_ASKED), T0).then_one(|event| {
        created(event);
    });
}

/// Fields are judged before existence.
#[test]
fn wrong_terms_for_an_unknown_subject_are_wrong_terms() {
    Scenario::given([]).when(create(1, asked_ttl(1)), T0).then_invalid(&["ttl"]);
    Scenario::given([])
        .under(|policy| policy.auto_register = true)
        .when(create(1, asked_ttl(1)), T0)
        .then_invalid(&["ttl"]);
}

/// A limit that would refuse is not asked when the terms are wrong.
#[test]
fn wrong_terms_over_the_limit_are_wrong_terms() {
    Scenario::given([registered(), began(1, 0)])
        .under(|policy| policy.per_subject = 1)
        .when(create(2, asked_ttl(1)), T0)
        .then_invalid(&["ttl"]);
}
