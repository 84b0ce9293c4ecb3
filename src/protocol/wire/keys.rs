//! `/v1/keys`.

use serde::{Deserialize, Serialize};

use super::OpenWord;
use crate::{
    KeyId, Timestamp,
    key_use::{KeyUse, RetireMode},
};

/// A rotation of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = RotationBody))]
pub struct RotationRequest {
    /// Which key is replaced.
    pub which: KeyUse,
    /// By default `overlap`.
    pub retire: Option<RetireMode>,
}

/// A key that seals now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RotationView {
    /// What the key is for.
    #[cfg_attr(feature = "utoipa", schema(value_type = KeyUse))]
    pub which: OpenWord,
    /// The key that seals from now on.
    pub key_id: KeyId,
    /// The key that it replaced.
    pub previous_key_id: Option<KeyId>,
    /// What becomes of the tokens of that key.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<RetireMode>))]
    pub retire: Option<OpenWord>,
    /// When it was replaced.
    pub rotated_at: Timestamp,
    /// From when on no token of the replaced key works.
    pub retire_at: Option<Timestamp>,
}

/// The keys with which access tokens are judged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct KeysView {
    /// The oldest first; the one that signs is the last.
    pub keys: Vec<KeyView>,
}

/// A public key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// PASERK `k4.pid`: the `kid` in the footer of its tokens.
    pub key_id: KeyId,
    /// The key, as PASERK `k4.public`.
    pub paserk: String,
    /// Whether it signs.
    #[cfg_attr(feature = "utoipa", schema(value_type = KeyState))]
    pub state: OpenWord,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// From when on no token of it works; null while it signs.
    pub retire_at: Option<Timestamp>,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub enum KeyState {
    /// It signs.
    Active,
    /// It was replaced, and its tokens work until they end or `retireAt`.
    Retiring,
}

impl KeyState {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
}
