//! `POST /v1/access-tokens`.

use serde::{Deserialize, Serialize};

use crate::{Seconds, Secret, Timestamp};

/// A request for an access token.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = AccessTokenBody))]
pub struct NewAccessToken {
    /// Its life in seconds: 60 to 1,800, by default 600. It never outlives the session, as far as
    /// its end is known: the end of its period, and the idle end if it is not used again.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<u32>))]
    pub ttl: Option<Seconds>,
    /// For whom it is, its `aud`: 1 to 256 characters. Without it the token has no `aud`.
    pub audience: Option<String>,
}

/// An access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct AccessTokenView {
    /// PASETO `v4.public`.
    #[serde(serialize_with = "Secret::serialize_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub access_token: Secret,
    /// It is good while `now < expiresAt`.
    pub expires_at: Timestamp,
}
