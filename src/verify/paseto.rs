//! PASETO v4.public, the only file here that sees the crate which implements it.
//!
//! Only the crate's low-level verification is used: its validation of claims would ask the wall clock. Before the
//! signature is verified only the key's id is read, and it serves only to choose from our own ring.
//! <https://github.com/paseto-standard/paseto-spec>, <https://github.com/paseto-standard/paserk>

use std::sync::Arc;

use pasetors::{
    keys::AsymmetricPublicKey,
    paserk::{FormatAsPaserk, Id},
    token::{Public, UntrustedToken},
    version4::{PublicToken, V4},
};
use serde::Deserialize;

/// No token is longer: 64 scopes of 128 characters and all the rest take less than 13 000.
pub(super) const LONGEST: usize = 16_384;
/// No footer is longer: it names a key.
const LONGEST_FOOTER: usize = 512;

/// A key that verifies access tokens.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    key: AsymmetricPublicKey<V4>,
    id: Arc<str>,
}

impl PublicKey {
    /// The key of a PASERK `k4.public` text.
    pub(super) fn from_paserk(text: &str) -> Option<Self> {
        let key = AsymmetricPublicKey::<V4>::try_from(text).ok()?;
        let mut id = String::new();
        Id::from(&key).fmt(&mut id).expect("writing to a string succeeds");
        Some(Self { key, id: id.into() })
    }

    /// Its PASERK id, `k4.pid.…`, computed from the key: no key can pass under another's name.
    pub(super) const fn id(&self) -> &Arc<str> {
        &self.id
    }
}

/// A text that has the form of a token. Nothing in it is true yet.
pub(super) struct UnverifiedToken(UntrustedToken<Public, V4>);

#[derive(Deserialize)]
struct TokenFooter<'a> {
    kid: &'a str,
}

impl UnverifiedToken {
    /// Takes it apart; nothing too long is decoded.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        UntrustedToken::try_from(text).ok().map(Self)
    }

    /// The key that it says it was signed with.
    pub(super) fn key_id(&self) -> Option<&str> {
        let footer = self.0.untrusted_footer();
        if footer.len() > LONGEST_FOOTER {
            return None;
        }
        serde_json::from_slice::<TokenFooter<'_>>(footer).ok().map(|footer| footer.kid)
    }

    /// Its payload, when this key signed it and nothing was touched since.
    pub(super) fn open(&self, key: &PublicKey) -> Option<String> {
        let trusted = PublicToken::verify(&key.key, &self.0, None, None).ok()?;
        Some(trusted.payload().to_owned())
    }
}
