//! PASETO v4.local and v4.public, the only file that sees the crates which implement them: `rusty_paseto` seals and
//! opens, in two thirds of the instructions that `pasetors` takes; `pasetors` signs, and reads and writes keys.
//!
//! Only their low-level seal, open and sign are used: their validation of claims would ask the wall clock.
//! <https://github.com/paseto-standard/paseto-spec>, <https://github.com/paseto-standard/paserk>

use std::fmt;

use pasetors::{
    paserk::{FormatAsPaserk, Id},
    version4::{PublicToken, V4},
};
use rusty_paseto::core::{
    Footer, ImplicitAssertion, Key, Local, Paseto, PasetoNonce, PasetoSymmetricKey, Payload, V4 as LocalV4,
};
use zeroize::Zeroizing;

use super::key_store::KeyMaterial;
use tenure_core::KeyId;
use tenure_protocol::entropy::{self, Entropy, OsEntropy};

/// Bound into every token though not part of it: a v4.local token sealed with one of our keys for another
/// purpose opens as no session token.
pub(super) const ASSERTION: &str = "tenure session v1";

/// What every sealed text starts with.
pub(super) const HEADER: &str = "v4.local.";

type SymmetricKey = PasetoSymmetricKey<LocalV4, Local>;

/// A key that seals session tokens.
pub(super) struct SealingKey {
    key: SymmetricKey,
    id: KeyId,
}

impl KeyMaterial for SealingKey {
    const DIRECTORY: &str = "session";
    const NAME: &str = "keys/session";
    const EXPECTED: &str = "one key as PASERK `k4.local.…`";

    fn draw(entropy: &dyn Entropy) -> Self {
        let bytes = Zeroizing::new(entropy::bytes::<32>(entropy));
        Self::of(&paserk_key(&*bytes))
    }

    fn from_paserk(text: &str) -> Option<Self> {
        pasetors::keys::SymmetricKey::try_from(text).ok().map(|key| Self::of(&key))
    }

    fn to_paserk(&self) -> Zeroizing<String> {
        // Reserved in one piece, so that no smaller copy of it is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(64));
        paserk_key(self.key.as_ref()).fmt(&mut *text).expect("writing to a string succeeds");
        text
    }

    /// `k4.lid.…`
    fn id(&self) -> &KeyId {
        &self.id
    }
}

impl SealingKey {
    fn of(key: &pasetors::keys::SymmetricKey<V4>) -> Self {
        let bytes = key.as_bytes().try_into().expect("a v4.local key is 32 bytes");
        Self { key: symmetric_key(bytes), id: key_id(&Id::from(key)) }
    }
}

/// A key to be written.
fn paserk_key(bytes: &[u8]) -> pasetors::keys::SymmetricKey<V4> {
    pasetors::keys::SymmetricKey::from(bytes).expect("a v4.local key is any 32 bytes")
}

