//! What the keys of tokens are for, and how they are replaced.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// It seals session tokens.
    #[n(0)]
    Session,
    /// It signs access tokens.
    #[n(1)]
    Access,
}

impl KeyUse {
    /// Every use with its name in the API.
    pub const ALL: [(&str, Self); 2] = [("session", Self::Session), ("access", Self::Access)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// What becomes of the key that another one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum RetireMode {
    /// Its tokens work on until they end, or until a moment fixed now.
    #[n(0)]
    Overlap,
    /// Its tokens stop working, as do those of the keys before it.
    #[n(1)]
    Now,
}

impl RetireMode {
    /// Both with their names in the API.
    pub const ALL: [(&str, Self); 2] = [("overlap", Self::Overlap), ("now", Self::Now)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
