//! PASETO v4.local and v4.public, the only file that sees the crate which implements it.
//!
//! Only the crate's low-level seal and open are used: its validation of claims would ask the wall clock.
//! <https://github.com/paseto-standard/paseto-spec>, <https://github.com/paseto-standard/paserk>

use std::fmt;

use pasetors::{
    paserk::{FormatAsPaserk, Id},
    token::{Local, UntrustedToken},
    version4::{LocalToken, PublicToken, V4},
};
use zeroize::Zeroizing;

use super::key_store::KeyMaterial;
use tenure_core::KeyId;
use tenure_protocol::entropy::{self, Entropy};

/// Bound into every token though not part of it: a v4.local token sealed with one of our keys for another
/// purpose opens as no session token.
pub(super) const ASSERTION: &str = "tenure session v1";

/// What every sealed text starts with.
pub(super) const HEADER: &str = LocalToken::HEADER;

/// A key that seals session tokens.
#[derive(Clone)]
pub(super) struct SealingKey {
    key: pasetors::keys::SymmetricKey<V4>,
    id: KeyId,
}

impl KeyMaterial for SealingKey {
    const DIRECTORY: &str = "session";
    const NAME: &str = "keys/session";
    const EXPECTED: &str = "one key as PASERK `k4.local.…`";

    fn draw(entropy: &dyn Entropy) -> Self {
        let bytes = Zeroizing::new(entropy::bytes::<32>(entropy));
        let key = pasetors::keys::SymmetricKey::from(&*bytes).expect("a v4.local key is any 32 bytes");
        Self::of(key)
    }

    fn from_paserk(text: &str) -> Option<Self> {
        pasetors::keys::SymmetricKey::try_from(text).ok().map(Self::of)
    }

    fn to_paserk(&self) -> Zeroizing<String> {
        // Reserved in one piece, so that no smaller copy of it is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(64));
        self.key.fmt(&mut *text).expect("writing to a string succeeds");
        text
    }

    /// `k4.lid.…`
    fn id(&self) -> &KeyId {
        &self.id
    }
}

impl SealingKey {
    fn of(key: pasetors::keys::SymmetricKey<V4>) -> Self {
        let id = key_id(&Id::from(&key));
        Self { key, id }
    }
}

