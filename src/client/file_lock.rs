//! The lock beside a file: a second, empty file that its writers hold by `flock`, so that one writes at a time.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::file::FileError;

/// An exclusive lock. It ends when this is dropped, or with the process, however that ends.
#[derive(Debug)]
pub(super) struct FileLock {
    guarded: PathBuf,
    path: PathBuf,
    lock: File,
}

impl FileLock {
    /// Waits, on this thread, for the lock of this file.
    pub(super) fn of(guarded: &Path) -> Result<Self, FileError> {
        let path = beside(guarded, ".lock")?;
        let lock = exclusive(&path).map_err(|source| FileError::Io { path: path.clone(), source })?;
        Ok(Self { guarded: guarded.to_owned(), path, lock })
    }
}

impl Drop for FileLock {
    /// Without the file there is nothing to lock. A process that waits notices that the lock's file is gone, and makes
    /// another one.
    fn drop(&mut self) {
        if !self.guarded.exists() && is_at(&self.lock, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
        // A process that was forked meanwhile has it open too, and would keep it.
        let _ = self.lock.unlock();
    }
}

/// The file with this ending beside another one.
pub(super) fn beside(path: &Path, ending: &str) -> Result<PathBuf, FileError> {
    let nameless = || FileError::Io { path: path.to_owned(), source: io::ErrorKind::IsADirectory.into() };
    let mut name = path.file_name().ok_or_else(nameless)?.to_owned();
    name.push(ending);
    Ok(path.with_file_name(name))
}

fn exclusive(path: &Path) -> io::Result<File> {
    loop {
        let lock = owners_only().truncate(false).open(path)?;
        lock.lock()?;
        if is_at(&lock, path) {
            return Ok(lock);
        }
    }
}

/// Whether an open file is the one at this path, and not one that was there before.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: Metadata, other: Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    file.metadata().and_then(|one| fs::metadata(path).map(|other| same(one, other))).unwrap_or(false)
}

/// Opens for writing; a new file is its owner's alone (0600).
pub(super) fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
