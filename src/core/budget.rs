//! What a session may be used for, and what it was used for: constraints, fixed at its creation, and usage.
//!
//! Both are recorded as they are, never sealed and never erased: keep personal data out of them.

use std::{cell::RefCell, thread::LocalKey};

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{
    amount::Amount,
    id::SessionId,
    interned::{Interned, RecentValues, Shareable},
    time::Timestamp,
};

/// The limits on the use of a session. What is left open is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct Constraints {
    /// The most that one use may cost.
    #[n(0)]
    pub max_amount_per_tx: Option<Amount>,
    /// The most that all uses may cost together.
    #[n(1)]
    pub max_total_amount: Option<Amount>,
    /// How often it may be used.
    #[n(2)]
    pub max_transactions: Option<u64>,
    /// The only operations that it may be used for; an empty list allows none.
    #[n(3)]
    pub allowed_operations: Option<Vec<String>>,
    /// The only destinations that it may be used for; an empty list allows none.
    #[n(4)]
    pub allowed_destinations: Option<Vec<String>>,
}

/// One of the constraints, in the order in which they are judged: first what is asked, then what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// See [`Constraints::allowed_operations`].
    AllowedOperations,
    /// See [`Constraints::allowed_destinations`].
    AllowedDestinations,
    /// See [`Constraints::max_amount_per_tx`].
    MaxAmountPerTx,
    /// See [`Constraints::max_transactions`].
    MaxTransactions,
    /// See [`Constraints::max_total_amount`].
    MaxTotalAmount,
}

/// One use of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionUse {
    /// What is done.
    pub operation: String,
    /// What it costs.
    pub amount: Option<Amount>,
    /// Whom or what it is done to.
    pub destination: Option<String>,
}

/// What a session was used for so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// How often it was used.
    #[n(0)]
    pub transactions: u64,
    /// What all uses cost together.
    #[n(1)]
    pub total_amount: Amount,
    /// When it was last used.
    #[n(2)]
    pub last_at: Option<Timestamp>,
}

/// The usage of a session that was never used.
pub(super) fn unused() -> &'static Usage {
    static UNUSED: std::sync::LazyLock<Usage> = std::sync::LazyLock::new(Usage::default);
    &UNUSED
}

/// A session's constraints and its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Budget {
    /// What it may be used for; `None` without limits.
    #[n(0)]
    pub constraints: Option<Interned<Constraints>>,
    /// What it was used for.
    #[n(1)]
    pub usage: Usage,
}

/// A session was used, within its constraints.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct UsageRecorded {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// What was done.
    #[n(1)]
    pub operation: String,
    /// What it cost, if that was said.
    #[n(2)]
    pub amount: Option<Amount>,
    /// Whom or what it was done to, if that was said.
    #[n(3)]
    pub destination: Option<String>,
    /// How often the session was used, this time included.
    #[n(4)]
    pub transactions: u64,
    /// What all its uses cost together, this one included.
    #[n(5)]
    pub total_amount: Amount,
}

impl UsageRecorded {
    /// The use that was recorded.
    pub fn done(&self) -> SessionUse {
        SessionUse {
            operation: self.operation.clone(),
            amount: self.amount.clone(),
            destination: self.destination.clone(),
        }
    }

    /// The usage of the session after it, when it was recorded at this moment.
    pub fn usage(&self, at: Timestamp) -> Usage {
        Usage { transactions: self.transactions, total_amount: self.total_amount.clone(), last_at: Some(at) }
    }
}

impl ConstraintKind {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowedOperations => "allowedOperations",
            Self::AllowedDestinations => "allowedDestinations",
            Self::MaxAmountPerTx => "maxAmountPerTx",
            Self::MaxTransactions => "maxTransactions",
            Self::MaxTotalAmount => "maxTotalAmount",
        }
    }
}

impl Constraints {
    fn written_amounts(&self) -> impl Iterator<Item = Option<String>> {
        [&self.max_amount_per_tx, &self.max_total_amount]
            .into_iter()
            .map(|most| most.as_ref().map(Amount::to_string))
    }

    /// The first constraint that a further use would violate. What a constraint is about must be said: a use
    /// without an amount violates a limit on amounts, one without a destination a list of destinations.
    pub fn violated_by(&self, wanted: &SessionUse, so_far: &Usage) -> Option<ConstraintKind> {
        let holds = [
            (
                ConstraintKind::AllowedOperations,
                allows(self.allowed_operations.as_ref(), Some(&wanted.operation)),
            ),
            (
                ConstraintKind::AllowedDestinations,
                allows(self.allowed_destinations.as_ref(), wanted.destination.as_ref()),
            ),
            (
                ConstraintKind::MaxAmountPerTx,
                is_within(self.max_amount_per_tx.as_ref(), wanted.amount.as_ref()),
            ),
            (
                ConstraintKind::MaxTransactions,
                self.max_transactions.is_none_or(|most| so_far.transactions < most),
            ),
            (
                ConstraintKind::MaxTotalAmount,
                is_within(
                    self.max_total_amount.as_ref(),
                    wanted.amount.as_ref().map(|amount| so_far.total_amount.plus(amount)).as_ref(),
                ),
            ),
        ];
        holds.into_iter().find(|(_, holds)| !holds).map(|(constraint, _)| constraint)
    }
}

fn allows(listed: Option<&Vec<String>>, wanted: Option<&String>) -> bool {
    listed.is_none_or(|listed| wanted.is_some_and(|wanted| listed.contains(wanted)))
}

fn is_within(most: Option<&Amount>, wanted: Option<&Amount>) -> bool {
    most.is_none_or(|most| wanted.is_some_and(|wanted| wanted <= most))
}

impl Usage {
    /// The usage after one more use at this moment. Without an amount a use costs nothing.
    #[must_use]
    pub fn after(&self, done: &SessionUse, at: Timestamp) -> Self {
        Self {
            transactions: self.transactions + 1,
            total_amount: match &done.amount {
                Some(amount) => self.total_amount.plus(amount),
                None => self.total_amount.clone(),
            },
            last_at: Some(at),
        }
    }
}

thread_local! {
    static RECENT_CONSTRAINTS: RecentValues<Constraints> = const { RefCell::new(Vec::new()) };
}

impl Shareable for Constraints {
    fn recent() -> &'static LocalKey<RecentValues<Self>> {
        &RECENT_CONSTRAINTS
    }

    /// Amounts are equal by their value, and are shown as they were written.
    fn is_same(&self, other: &Self) -> bool {
        self == other && self.written_amounts().eq(other.written_amounts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format of the log: these bytes must stay readable forever.
    #[test]
    fn constraints_are_recorded_as_ever_and_amounts_with_the_digits_that_were_given() {
        for (given, recorded) in [
            ("12.5", &b"\x85\x6412.5\xf6\x0a\x81\x63pay\x80"[..]),
            ("12.50", &b"\x85\x6512.50\xf6\x0a\x81\x63pay\x80"[..]),
        ] {
            let constraints = Constraints {
                max_amount_per_tx: Some(given.parse().unwrap()),
                max_total_amount: None,
                max_transactions: Some(10),
                allowed_operations: Some(vec!["pay".to_owned()]),
                allowed_destinations: Some(vec![]),
            };
            let bytes = minicbor::to_vec(&constraints).unwrap();
            assert_eq!(bytes, recorded);
            assert_eq!(minicbor::decode::<Constraints>(&bytes).unwrap(), constraints);
        }
    }
}
