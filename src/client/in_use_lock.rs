//! Who uses a session file: a shared lock on `FILE.in-use` shows the last of several users that it is the last, so
//! that it ends the session they shared.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{
    file::{FileError, SessionFile},
    file_lock::{is_at, owners_only},
};

/// One user of a session file. The file of the lock is removed by the last one.
#[derive(Debug)]
pub struct InUse {
    path: PathBuf,
    lock: File,
}

impl InUse {
    /// Says that this process uses the session file. Waits, on this thread, while the last user ends its session.
    pub fn of(file: &SessionFile) -> Result<Self, FileError> {
        let path = file.beside(".in-use")?;
        let lock = shared(&path).map_err(|source| FileError::Io { path: path.clone(), source })?;
        Ok(Self { path, lock })
    }

    /// Whether no other process uses the file. If so, none begins to before this is dropped.
    pub fn is_last(&self) -> bool {
        // Of several at once, exactly one gets yes: each gives up its share before it tries for the whole.
        match self.lock.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.is_last() && is_at(&self.lock, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
        // A process that was forked meanwhile has it open too, and would keep it.
        let _ = self.lock.unlock();
    }
}

fn shared(path: &Path) -> io::Result<File> {
    loop {
        let lock = owners_only().truncate(false).open(path)?;
        lock.lock_shared()?;
        // The one that was waited for may have removed it.
        if is_at(&lock, path) {
            return Ok(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_users_exactly_the_last_is_the_last_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = SessionFile::at(directory.path().join("agent.session"));
        let (one, other) = (InUse::of(&file).unwrap(), InUse::of(&file).unwrap());
        assert!(!one.is_last());
        drop(one);
        assert!(other.is_last());
        drop(other);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
