//! Renewing a session: the table of checks, and the new period (section 3).

use tenure::core::{
    Event, Generation, Position, Seconds, SubjectEvent, Timestamp,
    event::{EndTrigger, RejectionCode, SessionRenewed, SessionTerms},
    refusal::Refusal,
    session::TokenFault,
};

use crate::scenario::*;

/// Position 2: session 1 begins. Half of its period is over at 500 s, all of it at 1000 s.
pub(crate) fn begun() -> Scenario {
    Scenario::given([registered(), began(1, 0)])
}

fn begun_under(terms: SessionTerms) -> Scenario {
    Scenario::given([registered(), began_under(terms, 1, 0)])
}

fn is_renewed(generation: u32, expires_at: Timestamp, renew_at: Option<Timestamp>) -> Event {
    Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
        session_id: session(1),
        generation: Generation(generation),
        expires_at,
        renew_at,
        key_digest: None,
        expiring_soon: None,
    }))
}

pub(crate) const fn mismatch(caused_by: u64) -> Refusal {
    Refusal::RenewalMismatch { retry_at: None, caused_by: Position(caused_by) }
}

pub(crate) const fn expired(caused_by: u64) -> Refusal {
    Refusal::TokenExpired { caused_by: Position(caused_by) }
}

const fn limit_reached(caused_by: u64) -> Refusal {
    Refusal::RenewalLimitReached { caused_by: Position(caused_by) }
}

const fn lifetime_exceeded(caused_by: u64) -> Refusal {
    Refusal::AbsoluteLifetimeExceeded { caused_by: Position(caused_by) }
}

const fn too_early(retry_at: u32, caused_by: u64) -> Refusal {
    Refusal::RenewalTooEarly { retry_at: after(retry_at), caused_by: Position(caused_by) }
}

pub(crate) const MISMATCH: RejectionCode = RejectionCode::SessionRenewalMismatch;
pub(crate) const EXPIRED: RejectionCode = RejectionCode::TokenExpired;
const LIMIT_REACHED: RejectionCode = RejectionCode::RenewalLimitReached;
const LIFETIME_EXCEEDED: RejectionCode = RejectionCode::SessionAbsoluteLifetimeExceeded;
const TOO_EARLY: RejectionCode = RejectionCode::RenewalTooEarly;

// A renewal that is granted

#[test]
fn a_renewal_begins_a_new_period_of_the_ttl_and_replaces_the_token() {
    let scenario = begun().when(renew(1), after(600)).then([is_renewed(2, after(1_600), Some(after(1_100)))]);
    let session = scenario.session(1);
    assert_eq!(session.renewal_count(), 1);
    assert_eq!(session.renewals_left(), 2);
    assert_eq!((session.renewed_at(), session.expires_at()), (Some(after(600)), after(1_600)));
    assert_eq!(session.granted(), Position(3));
    assert!(!session.is_clamped());
    assert_eq!(session.judge(Generation(2), None, after(600)), Ok(()));
    assert_eq!(session.judge(Generation(1), None, after(600)), Err(TokenFault::Superseded));
    assert_eq!(session.cause_of(TokenFault::Superseded), Position(3));
}

/// The unit is fixed at creation: a late renewal gains no more and an early one no less.
#[test]
fn the_period_is_always_the_ttl_whenever_it_is_renewed() {
    for seconds in [500, 501, 777, 999] {
        begun().when(renew(1), after(seconds)).then([is_renewed(
            2,
            after(seconds + 1_000),
            Some(after(seconds + 500)),
        )]);
    }
}

#[test]
fn the_period_is_the_ttl_of_the_session_not_of_the_policy() {
    begun().under(|policy| policy.ttl = Seconds(300)).when(renew(1), after(600)).then([is_renewed(
        2,
        after(1_600),
        Some(after(1_100)),
    )]);
}

#[test]
fn the_key_of_a_renewal_is_remembered_by_its_digest() {
    let scenario = begun().when(renew(1).with_key(1), after(600)).then_one(|event| {
        let Event::Subject(SubjectEvent::SessionRenewed(renewed)) = event else { panic!("{event:?}") };
        assert_eq!(renewed.key_digest, Some(digest(1)));
    });
    let renewal = scenario.session(1).renewal().unwrap();
    assert_eq!((renewal.key_digest, renewal.presented), (Some(digest(1)), false));
}

#[test]
fn the_moment_of_the_next_renewal_is_jittered_in_the_new_period() {
    let jittered = renew(1).with_jitter(u16::MAX);
    begun().when(jittered, after(600)).then([is_renewed(2, after(1_600), Some(after(1_400)))]);
}

