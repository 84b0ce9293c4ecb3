//! What a backup holds: the file `manifest`, written last. A backup without one is not finished.
//!
//! It is JSON with a line behind it that holds the BLAKE3 of all before it, so that a changed byte in the manifest can
//! be distinguished from one in the files it names. It proves nothing against someone who writes another: that the
//! signed head does, with a key from elsewhere.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::{BackupError, destination::BackupDestination};

/// The file.
pub(super) const FILE: &str = "manifest";
const FORMAT: &str = "tenure-backup 1";
const CHECK: &str = "\ncheck ";
/// No manifest is longer: some hundred thousand parts.
const LONGEST: u64 = 64 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupManifest {
    /// Name and version of the format.
    pub format: String,
    /// The epoch of the history.
    pub epoch: u32,
    /// The last position.
    pub position: u64,
    /// When that was recorded.
    pub recorded_at: String,
    /// The root over all records.
    pub root_hash: String,
    /// The head over all of them, as it was signed.
    pub signed_head: String,
    /// The key that judges the head.
    pub verifier_key: String,
    /// The history, in order and without a gap.
    pub parts: Vec<BackupPart>,
    /// Some of the heads that were signed before.
    pub heads: FileEntry,
    /// The account of webhook deliveries.
    pub webhooks: FileEntry,
    /// The keys, encrypted; `None` where they were left out.
    pub keys: Option<FileEntry>,
}

/// A file of consecutive commits, which never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupPart {
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// Its file.
    pub entry: FileEntry,
}

/// A file, and what it must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// Its name.
    pub file: String,
    /// How long it is.
    pub bytes: u64,
    /// Its BLAKE3, hex.
    pub blake3: String,
}

impl BackupManifest {
    /// What the format is called that this program writes.
    pub(super) fn format() -> String {
        FORMAT.to_owned()
    }

    /// Reads the manifest; `None` where the backup was never finished.
    pub(super) fn read(from: &dyn BackupDestination) -> Result<Option<Self>, BackupError> {
        let file = match from.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(BackupError::io(FILE))?,
        };
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData { damaged() } else { BackupError::io(FILE)(error) }
        })?;
        let (body, check) = text.rsplit_once(CHECK).ok_or_else(damaged)?;
        if check.strip_suffix('\n') != Some(&*blake3::hash(body.as_bytes()).to_hex()) {
            return Err(damaged());
        }
        let manifest: Self = serde_json::from_str(body).map_err(|_| damaged())?;
        if manifest.format != FORMAT {
            let (found, expected) = (manifest.format, FORMAT);
            return Err(BackupError::OtherFormat { found, expected });
        }
        Ok(Some(manifest))
    }

    /// That of a whole backup.
    pub(super) fn of_whole(from: &dyn BackupDestination) -> Result<Self, BackupError> {
        Self::read(from)?.ok_or_else(|| BackupError::without_manifest(from))
    }

    /// Writes the manifest: from then on the backup is whole.
    pub(super) fn write(&self, to: &dyn BackupDestination) -> Result<(), BackupError> {
        let body = serde_json::to_string_pretty(self).expect("our own documents are always JSON");
        let text = format!("{body}{CHECK}{}\n", blake3::hash(body.as_bytes()).to_hex());
        to.put(FILE, &mut |out| out.write_all(text.as_bytes())).map_err(BackupError::io(FILE))
    }

    /// Every file that it names.
    pub(super) fn entries(&self) -> impl Iterator<Item = &FileEntry> {
        let others = [&self.heads, &self.webhooks].into_iter().chain(&self.keys);
        self.parts.iter().map(|part| &part.entry).chain(others)
    }

    /// How long all its files are.
    pub(super) fn bytes(&self) -> u64 {
        self.entries().map(|entry| entry.bytes).sum()
    }
}

/// How the names of the other files of a backup begin.
const KINDS: [&str; 5] = ["part-", BackupPart::SEGMENT, "heads-", "webhooks-", "keys-"];

/// Whether a file of this name is of a backup, finished or not.
pub(super) fn is_of_a_backup(name: &str) -> bool {
    name == FILE || name.strip_suffix(".tmp") == Some(FILE) || KINDS.iter().any(|kind| name.starts_with(kind))
}

impl BackupError {
    /// What is there instead of a whole backup.
    fn without_manifest(from: &dyn BackupDestination) -> Self {
        match from.list() {
            Err(error) => Self::Absent(error.to_string()),
            Ok(names) if names.iter().any(|name| is_of_a_backup(name)) => Self::Unfinished,
            Ok(_) => Self::Absent("the place holds no file of one".to_owned()),
        }
    }
}

fn damaged() -> BackupError {
    BackupError::Damaged { file: FILE.to_owned(), why: "it is not as it was written".to_owned() }
}
