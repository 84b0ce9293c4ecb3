//! A data directory that is filled from elsewhere. It belongs to whoever fills it alone, and to no server before it is
//! whole.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::replacement::{directory_of, sync_directory};

/// The file that stands in it until it is whole.
pub const UNFINISHED: &str = "restore.unfinished";
const SAYS: &[u8] = b"This directory was not filled to its end: it lacks events or keys.\n";

/// A directory that is being filled.
#[derive(Debug)]
pub struct NewDirectory<'d> {
    path: &'d Path,
    was_there: bool,
}

/// Whether it is there.
///
/// # Errors
/// [`io::ErrorKind::DirectoryNotEmpty`], and what the system says.
pub fn expect_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            None => Ok(true),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl<'d> NewDirectory<'d> {
    /// Takes an empty directory, or makes one.
    ///
    /// # Errors
    /// [`io::ErrorKind::DirectoryNotEmpty`] if there is anything in it, or another one has taken it: then all of it stays
    /// as it is.
    pub fn claim(path: &'d Path) -> io::Result<Self> {
        let was_there = expect_empty(path)?;
        if !was_there {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            sync_directory(directory_of(path))?;
        }
        match write_file(&path.join(UNFINISHED), SAYS) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            written => written?,
        }
        let claimed = Self { path, was_there };
        // Another one may have finished since it was looked at, and a server may be at work on it.
        if claimed.has_more()? {
            fs::remove_file(path.join(UNFINISHED))?;
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        sync_directory(path)?;
        Ok(claimed)
    }

    fn has_more(&self) -> io::Result<bool> {
        let mut names = fs::read_dir(self.path)?.map(|entry| entry.map(|entry| entry.file_name()));
        names.try_fold(false, |more, name| Ok(more || name? != UNFINISHED))
    }

    /// It is whole: servers may start on it.
    ///
    /// # Errors
    /// The disk does not take that.
    pub fn finish(self) -> io::Result<()> {
        // What is in it first: a power cut must not bring it back without a file, and without this one.
        sync_directory(self.path)?;
        fs::remove_file(self.path.join(UNFINISHED))?;
        sync_directory(self.path)
    }

    /// Takes away all that was made of it. Until the last file is gone it says that it is not whole.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(self) -> io::Result<()> {
        for entry in fs::read_dir(self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != UNFINISHED {
                fs::remove_file(entry.path())?;
            }
        }
        sync_directory(self.path)?;
        fs::remove_file(self.path.join(UNFINISHED))?;
        if self.was_there { Ok(()) } else { fs::remove_dir(self.path) }
    }
}

/// Writes a new file, for its owner alone.
///
/// # Errors
/// What the system says; above all, that there is one.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever came second once removed what the first had made, a served data directory even.
    #[test]
    fn what_another_has_made_meanwhile_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new");
        let first = NewDirectory::claim(&path).unwrap();
        let is_refused = || {
            NewDirectory::claim(&path).is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty)
        };
        assert!(is_refused());
        fs::write(path.join("FORMAT"), "made").unwrap();
        first.finish().unwrap();
        assert!(is_refused());
        let names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["FORMAT"]);
    }

    #[test]
    fn what_was_given_up_is_as_it_was_before() {
        let parent = tempfile::tempdir().unwrap();
        for was_there in [true, false] {
            let path = parent.path().join(was_there.to_string());
            if was_there {
                fs::create_dir(&path).unwrap();
            }
            let claimed = NewDirectory::claim(&path).unwrap();
            fs::create_dir_all(path.join("keys/session")).unwrap();
            fs::write(path.join("keys/session/0001.paserk"), "half").unwrap();
            claimed.clear().unwrap();
            assert_eq!(path.exists(), was_there);
            assert!(expect_empty(&path).is_ok());
        }
    }
}
