//! The keys in a backup: all files of `DATA/keys`, in one encrypted file (`age`), or not at all.
//!
//! What is encrypted is a CBOR array of `[path, bytes]`.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::Path,
    str::FromStr,
};

use age::{DecryptError, Decryptor, Encryptor, Identity, Recipient, secrecy::SecretString};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use super::BackupError;
use crate::personal_data::SubjectKeys;
use tenure_files::key_files::{KEY_DIRECTORIES, KeyFileError, key_files_below};

/// How the keys of a backup are kept from its readers.
#[derive(Clone, Debug)]
pub enum KeyProtection {
    /// Encrypted to an age recipient, `age1…`: who makes the backup cannot read it.
    Recipient(String),
    /// Encrypted under a passphrase.
    Passphrase(SecretString),
    /// Left out.
    WithoutKeys,
}

/// What opens the keys of a backup.
#[derive(Clone, Debug)]
pub enum KeyOpener {
    /// Identities, `AGE-SECRET-KEY-1…`, a line each.
    Identities(SecretString),
    /// A passphrase.
    Passphrase(SecretString),
}

/// The files of keys, by their path below `DATA/keys`.
pub(super) type KeyFiles = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Reads every file of keys as it is now. The one of the subjects, which is written to meanwhile, is left out.
pub(super) fn read_all(keys: &Path) -> Result<KeyFiles, BackupError> {
    let mut files = KeyFiles::new();
    for (name, path) in key_files_below(keys)?.into_iter().filter(|(name, _)| name != SubjectKeys::FILE) {
        match fs::read(&path) {
            Ok(bytes) => _ = files.insert(name, Zeroizing::new(bytes)),
            // A key that was retired, or a webhook that was deleted, since the directory was listed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(KeyFileError::io(&path)(error).into()),
        }
    }
    Ok(files)
}

impl KeyProtection {
    /// The keys, encrypted; `None` where they are left out.
    pub(super) fn encrypt(&self, files: &KeyFiles) -> Result<Option<Vec<u8>>, BackupError> {
        let encryptor = match self {
            Self::WithoutKeys => return Ok(None),
            Self::Passphrase(passphrase) => Encryptor::with_user_passphrase(passphrase.clone()),
            Self::Recipient(recipient) => {
                let recipient = age::x25519::Recipient::from_str(recipient.trim());
                let recipient = recipient.map_err(|_| BackupError::NoRecipient)?;
                let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn Recipient));
                encryptor.map_err(|error| BackupError::Encryption(error.to_string()))?
            }
        };
        let mut out = Vec::new();
        let written = encryptor.wrap_output(&mut out).and_then(|mut sealed| {
            sealed.write_all(&packed(files))?;
            sealed.finish()
        });
        written.map_err(|error| BackupError::Encryption(error.to_string()))?;
        Ok(Some(out))
    }

    /// Refuses what could only fail once the history is written.
    ///
    /// # Errors
    /// [`BackupError::NoRecipient`].
    pub fn check(&self) -> Result<(), BackupError> {
        match self {
            Self::Recipient(text) => {
                age::x25519::Recipient::from_str(text.trim()).map(drop).map_err(|_| BackupError::NoRecipient)
            }
            Self::Passphrase(_) | Self::WithoutKeys => Ok(()),
        }
    }
}

impl KeyOpener {
    /// The files of keys.
    pub(super) fn open(&self, file: &str, sealed: &[u8]) -> Result<KeyFiles, BackupError> {
        let refused = |error: DecryptError| BackupError::NotOpened { why: explain(&error) };
        let decryptor = Decryptor::new(sealed).map_err(refused)?;
        let mut identities: Vec<Box<dyn Identity>> = Vec::new();
        match self {
            Self::Passphrase(passphrase) => {
                identities.push(Box::new(age::scrypt::Identity::new(passphrase.clone())));
            }
            Self::Identities(text) => {
                let lines = age::secrecy::ExposeSecret::expose_secret(text).lines().map(str::trim);
                let keys = lines.filter_map(|line| age::x25519::Identity::from_str(line).ok());
                identities.extend(keys.map(|key| Box::new(key) as Box<dyn Identity>));
            }
        }
        let mut plain = Zeroizing::new(Vec::new());
        let mut opened = decryptor.decrypt(identities.iter().map(|identity| &**identity)).map_err(refused)?;
        let damaged =
            || BackupError::Damaged { file: file.to_owned(), why: "what it holds is no keys".to_owned() };
        opened.read_to_end(&mut plain).map_err(|_| damaged())?;
        unpacked(&plain).ok_or_else(damaged)
    }
}

