//! What an API key may do.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything that API keys may.
    #[n(0)]
    Admin,
    /// Subjects and sessions.
    #[n(1)]
    Issuer,
    /// The sessions of its own subjects.
    #[n(2)]
    Owner,
    /// Introspection.
    #[n(3)]
    Verifier,
    /// Reading.
    #[n(4)]
    Auditor,
}

impl Role {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("admin", Self::Admin),
        ("issuer", Self::Issuer),
        ("owner", Self::Owner),
        ("verifier", Self::Verifier),
        ("auditor", Self::Auditor),
    ];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