fn key_id(id: &Id) -> KeyId {
    let mut text = String::new();
    id.fmt(&mut text).expect("writing to a string succeeds");
    text.parse().expect("a PASERK id has the form of one")
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

/// Seals a payload with a fresh nonce; `None` if the operating system gives no randomness.
pub(super) fn seal(key: &SealingKey, payload: &str) -> Option<Zeroizing<String>> {
    let (footer, assertion) = (key.id.as_str().as_bytes(), ASSERTION.as_bytes());
    LocalToken::encrypt(&key.key, payload.as_bytes(), Some(footer), Some(assertion)).ok().map(Zeroizing::new)
}

/// Bound into every link of a notice, as [`ASSERTION`] is into session tokens.
const VETO_ASSERTION: &str = "tenure veto link v1";

/// The key of the links, derived from a session key: it opens nothing but links.
fn veto_key(key: &SealingKey) -> pasetors::keys::SymmetricKey<V4> {
    let bytes = Zeroizing::new(blake3::derive_key("tenure 2026 veto link", key.key.as_bytes()));
    pasetors::keys::SymmetricKey::from(&*bytes).expect("a v4.local key is any 32 bytes")
}

/// Seals the payload of a link. The footer names the session key from which its key is derived.
pub(super) fn seal_veto(key: &SealingKey, payload: &str) -> Option<Zeroizing<String>> {
    let (footer, assertion) = (key.id.as_str().as_bytes(), VETO_ASSERTION.as_bytes());
    let sealed = LocalToken::encrypt(&veto_key(key), payload.as_bytes(), Some(footer), Some(assertion));
    sealed.ok().map(Zeroizing::new)
}

/// A key that signs access tokens, and the public one that judges them.
#[derive(Clone)]
pub(super) struct SigningKey {
    key: pasetors::keys::AsymmetricSecretKey<V4>,
    public: String,
    id: KeyId,
}

impl KeyMaterial for SigningKey {
    const DIRECTORY: &str = "access";
    const NAME: &str = "keys/access";
    const EXPECTED: &str = "one key as PASERK `k4.secret.…`";

    fn draw(entropy: &dyn Entropy) -> Self {
        let seed = Zeroizing::new(entropy::bytes::<32>(entropy));
        let pair = Zeroizing::new(ed25519_dalek::SigningKey::from_bytes(&seed).to_keypair_bytes());
        let key = pasetors::keys::AsymmetricSecretKey::from(&*pair).expect("it was derived from a seed");
        Self::of(key).expect("a secret key has a public one")
    }

    fn from_paserk(text: &str) -> Option<Self> {
        pasetors::keys::AsymmetricSecretKey::try_from(text).ok().and_then(Self::of)
    }

    fn to_paserk(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        self.key.fmt(&mut *text).expect("writing to a string succeeds");
        text
    }

    /// `k4.pid.…`, the id of the public key.
    fn id(&self) -> &KeyId {
        &self.id
    }
}

impl SigningKey {
    fn of(key: pasetors::keys::AsymmetricSecretKey<V4>) -> Option<Self> {
        let public_key = pasetors::keys::AsymmetricPublicKey::try_from(&key).ok()?;
        let mut public = String::new();
        public_key.fmt(&mut public).ok()?;
        Some(Self { key, public, id: key_id(&Id::from(&public_key)) })
    }

    /// The key that judges what this one signs, as PASERK `k4.public`.
    pub(super) fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

/// Signs a payload. The footer names the key as other libraries look for it: `{"kid":"k4.pid.…"}`. There is no
/// implicit assertion, so that every PASETO library judges it with the public key alone.
pub(super) fn sign(key: &SigningKey, payload: &str) -> Zeroizing<String> {
    let footer = format!(r#"{{"kid":"{}"}}"#, key.id);
    let signed = PublicToken::sign(&key.key, payload.as_bytes(), Some(footer.as_bytes()), None);
    Zeroizing::new(signed.expect("a payload that is not empty can be signed"))
}

/// A text that has the form of a token. Nothing in it is true yet.
pub(super) struct UnverifiedToken(UntrustedToken<Local, V4>);

impl UnverifiedToken {
    /// Takes it apart. The caller has limited its length.
    pub(super) fn parse(text: &str) -> Option<Self> {
        UntrustedToken::try_from(text).ok().map(Self)
    }

    /// The key that it says it was sealed with: good for choosing from our own ring, and for nothing else.
    pub(super) fn key_id(&self) -> Option<&str> {
        str::from_utf8(self.0.untrusted_footer()).ok()
    }

    /// Its payload, when it was sealed with this key and not touched since.
    pub(super) fn open(&self, key: &SealingKey) -> Option<Zeroizing<String>> {
        let (footer, assertion) = (key.id.as_str().as_bytes(), ASSERTION.as_bytes());
        let trusted = LocalToken::decrypt(&key.key, &self.0, Some(footer), Some(assertion)).ok()?;
        Some(Zeroizing::new(trusted.payload().to_owned()))
    }

    /// The payload of a link, when it was sealed with the key derived from this one.
    pub(super) fn open_veto(&self, key: &SealingKey) -> Option<Zeroizing<String>> {
        let (footer, assertion) = (key.id.as_str().as_bytes(), VETO_ASSERTION.as_bytes());
        let trusted = LocalToken::decrypt(&veto_key(key), &self.0, Some(footer), Some(assertion)).ok()?;
        Some(Zeroizing::new(trusted.payload().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::entropy::SeededEntropy;

    #[test]
    fn a_key_is_written_as_paserk_and_read_back() {
        let key = SealingKey::draw(&SeededEntropy::new(1));
        assert!(key.to_paserk().starts_with("k4.local."));
        assert!(key.id().as_str().starts_with("k4.lid."));
        let again = SealingKey::from_paserk(&key.to_paserk()).unwrap();
        assert_eq!(again.id(), key.id());
        assert!(SealingKey::from_paserk("k4.local.AAAA").is_none());
        assert!(SealingKey::from_paserk(&key.to_paserk().replace("k4.local", "k4.secret")).is_none());
    }

    #[test]
    fn what_was_sealed_for_another_purpose_does_not_open() {
        let key = SealingKey::draw(&SeededEntropy::new(1));
        let other =
            LocalToken::encrypt(&key.key, b"{}", Some(key.id.as_str().as_bytes()), Some(b"another purpose"));
        assert!(UnverifiedToken::parse(&other.unwrap()).unwrap().open(&key).is_none());
        let ours = seal(&key, "{}").unwrap();
        assert_eq!(UnverifiedToken::parse(&ours).unwrap().open(&key).unwrap().as_str(), "{}");
    }

    #[test]
    fn a_signing_key_is_written_as_paserk_and_read_back() {
        let key = SigningKey::draw(&SeededEntropy::new(1));
        assert!(key.to_paserk().starts_with("k4.secret.") && key.public().starts_with("k4.public."));
        assert!(key.id().as_str().starts_with("k4.pid."));
        let again = SigningKey::from_paserk(&key.to_paserk()).unwrap();
        assert_eq!((again.id(), again.public()), (key.id(), key.public()));
        assert!(SigningKey::from_paserk("k4.secret.AAAA").is_none());
        assert!(SigningKey::from_paserk(&key.to_paserk().replace("k4.secret", "k4.local")).is_none());
    }

    #[test]
    fn a_signing_key_does_not_show_itself() {
        let key = SigningKey::draw(&SeededEntropy::new(1));
        let shown = format!("{key:?}");
        assert!(!shown.contains(key.to_paserk().trim_start_matches("k4.secret.")), "{shown}");
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = SealingKey::draw(&SeededEntropy::new(1));
        let shown = format!("{key:?}");
        assert!(!shown.contains(key.to_paserk().trim_start_matches("k4.local.")), "{shown}");
    }
}
