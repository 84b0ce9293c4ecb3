//! A backup as the other copy of which a damaged part of the history is made good.

use std::path::PathBuf;

use super::{
    BackupError,
    destination::BackupFolder,
    manifest::{BackupManifest, BackupPart},
    part,
};
use tenure_core::Position;
use tenure_log::{HistoryCopy, RepairError, RepairVisitor};

/// The history in a whole backup. What is taken of it is judged by who takes it.
pub struct BackupCopy {
    from: BackupFolder,
    manifest: BackupManifest,
}

impl BackupCopy {
    /// Of the backup in this place.
    ///
    /// # Errors
    /// There is none, or its manifest is damaged.
    pub fn open(from: BackupFolder) -> Result<Self, BackupError> {
        let manifest = BackupManifest::of_whole(&from)?;
        Ok(Self { from, manifest })
    }
}

impl HistoryCopy for BackupCopy {
    fn segment(&self, name: &str) -> Option<PathBuf> {
        let first = name.strip_suffix(".segment")?;
        Some(self.from.path().join(format!("{}{first}", BackupPart::SEGMENT))).filter(|path| path.is_file())
    }

    fn commits(&self, after: Position, take: &mut RepairVisitor<'_>) -> Result<(), RepairError> {
        let mut outcome = Ok(true);
        for part in self.manifest.parts.iter().filter(|part| part.to > after.0) {
            let read = part::read_part(&self.from, part, &mut |stored, bytes| {
                if stored.first > after && matches!(outcome, Ok(true)) {
                    outcome = take(stored.first, &bytes);
                }
                Ok(())
            });
            if !std::mem::replace(&mut outcome, Ok(true))? {
                return Ok(());
            }
            read.map_err(|error| RepairError::Unreadable(error.to_string()))?;
        }
        Ok(())
    }
}
