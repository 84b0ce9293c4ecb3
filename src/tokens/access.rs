//! What an access token says. Unlike a session token it speaks for itself: whoever has the public key judges it
//! without asking, and so it lives for minutes only.
//!
//! PASETO v4.public. Times are RFC 3339, as PASETO has them; `aud` is left out where no audience was asked for.

use serde::{Deserialize, Deserializer, Serialize, de};
use zeroize::Zeroizing;

use super::Tokens;
use crate::domain::{Seconds, SessionId, SubjectId, Timestamp};

/// The longest life of an access token.
pub const LONGEST_ACCESS: Seconds = Seconds(1_800);

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it: `server.public_url`, or `tenure`.
    pub iss: String,
    /// The subject.
    #[serde(deserialize_with = "parsed")]
    pub sub: SubjectId,
    /// The session that it was minted with.
    #[serde(deserialize_with = "parsed")]
    pub sid: SessionId,
    /// For whom it is, where that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aud: Option<String>,
    /// What it may be used for: the scopes of its session.
    pub scopes: Vec<String>,
    /// When it was issued.
    #[serde(deserialize_with = "moment")]
    pub iat: Timestamp,
    /// It is not good before that.
    #[serde(deserialize_with = "moment")]
    pub nbf: Timestamp,
    /// It is good while `now < exp`.
    #[serde(deserialize_with = "moment")]
    pub exp: Timestamp,
    /// Its own name, a UUID.
    pub jti: String,
}

/// A signed access token. It is shown to whoever minted it and to nobody else.
pub struct AccessToken(Zeroizing<String>);

impl AccessToken {
    /// The token itself: for the reply that carries it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

impl AccessClaims {
    /// Reads a payload whose signature was found to be right. Claims that it does not know are passed over, as every
    /// reader of PASETO does.
    pub fn from_payload(payload: &str) -> Option<Self> {
        serde_json::from_str(payload).ok()
    }

    fn to_payload(&self) -> String {
        serde_json::to_string(self).expect("claims are always JSON")
    }
}

impl Tokens {
    /// An access token that says this, signed with the active key.
    pub fn sign(&self, claims: &AccessClaims) -> AccessToken {
        let ring = self.keyring.access.ring();
        AccessToken(super::paseto::sign(&ring.active.key, &claims.to_payload()))
    }
}

fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| de::Error::custom("a claim is not what it should be"))
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).ok_or_else(|| de::Error::custom("a time is not RFC 3339"))
}
