//! Access tokens made by hand, by a library's own signing.

use ed25519_dalek::SigningKey;
use pasetors::{
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    paserk::{FormatAsPaserk, Id},
    version4::{PublicToken, V4},
};
use serde_json::{Value, json};
use tenure::core::Timestamp;

/// A key of an authority, the same for the same number.
pub(crate) struct Key {
    secret: AsymmetricSecretKey<V4>,
    public: AsymmetricPublicKey<V4>,
}

impl Key {
    pub(crate) fn number(number: u8) -> Self {
        let pair = SigningKey::from_bytes(&[number; 32]).to_keypair_bytes();
        let secret = AsymmetricSecretKey::from(&pair).unwrap();
        let public = AsymmetricPublicKey::try_from(&secret).unwrap();
        Self { secret, public }
    }

    pub(crate) fn id(&self) -> String {
        let mut id = String::new();
        Id::from(&self.public).fmt(&mut id).unwrap();
        id
    }

    pub(crate) fn paserk(&self) -> String {
        let mut text = String::new();
        self.public.fmt(&mut text).unwrap();
        text
    }

    /// As `GET /v1/keys` shows it.
    pub(crate) fn shown(&self, retire_at: Option<Timestamp>) -> Value {
        json!({
            "keyId": self.id(), "paserk": self.paserk(), "createdAt": "2026-11-21T09:00:00.000Z",
            "state": if retire_at.is_some() { "retiring" } else { "active" }, "retireAt": retire_at,
        })
    }

    /// A token that says this, under this key's name.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.id(), claims)
    }

    /// The same under another name.
    pub(crate) fn sign_as(&self, id: &str, claims: &Value) -> String {
        self.sign_with_footer(&json!({ "kid": id }).to_string(), &claims.to_string())
    }

    pub(crate) fn sign_with_footer(&self, footer: &str, payload: &str) -> String {
        PublicToken::sign(&self.secret, payload.as_bytes(), Some(footer.as_bytes()), None).unwrap()
    }
}

/// The time at the authority, unless a test moves it.
pub(crate) fn noon() -> Timestamp {
    Timestamp::parse("2026-11-21T12:00:00Z").unwrap()
}

/// A session's id of this moment; the number tells those of one moment apart.
pub(crate) fn session_id(created: Timestamp, number: u32) -> String {
    let millis = created.as_millis();
    format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff)
}

/// What a token of this session says that was signed at noon.
pub(crate) fn claims(session: &str) -> Value {
    json!({
        "iss": "tenure", "sub": "agent-7", "sid": session, "scopes": ["orders:read"], "iat": noon(), "nbf": noon(),
        "exp": noon().plus_millis(600_000), "jti": "0193751c-0000-7000-8000-000000000000",
    })
}
