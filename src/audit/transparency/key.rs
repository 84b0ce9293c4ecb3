//! The key that signs heads, and the public half that judges them.
//!
//! Both are written as the tools for signed notes write them: a public key is the *vkey* of
//! <https://c2sp.org/signed-note>, `name+id+key`, and the file of the secret one holds what Go's `sumdb/note` calls
//! an encoded signer key. The name stands in both and is drawn with the key: it is the log's identity, whatever
//! becomes of host names and addresses.

use std::{fmt, path::Path, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use tenure_files::key_files::{KeyFileError, private_directory, read_private, write_private};
use tenure_protocol::entropy::{self, Entropy};

/// The kind of key and signature, as signed notes number it: Ed25519 over the bytes of the text.
const ED25519: u8 = 1;
/// What an encoded signer key begins with.
const SIGNER_PREFIX: &str = "PRIVATE+KEY+";
/// The prefix of the names of all our logs.
const NAME_PREFIX: &str = "tenure/";
const EXPECTED: &str = "one key that signs heads, `PRIVATE+KEY+name+id+key`";

/// The key that signs heads: `DATA/keys/head.key`. It signs nothing else, and cannot be printed.
pub struct HeadKey {
    signing: SigningKey,
    verifier: VerifierKey,
}

impl HeadKey {
    /// The file's name in `DATA/keys`.
    pub const FILE: &str = "head.key";

    /// Reads the key below `keys` (`DATA/keys`); makes and stores it when it is missing.
    ///
    /// # Errors
    /// A file open to others, damaged, or unreadable or unwritable.
    pub fn open(keys: &Path, entropy: &dyn Entropy) -> Result<Self, KeyFileError> {
        private_directory(keys)?;
        let path = keys.join(Self::FILE);
        if let Some(text) = read_private(&path, EXPECTED)? {
            return Self::parse(&text).ok_or_else(|| KeyFileError::damaged(&path, EXPECTED));
        }
        let key = Self::draw(entropy);
        write_private(&path, &key.encoded())?;
        Ok(key)
    }

    /// Reads the key below `keys` without making one; `None` if it is missing.
    ///
    /// # Errors
    /// As [`HeadKey::open`], without writing.
    pub fn read(keys: &Path) -> Result<Option<Self>, KeyFileError> {
        let path = keys.join(Self::FILE);
        let text = read_private(&path, EXPECTED)?;
        text.map(|text| Self::parse(&text).ok_or_else(|| KeyFileError::damaged(&path, EXPECTED))).transpose()
    }

    /// A new key, and with it a new name.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let seed = Zeroizing::new(entropy::bytes::<32>(entropy));
        let name = u64::from_be_bytes(entropy::bytes(entropy));
        Self::of(format!("{NAME_PREFIX}{name:016x}"), &seed)
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Ed25519 (RFC 8032) over these bytes.
    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.signing.sign(text).to_bytes()
    }

    fn of(name: String, seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let verifier = VerifierKey { name, key: signing.verifying_key() };
        Self { signing, verifier }
    }

    fn encoded(&self) -> Zeroizing<String> {
        let VerifierKey { name, .. } = &self.verifier;
        let id = self.verifier.id();
        let key = Zeroizing::new([&[ED25519][..], self.signing.as_bytes()].concat());
        let key = Zeroizing::new(STANDARD.encode(&*key));
        Zeroizing::new([SIGNER_PREFIX, name, &format!("+{id:08x}+"), &key].concat())
    }

    fn parse(text: &str) -> Option<Self> {
        let (name, id, key) = parts(text.strip_prefix(SIGNER_PREFIX)?)?;
        let key = Zeroizing::new(STANDARD.decode(key).ok()?);
        let seed = Zeroizing::new(<[u8; 32]>::try_from(key.strip_prefix(&[ED25519])?).ok()?);
        let parsed = Self::of(name.to_owned(), &seed);
        (is_name(name) && parsed.verifier.id() == id).then_some(parsed)
    }
}

impl fmt::Debug for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadKey({}, …)", self.verifier.name)
    }
}

/// The public key of heads. A verifier who has it from a trusted source needs nothing else to judge one.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

/// Why a text is not a verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// It has not the three parts.
    #[error("a verifier key is `name+id+key`: a name without spaces, eight hex digits, and base64")]
    Malformed,
    /// The id is not that of name and key.
    #[error("the id {given:08x} is not that of this name and key, {right:08x}: a part of it was changed")]
    OtherId {
        /// The id that it names.
        given: u32,
        /// The id of its name and key.
        right: u32,
    },
    /// The key is of another kind than those that sign our heads.
    #[error("the key is of kind {0}; heads are signed with Ed25519, kind 1")]
    OtherKind(u8),
    /// Thirty-two bytes, but no Ed25519 public key.
    #[error("the key is no Ed25519 public key")]
    NoKey,
}

