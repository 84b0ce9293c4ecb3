//! The one way in which a file is replaced: a reader, also after a power cut, finds the old content or the new one.
//!
//! The content is written to a file beside its place, synced, and renamed into place; then the directory is synced,
//! because a file whose name is lost is lost.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The mode of a file that only its owner may read.
pub const PRIVATE: u32 = 0o600;
/// The mode of a file for every reader that the umask leaves.
pub const PUBLIC: u32 = 0o666;

/// A file about to be replaced.
///
/// It can be made *before* the request whose answer it will hold, so that a directory that cannot be written to is found
/// while there is nothing to lose. Dropped without [`FileReplacement::commit`], it leaves nothing behind.
#[derive(Debug)]
pub struct FileReplacement {
    target: PathBuf,
    beside: PathBuf,
    file: File,
}

impl FileReplacement {
    /// Prepares to replace, or make, the file at `target` by way of a new file whose name is that of `target` and
    /// `ending`. What a crash left there is removed: it may be readable by others, or half of something.
    pub fn new(target: &Path, ending: &str, mode: u32) -> io::Result<Self> {
        let mut name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        name.push(ending);
        Self::by_way_of(target, target.with_file_name(name), mode)
    }

    /// The same by way of this new file, which is in the directory of `target`.
    pub fn by_way_of(target: &Path, beside: PathBuf, mode: u32) -> io::Result<Self> {
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        Ok(Self { target: target.to_owned(), beside, file })
    }

    /// Puts the content in place; it is durable when this returns.
    pub fn commit(self, content: &[u8]) -> io::Result<()> {
        self.commit_parts(&[content])
    }

    /// The same of content in parts, one after the other.
    pub fn commit_parts(mut self, parts: &[&[u8]]) -> io::Result<()> {
        for part in parts {
            self.file.write_all(part)?;
        }
        self.file.sync_all()?;
        put_in_place(&self.beside, &self.target)
    }
}

impl Drop for FileReplacement {
    fn drop(&mut self) {
        // After a commit it has its new name, and there is nothing to remove.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Replaces, or makes, the file at `target` by way of a new file beside it; see [`FileReplacement::new`].
pub fn replace(target: &Path, ending: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    FileReplacement::new(target, ending, mode)?.commit(content)
}

/// Gives a finished file or directory its name, durably, in place of what had the name before. Its content must have been
/// synced; both paths are in one directory.
pub fn put_in_place(finished: &Path, target: &Path) -> io::Result<()> {
    fs::rename(finished, target)?;
    sync_directory(directory_of(target))
}

/// The directory that a file is in.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_has_its_old_content_until_it_has_the_new_one_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("note");
        replace(&path, ".new", PUBLIC, b"old").unwrap();
        let begun = FileReplacement::new(&path, ".new", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        begun.commit(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_given_up_leaves_nothing_and_what_a_crash_left_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let beside = directory.path().join("key.tmp");
        fs::write(&beside, "of a crash, and readable by others").unwrap();
        drop(FileReplacement::new(&path, ".tmp", PRIVATE).unwrap());
        assert!(!path.exists() && !beside.exists());
        let error = replace(directory.path(), ".tmp", PRIVATE, b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }
}
