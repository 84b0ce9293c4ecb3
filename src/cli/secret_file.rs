//! Files that hold a key or a token: read whole, written for their owner only, replaced in one step.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{ambient, failure::Failure, secret::Secret};

/// Reads the key or token in a file.
pub(crate) fn read(path: &Path) -> Result<Secret, Failure> {
    let text = fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    let secret = Secret::new(&text);
    if secret.is_empty() {
        return Err(Failure::Usage(format!("{} is empty", path.display())));
    }
    Ok(secret)
}

/// A file about to be replaced.
///
/// It is made *before* the request whose reply it shall hold: a directory that cannot be written to is found
/// out while there is nothing to lose yet. Dropped without [`Replacement::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Replacement {
    target: PathBuf,
    beside: PathBuf,
    file: File,
}

impl Replacement {
    /// Prepares to replace, or make, the file at `path`; a link is followed.
    pub(crate) fn prepare(path: &Path) -> Result<Self, Failure> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| Failure::File { path: path.to_owned(), source };
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
        if target.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let beside = target.with_file_name(format!(".{}.{}", name.display(), ambient::unique()));
        let file = owners_only().create_new(true).open(&beside).map_err(failed)?;
        Ok(Self { target, beside, file })
    }

    /// Puts the secret in place: whoever reads the file, also after a power cut, finds the old or the new one.
    pub(crate) fn commit(mut self, secret: &Secret) -> Result<(), Failure> {
        self.put(secret).map_err(|source| Failure::File { path: self.target.clone(), source })
    }

    fn put(&mut self, secret: &Secret) -> io::Result<()> {
        writeln!(self.file, "{}", secret.expose())?;
        self.file.sync_all()?;
        fs::rename(&self.beside, &self.target)?;
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After a commit it has its new name, and there is nothing to remove.
        let _ = fs::remove_file(&self.beside);
    }
}

/// Opens for reading and writing; a file that is made is its owner's alone (0600).
pub(crate) fn owners_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_file_holds_the_new_secret_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old").unwrap();
        Replacement::prepare(&path).unwrap().commit(&Secret::new("new")).unwrap();
        assert_eq!(read(&path).unwrap().expose(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_only_prepared_leaves_the_old_secret_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old").unwrap();
        drop(Replacement::prepare(&path).unwrap());
        assert_eq!(read(&path).unwrap().expose(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before_anything_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Replacement::prepare(&directory.path().join("missing/token")).is_err());
        assert!(Replacement::prepare(directory.path()).is_err());
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read(&path), Err(Failure::Usage(_))));
    }
}