/// A key to be used.
fn symmetric_key(bytes: &[u8; 32]) -> SymmetricKey {
    SymmetricKey::from(Key::from(bytes))
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

/// Seals a payload with a fresh nonce.
pub(super) fn seal(key: &SealingKey, payload: &str) -> Zeroizing<String> {
    seal_with(&key.key, payload, key.id.as_str(), ASSERTION)
}

fn seal_with(key: &SymmetricKey, payload: &str, footer: &str, assertion: &str) -> Zeroizing<String> {
    let nonce = Key::from(entropy::bytes::<32>(&OsEntropy));
    let mut token = Paseto::<LocalV4, Local>::builder();
    token.set_payload(Payload::from(payload)).set_footer(Footer::from(footer));
    token.set_implicit_assertion(ImplicitAssertion::from(assertion));
    let sealed = token.try_encrypt(key, &PasetoNonce::from(&nonce));
    Zeroizing::new(sealed.expect("keys and nonces have their lengths"))
}

/// Bound into every link of a notice, as [`ASSERTION`] is into session tokens.
const VETO_ASSERTION: &str = "tenure veto link v1";

/// The key of the links, derived from a session key: it opens nothing but links.
fn veto_key(key: &SealingKey) -> SymmetricKey {
    symmetric_key(&Zeroizing::new(blake3::derive_key("tenure 2026 veto link", key.key.as_ref())))
}

/// Seals the payload of a link. The footer names the session key from which its key is derived.
pub(super) fn seal_veto(key: &SealingKey, payload: &str) -> Zeroizing<String> {
    seal_with(&veto_key(key), payload, key.id.as_str(), VETO_ASSERTION)
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
pub(super) struct UnverifiedToken<'a> {
    text: &'a str,
    key_id: String,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes it apart. The caller has limited its length.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let key_id = Footer::try_from_token(text).ok()??;
        text.starts_with(HEADER).then_some(Self { text, key_id })
    }

    /// The key that it says it was sealed with: good for choosing from our own ring, and for nothing else.
    pub(super) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Its payload, when it was sealed with this key and not touched since.
    pub(super) fn open(&self, key: &SealingKey) -> Option<Zeroizing<String>> {
        self.open_with(&key.key, key.id.as_str(), ASSERTION)
    }

    /// The payload of a link, when it was sealed with the key derived from this one.
    pub(super) fn open_veto(&self, key: &SealingKey) -> Option<Zeroizing<String>> {
        self.open_with(&veto_key(key), key.id.as_str(), VETO_ASSERTION)
    }

    fn open_with(&self, key: &SymmetricKey, footer: &str, assertion: &str) -> Option<Zeroizing<String>> {
        let (footer, assertion) = (Footer::from(footer), ImplicitAssertion::from(assertion));
        Paseto::try_decrypt(self.text, key, footer, assertion).ok().map(Zeroizing::new)
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

    fn opened(text: &str, key: &SealingKey) -> Option<String> {
        UnverifiedToken::parse(text)?.open(key).map(|payload| payload.as_str().to_owned())
    }

    #[test]
    fn what_was_sealed_for_another_purpose_does_not_open() {
        let key = SealingKey::draw(&SeededEntropy::new(1));
        let other = seal_with(&key.key, "{}", key.id.as_str(), "another purpose");
        assert_eq!(opened(&other, &key), None);
        assert_eq!(opened(&seal_veto(&key, "{}"), &key), None);
        assert_eq!(opened(&seal(&key, "{}"), &key).as_deref(), Some("{}"));
    }

    #[test]
    fn another_library_opens_what_this_one_seals_and_the_other_way_round() {
        use pasetors::{
            token::{Local, UntrustedToken},
            version4::LocalToken,
        };
        let key = SealingKey::draw(&SeededEntropy::new(1));
        let theirs = paserk_key(key.key.as_ref());
        let (footer, assertion) = (Some(key.id.as_str().as_bytes()), Some(ASSERTION.as_bytes()));
        let payload = r#"{"sid":"01010101-0101-0101-0101-010101010101","gen":3,"by":907}"#;
        let sealed = LocalToken::encrypt(&theirs, payload.as_bytes(), footer, assertion).unwrap();
        assert_eq!(opened(&sealed, &key).as_deref(), Some(payload));
        let sealed = UntrustedToken::<Local, V4>::try_from(seal(&key, payload).as_str()).unwrap();
        assert_eq!(LocalToken::decrypt(&theirs, &sealed, footer, assertion).unwrap().payload(), payload);
    }

    #[test]
    fn a_token_that_was_touched_anywhere_does_not_open() {
        let key = SealingKey::draw(&SeededEntropy::new(1));
        let sealed = seal(&key, r#"{"gen":3}"#);
        for index in 0..sealed.len() {
            for other in [b'A', b'_', b'.'] {
                let mut touched = sealed.as_bytes().to_vec();
                touched[index] = other;
                if touched != sealed.as_bytes() {
                    let touched = String::from_utf8(touched).unwrap();
                    assert_eq!(opened(&touched, &key), None, "{index}");
                }
            }
        }
        let (unsigned, _) = sealed.rsplit_once('.').unwrap();
        for wrong in
            [unsigned, &sealed[..sealed.len() - 1], &format!("{}A", *sealed), "v4.local..", "v4.local.a.b"]
        {
            assert_eq!(opened(wrong, &key), None, "{wrong}");
        }
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
