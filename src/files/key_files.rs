//! Files that hold secrets: `DATA/keys` and what is below it.
//!
//! Directories are 0700 and files 0600, and one that others can read is refused rather than put right: a key
//! that was readable may have been read. One that belongs to another user, and a symbolic link, are refused too: who
//! planted it knows the key. A file appears whole or not at all. No error quotes a content.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use rustix::{fs::OFlags, process::geteuid};
use zeroize::Zeroizing;

use crate::replacement::{self, PRIVATE};

/// Where keys are below `DATA/keys`; the first is that directory itself.
pub const KEY_DIRECTORIES: [&str; 4] = ["", "session", "access", "webhooks"];
/// The longest key file accepted: ours are far shorter.
const LONGEST: u64 = 4096;

/// Why a file that holds a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system says no.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Others than its owner can read or write it.
    #[error(
        "{path} is open to others (mode {mode:04o}); its mode must be {right:04o}: \
         chmod {right:o} {path}, and replace the key if others may have read it",
        path = path.display()
    )]
    OpenToOthers {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they must be.
        right: u32,
    },
    /// Another user owns it, or says where it is.
    #[error(
        "{path} is {what}: who made it knows what is in it. It must be a file or directory of the user who runs this \
         program, or of root",
        path = path.display()
    )]
    NotOurs {
        /// The file or directory.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It does not hold what it must hold.
    #[error("{path} is damaged: it must hold {expected}; put it back from a backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it must hold.
        expected: &'static str,
    },
    /// The key that seals is not among the files.
    #[error("{path} lacks the key {id}, which seals by the log: put its file back from a backup", path = path.display())]
    NoSuchKey {
        /// The directory of its use.
        path: PathBuf,
        /// The key's id.
        id: String,
    },
    /// It is a key file of another log, or another one of this log.
    #[error("{path} does not go with {whose}; put back the file that does", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it does not go with.
        whose: &'static str,
    },
    /// One of its slots does not hold what was written.
    #[error(
        "{path} is damaged: slot {slot} at byte {offset} is not as it was written; put the file back from a backup",
        path = path.display()
    )]
    DamagedSlot {
        /// The file.
        path: PathBuf,
        /// The number of the slot; the file's header is slot 0.
        slot: u64,
        /// Where it begins.
        offset: u64,
    },
}

impl KeyFileError {
    /// Why a file could not be read or written: says which.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// What is wrong, without saying where the data directory is.
    pub const fn in_short(&self) -> &'static str {
        match self {
            Self::Io { .. } => "cannot be read or written",
            Self::OpenToOthers { .. } => "is open to others",
            Self::NotOurs { .. } => "belongs to another user",
            Self::Damaged { .. } | Self::DamagedSlot { .. } => "is damaged",
            Self::NoSuchKey { .. } => "lacks a key",
            Self::Foreign { .. } => "does not go with this log",
        }
    }

    /// What the operating system said, where it said anything; otherwise what is wrong. Without any path.
    pub fn cause(&self) -> String {
        match self {
            Self::Io { source, .. } => source.to_string(),
            Self::OpenToOthers { .. }
            | Self::NotOurs { .. }
            | Self::Damaged { .. }
            | Self::DamagedSlot { .. }
            | Self::NoSuchKey { .. }
            | Self::Foreign { .. } => self.in_short().to_owned(),
        }
    }

    /// Of an existing file with wrong content.
    pub fn damaged(path: &Path, expected: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), expected }
    }
}

/// Makes a missing directory, parents included; refuses one open to others.
pub fn private_directory(path: &Path) -> Result<(), KeyFileError> {
    let io = KeyFileError::io(path);
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        return path.parent().map_or(Ok(()), sync_directory);
    }
    check(path, &fs::symlink_metadata(path).map_err(io)?, 0o700)
}

/// Opens a file for reading and writing, making an empty one when it is missing.
pub fn open_private(path: &Path) -> Result<File, KeyFileError> {
    opened(path, OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600))
}

/// The content of a file, without white space at its ends; `None` if there is no such file.
pub fn read_private(path: &Path, expected: &'static str) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let file = match opened(path, OpenOptions::new().read(true)) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if file.metadata().map_err(KeyFileError::io(path))?.len() > LONGEST {
        return Err(KeyFileError::damaged(path, expected));
    }
    let mut content = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or_default()));
    match file.take(LONGEST).read_to_string(&mut content) {
        Ok(_) => Ok(Some(Zeroizing::new(content.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(KeyFileError::damaged(path, expected))
        }
        Err(error) => Err(KeyFileError::io(path)(error)),
    }
}

/// What is checked is what was opened: nothing can be put in its place in between.
fn opened(path: &Path, options: &mut OpenOptions) -> Result<File, KeyFileError> {
    // A pipe would be waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.custom_flags(flags).open(path).map_err(|error| {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
            KeyFileError::NotOurs { path: path.to_owned(), what: "a symbolic link" }
        } else {
            KeyFileError::io(path)(error)
        }
    })?;
    check(path, &file.metadata().map_err(KeyFileError::io(path))?, 0o600)?;
    Ok(file)
}

/// Writes a new file, durable when this returns.
///
/// It is written beside its place and then renamed, so that a crash leaves the whole file or none; what a
/// crash left beside it is overwritten by the next attempt.
pub fn write_private(path: &Path, content: &str) -> Result<(), KeyFileError> {
    let line = Zeroizing::new([content, "\n"].concat());
    replacement::replace(path, ".tmp", PRIVATE, line.as_bytes()).map_err(KeyFileError::io(path))
}

/// Refuses a directory open to others or not ours. A missing one is not made.
pub fn check_directory(path: &Path) -> Result<(), KeyFileError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        found => check(path, &found.map_err(KeyFileError::io(path))?, 0o700),
    }
}

