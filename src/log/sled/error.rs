//! Why a log was not opened, with the file in question.

use std::{
    io,
    path::{Path, PathBuf},
};

use tenure_core::Position;

/// Why a log was not opened. Nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{}: another process has this data directory open", path.display())]
    InUse {
        /// The locked file.
        path: PathBuf,
    },
    /// Another user owns the data directory.
    #[error(
        "{}: it belongs neither to the user who runs this program nor to root: run it as its owner, or change the owner",
        path.display()
    )]
    NotOurs {
        /// The data directory.
        path: PathBuf,
    },
    /// Others can write to the data directory.
    #[error("{path}: others can write to it (mode {mode:04o}): chmod go-w {path}", path = path.display())]
    OpenToOthers {
        /// The data directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The directory is not of this program, or of a newer version.
    #[error("{}: {why}", path.display())]
    ForeignFormat {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        why: String,
    },
    /// Something is not as it was written.
    #[error("{}: {}{why}", path.display(), at(*position))]
    Damaged {
        /// The file in question.
        path: PathBuf,
        /// The first position in question, where it is known.
        position: Option<Position>,
        /// What is wrong.
        why: String,
    },
    /// The history was first cut by another number of events, and every part of it must be cut by the same.
    #[error("log.segment_events is {asked}, but this log is cut by {recorded} events: set it to {recorded}")]
    CutOtherwise {
        /// What the setting says.
        asked: u64,
        /// By how many events the log is cut.
        recorded: u64,
    },
    /// The broker that keeps the log of several machines does not serve this one, or not as it must.
    #[error("the broker of the log: {why}")]
    Broker {
        /// What is wrong.
        why: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file in question.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn at(position: Option<Position>) -> String {
    position.map_or_else(String::new, |position| format!("position {position}: "))
}

/// What the operating system said of this file.
pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// A missing file of the log is damage; anything else is the operating system's.
pub(super) fn missing_or_io(path: &Path, position: Option<Position>) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| {
        if source.kind() == io::ErrorKind::NotFound {
            return damaged(&path, position, "is missing");
        }
        OpenError::Io { path, source }
    }
}

/// This file is not as it was written.
pub(crate) fn damaged(path: &Path, position: Option<Position>, why: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), position, why: why.to_owned() }
}
