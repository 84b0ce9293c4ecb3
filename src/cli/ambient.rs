//! The two things that a command takes from its surroundings: what time it is, and what nobody can guess.

use crate::{
    clock::{Clock, SystemClock},
    domain::Timestamp,
    entropy::{self, OsEntropy},
};

/// The local wall time: for words such as `3m ago`, never for a decision.
pub(crate) fn now() -> Timestamp {
    SystemClock::new().now()
}

/// 32 hexadecimal digits that nobody else has: an idempotency key, or a part of a file's name.
pub(crate) fn unique() -> String {
    format!("{:032x}", u128::from_be_bytes(entropy::bytes(&OsEntropy)))
}
