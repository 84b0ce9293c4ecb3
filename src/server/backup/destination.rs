//! Where a backup is: a place that files are written to, listed and read back. A folder is one; others need no more
//! than this.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use tenure_files::replacement::{put_in_place, sync_directory};

/// A place for the files of a backup.
pub trait BackupDestination {
    /// The names of the existing files.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file to be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read>>;

    /// Writes a file. It appears whole and durable, in place of one of its name, or not at all.
    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()>;

    /// Gives a file that never changes a second name here, in place of one of its name; whether the place could.
    fn link(&self, _name: &str, _file: &Path) -> io::Result<bool> {
        Ok(false)
    }

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Keeps other programs from making a backup here, until what is given back is dropped; `None` where the place has
    /// no such means.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another one makes a backup here.
    fn lock(&self) -> io::Result<Option<File>> {
        Ok(None)
    }
}

/// A file that is on the disk up to few bytes behind its end. What waits in memory, a barrier of the log on the same
/// file system would wait for as well.
struct SteadyFile {
    file: File,
    behind: usize,
}

impl SteadyFile {
    /// So much of it waits in memory at most.
    const MOST_BEHIND: usize = 1 << 20;
}

impl Write for SteadyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.behind += written;
        if self.behind >= Self::MOST_BEHIND {
            self.file.sync_data()?;
            self.behind = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a file is called while it is written.
const UNFINISHED: &str = "tmp";

/// A folder.
#[derive(Clone, Debug)]
pub struct BackupFolder(PathBuf);

impl BackupFolder {
    /// An existing one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The same, made where it is missing. Only its owner may look into it: names of subjects are in there.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn made_at(path: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = Self(path.into());
        if !folder.0.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder.0)?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl BackupDestination for BackupFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(self.0.join(name))?))
    }

    fn put(&self, name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let beside = self.0.join(format!("{name}.{UNFINISHED}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let mut out = io::BufWriter::with_capacity(1 << 20, SteadyFile { file, behind: 0 });
        write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.file.sync_all()?;
        put_in_place(&beside, &self.0.join(name))
    }

    fn link(&self, name: &str, file: &Path) -> io::Result<bool> {
        let (beside, target) = (self.0.join(format!("{name}.{UNFINISHED}")), self.0.join(name));
        // Of an attempt before; and of two names of one file a renaming would leave both.
        for old in [&beside, &target] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if fs::hard_link(file, &beside).is_err() {
            // Another file system, or one without such links: it is copied.
            return Ok(false);
        }
        put_in_place(&beside, &target)?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))?;
        sync_directory(&self.0)
    }

    fn lock(&self) -> io::Result<Option<File>> {
        let folder = File::open(&self.0)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // A file system of another machine may lock no folders.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the folder of a backup cannot be locked");
                Ok(None)
            }
        }
    }
}
