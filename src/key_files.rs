//! Files that hold secrets: `DATA/keys` and what is below it.
//!
//! Directories are 0700 and files 0600, and one that others can read is refused rather than put right: a key
//! that was readable may have been read. A file appears whole or not at all. No error quotes a content.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// The longest key file that is read: none that we write comes near it.
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
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, expected: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), expected }
    }
}

/// Makes the directory when it is missing, parents included; refuses one that is open to others.
pub(crate) fn private_directory(path: &Path) -> Result<(), KeyFileError> {
    let io = KeyFileError::io(path);
    if !path.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        return path.parent().map_or(Ok(()), sync_directory);
    }
    check_mode(path, &fs::metadata(path).map_err(io)?, 0o700)
}

/// Opens a file for reading and writing, making an empty one when it is missing.
pub(crate) fn open_private(path: &Path) -> Result<File, KeyFileError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(KeyFileError::io(path))?;
    check_mode(path, &file.metadata().map_err(KeyFileError::io(path))?, 0o600)?;
    Ok(file)
}

/// The content of a file, without white space at its ends; none when there is no such file.
pub(crate) fn read_private(
    path: &Path,
    expected: &'static str,
) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(KeyFileError::io(path))?,
    };
    check_mode(path, &metadata, 0o600)?;
    if metadata.len() > LONGEST {
        return Err(KeyFileError::damaged(path, expected));
    }
    match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(content) => Ok(Some(Zeroizing::new(content.trim().to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(KeyFileError::damaged(path, expected))
        }
        Err(error) => Err(KeyFileError::io(path)(error)),
    }
}

/// Writes a new file that is durable when this returns.
///
/// It is written beside its place and then renamed, so that a crash leaves the whole file or none; what a
/// crash left beside it is overwritten by the next attempt.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<(), KeyFileError> {
    let beside = path.with_extension("tmp");
    write_whole(&beside, content).map_err(KeyFileError::io(&beside))?;
    fs::rename(&beside, path).map_err(KeyFileError::io(path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn write_whole(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Makes the names in a directory durable: a synced file whose name is lost is lost.
pub(crate) fn sync_directory(path: &Path) -> Result<(), KeyFileError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|directory| directory.sync_all()).map_err(KeyFileError::io(path))
}

fn check_mode(path: &Path, metadata: &fs::Metadata, right: u32) -> Result<(), KeyFileError> {
    let mode = metadata.mode() & 0o7777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        return Ok(());
    }
    Err(KeyFileError::OpenToOthers { path: path.to_owned(), mode, right })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