/// The files of keys below `keys` (`DATA/keys`), by their names there, without what a crash left beside its place.
///
/// # Errors
/// A directory cannot be listed. A missing one holds nothing; one that cannot be read now is not taken for empty, or
/// its keys would be taken for destroyed.
pub fn key_files_below(keys: &Path) -> Result<BTreeMap<String, PathBuf>, KeyFileError> {
    let mut found = BTreeMap::new();
    for below in KEY_DIRECTORIES {
        let directory = keys.join(below);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(KeyFileError::io(&directory))?,
        };
        for entry in entries {
            let path = entry.map_err(KeyFileError::io(&directory))?.path();
            let is_unfinished = path.extension().is_some_and(|extension| extension == "tmp");
            let name = path.strip_prefix(keys).ok().and_then(Path::to_str).map(str::to_owned);
            if let Some(name) = name.filter(|_| path.is_file() && !is_unfinished) {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

/// Removes what a crash left beside its place.
pub fn remove_unfinished(directory: &Path) -> Result<(), KeyFileError> {
    check_directory(directory)?;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(KeyFileError::io(directory))?,
    };
    for entry in entries {
        let path = entry.map_err(KeyFileError::io(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path).map_err(KeyFileError::io(&path))?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable: a synced file whose name is lost is lost.
pub fn sync_directory(path: &Path) -> Result<(), KeyFileError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    replacement::sync_directory(path).map_err(KeyFileError::io(path))
}

fn check(path: &Path, metadata: &fs::Metadata, right: u32) -> Result<(), KeyFileError> {
    let not_ours = |what| Err(KeyFileError::NotOurs { path: path.to_owned(), what });
    if metadata.is_symlink() {
        return not_ours("a symbolic link");
    }
    if ![0, geteuid().as_raw()].contains(&metadata.uid()) {
        return not_ours("another user's");
    }
    let mode = metadata.mode() & 0o7777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        return Ok(());
    }
    Err(KeyFileError::OpenToOthers { path: path.to_owned(), mode, right })
}

/// How the writing of some key files has been going: whether the last time failed, and how often it did.
#[derive(Debug)]
pub struct WriteHealth {
    name: &'static str,
    failures: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl WriteHealth {
    /// Of files of this name, below the data directory.
    pub const fn of(name: &'static str) -> Self {
        Self { name, failures: AtomicU64::new(0), failing: Mutex::new(None) }
    }

    /// Notes how a write went. A failure is logged once for each cause.
    pub fn note(&self, cause: Option<String>) {
        let mut failing = self.failing.lock();
        if cause.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        if *failing != cause {
            if let Some(cause) = &cause {
                tracing::error!(file = self.name, cause, "a key file cannot be written");
            } else {
                tracing::info!(file = self.name, "key files are written again");
            }
        }
        *failing = cause;
    }

    /// Why the last write failed; `None` if it succeeded.
    pub fn alarm(&self) -> Option<String> {
        let failing = self.failing.lock();
        let name = self.name;
        failing
            .as_ref()
            .map(|cause| format!("{name} cannot be written: {cause}; what needs a new key there is refused"))
    }

    /// The name of the files.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How often a write failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_open_to_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("data/keys");
        private_directory(&keys).unwrap();
        write_private(&keys.join("a.key"), "secret").unwrap();
        assert_eq!((mode(&keys), mode(&keys.join("a.key"))), (0o700, 0o600));
        assert_eq!(read_private(&keys.join("a.key"), "").unwrap().unwrap().as_str(), "secret");
    }

    /// Without descriptors for a moment, a backup lacked keys, and a leader erased those at the broker.
    #[test]
    fn a_directory_of_keys_that_cannot_be_listed_is_not_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(key_files_below(&dir.path().join("keys")).unwrap(), BTreeMap::new());
        for name in ["digests.key", "half.key.tmp", "session/0001.paserk"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "secret").unwrap();
        }
        let found = key_files_below(dir.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["digests.key", "session/0001.paserk"]);
        // As one that is no directory, so one that there is no descriptor for.
        fs::write(dir.path().join("access"), "").unwrap();
        let said = key_files_below(dir.path()).unwrap_err().to_string();
        assert!(said.contains("access"), "{said}");
    }

    #[test]
    fn what_is_open_to_others_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write_private(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let said = read_private(&path, "").unwrap_err().to_string();
        assert!(
            said.contains("mode 0640") && said.contains("chmod 600") && !said.contains("secret"),
            "{said}"
        );
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(private_directory(dir.path()).unwrap_err().to_string().contains("must be 0700"));
    }

    /// An attacker who planted the link, or owns the file, knows the key.
    #[test]
    fn a_link_and_another_users_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.key"), dir.path().join("b.key"));
        write_private(&path, "secret").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for refused in [read_private(&link, "").map(drop), open_private(&link).map(drop)] {
            assert!(refused.unwrap_err().to_string().contains("b.key is a symbolic link"));
        }
        let linked = dir.path().join("keys");
        std::os::unix::fs::symlink(dir.path(), &linked).unwrap();
        assert!(private_directory(&linked).unwrap_err().to_string().contains("is a symbolic link"));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            assert!(read_private(&path, "").unwrap_err().to_string().contains("another user's"));
        }
    }

    #[test]
    fn a_missing_file_is_no_error_and_a_binary_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        assert!(read_private(&path, "").unwrap().is_none());
        open_private(&path).unwrap().write_all(&[0xff; 40]).unwrap();
        let said = read_private(&path, "64 hex digits").unwrap_err().to_string();
        assert!(said.contains("a.key is damaged: it must hold 64 hex digits"), "{said}");
    }
}
