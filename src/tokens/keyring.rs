//! The keys that seal session tokens: `DATA/keys/session/<number>.paserk`.
//!
//! The key with the highest number seals; all of them open. A rotation therefore adds a file, in one step,
//! and a retirement removes one. There is no pointer beside the keys that could disagree with them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::paseto::SealingKey;
use crate::{
    entropy::Entropy,
    key_files::{KeyFileError, private_directory, read_private, write_private},
};

const EXPECTED: &str = "one key as PASERK `k4.local.…`";

/// The keys of session tokens, at least one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keyring {
    active: Arc<SealingKey>,
    by_id: Arc<HashMap<String, Arc<SealingKey>>>,
}

impl Keyring {
    /// Reads the keys below `keys` (`DATA/keys`); makes and stores the first one where there is none.
    ///
    /// Fails when a file or directory is open to others, is damaged, or is named as no key is.
    pub fn open(keys: &Path, entropy: &dyn Entropy) -> Result<Self, KeyFileError> {
        private_directory(keys)?;
        let directory = keys.join("session");
        private_directory(&directory)?;
        let mut files = key_files(&directory)?;
        if files.is_empty() {
            files.push((1, create(&directory, 1, entropy)?));
        }
        files.sort_unstable();
        let ring = files.iter().map(|(_, path)| read_key(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(ring))
    }

    /// The key that seals.
    pub(super) fn active(&self) -> &SealingKey {
        &self.active
    }

    /// The key of this id, when it is one of ours.
    pub(super) fn key(&self, id: &str) -> Option<&SealingKey> {
        self.by_id.get(id).map(|key| &**key)
    }

    fn of(ring: Vec<SealingKey>) -> Self {
        let ring: Vec<_> = ring.into_iter().map(Arc::new).collect();
        let active = Arc::clone(ring.last().expect("a ring has at least one key"));
        let by_id = ring.into_iter().map(|key| (key.id().to_owned(), key)).collect();
        Self { active, by_id: Arc::new(by_id) }
    }
}

/// The key files with their numbers. What a crash left beside them (`*.tmp`) is none.
fn key_files(directory: &Path) -> Result<Vec<(u32, PathBuf)>, KeyFileError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(KeyFileError::io(directory))? {
        let path = entry.map_err(KeyFileError::io(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "paserk") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let number = number.ok_or_else(|| KeyFileError::damaged(&path, "a key, named by its number"))?;
            found.push((number, path));
        }
    }
    Ok(found)
}

fn read_key(path: &Path) -> Result<SealingKey, KeyFileError> {
    let text = read_private(path, EXPECTED)?;
    text.and_then(|text| SealingKey::from_paserk(&text)).ok_or_else(|| KeyFileError::damaged(path, EXPECTED))
}

fn create(directory: &Path, number: u32, entropy: &dyn Entropy) -> Result<PathBuf, KeyFileError> {
    let path = directory.join(format!("{number:04}.paserk"));
    write_private(&path, &SealingKey::draw(entropy).to_paserk())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::entropy::{OsEntropy, SeededEntropy};

    fn ring(dir: &tempfile::TempDir) -> Result<Keyring, KeyFileError> {
        Keyring::open(&dir.path().join("keys"), &OsEntropy)
    }

    #[test]
    fn the_first_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = ring(&dir).unwrap();
        assert_eq!(ring(&dir).unwrap().active().id(), first.active().id());
        let path = dir.path().join("keys/session/0001.paserk");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_key_with_the_highest_number_seals_and_all_open() {
        let dir = tempfile::tempdir().unwrap();
        let first = ring(&dir).unwrap();
        let session = dir.path().join("keys/session");
        create(&session, 12, &SeededEntropy::new(12)).unwrap();
        create(&session, 9, &SeededEntropy::new(9)).unwrap();
        let ring = ring(&dir).unwrap();
        assert_eq!(ring.active().id(), SealingKey::draw(&SeededEntropy::new(12)).id());
        assert!(ring.key(first.active().id()).is_some());
        assert!(ring.key("k4.lid.unknown").is_none());
    }

    #[test]
    fn a_damaged_key_is_named_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        ring(&dir).unwrap();
        write_private(&dir.path().join("keys/session/0001.paserk"), "k4.local.QUJD").unwrap();
        let said = ring(&dir).unwrap_err().to_string();
        assert!(said.contains("0001.paserk is damaged") && !said.contains("QUJD"), "{said}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        ring(&dir).unwrap();
        let path = dir.path().join("keys/session/0001.paserk");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(ring(&dir), Err(KeyFileError::OpenToOthers { mode: 0o644, right: 0o600, .. })));
    }

    #[test]
    fn what_a_crash_left_beside_the_keys_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = ring(&dir).unwrap();
        fs::write(dir.path().join("keys/session/0002.tmp"), "k4.lo").unwrap();
        assert_eq!(ring(&dir).unwrap().active().id(), first.active().id());
    }
}
