//! A token that a renewal had replaced comes back: a thief is noticed, in either order, and nobody else is taken for
//! one (section 3, `onReuse`).
//!
//! A thief who renewed first and kept still was never noticed: the session ended only if his token had been shown
//! before its true holder asked for a renewal.

use tenure::core::{
    Amount, Event, Generation, Position, Seconds, SessionMode, SubjectEvent, SystemEvent,
    activity::SessionRefreshed,
    budget::SessionUse,
    command::{Command, EndContested, RecordUsage, RefreshSession, RevokeSession, Revoker},
    event::{EndTrigger, PolicyChanged, RejectionCode, SessionTerms},
    policy::{OnReuse, Policy},
    refusal::Refusal,
    session::OneTimeFact,
    state::AuthorityState,
};

use crate::{
    lost_reply::{KEY, OTHER_KEY, renewed_with_the_key},
    renew::{MISMATCH, begun, mismatch},
    scenario::*,
};

fn revoking(scenario: Scenario) -> Scenario {
    scenario.under(|policy| policy.on_reuse = OnReuse::Revoke)
}

fn is_ended_for_reuse() -> Event {
    is_ended(1, EndTrigger::TokenReuse)
}

/// Row 4, while a replaced token may be that of a holder who finds the newer one: until 610 s.
const fn mismatch_for_now(caused_by: u64) -> Refusal {
    Refusal::RenewalMismatch { retry_at: Some(after(610)), caused_by: Position(caused_by) }
}

/// Position 4: the session was renewed at 600 s, and contested at 611 s.
fn contested() -> Scenario {
    revoking(renewed_with_the_key())
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2)])
}

fn use_by(generation: Option<u32>) -> Command {
    Command::RecordUsage(RecordUsage {
        session_id: session(1),
        generation: generation.map(Generation),
        wanted: SessionUse { operation: "pay".into(), amount: None::<Amount>, destination: None },
    })
}

fn refresh_by(generation: u32) -> Command {
    Command::RefreshSession(RefreshSession { session_id: session(1), generation: Generation(generation) })
}

/// What the authority asks by itself.
const fn end_if_both_were_shown() -> Command {
    Command::EndContested(EndContested { session_id: session_1(), shown: None })
}

fn end_by(generation: u32) -> Command {
    Command::EndContested(EndContested { session_id: session(1), shown: Some(Generation(generation)) })
}

const fn session_1() -> tenure::core::SessionId {
    let mut bytes = [0x19; 16];
    (bytes[12], bytes[13], bytes[14], bytes[15]) = (0, 0, 0, 1);
    tenure::core::SessionId::from_bytes(bytes)
}

// Under `reject`

#[test]
fn by_default_a_replaced_token_is_refused_and_the_session_lives() {
    let scenario = renewed_with_the_key()
        .and([presented(2, 610)])
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
    assert!(scenario.session(1).is_live(after(611)));
}

