//! Files that hold a key or a token: read whole, written for their owner only, replaced in one step.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::secret::Secret;
use crate::cli::{environment, failure::CommandError};
use tenure_files::replacement::{FileReplacement, PRIVATE};

/// Reads the key or token in a file.
pub(crate) fn read(path: &Path) -> Result<Secret, CommandError> {
    let text =
        fs::read_to_string(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    let secret = Secret::new(&text);
    if secret.is_empty() {
        return Err(CommandError::Usage(format!("{} is empty", path.display())));
    }
    Ok(secret)
}

/// A token file about to be replaced.
///
/// It is made *before* the request whose reply it will hold, so that a directory that cannot be written to is found while
/// there is nothing to lose.
#[derive(Debug)]
pub(crate) struct TokenReplacement {
    path: PathBuf,
    replacement: FileReplacement,
}

impl TokenReplacement {
    /// Prepares to replace, or make, the file at `path`; a link is followed.
    pub(crate) fn prepare(path: &Path) -> Result<Self, CommandError> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| CommandError::File { path: path.to_owned(), source };
        let name = target.file_name().ok_or_else(|| failed(io::ErrorKind::IsADirectory.into()))?;
        // Of its own: another command may be about to replace the same file.
        let beside = target.with_file_name(format!(".{}.{}", name.display(), environment::unique()));
        let replacement = FileReplacement::by_way_of(&target, beside, PRIVATE).map_err(failed)?;
        Ok(Self { path: path.to_owned(), replacement })
    }

    /// Puts the secret in place; it is durable when this returns.
    pub(crate) fn commit(self, secret: &Secret) -> Result<(), CommandError> {
        let line = Zeroizing::new([secret.expose(), "\n"].concat());
        self.replacement
            .commit(line.as_bytes())
            .map_err(|source| CommandError::File { path: self.path, source })
    }
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
        TokenReplacement::prepare(&path).unwrap().commit(&Secret::new("new")).unwrap();
        assert_eq!(read(&path).unwrap().expose(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_only_prepared_leaves_the_old_secret_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old").unwrap();
        drop(TokenReplacement::prepare(&path).unwrap());
        assert_eq!(read(&path).unwrap().expose(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before_anything_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        assert!(TokenReplacement::prepare(&directory.path().join("missing/token")).is_err());
        assert!(TokenReplacement::prepare(directory.path()).is_err());
    }

    #[test]
    fn an_empty_file_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(read(&path), Err(CommandError::Usage(_))));
    }
}
