//! Texts that let any holder act. They cannot be printed, only exposed on purpose, and are wiped
//! from memory when dropped.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::paseto;
use tenure_core::token::{API_KEY_PREFIX, SESSION_TOKEN_PREFIX};
use tenure_protocol::entropy::{self, Entropy};

/// The longest session token: ours have 253 characters at the most.
const LONGEST_TOKEN: usize = 320;

/// A sealed session token, as its holder gets it.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// What every session token starts with.
    pub const PREFIX: &str = SESSION_TOKEN_PREFIX;

    /// The token itself: for the reply that carries it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn of(sealed: &str) -> Self {
        Self(Zeroizing::new([Self::PREFIX, sealed].concat()))
    }

    /// The PASETO of a text that has the form of a session token.
    pub(super) fn sealed_part(text: &str) -> Option<&str> {
        let sealed = text.strip_prefix(Self::PREFIX)?;
        (text.len() <= LONGEST_TOKEN && sealed.starts_with(paseto::HEADER)).then_some(sealed)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// An API key, as its holder gets it. We keep only its hash.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// What every API key starts with.
    pub const PREFIX: &str = API_KEY_PREFIX;

    /// A new key, of 256 random bits.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        Self::of(&Zeroizing::new(entropy::bytes(entropy)))
    }

    fn of(random: &[u8; 32]) -> Self {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(random));
        Self(Zeroizing::new([Self::PREFIX, &encoded].concat()))
    }

    /// The key itself: for the reply that carries it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text has the form of an API key, so that it is worth hashing: the prefix and 32 bytes in
    /// base64url, in their only spelling.
    pub fn is_well_formed(text: &str) -> bool {
        let Some(encoded) = text.strip_prefix(Self::PREFIX) else { return false };
        let mut random = Zeroizing::new([0; 33]);
        // 43 characters are 32 bytes; nothing longer is decoded.
        encoded.len() == 43 && URL_SAFE_NO_PAD.decode_slice(encoded, &mut *random) == Ok(32)
    }

    /// BLAKE3 of a key's text, as recorded. A plain hash serves: there are 256 random bits to guess.
    pub fn hash(text: &str) -> [u8; 32] {
        *blake3::hash(text.as_bytes()).as_bytes()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::entropy::OsEntropy;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", SessionToken::of("v4.local.abc")), "SessionToken(…)");
        assert_eq!(format!("{:?}", ApiKey::of(&[7; 32])), "ApiKey(…)");
    }

    #[test]
    fn an_api_key_has_one_form() {
        let key = ApiKey::of(&[7; 32]);
        assert_eq!(key.expose(), "tnr_key_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert!(ApiKey::is_well_formed(key.expose()));
        let other_spelling = "tnr_key_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd";
        for wrong in ["", "tnr_key_", "tnr_key_BwcH", &key.expose()[8..], other_spelling] {
            assert!(!ApiKey::is_well_formed(wrong), "{wrong}");
        }
        assert!(!ApiKey::is_well_formed(&format!("{}A", key.expose())));
        assert!(ApiKey::is_well_formed(ApiKey::draw(&OsEntropy).expose()));
    }

    #[test]
    fn an_api_key_is_known_by_the_hash_of_its_text() {
        let key = ApiKey::of(&[7; 32]);
        assert_eq!(ApiKey::hash(key.expose()), *blake3::hash(key.expose().as_bytes()).as_bytes());
        assert_ne!(ApiKey::hash(key.expose()), ApiKey::hash("tnr_key_"));
    }
}
