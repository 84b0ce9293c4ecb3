//! A store that stands ready: to make one takes five syncs, and at the end of a range an append would wait for all of
//! them. `DATA/spare` is made beforehand, by the thread that seals, and takes its number by one rename.
//!
//! It is empty, so a crash loses nothing with it. A start removes it: it may be of another version of the program.

use std::{fs, io, path::PathBuf};

use super::{
    OpenError, SledLog,
    data_dir::{DataDir, sync_dir},
    error::io_at,
    store_files::StoreFiles,
};

impl DataDir {
    fn spare(&self) -> PathBuf {
        self.dir.join("spare")
    }

    /// Removes the one that the process before has left, whole or half made.
    pub(super) fn remove_spare(&self) -> Result<(), OpenError> {
        for dir in [self.spare(), self.spare().with_extension("new")] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_at(&dir)(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Puts the store to be filled next in its place: the spare one, or one made now.
    pub(super) fn provide(&self, files: &StoreFiles) -> Result<(), OpenError> {
        if files.dir.exists() {
            return Ok(());
        }
        match fs::rename(self.spare(), &files.dir) {
            Ok(()) => sync_dir(&self.log),
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.make(),
            Err(error) => Err(io_at(&files.dir)(error)),
        }
    }
}

impl SledLog {
    /// Makes the store for the range after the present one, if none stands ready; whether it was made now. No append
    /// waits for it.
    ///
    /// # Errors
    /// A file cannot be written. The store is made when it is needed then.
    pub fn make_spare(&self) -> Result<bool, OpenError> {
        let (data, is_cut) = {
            let writer = self.writer.lock();
            (writer.data.clone(), writer.ranges.events() < u64::MAX)
        };
        if !is_cut || self.stopped.get().is_some() || data.spare().exists() {
            return Ok(false);
        }
        StoreFiles::of(0, data.spare()).make()?;
        Ok(true)
    }
}