/// Another try would be refused like the first, so nobody is asked to make one.
#[test]
fn under_reject_row_4_is_final_inside_the_grace_too() {
    renewed_with_the_key()
        .when(renew(1), after(601))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

// Either order

#[test]
fn a_replaced_token_contests_the_session_and_leaves_it_alive() {
    let scenario = contested();
    assert!(
        scenario.session(1).is_live(after(611)) && scenario.session(1).said.contains(OneTimeFact::Contested)
    );
    scenario.when(end_if_both_were_shown(), after(612)).then_nothing();
}

#[test]
fn when_the_newer_token_was_presented_before_the_session_ends_at_once() {
    let scenario = revoking(renewed_with_the_key())
        .and([presented(2, 610)])
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
    assert!(!scenario.session(1).is_live(after(611)));
    scenario
        .when(renew(2), after(1_200))
        .then_refused(Refusal::SessionRevoked { caused_by: Position(6), trigger: EndTrigger::TokenReuse });
}

#[test]
fn that_the_newer_token_was_seen_counts_before_it_is_recorded() {
    revoking(renewed_with_the_key())
        .when(renew(1).when_newer_was_seen(), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
}

#[test]
fn when_the_newer_token_is_known_to_be_presented_later_the_session_ends_then() {
    let scenario = contested().and([presented(2, 612)]);
    scenario
        .when(end_if_both_were_shown(), after(615))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
}

#[test]
fn a_renewal_by_the_newer_token_is_refused_and_ends_the_session_in_that_commit() {
    let scenario = contested()
        .when(renew(2), after(1_200))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    assert_eq!(scenario.session(1).renewal_count(), 1);
}

#[test]
fn the_second_holder_is_not_told_to_come_back_later_or_with_another_key() {
    // Too early, under the key of the latest renewal, after the end of the period: the end comes first.
    contested()
        .when(renew(2), after(612))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    contested()
        .when(renew(2).with_key(KEY), after(1_200))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    contested()
        .when(renew(2), after(1_600))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
}

#[test]
fn a_usage_by_the_newer_token_is_refused_and_ends_the_session_in_that_commit() {
    let scenario = contested()
        .when(use_by(Some(2)), after(700))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    assert_eq!(scenario.session(1).usage().transactions, 0);
}

/// It shows no token, so it is no sign of a second holder.
#[test]
fn a_usage_on_behalf_of_a_contested_session_is_recorded() {
    contested().when(use_by(None), after(700)).then_one(|_| ());
}

#[test]
fn a_usage_by_the_replaced_token_ends_nothing() {
    contested()
        .when(use_by(Some(1)), after(700))
        .then_refused(Refusal::TokenSuperseded { caused_by: Position(3) });
}

#[test]
fn a_minting_by_the_newer_token_ends_the_session_in_that_commit() {
    contested()
        .when(end_by(2), after(700))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    contested().when(end_by(1), after(700)).then_nothing();
}

/// A thief, or the holder whom he robbed, logged out with the newer token: the record said that the session had ended
/// itself, and its owner never heard of the second holder.
#[test]
fn an_end_by_the_newer_token_is_for_the_reuse() {
    let ended_by = |generation| {
        let by = Revoker::Own(Generation(generation));
        let command = RevokeSession { session_id: session(1), by, reject_renewal: None, reason: None };
        Command::RevokeSession(command)
    };
    contested().when(ended_by(2), after(700)).then([is_ended_for_reuse()]);
    let replaced = Refusal::TokenSuperseded { caused_by: Position(3) };
    contested().when(ended_by(1), after(700)).then_refused(replaced);
    let uncontested = revoking(renewed_with_the_key());
    uncontested.when(ended_by(2), after(700)).then([is_ended(1, EndTrigger::Own)]);
}

/// A sliding session is never renewed, so none is ever contested; the rule is the same on every route all the same.
#[test]
fn a_refresh_by_the_newer_token_is_refused_and_ends_the_session_in_that_commit() {
    contested()
        .when(refresh_by(2), after(700))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
    let sliding = SessionTerms {
        mode: SessionMode::Sliding,
        max_renewals: 0,
        idle_timeout: Some(Seconds(100)),
        ..TERMS
    };
    revoking(Scenario::given([registered(), began_under(sliding, 1, 0)]))
        .when(refresh_by(1), after(50))
        .then([Event::Subject(SubjectEvent::SessionRefreshed(SessionRefreshed {
            session_id: session(1),
            expires_at: after(1_050),
        }))]);
}

#[test]
fn only_that_one_session_ends() {
    let scenario = revoking(renewed_with_the_key())
        .and([began(2, 605), presented(2, 610)])
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
    assert!(scenario.session(2).is_live(after(611)));
}

/// Row 4 comes before row 5, and so does what it does.
#[test]
fn a_replaced_token_of_an_expired_session_ends_it() {
    revoking(renewed_with_the_key())
        .and([presented(2, 610)])
        .when(renew(1), after(1_600))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
}

// The grace

#[test]
fn inside_the_grace_row_4_is_for_now_and_contests_nothing() {
    for at in [after(600), after(601), just_before(610)] {
        let scenario = revoking(renewed_with_the_key())
            .and([presented(2, 600)])
            .when(renew(1), at)
            .then_refused_and_recorded(mismatch_for_now(3), [is_refused(2, MISMATCH)]);
        assert!(!scenario.session(1).said.contains(OneTimeFact::Contested));
    }
}

/// The attempt that a holder is asked to make at `retryAt` counts.
#[test]
fn at_its_last_second_the_grace_is_over() {
    revoking(renewed_with_the_key())
        .when(renew(1), after(610))
        .then_refused_and_recorded(mismatch(3), [is_contested(2)]);
}

#[test]
fn the_grace_is_the_setting_of_the_moment() {
    let with_grace =
        |seconds| revoking(renewed_with_the_key()).under(move |policy| policy.reuse_grace = Seconds(seconds));
    with_grace(0).when(renew(1), after(600)).then_refused_and_recorded(mismatch(3), [is_contested(2)]);
    let later = Refusal::RenewalMismatch { retry_at: Some(after(720)), caused_by: Position(3) };
    with_grace(120)
        .when(renew(1), just_before(720))
        .then_refused_and_recorded(later, [is_refused(2, MISMATCH)]);
}

#[test]
fn the_refusal_that_contests_is_recorded_though_one_that_does_not_was() {
    revoking(renewed_with_the_key())
        .when(renew(1), after(601))
        .then_refused_and_recorded(mismatch_for_now(3), [is_refused(2, MISMATCH)])
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2)])
        .when(renew(1), after(612))
        .then_refused(mismatch(3))
        .and([presented(2, 613)])
        .when(renew(1), after(614))
        .then_refused_and_recorded(mismatch(3), [is_ended_for_reuse()]);
}

// Who is no thief

