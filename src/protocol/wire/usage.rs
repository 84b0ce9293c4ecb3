//! `POST /v1/sessions/{id}/usage`, and the budgets of sessions.

use serde::{Deserialize, Serialize};

use crate::{Amount, Timestamp};

/// The limits on the use of a session that are asked for, of 8 KiB at most. What is left out is not limited.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = ConstraintsBody))]
pub struct NewConstraints {
    /// The most that one use may cost.
    pub max_amount_per_tx: Option<Amount>,
    /// The most that all uses may cost together.
    pub max_total_amount: Option<Amount>,
    /// How often it may be used; 0 to 9 007 199 254 740 991.
    pub max_transactions: Option<u64>,
    /// The only operations that it may be used for, each of 1 to 128 characters; an empty list allows none.
    pub allowed_operations: Option<Vec<String>>,
    /// The only destinations that it may be used for, each of 1 to 256 characters; an empty list allows none.
    pub allowed_destinations: Option<Vec<String>>,
}

/// The limits on the use of a session. What is null is not limited.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ConstraintsView {
    /// The most that one use may cost.
    pub max_amount_per_tx: Option<Amount>,
    /// The most that all uses may cost together.
    pub max_total_amount: Option<Amount>,
    /// How often it may be used.
    pub max_transactions: Option<u64>,
    /// The only operations that it may be used for; an empty list allows none.
    pub allowed_operations: Option<Vec<String>>,
    /// The only destinations that it may be used for; an empty list allows none.
    pub allowed_destinations: Option<Vec<String>>,
}

/// What a session was used for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct UsageView {
    /// How often it was used.
    pub transactions: u64,
    /// What all uses cost together.
    pub total_amount: Amount,
    /// When it was last used; null when it never was.
    pub last_at: Option<Timestamp>,
}

/// A use of a session.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = UsageBody))]
pub struct NewUse {
    /// What is done; 1 to 128 characters.
    pub operation: String,
    /// What it costs; required by a session with a limit on amounts.
    pub amount: Option<Amount>,
    /// Whom or what it is done to, 1 to 256 characters; required by a session with a list of destinations.
    pub destination: Option<String>,
}

impl NewUse {
    /// This operation, 1 to 128 characters.
    pub fn of(operation: impl Into<String>) -> Self {
        Self { operation: operation.into(), amount: None, destination: None }
    }

    /// The same, at this cost.
    #[must_use]
    pub fn amount(self, amount: Amount) -> Self {
        Self { amount: Some(amount), ..self }
    }

    /// The same, done to this: 1 to 256 characters.
    #[must_use]
    pub fn destination(self, destination: impl Into<String>) -> Self {
        Self { destination: Some(destination.into()), ..self }
    }
}

/// A use that was recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RecordedUsage {
    /// The usage of the session, this use included.
    pub usage: UsageView,
}
