//! What an access token says. Unlike a session token it speaks for itself: every holder of the public key judges it
//! without asking, and so it lives for minutes only.
//!
//! PASETO v4.public. Times are RFC 3339, as PASETO has them; `aud` is left out where no audience was asked for.

use serde::Serialize;
use zeroize::Zeroizing;

use super::TokenSealer;
use tenure_core::{SessionId, SubjectId, Timestamp};

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessClaims {
    /// Who issued it: `server.public_url`, or `tenure`.
    pub iss: String,
    /// The subject.
    pub sub: SubjectId,
    /// The session that it was minted with.
    pub sid: SessionId,
    /// For whom it is, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// What it may be used for: the scopes of its session.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub iat: Timestamp,
    /// It is not good before that: a little before its issue, for verifiers whose clocks are behind.
    pub nbf: Timestamp,
    /// It is good while `now < exp`.
    pub exp: Timestamp,
    /// Its own name, a UUID.
    pub jti: String,
}

/// A signed access token, shown only to the caller who minted it.
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
    fn to_payload(&self) -> String {
        serde_json::to_string(self).expect("claims are always JSON")
    }
}

impl TokenSealer {
    /// An access token that says this, signed with the active key.
    pub fn sign(&self, claims: &AccessClaims) -> AccessToken {
        let ring = self.keyring.access.ring();
        AccessToken(super::paseto::sign(&ring.active.key, &claims.to_payload()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::{Value, json};

    use super::*;
    use crate::tokens::TokenKeyring;
    use tenure_core::{KeyUse, keys::KeyHistory};
    use tenure_protocol::entropy::SeededEntropy;
    use tenure_verify as verify;

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
    fn what_is_said_is_what_a_verifier_reads() {
        for aud in [Some("shop".to_owned()), None] {
            let said = AccessClaims { aud, ..claims() };
            let read = verify::AccessClaims::from_payload(&said.to_payload()).unwrap();
            let (issuer, audience) = (said.iss, said.aud);
            let (subject, session, scopes) = (said.sub, said.sid, said.scopes.into());
            let (issued_at, not_before, expires_at, token_id) = (said.iat, said.nbf, said.exp, said.jti);
            let expected = verify::AccessClaims {
                issuer,
                subject,
                session,
                audience,
                scopes,
                issued_at,
                not_before,
                expires_at,
                token_id,
            };
            assert_eq!(read, expected);
        }
    }

    /// Ed25519 signs the same with the same: another text would be another format.
    #[test]
    fn the_access_token_of_a_known_key_is_frozen() {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(7);
        let keys = dir.path().join("keys");
        let keyring = TokenKeyring::open(&keys, &KeyHistory::default(), Timestamp::ZERO, &entropy).unwrap();
        let id = keyring.active(KeyUse::Access);
        let paserk = keyring.public(&id, Timestamp::ZERO).unwrap();
        let token = TokenSealer::new(keyring, 0, &entropy).sign(&claims());
        let made = json!({ "keyId": id, "paserk": paserk, "claims": claims(), "token": token.expose() });
        let path =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/tokens/access.v1.json");
        if std::env::var_os("TENURE_WRITE_SAMPLES").is_some() && !path.exists() {
            fs::write(&path, format!("{made:#}\n")).unwrap();
        }
        let frozen: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(made, frozen);
    }
}