#[test]
fn the_period_is_cut_at_the_absolute_end() {
    let short = SessionTerms { absolute_lifetime: Seconds(1_599), ..TERMS };
    let scenario = begun_under(short).when(renew(1), after(600)).then([is_renewed(2, after(1_599), None)]);
    assert!(scenario.session(1).is_clamped());
    assert_eq!(scenario.session(1).absolute_expires_at(), after(1_599));
}

#[test]
fn a_period_that_ends_exactly_with_the_lifetime_is_not_cut_and_not_renewable() {
    let exact = SessionTerms { absolute_lifetime: Seconds(1_600), ..TERMS };
    let scenario = begun_under(exact).when(renew(1), after(600)).then([is_renewed(2, after(1_600), None)]);
    assert!(!scenario.session(1).is_clamped());
    let longer = SessionTerms { absolute_lifetime: Seconds(1_601), ..TERMS };
    begun_under(longer).when(renew(1), after(600)).then([is_renewed(2, after(1_600), Some(after(1_100)))]);
}

#[test]
fn the_last_renewal_has_no_moment_for_a_next_one() {
    let once = SessionTerms { max_renewals: 1, ..TERMS };
    begun_under(once).when(renew(1), after(600)).then([is_renewed(2, after(1_600), None)]);
}

#[test]
fn a_session_is_renewed_as_often_as_granted_and_no_more() {
    let mut scenario = begun();
    for (generation, seconds) in [(1, 500), (2, 1_000), (3, 1_500)] {
        scenario = scenario.when(renew(generation), after(seconds)).then_one(|_| ());
    }
    scenario
        .when(renew(4), after(2_000))
        .then_refused_and_recorded(limit_reached(5), [is_refused(4, LIMIT_REACHED)]);
}

#[test]
fn whoever_renews_when_told_to_is_never_too_early() {
    for ttl in [300, 301, 1_000, 86_399] {
        for jitter in [0, 1, 32_768, u16::MAX] {
            let terms = SessionTerms { ttl: Seconds(ttl), absolute_lifetime: Seconds(1_000_000), ..TERMS };
            let scenario = begun_under(terms)
                .when(renew(1).with_jitter(jitter), T0.plus(Seconds(ttl - 1)))
                .then_one(|_| ());
            let told = scenario.session(1).renew_at().unwrap();
            scenario.when(renew(2), told).then_one(|_| ());
        }
    }
}

// The table of checks

/// A case of the table: what is given, what is asked, and which row answers.
struct Row {
    number: u32,
    given: Scenario,
    asked: Renewing,
    at: Timestamp,
    refusal: Refusal,
    recorded: Vec<Event>,
}

/// A session renewed just before 1000 s and cut at 1400 s, half of whose period is over at 1500 s. At 1400 s
/// every row from 4 to 8 refuses a token of its first generation. Each case repairs the rows before its own and
/// leaves the later ones broken.
fn table_of_checks() -> Vec<Row> {
    let spent = SessionTerms { max_renewals: 1, absolute_lifetime: Seconds(1_400), ..TERMS };
    let unspent = SessionTerms { max_renewals: 2, ..spent };
    let uncut = SessionTerms { absolute_lifetime: Seconds(10_000), ..unspent };
    let late_renewal = |terms| {
        let mut renewed = renewed_under(terms, 2, 999);
        renewed.at = just_before(1_000);
        if let Event::Subject(SubjectEvent::SessionRenewed(event)) = &mut renewed.event {
            event.expires_at = just_before(2_000).min(T0.plus(terms.absolute_lifetime));
        }
        Scenario::given([registered(), began_under(terms, 1, 0), renewed])
    };
    let refused = |number, given, asked, at, refusal, code| {
        let recorded = vec![is_refused(2, code)];
        Row { number, given, asked, at, refusal, recorded }
    };
    let half = || Refusal::RenewalTooEarly { retry_at: just_before(1_500), caused_by: Position(3) };
    vec![
        Row {
            number: 3,
            given: late_renewal(spent).and([ended(1, EndTrigger::ManualRevoke, 1_400)]),
            asked: renew(1),
            at: after(1_400),
            refusal: Refusal::SessionRevoked { caused_by: Position(4), trigger: EndTrigger::ManualRevoke },
            recorded: vec![],
        },
        refused(4, late_renewal(spent), renew(1), after(1_400), mismatch(3), MISMATCH),
        refused(5, late_renewal(spent), renew(2), after(1_400), expired(3), EXPIRED),
        refused(6, late_renewal(spent), renew(2), just_before(1_400), limit_reached(3), LIMIT_REACHED),
        refused(
            7,
            late_renewal(unspent),
            renew(2),
            just_before(1_400),
            lifetime_exceeded(3),
            LIFETIME_EXCEEDED,
        ),
        refused(8, late_renewal(uncut), renew(2), just_before(1_400), half(), TOO_EARLY),
    ]
}

