//! What a session may be used for, and what it was used for (section 8).

use tenure::core::{
    Event, Generation, Position, SubjectEvent,
    budget::{ConstraintKind, Constraints, SessionUse, Usage},
    command::{Command, RecordUsage},
    event::{EndTrigger, UsageRecorded},
    refusal::Refusal,
    session::SessionStatus,
};

use crate::scenario::*;

/// The session begins by the second event.
const BEGUN: Position = Position(2);

/// Use session 1 with the token of this generation, to pay this amount to bob.
fn pay(generation: u32, cost: &str) -> Command {
    asked(Some(generation), SessionUse { amount: Some(amount(cost)), ..paying() })
}

fn asked(generation: Option<u32>, wanted: SessionUse) -> Command {
    let generation = generation.map(Generation);
    Command::RecordUsage(RecordUsage { session_id: session(1), generation, wanted })
}

fn paying() -> SessionUse {
    SessionUse { operation: "pay".into(), amount: None, destination: Some("bob".into()) }
}

/// The use that [`pay`] asks for, with the sums after it.
fn paid(cost: &str, transactions: u64, total: &str) -> Event {
    Event::Subject(SubjectEvent::UsageRecorded(UsageRecorded {
        session_id: session(1),
        operation: "pay".into(),
        amount: Some(amount(cost)),
        destination: Some("bob".into()),
        transactions,
        total_amount: amount(total),
    }))
}

fn within(limits: Constraints) -> Scenario {
    Scenario::given([registered(), began_within(limits, 1, 0)])
}

fn at_most(total: &str) -> Constraints {
    Constraints { max_total_amount: Some(amount(total)), ..Constraints::default() }
}

const fn beyond(constraint: ConstraintKind) -> Refusal {
    Refusal::ConstraintViolated { constraint, caused_by: BEGUN }
}

fn usage(transactions: u64, total: &str, seconds: u32) -> Usage {
    Usage { transactions, total_amount: amount(total), last_at: Some(after(seconds)) }
}

#[test]
fn without_constraints_uses_are_counted_too() {
    let scenario = Scenario::given([registered(), began(1, 0)]);
    assert_eq!(*scenario.session(1).usage(), Usage::default());
    let scenario = scenario
        .when(pay(1, "12.50"), after(1))
        .then([paid("12.5", 1, "12.5")])
        .when(pay(1, "0.5"), after(2))
        .then([paid("0.5", 2, "13")]);
    assert_eq!(*scenario.session(1).usage(), usage(2, "13", 2));
    assert_eq!(scenario.session(1).constraints(), None);
}

#[test]
fn without_an_amount_a_use_costs_nothing() {
    let scenario = Scenario::given([registered(), began(1, 0)]);
    let scenario = scenario.when(asked(Some(1), paying()), after(1)).then_one(|_| ());
    assert_eq!(*scenario.session(1).usage(), usage(1, "0", 1));
}

#[test]
fn a_total_is_exact_at_the_limit() {
    let mut scenario = within(at_most("1"));
    for count in 1..=10 {
        let total = if count == 10 { "1".into() } else { format!("0.{count}") };
        scenario = scenario.when(pay(1, "0.1"), after(1)).then([paid("0.1", count, &total)]);
    }
    let least = format!("0.{}1", "0".repeat(37));
    scenario
        .when(pay(1, &least), after(1))
        .then_refused(beyond(ConstraintKind::MaxTotalAmount))
        .when(pay(1, "0"), after(1))
        .then([paid("0", 11, "1")]);
}

#[test]
fn amounts_of_38_digits_are_exact() {
    let most = "9".repeat(38);
    let one_less = format!("{}8", "9".repeat(37));
    within(at_most(&most))
        .when(pay(1, &one_less), after(1))
        .then([paid(&one_less, 1, &one_less)])
        .when(pay(1, "1.0000000000000000000000000000000000001"), after(1))
        .then_refused(beyond(ConstraintKind::MaxTotalAmount))
        .when(pay(1, "1"), after(1))
        .then([paid("1", 2, &most)])
        .when(pay(1, "0.00000000000000000000000000000000000001"), after(1))
        .then_refused(beyond(ConstraintKind::MaxTotalAmount));
    let small = format!("0.{}", "9".repeat(38));
    within(at_most(&small)).when(pay(1, &small), after(1)).then([paid(&small, 1, &small)]);
}

#[test]
fn one_use_may_cost_as_much_as_its_limit_and_no_more() {
    let limits = Constraints { max_amount_per_tx: Some(amount("50.00")), ..Constraints::default() };
    within(limits)
        .when(pay(1, "50"), after(1))
        .then([paid("50", 1, "50")])
        .when(pay(1, "50.01"), after(1))
        .then_refused(beyond(ConstraintKind::MaxAmountPerTx))
        .when(pay(1, "50"), after(1))
        .then([paid("50", 2, "100")]);
}

#[test]
fn uses_are_as_many_as_allowed() {
    let limits = |most| Constraints { max_transactions: Some(most), ..Constraints::default() };
    within(limits(1))
        .when(pay(1, "1"), after(1))
        .then([paid("1", 1, "1")])
        .when(pay(1, "1"), after(1))
        .then_refused(beyond(ConstraintKind::MaxTransactions));
    within(limits(0)).when(pay(1, "1"), after(1)).then_refused(beyond(ConstraintKind::MaxTransactions));
}

