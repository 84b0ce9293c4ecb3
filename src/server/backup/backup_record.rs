//! When the last backup was made: a file in the data directory, so that a restart does not forget it. Nothing is decided
//! by it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use tenure_core::Timestamp;
use tenure_files::replacement::{self, PUBLIC};

const FILE: &str = "backup.last";

/// The last backup that was made whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBackup {
    /// When it was.
    pub at: Timestamp,
    /// The last position in it.
    pub position: u64,
}

/// What is known of it.
pub(super) struct BackupRecord {
    path: PathBuf,
    last: Mutex<Option<LastBackup>>,
}

impl BackupRecord {
    /// Of this data directory.
    pub(super) fn of(data: &Path) -> Self {
        let path = data.join(FILE);
        let last = fs::read_to_string(&path).ok().and_then(|text| read(&text));
        Self { path, last: Mutex::new(last) }
    }

    pub(super) fn last(&self) -> Option<LastBackup> {
        *self.last.lock()
    }

    /// A backup is whole.
    pub(super) fn note(&self, made: LastBackup) {
        *self.last.lock() = Some(made);
        if let Err(error) = self.write(made) {
            tracing::warn!(%error, "backup.last cannot be written: a restart forgets when the last backup was made");
        }
    }

    fn write(&self, LastBackup { at, position }: LastBackup) -> io::Result<()> {
        let text = format!("{} {position}\n", at.as_millis());
        replacement::replace(&self.path, "tmp", PUBLIC, text.as_bytes())
    }
}

fn read(text: &str) -> Option<LastBackup> {
    let (at, position) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(LastBackup { at: Timestamp::from_millis(at.parse().ok()?), position: position.parse().ok()? })
}
