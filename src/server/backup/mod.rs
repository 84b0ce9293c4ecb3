//! Backup and restore (`docs/backup.md`).
//!
//! A backup is of one position. The history up to it is in *parts* that never change (`part`), so an increment adds
//! parts and writes nothing twice. The keys are encrypted or left out (`keys`). The `manifest` names every file
//! with its digest, and is written last. `maker` makes a backup while the authority goes on; `check` reads one and
//! believes nothing of it; `restore` makes a data directory of one.
//!
//! The history is read as the log gives it, by position, and not as the store keeps it.

mod backup_record;
mod check;
mod destination;
mod keys;
mod maker;
mod manifest;
mod pace;
mod part;
mod repair_source;
mod restore;

use std::io;

use tenure_audit::{HeadError, verify::VerifyError};
use tenure_core::Position;
use tenure_files::key_files::KeyFileError;
use tenure_log::{LogError, OpenError};

pub use self::{
    backup_record::LastBackup,
    check::{CheckedBackup, check},
    destination::{BackupDestination, BackupFolder},
    keys::{KeyOpener, KeyProtection},
    maker::{BackupMaker, BackupMode, BackupSummary},
    manifest::{BackupManifest, BackupPart, FileEntry},
    repair_source::BackupCopy,
    restore::{KeySource, RestoreRequest, RestoreSummary, restore},
};
pub use age::secrecy::SecretString;

use crate::node::StartError;

/// Why a backup is not made, not believed or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of the backup cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// Which.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file of the backup is not as it was written.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// Which.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The backup was made by another version.
    #[error("manifest has format {found:?}; this program reads {expected:?}")]
    OtherFormat {
        /// What it says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// There is no backup.
    #[error("there is no backup: {0}")]
    Absent(String),
    /// There is no whole backup.
    #[error("there is no whole backup: it has no manifest. Make it again, which completes it")]
    Unfinished,
    /// There is a whole backup already.
    #[error(
        "there is a whole backup already, up to position {0}: give --incremental to bring it up to date, or another place"
    )]
    Exists(u64),
    /// Something else is there.
    #[error("{0} is no file of a backup: a backup has a place of its own")]
    NotOurs(String),
    /// The backup there is of another history.
    #[error("the backup there is of another history: {0}")]
    OtherHistory(String),
    /// Another backup is being made.
    #[error("another backup is being made")]
    Busy,
    /// An invalid recipient.
    #[error("a recipient is an age key that begins age1")]
    NoRecipient,
    /// The keys could not be encrypted.
    #[error("the keys cannot be encrypted: {0}")]
    Encryption(String),
    /// The keys in the backup do not open.
    #[error("the keys in the backup do not open: {why}")]
    NotOpened {
        /// Why.
        why: String,
    },
    /// The backup has no keys, and none were given.
    #[error(
        "the backup was made without keys: give --keys DIR, the directory of the keys that belong to it; without them \
         no token and no text of it can be read"
    )]
    KeysNeeded,
    /// The backup has keys, and nothing that opens them was given.
    #[error("the keys in the backup are encrypted: give --identity or --passphrase-file, or --keys DIR")]
    OpenerNeeded,
    /// The place of the new data directory is taken.
    #[error("{0} is there already, and not empty: a restore makes a new data directory")]
    NotEmpty(String),
    /// Nothing shows that the backup reaches the end of the history.
    #[error(
        "{why}. What was acknowledged after position {position} would be lost: revocations among it. Give --tail OLD, \
         the old data directory, or --head with the newest signed head, if it was signed at an orderly stop; or \
         --accept-loss to begin a new epoch, in which every session ends and every API key is held"
    )]
    EndNotProved {
        /// Where the backup ends.
        position: u64,
        /// What is missing.
        why: String,
    },
    /// What was given to prove the end is not of this history.
    #[error("{0}")]
    Contradicted(String),
    /// What was given is not what it should be.
    #[error("{0}")]
    Unusable(String),
    /// The history is not what was signed.
    #[error(transparent)]
    Untrue(#[from] VerifyError),
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A commit of the log cannot be read.
    #[error("position {0}: {1}")]
    Undecodable(Position, String),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A key file cannot be read or written.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// No head can be signed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The restored directory does not start.
    #[error(transparent)]
    Start(#[from] Box<StartError>),
    /// The account of webhook deliveries cannot be read or written.
    #[error("the delivery state of webhooks: {0}")]
    Webhooks(String),
}

impl BackupError {
    /// Whether the place holds what a backup must not replace.
    pub const fn is_of_the_place(&self) -> bool {
        matches!(self, Self::Exists(_) | Self::NotOurs(_) | Self::OtherHistory(_))
    }

    fn io(file: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let file = file.to_owned();
        |source| Self::Io { file, source }
    }
}
