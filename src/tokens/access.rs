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
    /// It is not good before that: a little before its issue, for verifiers whose clocks are behind.
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::{KeyUse, keys::Keys},
        entropy::SeededEntropy,
        tokens::Keyring,
    };

    fn claims() -> AccessClaims {
        let at = |text| Timestamp::parse(text).unwrap();
        AccessClaims {
            iss: "https://tenure.example".into(),
            sub: "agent-7".parse().unwrap(),
            sid: SessionId::from_bytes([0x51; 16]),
            aud: Some("shop".into()),
            scopes: vec!["read".into(), "pay:small".into()],
            iat: at("2026-01-01T00:00:00Z"),
            nbf: at("2026-01-01T00:00:00Z"),
            exp: at("2026-01-01T00:10:00Z"),
            jti: "019b76da-a800-7000-8000-000000000000".into(),
        }
    }

    #[test]
    fn claims_are_read_back_and_unknown_ones_are_passed_over() {
        let mut payload: Value = serde_json::from_str(&claims().to_payload()).unwrap();
        assert_eq!(AccessClaims::from_payload(&payload.to_string()), Some(claims()));
        payload["new"] = json!(1);
        assert_eq!(AccessClaims::from_payload(&payload.to_string()), Some(claims()));
        payload.as_object_mut().unwrap().remove("aud");
        assert_eq!(AccessClaims::from_payload(&payload.to_string()).unwrap().aud, None);
    }

    #[test]
    fn claims_that_lack_something_or_are_something_else_are_none() {
        for (name, wrong) in [
            ("iss", json!(null)),
            ("sub", json!("not a name")),
            ("sid", json!("51")),
            ("scopes", json!("read")),
            ("exp", json!(1_767_225_600)),
            ("nbf", json!("yesterday")),
        ] {
            let mut payload: Value = serde_json::from_str(&claims().to_payload()).unwrap();
            payload[name] = wrong;
            assert_eq!(AccessClaims::from_payload(&payload.to_string()), None, "{name}");
            payload.as_object_mut().unwrap().remove(name);
            assert_eq!(AccessClaims::from_payload(&payload.to_string()), None, "without {name}");
        }
    }

    /// Ed25519 signs the same with the same: another text would be another format.
    #[test]
    fn the_access_token_of_a_known_key_is_frozen() {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(7);
        let keys = dir.path().join("keys");
        let keyring = Keyring::open(&keys, &Keys::default(), Timestamp::ZERO, &entropy).unwrap();
        let id = keyring.active(KeyUse::Access);
        let paserk = keyring.public(&id, Timestamp::ZERO).unwrap();
        let token = Tokens::new(keyring, 0, &entropy).sign(&claims());
        let made = json!({ "keyId": id, "paserk": paserk, "claims": claims(), "token": token.expose() });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokens/access.v1.json");
        if std::env::var_os("TENURE_WRITE_SAMPLES").is_some() && !path.exists() {
            fs::write(&path, format!("{made:#}\n")).unwrap();
        }
        let frozen: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(made, frozen);
    }
}