#[test]
fn of_several_checks_that_fail_the_first_row_answers() {
    for row in table_of_checks() {
        let Row { number, given, asked, at, refusal, recorded } = row;
        println!("row {number}");
        let before = given.session(1).clone();
        let scenario = given.when(asked, at).then_refused_and_recorded(refusal, recorded);
        let after = scenario.session(1);
        assert_eq!(
            (after.generation(), after.expires_at(), after.granted(), after.renewal(), after.revocation()),
            (
                before.generation(),
                before.expires_at(),
                before.granted(),
                before.renewal(),
                before.revocation()
            ),
            "row {number} changes nothing"
        );
    }
}

#[test]
fn a_session_of_another_subject_is_not_found() {
    Scenario::given([registered()]).when(renew(1), after(1)).then_refused(Refusal::SessionNotFound);
}

#[test]
fn row_3_a_revoked_session_is_not_renewed_and_nothing_is_recorded() {
    begun()
        .and([ended(1, EndTrigger::Own, 100)])
        .when(renew(1), after(600))
        .then_refused(Refusal::SessionRevoked { caused_by: Position(3), trigger: EndTrigger::Own });
}

#[test]
fn row_3_a_session_ended_with_all_others_is_not_renewed() {
    let all = Event::Subject(SubjectEvent::SessionsRevoked(are_ended(1)));
    begun().and([Fact::of_agent(all, after(100))]).when(renew(1), after(600)).then_refused(
        Refusal::SessionRevoked { caused_by: Position(3), trigger: EndTrigger::SubjectRevoked },
    );
}

#[test]
fn row_4_of_renewals_with_one_token_exactly_one_wins() {
    begun()
        .when(renew(1), after(600))
        .then_one(|_| ())
        .when(renew(1), after(600))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)])
        .when(renew(1), after(600))
        .then_refused(mismatch(3));
}

#[test]
fn row_4_a_generation_that_was_never_issued_is_refused() {
    begun().when(renew(2), after(600)).then_refused_and_recorded(mismatch(2), [is_refused(1, MISMATCH)]);
}

#[test]
fn row_5_the_period_is_over_exactly_at_its_end() {
    begun().when(renew(1), just_before(1_000)).then_one(|_| ());
    begun().when(renew(1), after(1_000)).then_refused_and_recorded(expired(2), [is_refused(1, EXPIRED)]);
    begun().when(renew(1), after(9_999)).then_refused_and_recorded(expired(2), [is_refused(1, EXPIRED)]);
}

#[test]
fn row_5_the_end_is_that_of_the_latest_period() {
    let renewed = || begun().and([renewed(2, 600)]);
    renewed().when(renew(2), just_before(1_600)).then_one(|_| ());
    renewed().when(renew(2), after(1_600)).then_refused_and_recorded(expired(3), [is_refused(2, EXPIRED)]);
}

#[test]
fn row_6_a_session_with_no_renewals_is_never_renewed() {
    let never = SessionTerms { max_renewals: 0, ..TERMS };
    begun_under(never)
        .when(renew(1), after(600))
        .then_refused_and_recorded(limit_reached(2), [is_refused(1, LIMIT_REACHED)]);
}

/// It will be refused later too, so it is not told to try again.
#[test]
fn row_6_answers_before_row_8() {
    let never = SessionTerms { max_renewals: 0, ..TERMS };
    begun_under(never)
        .when(renew(1), after(1))
        .then_refused_and_recorded(limit_reached(2), [is_refused(1, LIMIT_REACHED)]);
}

#[test]
fn row_7_a_session_whose_only_period_is_its_lifetime_is_not_renewed() {
    let one_period = SessionTerms { absolute_lifetime: Seconds(1_000), ..TERMS };
    begun_under(one_period)
        .when(renew(1), after(600))
        .then_refused_and_recorded(lifetime_exceeded(2), [is_refused(1, LIFETIME_EXCEEDED)]);
}

#[test]
fn row_7_a_renewal_that_adds_a_second_is_granted() {
    let and_a_second = SessionTerms { absolute_lifetime: Seconds(1_001), ..TERMS };
    begun_under(and_a_second).when(renew(1), after(600)).then([is_renewed(2, after(1_001), None)]);
}

