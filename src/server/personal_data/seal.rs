//! Sealing one text: XChaCha20-Poly1305 with a synthetic nonce.
//!
//! The nonce is a keyed hash of field and text (as in RFC 5297, SIV), so that the same text in the same field of the
//! same subject gives the same bytes: a repeated registration can be recognised as a repeat, and a replay gives the
//! same log. The bytes reveal only whether two texts are equal.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use tenure_core::SealedText;
use tenure_protocol::entropy::{self, Entropy};

/// The first byte of what this version seals.
const FORM: u8 = 1;
const NONCE: usize = 24;

/// The key that all texts of one subject are sealed under.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SubjectKey([u8; 32]);

impl SubjectKey {
    pub(super) fn draw(entropy: &dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    pub(super) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// By which this key is known from any other.
    pub(super) fn mark(&self) -> String {
        let mark = blake3::derive_key("tenure 2026 mark of a subject key", &self.0);
        blake3::Hash::from_bytes(mark).to_hex()[..32].to_owned()
    }

    /// Seals a text into its field: elsewhere it does not open.
    ///
    /// # Panics
    /// On a text of more than 256 GiB.
    pub fn seal(&self, field: &'static str, text: &str) -> SealedText {
        let nonce = self.nonce(field, text);
        let payload = Payload { msg: text.as_bytes(), aad: field.as_bytes() };
        let sealed = self.cipher().encrypt(&nonce, payload).expect("a text is shorter than 256 GiB");
        SealedText::from_bytes([&[FORM], nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`SubjectKey::seal`] sealed; `None` if it was sealed under another key or into another field, or
    /// was changed since.
    pub fn open(&self, field: &'static str, sealed: &SealedText) -> Option<String> {
        let (&FORM, rest) = sealed.as_bytes().split_first()? else { return None };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: field.as_bytes() };
        let text = self.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?;
        String::from_utf8(text).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let mut key = blake3::derive_key("tenure 2026 encryption of a subject's text", &self.0);
        let cipher = XChaCha20Poly1305::new(&key.into());
        key.zeroize();
        cipher
    }

    fn nonce(&self, field: &str, text: &str) -> XNonce {
        let mut key = blake3::derive_key("tenure 2026 nonce of a subject's text", &self.0);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        key.zeroize();
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes()).update(text.as_bytes());
        let mut nonce = [0; NONCE];
        hasher.finalize_xof().fill(&mut nonce);
        XNonce::from(nonce)
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: SubjectKey = SubjectKey::from_bytes([1; 32]);
    const BERT: SubjectKey = SubjectKey::from_bytes([2; 32]);

    #[test]
    fn a_text_opens_with_its_key_in_its_field_only() {
        for text in ["", "Anna's laptop", "ünïcödé", &"long ".repeat(1_000)] {
            let sealed = ANNA.seal("device", text);
            assert_eq!(ANNA.open("device", &sealed).as_deref(), Some(text));
            assert_eq!(ANNA.open("name", &sealed), None);
            assert_eq!(BERT.open("device", &sealed), None);
        }
    }

    #[test]
    fn equal_texts_give_equal_bytes_and_others_do_not() {
        let sealed = ANNA.seal("name", "Anna");
        assert_eq!(ANNA.seal("name", "Anna"), sealed);
        for other in [ANNA.seal("name", "Anne"), ANNA.seal("device", "Anna"), BERT.seal("name", "Anna")] {
            assert_ne!(other, sealed);
            assert_ne!(other.as_bytes()[1..=NONCE], sealed.as_bytes()[1..=NONCE], "no nonce is used twice");
        }
    }

    #[test]
    fn a_sealed_text_with_any_byte_changed_does_not_open() {
        let sealed = ANNA.seal("name", "Anna");
        for place in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[place] ^= 1;
            assert_eq!(ANNA.open("name", &SealedText::from_bytes(bytes)), None, "byte {place}");
        }
        for length in 0..sealed.as_bytes().len() {
            let cut = SealedText::from_bytes(sealed.as_bytes()[..length].to_vec());
            assert_eq!(ANNA.open("name", &cut), None, "{length} bytes");
        }
    }

    /// Sealed texts are recorded: what an earlier version sealed must go on opening, and be equal.
    #[test]
    fn a_known_text_is_sealed_as_it_always_was() {
        let frozen = [
            0x01, 0xfe, 0x19, 0x18, 0x4d, 0xd8, 0xb7, 0x35, 0xa7, 0x16, 0xd8, 0xde, 0x6d, 0x6c, 0xe2, 0xa4,
            0x46, 0x95, 0xb4, 0xdb, 0x1c, 0xa5, 0xac, 0xad, 0x5f, 0xe7, 0xb1, 0xc6, 0xbf, 0xb8, 0xb8, 0x77,
            0x6d, 0x9d, 0x3c, 0x52, 0x4f, 0x9b, 0x14, 0x2d, 0x9f, 0x64, 0x7f, 0xe2, 0x87,
        ];
        assert_eq!(ANNA.seal("name", "Anna").as_bytes(), frozen);
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{ANNA:?}"), "SubjectKey(…)");
    }
}
