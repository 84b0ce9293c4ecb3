//! The two things that a command takes from its surroundings: what time it is, and what nobody can guess.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng;

use crate::domain::Timestamp;

/// The local wall time: for words such as `3m ago`, never for a decision.
#[expect(clippy::disallowed_methods, reason = "the one place of the client that asks what time it is")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// 32 hexadecimal digits that nobody else has: an idempotency key, or a part of a file's name.
#[expect(clippy::disallowed_methods, reason = "the one place of the client that draws")]
pub(crate) fn unique() -> String {
    let mut bytes = [0_u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