impl VerifierKey {
    /// The name of the log, which is the origin of its heads and the name on their signatures.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Four bytes that a signature names its key by: the first of SHA-256 over name, newline, kind and key.
    pub fn id(&self) -> u32 {
        id_of(&self.name, ED25519, self.key.as_bytes())
    }

    /// Whether this is the key's signature of these bytes, by the strict rules: no second spelling of a signature,
    /// no key of small order, for which one signature would fit many texts.
    pub(crate) fn has_signed(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(text, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, given, key) = parts(text).ok_or(VerifierKeyError::Malformed)?;
        let bytes = STANDARD.decode(key).map_err(|_| VerifierKeyError::Malformed)?;
        let (&kind, key) = bytes.split_first().ok_or(VerifierKeyError::Malformed)?;
        if !is_name(name) {
            return Err(VerifierKeyError::Malformed);
        }
        let right = id_of(name, kind, key);
        if given != right {
            return Err(VerifierKeyError::OtherId { given, right });
        }
        if kind != ED25519 {
            return Err(VerifierKeyError::OtherKind(kind));
        }
        let key = key.try_into().map_err(|_| VerifierKeyError::NoKey)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| VerifierKeyError::NoKey)?;
        if key.is_weak() {
            return Err(VerifierKeyError::NoKey);
        }
        Ok(Self { name: name.to_owned(), key })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519][..], self.key.as_bytes()].concat());
        write!(f, "{}+{:08x}+{key}", self.name, self.id())
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn id_of(name: &str, kind: u8, key: &[u8]) -> u32 {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', kind]).chain_update(key).finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// What a key may be called: anything without spaces, control characters and `+`, which would end it early.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// Name, id and the encoded key, which may hold a `+` of its own.
fn parts(text: &str) -> Option<(&str, u32, &str)> {
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let is_hex =
        id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_hex.then(|| u32::from_str_radix(id, 16).ok().map(|id| (name, id, key)))?
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tenure_protocol::entropy::{OsEntropy, SeededEntropy};

    /// The key of the example in Go's `golang.org/x/mod/sumdb/note`.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PETERS: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn keys_are_written_as_other_tools_write_them() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!((key.name(), key.id(), key.to_string().as_str()), ("PeterNeumann", 0xc74f_20a3, PETER));
        let secret = HeadKey::parse(PETERS).unwrap();
        assert_eq!((secret.verifier(), secret.encoded().as_str()), (&key, PETERS));
    }

    #[test]
    fn a_changed_verifier_key_is_none() {
        let not = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        assert_eq!(not(""), VerifierKeyError::Malformed);
        assert_eq!(not("PeterNeumann+c74f20a3"), VerifierKeyError::Malformed);
        assert_eq!(not(&PETER.replace("c74f", "C74F")), VerifierKeyError::Malformed);
        assert_eq!(not(&PETER.replace("Neumann", " Neumann")), VerifierKeyError::Malformed);
        assert!(matches!(
            not(&PETER.replace("Peter", "Pete")),
            VerifierKeyError::OtherId { given: 0xc74f_20a3, .. }
        ));
        assert!(matches!(not(&PETER.replace("Rpc", "Rpd")), VerifierKeyError::OtherId { .. }));
        let of_kind = |kind: u8, key: &[u8]| {
            let encoded = STANDARD.encode([&[kind][..], key].concat());
            not(&format!("a+{:08x}+{encoded}", id_of("a", kind, key)))
        };
        assert_eq!(of_kind(2, &[7; 32]), VerifierKeyError::OtherKind(2));
        assert_eq!(of_kind(1, &[7; 31]), VerifierKeyError::NoKey);
        // The neutral element of the curve: its signatures fit every text.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(of_kind(1, &neutral), VerifierKeyError::NoKey);
    }

    #[test]
    fn the_key_is_made_once_and_does_not_show_itself() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        let first = HeadKey::open(&keys, &OsEntropy).unwrap();
        let again = HeadKey::open(&keys, &OsEntropy).unwrap();
        assert_eq!(first.verifier(), again.verifier());
        let name = first.verifier().name();
        assert!(name.starts_with("tenure/") && name.len() == 23, "{name}");
        assert_eq!(format!("{first:?}"), format!("HeadKey({name}, …)"));
    }

    #[test]
    fn a_damaged_key_file_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let key = HeadKey::draw(&SeededEntropy::new(1));
        for wrong in [key.encoded().replace("tenure/", "tenura/"), key.encoded().replace("PRIVATE", "PUBLIC")]
        {
            drop(fs::remove_file(dir.path().join(HeadKey::FILE)));
            fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            write_private(&dir.path().join(HeadKey::FILE), &wrong).unwrap();
            let said = HeadKey::open(dir.path(), &OsEntropy).unwrap_err().to_string();
            assert!(said.contains("head.key is damaged") && !said.contains(&wrong[60..]), "{said}");
        }
    }
}
