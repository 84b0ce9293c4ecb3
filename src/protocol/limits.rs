//! What happens at a limit, as a caller asks for it and as it is recorded.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What happens to a create when the limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The create is refused.
    #[n(0)]
    Reject,
    /// As many of the oldest sessions as needed are ended.
    #[n(1)]
    EvictOldest,
}

impl OnLimit {
    /// Each with its name.
    pub const NAMES: [(&str, Self); 2] = [("reject", Self::Reject), ("evict_oldest", Self::EvictOldest)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// What happens when a token that was replaced asks for a renewal, and the one that replaced it is used as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum OnReuse {
    /// The renewal is refused.
    #[n(0)]
    Reject,
    /// The renewal is refused, and the session ends once both tokens have been shown: one of its holders is a thief.
    #[n(1)]
    Revoke,
}

impl OnReuse {
    /// Each with its name.
    pub const NAMES: [(&str, Self); 2] = [("reject", Self::Reject), ("revoke", Self::Revoke)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}