#[test]
fn row_7_answers_before_row_8() {
    let cut = SessionTerms { absolute_lifetime: Seconds(1_500), ..TERMS };
    Scenario::given([registered(), began_under(cut, 1, 0), renewed_under(cut, 2, 600)])
        .when(renew(2), after(601))
        .then_refused_and_recorded(lifetime_exceeded(3), [is_refused(2, LIFETIME_EXCEEDED)]);
}

#[test]
fn row_8_half_of_the_period_must_have_passed_to_the_millisecond() {
    let early = || too_early(500, 2);
    begun().when(renew(1), T0).then_refused_and_recorded(early(), [is_refused(1, TOO_EARLY)]);
    begun().when(renew(1), after(499)).then_refused_and_recorded(early(), [is_refused(1, TOO_EARLY)]);
    begun().when(renew(1), just_before(500)).then_refused_and_recorded(early(), [is_refused(1, TOO_EARLY)]);
    begun().when(renew(1), after(500)).then_one(|_| ());
}

#[test]
fn row_8_half_of_an_odd_period_is_rounded_down() {
    let odd = SessionTerms { ttl: Seconds(301), ..TERMS };
    begun_under(odd)
        .when(renew(1), just_before(150))
        .then_refused_and_recorded(too_early(150, 2), [is_refused(1, TOO_EARLY)]);
    begun_under(odd).when(renew(1), after(150)).then_one(|_| ());
}

/// Measured from the latest renewal, not from the creation.
#[test]
fn row_8_half_is_measured_from_the_latest_renewal() {
    let renewed = || begun().and([renewed(2, 600)]);
    renewed()
        .when(renew(2), just_before(1_100))
        .then_refused_and_recorded(too_early(1_100, 3), [is_refused(2, TOO_EARLY)]);
    renewed().when(renew(2), after(1_100)).then_one(|_| ());
}

/// A refused request is no use that would move the half.
#[test]
fn row_8_a_steady_asker_is_granted_at_half() {
    let mut scenario = begun();
    for seconds in (100..500).step_by(100) {
        let recorded = (seconds == 100).then(|| is_refused(1, TOO_EARLY));
        scenario =
            scenario.when(renew(1), after(seconds)).then_refused_and_recorded(too_early(500, 2), recorded);
    }
    scenario.when(renew(1), after(500)).then_one(|_| ());
}

// Refusals are recorded once

#[test]
fn a_refusal_is_recorded_once_for_each_code() {
    begun()
        .when(renew(1), after(1))
        .then_refused_and_recorded(too_early(500, 2), [is_refused(1, TOO_EARLY)])
        .when(renew(1), after(2))
        .then_refused(too_early(500, 2))
        .when(renew(9), after(3))
        .then_refused_and_recorded(mismatch(2), [is_refused(1, MISMATCH)])
        .when(renew(9), after(3))
        .then_refused(mismatch(2))
        .when(renew(1), after(1_000))
        .then_refused_and_recorded(expired(2), [is_refused(1, EXPIRED)])
        .when(renew(1), after(2_000))
        .then_refused(expired(2));
}

#[test]
fn after_a_renewal_the_same_refusal_is_recorded_again() {
    begun()
        .when(renew(1), after(1))
        .then_refused_and_recorded(too_early(500, 2), [is_refused(1, TOO_EARLY)])
        .and([renewed(2, 600)])
        .when(renew(2), after(601))
        .then_refused_and_recorded(too_early(1_100, 4), [is_refused(2, TOO_EARLY)])
        .when(renew(2), after(602))
        .then_refused(too_early(1_100, 4));
}

#[test]
fn a_session_has_its_refusals_to_itself() {
    let facts = [registered(), began(1, 0), began(2, 0)];
    let scenario = Scenario::given(facts)
        .when(renew(1), after(1))
        .then_refused_and_recorded(too_early(500, 2), [is_refused(1, TOO_EARLY)]);
    assert!(scenario.session(1).refused.contains(TOO_EARLY));
    assert!(!scenario.session(2).refused.contains(TOO_EARLY));
}

#[test]
fn all_five_codes_are_recorded_apart() {
    let codes = [MISMATCH, EXPIRED, LIMIT_REACHED, LIFETIME_EXCEEDED, TOO_EARLY];
    for (index, code) in codes.into_iter().enumerate() {
        let facts = codes[..=index].iter().map(|code| Fact::of_agent(is_refused(1, *code), after(1)));
        let scenario = begun().and(facts);
        assert!(scenario.session(1).refused.contains(code));
        for other in &codes[index + 1..] {
            assert!(!scenario.session(1).refused.contains(*other), "{code:?} is not {other:?}");
        }
    }
}
