//! Keyed digests of what callers say: compared and recorded, never reversed.
//!
//! The key is `DATA/keys/digests.key`. Who has only the log cannot test a guess of a device's name or of an
//! idempotency key against it. Each purpose has a key of its own, derived from that one, and every part of
//! an input is preceded by its length: no two questions share an answer.

use std::{fmt, path::Path};

use blake3::Hasher;
use zeroize::Zeroizing;

use tenure_core::{Digest16, SessionId};
use tenure_files::key_files::{KeyFileError, private_directory, read_private, write_private};
use tenure_protocol::entropy::{self, Entropy};

const EXPECTED: &str = "64 hex digits";
const MARK: &str = "tenure 2026 mark of the key of digests";

/// Makes keyed digests. Shared by all threads.
pub struct KeyedDigests {
    device: DigestKey,
    idempotency_key: DigestKey,
    request: DigestKey,
    renewal_key: DigestKey,
    form: DigestKey,
    mark: DigestKey,
}

impl KeyedDigests {
    /// The file's name in `DATA/keys`.
    pub const FILE: &str = "digests.key";

    /// Reads the key below `keys` (`DATA/keys`); makes and stores it where there is none.
    pub fn open(keys: &Path, entropy: &dyn Entropy) -> Result<Self, KeyFileError> {
        private_directory(keys)?;
        let path = keys.join(Self::FILE);
        match read_private(&path, EXPECTED)? {
            Some(text) => parse_hex(&text)
                .map(|secret| Self::of(&secret))
                .ok_or_else(|| KeyFileError::damaged(&path, EXPECTED)),
            None => create(&path, entropy).map(|secret| Self::of(&secret)),
        }
    }

    /// Of a device's name. The same for every subject, so that devices can be selected across subjects.
    pub fn device(&self, name: &str) -> Digest16 {
        self.device.digest(&[name.as_bytes()])
    }

    /// Of an `Idempotency-Key` and who sent it.
    pub fn idempotency_key(&self, caller: &str, key: &str) -> Digest16 {
        self.idempotency_key.digest(&[caller.as_bytes(), key.as_bytes()])
    }

    /// Of what makes two requests the same.
    pub fn request(&self, method: &str, path_and_query: &str, body: &[u8]) -> Digest16 {
        self.request.digest(&[method.as_bytes(), path_and_query.as_bytes(), body])
    }

    /// Of the `Idempotency-Key` of a session's renewal.
    pub fn renewal_key(&self, session: SessionId, key: &str) -> Digest16 {
        self.renewal_key.digest(&[session.as_bytes(), key.as_bytes()])
    }

    /// The mark of the console's forms for one sign-in: a page of another site cannot know it.
    pub fn form(&self, session: SessionId) -> Digest16 {
        self.form.digest(&[session.as_bytes()])
    }

    /// By which this key is known from any other; it gives nothing of it away.
    pub fn mark(&self) -> String {
        self.mark.digest(&[]).to_string()
    }

    // The contexts are part of the log's format: digests made under them are recorded.
    fn of(secret: &[u8; 32]) -> Self {
        Self {
            device: DigestKey::new("tenure 2026 digest of a device name", secret),
            idempotency_key: DigestKey::new("tenure 2026 digest of an idempotency key", secret),
            request: DigestKey::new("tenure 2026 digest of a request", secret),
            renewal_key: DigestKey::new("tenure 2026 digest of a renewal key", secret),
            form: DigestKey::new("tenure 2026 mark of the forms of a sign-in", secret),
            mark: DigestKey::new(MARK, secret),
        }
    }
}

impl fmt::Debug for KeyedDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digests(…)")
    }
}

/// The key of one purpose.
struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    fn new(context: &str, secret: &[u8; 32]) -> Self {
        Self(Zeroizing::new(blake3::derive_key(context, secret)))
    }

    fn digest(&self, parts: &[&[u8]]) -> Digest16 {
        let mut hasher = Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        Digest16::from_bytes(digest)
    }
}

fn create(path: &Path, entropy: &dyn Entropy) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let secret = Zeroizing::new(entropy::bytes(entropy));
    write_private(path, &to_hex(&secret))?;
    Ok(secret)
}

fn to_hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let mut text = Zeroizing::new(String::with_capacity(65));
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}

fn parse_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let digits = text.as_bytes();
    let mut bytes = Zeroizing::new([0; 32]);
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs};

    use super::*;
    use tenure_protocol::entropy::{OsEntropy, SeededEntropy};

    fn digests(dir: &tempfile::TempDir) -> Result<KeyedDigests, KeyFileError> {
        KeyedDigests::open(&dir.path().join("keys"), &OsEntropy)
    }

    #[test]
    fn a_digest_is_the_same_after_a_restart_and_another_elsewhere() {
        let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let digest = digests(&here).unwrap().device("laptop");
        assert_eq!(digests(&here).unwrap().device("laptop"), digest);
        assert_ne!(digests(&elsewhere).unwrap().device("laptop"), digest);
    }

    #[test]
    fn no_two_questions_share_a_digest() {
        let digests = KeyedDigests::of(&[7; 32]);
        let session = SessionId::from_bytes([1; 16]);
        let answers = HashSet::from([
            digests.device("ab"),
            digests.device("abc"),
            digests.idempotency_key("a", "b"),
            digests.idempotency_key("ab", ""),
            digests.idempotency_key("", "ab"),
            digests.request("a", "b", b""),
            digests.request("a", "", b"b"),
            digests.request("ab", "", b""),
            digests.renewal_key(session, "b"),
            digests.renewal_key(SessionId::from_bytes([2; 16]), "b"),
        ]);
        assert_eq!(answers.len(), 10);
    }

    /// Digests are recorded: a change of these values makes recorded devices unknown.
    #[test]
    fn the_digests_of_a_known_key_are_frozen() {
        let digests = KeyedDigests::of(&[7; 32]);
        let session = SessionId::from_bytes([1; 16]);
        let found = [
            digests.device("laptop"),
            digests.idempotency_key("caller", "key"),
            digests.request("POST", "/v1/sessions", b"{}"),
            digests.renewal_key(session, "key"),
        ];
        let frozen = [
            "efaf947b5c0edbc21d8f110547e347bd",
            "90148bac992354198d5228cc2261e1b2",
            "d5f561fde429c4cd9ea4d67aa0aa644c",
            "40adb4047abe9abcc6d0aabc845c095e",
        ];
        assert_eq!(found.map(|digest| digest.to_string()), frozen);
    }

    #[test]
    fn a_key_is_written_in_hex_and_read_back() {
        let bytes = entropy::bytes(&SeededEntropy::new(1));
        assert_eq!(parse_hex(&to_hex(&bytes)).as_deref(), Some(&bytes));
        assert_eq!(to_hex(&[0xa0; 32]).as_str(), "a0".repeat(32));
        assert!(parse_hex(&"g0".repeat(32)).is_none() && parse_hex("a0").is_none());
        assert!(parse_hex(&"é".repeat(32)).is_none());
    }

    #[test]
    fn a_damaged_key_is_named_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        digests(&dir).unwrap();
        let path = dir.path().join("keys/digests.key");
        fs::write(&path, "abcd").unwrap();
        let said = digests(&dir).unwrap_err().to_string();
        assert!(said.contains("digests.key is damaged: it must hold 64 hex digits"), "{said}");
        fs::write(&path, "").unwrap();
        assert!(digests(&dir).is_err());
    }
}
