//! Why a node does not open.

use std::io;

use tenure_audit::HeadError;
use tenure_core::Position;
use tenure_files::key_files::KeyFileError;
use tenure_log::OpenError;

use crate::{authority::CommandError, personal_data::TextError};

/// Why a node does not open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log is in use, damaged, or of another format.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A key file is missing, damaged, or readable by others.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The log is there, and the keys that go with it are not.
    #[error(
        "{path} is missing, but the log is not empty: put the keys back that belong to it; \
         new ones would make every token and every text of it unreadable"
    )]
    KeysMissing {
        /// Where they should be.
        path: String,
    },
    /// Text about a subject is in the log, and the key that opens it is nowhere.
    #[error(
        "{path} lacks the key of subject {subject}, and there is text about it in the log: put the file back \
         that belongs to this log"
    )]
    SubjectKeyMissing {
        /// The file of keys.
        path: String,
        /// Whose key.
        subject: String,
    },
    /// The key of a subject that was erased is still there, and cannot be destroyed.
    #[error("the key of an erased subject is still there and cannot be destroyed: {0}")]
    Forgetting(#[source] TextError),
    /// The log ends before the position that a snapshot was written of.
    #[error(
        "{path} was written at position {snapshot}, but the log ends at position {head}: events are missing. \
         Put the log back that belongs to it; to go on without the missing events, remove the snapshot"
    )]
    BehindSnapshot {
        /// The snapshot.
        path: String,
        /// Where it stands.
        snapshot: Position,
        /// Where the log ends.
        head: Position,
    },
    /// A restore or an import into the directory was not finished.
    #[error("{path} holds an unfinished restore or import: remove what is in it, and do it again")]
    Unfinished {
        /// The data directory.
        path: String,
    },
    /// A file of the data directory cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The log is not the one that was signed, or no head can be signed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The system gives no thread.
    #[error("no thread for what is due from time to time: {0}")]
    Thread(#[source] io::Error),
    /// A node of a cluster cannot take part.
    #[error("this node cannot take part in the cluster: {0}")]
    Cluster(String),
    /// The first commit of this start failed.
    #[error("the start cannot be recorded: {0}")]
    Record(#[source] CommandError),
}
