//! `/v1/credentials`.

use serde::{Deserialize, Serialize};

use super::OpenWord;
use crate::{CredentialId, OwnerId, Seconds, Secret, Timestamp, credential::Role};

/// An API key to create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = NewCredentialBody))]
pub struct NewCredential {
    /// What it may do.
    pub role: Role,
    /// For whom; required for the role owner, refused for others.
    pub owner_id: Option<OwnerId>,
    /// What people call it; 1 to 128 characters. It stays in the record and cannot be erased, so it must hold no personal
    /// data.
    pub name: Option<String>,
    /// After how many seconds it ends, 60 to 31 536 000; by default it has no end. For an admin key only beside one
    /// without an end.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub expires_in: Option<Seconds>,
}

impl NewCredential {
    /// A key of this role, without a name or an end.
    pub const fn of(role: Role) -> Self {
        Self { role, owner_id: None, name: None, expires_in: None }
    }

    /// A key of the role owner, for this owner.
    pub fn for_owner(owner: OwnerId) -> Self {
        Self { owner_id: Some(owner), ..Self::of(Role::Owner) }
    }
}

/// An API key, without the key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct CredentialView {
    /// The name by which it is withdrawn.
    pub credential_id: CredentialId,
    /// What it may do.
    #[cfg_attr(feature = "utoipa", schema(value_type = Role))]
    pub role: OpenWord,
    /// For whom, when it is an owner's.
    pub owner_id: Option<OwnerId>,
    /// What people call it.
    pub name: Option<String>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// When it ends; null if it has no end.
    pub expires_at: Option<Timestamp>,
    /// The full hour before its last use; null if it was never used.
    pub last_used_at: Option<Timestamp>,
    /// When it was withdrawn.
    pub revoked_at: Option<Timestamp>,
    /// Whether it is held since a restore: it opens nothing until an admin confirms it.
    // An authority older than this field does not say.
    #[serde(default)]
    #[cfg_attr(feature = "utoipa", schema(required = true))]
    pub held: bool,
}

/// An API key that was issued. The key is shown here and nowhere else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct IssuedCredential {
    /// What it is.
    #[serde(flatten)]
    pub credential: CredentialView,
    /// The key itself: shown now, and null when the request is repeated.
    #[serde(serialize_with = "Secret::serialize_exposed_option")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub key: Option<Secret>,
}
