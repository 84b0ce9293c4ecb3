//! The use of a session, with the sums after it.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::domain::{
    Amount, SessionId, Timestamp,
    budget::{Usage, Use},
};

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
    pub fn done(&self) -> Use {
        Use {
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
