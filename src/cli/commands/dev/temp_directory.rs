//! The temporary directory of a development authority.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::cli::{environment, failure::CommandError};

/// A directory of this user's own, removed when dropped.
#[derive(Debug)]
pub(super) struct TempDirectory(PathBuf);

impl TempDirectory {
    pub(super) fn make() -> Result<Self, CommandError> {
        let path = std::env::temp_dir().join(format!("tenure-dev-{}", environment::unique()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| CommandError::File { path: path.clone(), source })?;
        Ok(Self(path))
    }

    /// Where one may work.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The authority's own.
    pub(super) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Removes it with its content. A failure leaves litter in the temporary directory only.
    pub(super) fn remove(&self) {
        drop(fs::remove_dir_all(&self.0));
    }

    /// An admin's.
    pub(super) fn key_file(&self) -> PathBuf {
        self.data().join("admin.key")
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}