/// It may be a slow copy of a request that was answered long ago: it shows a key that only its sender knows.
#[test]
fn a_request_with_the_key_of_the_latest_renewal_contests_nothing() {
    for asked in [renew(1).with_key(KEY), renew(1).with_key(KEY).when_newer_was_seen()] {
        revoking(renewed_with_the_key())
            .and([presented(2, 610)])
            .when(asked, after(611))
            .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
    }
}

#[test]
fn whoever_lost_the_reply_gets_it_though_a_thief_contested_the_session_meanwhile() {
    let scenario = contested().when(renew(1).with_key(KEY), after(615)).then_nothing();
    // Its newer token is the second of the two, and that ends it.
    scenario
        .when(renew(2), after(1_200))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
}

#[test]
fn a_generation_that_was_never_issued_contests_nothing() {
    revoking(renewed_with_the_key())
        .and([presented(2, 610)])
        .when(renew(3), after(611))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, MISMATCH)]);
}

#[test]
fn a_session_that_was_never_renewed_is_never_contested() {
    let scenario = revoking(begun());
    scenario
        .when(renew(2), after(700))
        .then_refused_and_recorded(mismatch(2), [is_refused(1, MISMATCH)])
        .when(renew(1), after(700))
        .then_one(|_| ());
}

// Older tokens

/// The second generation was presented, or there would be no third: a first one that comes back has two holders,
/// whether or not the third was seen yet, and is no slow reader of a file.
#[test]
fn a_token_two_generations_old_ends_the_session_at_once_also_inside_the_grace() {
    for at in [1_100, 1_101, 1_111] {
        revoking(renewed_with_the_key())
            .and([renewed_with_key(OTHER_KEY, 3, 1_100)])
            .when(renew(1), after(at))
            .then_refused_and_recorded(mismatch(4), [is_contested(3), is_ended_for_reuse()]);
    }
}

#[test]
fn a_token_two_generations_old_with_the_key_of_the_latest_renewal_contests_nothing() {
    revoking(renewed_with_the_key())
        .and([renewed_with_key(OTHER_KEY, 3, 1_100)])
        .when(renew(1).with_key(OTHER_KEY), after(1_111))
        .then_refused_and_recorded(mismatch(4), [is_refused(3, MISMATCH)]);
}

// Renewals without a key

/// The mark was dropped for renewals without a key, so that after a restart the thief went unpunished.
#[test]
fn a_session_that_was_renewed_without_a_key_is_contested_too() {
    revoking(begun().and([renewed(2, 600), presented(2, 610)]))
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
}

#[test]
fn a_session_renewed_without_a_key_awaits_its_presentation_too() {
    let scenario = begun().and([renewed(2, 600)]);
    assert!(scenario.session(1).awaits_presentation());
    let scenario = scenario.and([presented(2, 610)]);
    assert!(!scenario.session(1).awaits_presentation());
    assert!(!begun().session(1).awaits_presentation(), "a first token replaces none");
}

// What is kept

#[test]
fn no_renewal_takes_the_mark_away() {
    // While the setting is `reject` an old session may be renewed although it is contested.
    let renewed = contested()
        .under(|policy| policy.on_reuse = OnReuse::Reject)
        .when(renew(2), after(1_200))
        .then_one(|_| ());
    assert!(renewed.session(1).said.contains(OneTimeFact::Contested));
    revoking(renewed)
        .when(renew(3), after(1_800))
        .then_refused_and_recorded(Refusal::EndsForReuse, [is_ended_for_reuse()]);
}

#[test]
fn a_snapshot_carries_the_mark() {
    let scenario = contested();
    let again = AuthorityState::from_bytes(&scenario.state().to_bytes()).unwrap();
    assert_eq!(again.to_bytes(), scenario.state().to_bytes());
    let subject = &again.subjects[&subject_id()];
    assert!(subject.session(session(1)).unwrap().said.contains(OneTimeFact::Contested));
}

// Per session

#[test]
fn a_session_says_for_itself_what_a_replaced_token_does() {
    let renewed_under = |on_reuse| {
        let terms = SessionTerms { on_reuse: Some(on_reuse), ..TERMS };
        Scenario::given([
            registered(),
            began_under(terms, 1, 0),
            renewed_with_key(KEY, 2, 600),
            presented(2, 605),
        ])
    };
    renewed_under(OnReuse::Revoke)
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_contested(2), is_ended_for_reuse()]);
    revoking(renewed_under(OnReuse::Reject))
        .when(renew(1), after(611))
        .then_refused_and_recorded(mismatch(3), [is_refused(2, RejectionCode::SessionRenewalMismatch)]);
}

#[test]
fn a_session_keeps_what_the_setting_was_when_it_began() {
    let scenario = Scenario::given([registered()])
        .when(create(1, tenure::core::command::RequestedTerms::default()), T0)
        .then_one(|_| ());
    let changed = Policy { on_reuse: OnReuse::Revoke, ..Policy::default() };
    let event = Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: changed.clone() }));
    let scenario = revoking(scenario.and([Fact::of_system(event, after(1))]));
    assert_eq!(scenario.session(1).on_reuse(&changed), OnReuse::Reject);
}
