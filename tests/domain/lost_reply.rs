//! A renewal whose reply was lost (section 3). A token that comes back for another reason is a matter of `theft`.

use tenure::core::{
    Position, Seconds,
    event::{EndTrigger, SessionTerms},
    policy::OnReuse,
    refusal::Refusal,
};

use crate::{
    renew::{EXPIRED, MISMATCH, begun, expired, mismatch},
    scenario::*,
};

pub(crate) const KEY: u8 = 1;
pub(crate) const OTHER_KEY: u8 = 2;

/// Position 3: session 1 is renewed with [`KEY`] at 600 s. Half is over at 1100 s, all of it at 1600 s.
pub(crate) fn renewed_with_the_key() -> Scenario {
    begun().and([renewed_with_key(KEY, 2, 600)])
}

const fn key_reused(caused_by: u64) -> Refusal {
    Refusal::IdempotencyKeyReused { caused_by: Position(caused_by) }
}

#[test]
fn whoever_lost_the_reply_repeats_the_renewal_with_its_key() {
    let scenario = renewed_with_the_key();
    let before = scenario.session(1).clone();
    let scenario = scenario.when(renew(1).with_key(KEY), after(601)).then_nothing();
    let scenario = scenario.when(renew(1).with_key(KEY), after(1_599)).then_nothing();
    assert_eq!(*scenario.session(1), before, "no renewal is spent");
}

#[test]
fn a_lost_reply_is_answered_where_rows_6_and_8_would_refuse() {
    let once = SessionTerms { max_renewals: 1, ..TERMS };
    Scenario::given([registered(), began_under(once, 1, 0), renewed_with_key(KEY, 2, 600)])
        .when(renew(1).with_key(KEY), after(600))
        .then_nothing();
}

#[test]
fn a_lost_reply_is_answered_where_row_7_would_refuse() {
    let terms = SessionTerms { absolute_lifetime: Seconds(1_600), ..TERMS };
    Scenario::given([registered(), began_under(terms, 1, 0), renewed_with_key(KEY, 2, 600)])
        .when(renew(1).with_key(KEY), after(1_500))
        .then_nothing();
}

#[test]
fn a_lost_reply_is_held_to_the_end_of_the_new_period() {
    renewed_with_the_key().when(renew(1).with_key(KEY), just_before(1_600)).then_nothing();
    renewed_with_the_key()
        .when(renew(1).with_key(KEY), after(1_600))
        .then_refused_and_recorded(expired(3), [is_refused(2, EXPIRED)]);
}

#[test]
fn without_its_key_a_repeat_is_a_mismatch() {
    renewed_with_the_key()
        .when(renew(1), after(601))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn with_another_key_a_repeat_is_a_mismatch() {
    renewed_with_the_key()
        .when(renew(1).with_key(OTHER_KEY), after(601))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn a_renewal_without_a_key_cannot_be_repeated() {
    let keyless = || begun().and([renewed(2, 600)]);
    keyless().when(renew(1), after(601)).then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
    keyless()
        .when(renew(1).with_key(KEY), after(601))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn once_the_new_token_was_presented_a_repeat_comes_too_late() {
    renewed_with_the_key()
        .and([presented(2, 610)])
        .when(renew(1).with_key(KEY), after(611))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn that_the_new_token_was_seen_counts_before_it_is_recorded() {
    renewed_with_the_key()
        .when(renew(1).with_key(KEY).when_newer_was_seen(), after(611))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn that_the_old_token_was_presented_does_not_spoil_a_repeat() {
    renewed_with_the_key().and([presented(1, 610)]).when(renew(1).with_key(KEY), after(611)).then_nothing();
}

#[test]
fn a_token_two_generations_old_cannot_repeat_even_with_a_key_that_fits() {
    let twice = || renewed_with_the_key().and([renewed_with_key(KEY, 3, 1_100)]);
    twice()
        .when(renew(1).with_key(KEY), after(1_101))
        .then_refused_and_recorded(mismatch(4), [is_refused(3, MISMATCH)]);
    twice().when(renew(2).with_key(KEY), after(1_101)).then_nothing();
}

#[test]
fn only_the_key_of_the_latest_renewal_repeats_it() {
    renewed_with_the_key()
        .and([renewed_with_key(OTHER_KEY, 3, 1_100)])
        .when(renew(2).with_key(KEY), after(1_101))
        .then_refused_and_recorded(mismatch(4), [is_refused(3, MISMATCH)])
        .when(renew(2).with_key(OTHER_KEY), after(1_101))
        .then_nothing();
}

#[test]
fn a_presentation_of_one_generation_says_nothing_of_the_next() {
    renewed_with_the_key()
        .and([presented(2, 610), renewed_with_key(OTHER_KEY, 3, 1_100)])
        .when(renew(2).with_key(OTHER_KEY), after(1_101))
        .then_nothing();
}

/// The mark may be recorded seconds after the use, and meanwhile the session was renewed again.
#[test]
fn a_presentation_recorded_after_the_next_renewal_says_nothing_of_it() {
    renewed_with_the_key()
        .and([renewed_with_key(OTHER_KEY, 3, 1_100), presented(2, 1_101)])
        .when(renew(2).with_key(OTHER_KEY), after(1_102))
        .then_nothing();
}

#[test]
fn a_repeat_of_a_revoked_session_is_revoked() {
    renewed_with_the_key()
        .and([ended(1, EndTrigger::ManualRevoke, 700)])
        .when(renew(1).with_key(KEY), after(701))
        .then_refused(Refusal::SessionRevoked { caused_by: Position(4), trigger: EndTrigger::ManualRevoke });
}

#[test]
fn the_key_of_the_latest_renewal_is_not_for_another_one() {
    renewed_with_the_key()
        .when(renew(2).with_key(KEY), after(1_200))
        .then_refused(key_reused(3))
        .when(renew(2).with_key(KEY), after(601))
        .then_refused(key_reused(3))
        .when(renew(2).with_key(OTHER_KEY), after(1_200))
        .then_one(|_| ());
}

#[test]
fn the_key_of_the_latest_renewal_with_the_current_token_of_a_revoked_session_is_revoked() {
    renewed_with_the_key()
        .and([ended(1, EndTrigger::ManualRevoke, 700)])
        .when(renew(2).with_key(KEY), after(1_200))
        .then_refused(Refusal::SessionRevoked { caused_by: Position(4), trigger: EndTrigger::ManualRevoke });
}

#[test]
fn an_older_key_may_be_used_again_for_a_later_renewal() {
    renewed_with_the_key()
        .and([renewed_with_key(OTHER_KEY, 3, 1_100)])
        .when(renew(3).with_key(KEY), after(1_600))
        .then_one(|_| ());
}

#[test]
fn renewals_without_a_key_are_not_taken_for_repeats_of_each_other() {
    begun().and([renewed(2, 600)]).when(renew(2), after(1_100)).then_one(|_| ());
}

#[test]
fn a_lost_reply_is_answered_whatever_the_policy_does_about_reuse() {
    renewed_with_the_key()
        .under(|policy| policy.on_reuse = OnReuse::Revoke)
        .when(renew(1).with_key(KEY), after(601))
        .then_nothing();
}