fn explain(error: &DecryptError) -> String {
    if matches!(error, DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) {
        return "the passphrase is wrong".to_owned();
    }
    if matches!(error, DecryptError::NoMatchingKeys) {
        return "no identity of the file opens it, or it is encrypted in the other way: give --identity for a \
                recipient, --passphrase-file for a passphrase"
            .to_owned();
    }
    error.to_string()
}

fn packed(files: &KeyFiles) -> Zeroizing<Vec<u8>> {
    let room = files.iter().map(|(name, bytes)| name.len() + bytes.len() + 32).sum::<usize>() + 16;
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let mut encoder = Encoder::new(&mut *out);
    let fits = "writing to memory does not fail";
    encoder.array(files.len() as u64).expect(fits);
    for (name, bytes) in files {
        encoder.array(2).expect(fits).str(name).expect(fits).bytes(bytes).expect(fits);
    }
    out
}

fn unpacked(plain: &[u8]) -> Option<KeyFiles> {
    let mut decoder = Decoder::new(plain);
    let mut files = KeyFiles::new();
    for _ in 0..decoder.array().ok()?? {
        if decoder.array().ok()?? != 2 {
            return None;
        }
        let name = decoder.str().ok()?.to_owned();
        files.insert(name, Zeroizing::new(decoder.bytes().ok()?.to_vec()));
    }
    files.keys().all(|name| is_key_file(name)).then_some(files)
}

/// Whether a name stays in the directory of keys. A slash in front would lead out of it.
fn is_key_file(name: &str) -> bool {
    let is_file = |file: &str| !["", ".", ".."].contains(&file);
    match name.rsplit_once('/') {
        Some((below, file)) => !below.is_empty() && KEY_DIRECTORIES.contains(&below) && is_file(file),
        None => is_file(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> KeyFiles {
        [("head.key", b"one".to_vec()), ("session/0001.paserk", b"two".to_vec())]
            .map(|(name, bytes)| (name.to_owned(), Zeroizing::new(bytes)))
            .into()
    }

    fn passphrase(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[test]
    fn keys_open_with_the_identity_of_their_recipient_alone() {
        let identity = age::x25519::Identity::generate();
        let sealed =
            KeyProtection::Recipient(identity.to_public().to_string()).encrypt(&files()).unwrap().unwrap();
        assert!(!sealed.windows(3).any(|bytes| bytes == b"two"));
        let opener = |identity: &age::x25519::Identity| KeyOpener::Identities(identity.to_string());
        assert_eq!(opener(&identity).open("keys", &sealed).unwrap(), files());
        let other = opener(&age::x25519::Identity::generate()).open("keys", &sealed);
        assert!(matches!(other, Err(BackupError::NotOpened { .. })), "{other:?}");
        assert!(KeyOpener::Passphrase(passphrase("x")).open("keys", &sealed).is_err());
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        for wrong in ["", "age1", "AGE-SECRET-KEY-1QQ", "ssh-ed25519 AAAA"] {
            let refused = KeyProtection::Recipient(wrong.to_owned()).check();
            assert!(matches!(refused, Err(BackupError::NoRecipient)), "{wrong}");
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_directory_of_keys_is_no_key() {
        for wrong in ["../x", "/x", "session/../x", "other/x", "session/", ".."] {
            let files: KeyFiles = [(wrong.to_owned(), Zeroizing::new(vec![]))].into();
            assert!(unpacked(&packed(&files)).is_none(), "{wrong}");
        }
        assert_eq!(unpacked(&packed(&files())), Some(files()));
    }
}
