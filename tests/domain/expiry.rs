//! The end of a session by itself: that it is near, and that it came (sections 5 and 6). Both are said once.

use tenure::core::{
    Event, Seconds, SubjectEvent, Timestamp,
    command::Command,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, SessionExpired, SessionTerms},
};

use crate::{renew::begun, scenario::*};

const RENEWALS: Option<ExpiringSoon> = Some(ExpiringSoon::Renewals);
const ABSOLUTE: Option<ExpiringSoon> = Some(ExpiringSoon::Absolute);

/// Periods of two days, so many renewals, a week in all.
const fn long(max_renewals: u32) -> SessionTerms {
    SessionTerms {
        ttl: Seconds(2 * 86_400),
        max_renewals,
        absolute_lifetime: Seconds(7 * 86_400),
        renewal_reject_window: Seconds(300),
        ..TERMS
    }
}

const DAY: u32 = 86_400;

fn under(terms: SessionTerms) -> Scenario {
    Scenario::given([registered(), began_under(terms, 1, 0)])
}

fn expires(number: u32, at: Timestamp, cause: ExpiryCause) -> Event {
    Event::Subject(SubjectEvent::SessionExpired(SessionExpired {
        session_id: session(number),
        expires_at: at,
        cause,
    }))
}

#[test]
fn the_renewal_that_leaves_three_says_that_the_end_is_near_and_no_later_one_does() {
    under(long(5))
        .when(renew(1), after(DAY))
        .then_soon(None)
        .when(renew(2), after(2 * DAY))
        .then_soon(RENEWALS)
        .when(renew(3), after(3 * DAY))
        .then_soon(None);
}

#[test]
fn a_renewal_a_day_before_the_absolute_end_says_so_to_the_millisecond() {
    let almost = under(long(100)).when(renew(1), after(2 * DAY - 1)).then_soon(None);
    let almost = almost.when(renew(2), after(4 * DAY - 2)).then_soon(None);
    almost.when(renew(3), just_before(6 * DAY - 3)).then_soon(None);

    let near = under(long(100)).when(renew(1), after(2 * DAY - 1)).then_soon(None);
    let near = near.when(renew(2), after(4 * DAY - 2)).then_soon(None);
    let near = near.when(renew(3), after(6 * DAY - 3)).then_soon(None);
    near.when(renew(4), after(6 * DAY)).then_soon(ABSOLUTE);
}

#[test]
fn a_refusal_because_it_is_too_early_says_so_too() {
    begun().when(renew(1), after(1)).then_soon(RENEWALS).when(renew(1), after(500)).then_soon(None);
}

#[test]
fn a_refusal_because_all_renewals_are_spent_says_so_too() {
    under(long(0)).when(renew(1), after(1)).then_soon(RENEWALS);
}

#[test]
fn a_refusal_by_the_absolute_end_says_so_only_within_its_last_day() {
    let whole = SessionTerms { ttl: Seconds(7 * DAY), ..long(100) };
    under(whole).when(renew(1), just_before(6 * DAY)).then_soon(None);
    under(whole).when(renew(1), after(6 * DAY)).then_soon(ABSOLUTE);
}

#[test]
fn a_refusal_for_the_wrong_token_or_too_late_says_nothing_of_the_end() {
    let renewed = begun().when(renew(1), after(500)).then_soon(RENEWALS);
    renewed.when(renew(1), after(600)).then_soon(None);
    begun().when(renew(1), after(1_000)).then_soon(None);
}

#[test]
fn a_session_expires_exactly_at_its_end_and_that_is_recorded_once() {
    begun()
        .when(Command::RecordExpiries, just_before(1_000))
        .then_nothing()
        .when(Command::RecordExpiries, after(1_000))
        .then([expires(1, after(1_000), ExpiryCause::Ttl)])
        .when(Command::RecordExpiries, after(2_000))
        .then_nothing();
}

#[test]
fn a_session_whose_period_was_cut_expires_by_its_absolute_end() {
    let whole = SessionTerms { ttl: Seconds(1_000), absolute_lifetime: Seconds(1_000), ..TERMS };
    under(whole).when(Command::RecordExpiries, after(1_000)).then([expires(
        1,
        after(1_000),
        ExpiryCause::Absolute,
    )]);
}

#[test]
fn what_was_revoked_does_not_expire_and_what_expired_can_be_revoked() {
    let revoked = begun().when(revoke(by_alice()), after(10)).then([is_ended(1, EndTrigger::ManualRevoke)]);
    revoked.when(Command::RecordExpiries, after(1_000)).then_nothing();

    let expired = begun().when(Command::RecordExpiries, after(1_000));
    expired
        .then([expires(1, after(1_000), ExpiryCause::Ttl)])
        .when(revoke(by_alice()), after(1_001))
        .then([is_ended(1, EndTrigger::ManualRevoke)]);
}

#[test]
fn a_sweep_records_all_that_ended_and_leaves_the_others() {
    Scenario::given([registered(), began(1, 0), began(2, 5), began(3, 600)])
        .when(Command::RecordExpiries, after(1_100))
        .then([expires(1, after(1_000), ExpiryCause::Ttl), expires(2, after(1_005), ExpiryCause::Ttl)]);
}

#[test]
fn a_great_many_are_recorded_in_several_commits() {
    let many = (1..=450).map(|number| began(number, 0));
    let scenario = Scenario::given([registered()]).and(many);
    let scenario = [200, 200, 50, 0].into_iter().fold(scenario, |scenario, count| {
        scenario
            .when(Command::RecordExpiries, after(1_000))
            .then_many(|events| assert_eq!(events.len(), count))
    });
    assert!(scenario.agent().sessions.iter().all(|session| !session.awaits_expiry(after(1_000))));
}