#[test]
fn operations_and_destinations_are_those_listed() {
    let only = |name: &str| Some(vec!["other".to_owned(), name.to_owned()]);
    let operations = |allowed_operations| Constraints { allowed_operations, ..Constraints::default() };
    let destinations = |allowed_destinations| Constraints { allowed_destinations, ..Constraints::default() };
    let granted = || [paid("1", 1, "1")];
    within(operations(only("pay"))).when(pay(1, "1"), after(1)).then(granted());
    within(destinations(only("bob"))).when(pay(1, "1"), after(1)).then(granted());
    for names in [only("PAY"), only("pa"), Some(vec![])] {
        let refusal = beyond(ConstraintKind::AllowedOperations);
        within(operations(names)).when(pay(1, "1"), after(1)).then_refused(refusal);
    }
    for names in [only("Bob"), Some(vec![])] {
        let refusal = beyond(ConstraintKind::AllowedDestinations);
        within(destinations(names)).when(pay(1, "1"), after(1)).then_refused(refusal);
    }
}

#[test]
fn what_a_constraint_is_about_must_be_said() {
    let cases = [
        (at_most("1"), ConstraintKind::MaxTotalAmount),
        (
            Constraints { max_amount_per_tx: Some(amount("1")), ..at_most("1") },
            ConstraintKind::MaxAmountPerTx,
        ),
        (
            Constraints { allowed_destinations: Some(vec!["bob".into()]), ..at_most("1") },
            ConstraintKind::AllowedDestinations,
        ),
    ];
    for (limits, constraint) in cases {
        let wanted = SessionUse { operation: "pay".into(), amount: None, destination: None };
        within(limits).when(asked(Some(1), wanted), after(1)).then_refused(beyond(constraint));
    }
}

/// Each step mends the constraint that was named before.
#[test]
fn constraints_are_judged_in_their_order() {
    let limits = Constraints {
        max_amount_per_tx: Some(amount("5")),
        max_total_amount: Some(amount("5")),
        max_transactions: Some(1),
        allowed_operations: Some(vec!["pay".into()]),
        allowed_destinations: Some(vec!["bob".into()]),
    };
    let used = || within(limits.clone()).when(pay(1, "1"), after(1)).then_one(|_| ());
    let wanted = |operation: &str, destination: &str, cost: &str| {
        let (operation, destination) = (operation.into(), Some(destination.into()));
        asked(Some(1), SessionUse { operation, destination, amount: Some(amount(cost)) })
    };
    for (wanted, constraint) in [
        (wanted("take", "eve", "6"), ConstraintKind::AllowedOperations),
        (wanted("pay", "eve", "6"), ConstraintKind::AllowedDestinations),
        (wanted("pay", "bob", "6"), ConstraintKind::MaxAmountPerTx),
        (wanted("pay", "bob", "5"), ConstraintKind::MaxTransactions),
    ] {
        used().when(wanted, after(1)).then_refused(beyond(constraint));
    }
    let twice = Constraints { max_transactions: Some(2), ..limits.clone() };
    within(twice)
        .when(pay(1, "1"), after(1))
        .then_one(|_| ())
        .when(wanted("pay", "bob", "5"), after(1))
        .then_refused(beyond(ConstraintKind::MaxTotalAmount));
}

#[test]
fn usage_survives_renewal_and_the_constraints_with_it() {
    let scenario = within(at_most("1")).when(pay(1, "0.7"), after(10)).then_one(|_| ());
    let scenario = scenario.and([renewed(2, 600)]);
    assert_eq!(*scenario.session(1).usage(), usage(1, "0.7", 10));
    scenario
        .when(pay(2, "0.4"), after(601))
        .then_refused(beyond(ConstraintKind::MaxTotalAmount))
        .when(pay(2, "0.3"), after(602))
        .then([paid("0.3", 2, "1")]);
}

#[test]
fn its_own_token_is_judged_as_by_introspection() {
    let begun = || within(at_most("1"));
    begun().when(pay(1, "1"), just_before(1_000)).then_one(|_| ());
    begun().when(pay(1, "1"), after(1_000)).then_refused(Refusal::TokenExpired { caused_by: BEGUN });
    let caused_by = Position(3);
    begun()
        .and([renewed(2, 600)])
        .when(pay(1, "1"), after(601))
        .then_refused(Refusal::TokenSuperseded { caused_by });
    begun()
        .and([ended(1, EndTrigger::Own, 5)])
        .when(pay(1, "1"), after(6))
        .then_refused(Refusal::SessionRevoked { caused_by, trigger: EndTrigger::Own });
}

#[test]
fn on_its_behalf_the_generation_does_not_matter_and_its_end_is_named() {
    let begun = || within(at_most("1"));
    let on_behalf = || asked(None, SessionUse { amount: Some(amount("1")), ..paying() });
    begun().and([renewed(2, 600)]).when(on_behalf(), after(601)).then([paid("1", 1, "1")]);
    let ended_as = |status, caused_by| Refusal::SessionNotActive { status, caused_by };
    begun().when(on_behalf(), after(1_000)).then_refused(ended_as(SessionStatus::Expired, BEGUN));
    begun()
        .and([ended(1, EndTrigger::Own, 5)])
        .when(on_behalf(), after(6))
        .then_refused(ended_as(SessionStatus::Revoked, Position(3)));
}

#[test]
fn a_session_that_does_not_exist_is_not_used() {
    Scenario::given([registered()]).when(pay(1, "1"), T0).then_refused(Refusal::SessionNotFound);
}
