//! An export back into a data directory: the log, byte for byte, under the same root, its signed heads, and the public
//! key that they were checked with.
//!
//! Keys are not in an export, and none are made. Texts about people stay sealed forever, unless the directory gets
//! the `keys/` that belong to it; tokens cannot be judged without them, and `tenure serve` refuses to start where a
//! log is without its keys. An import is for auditors. It is not a restore: it may lack the last revocations.

use std::{io, io::BufRead, ops::ControlFlow, path::Path};

use super::verify::{TrustAnchors, VerifiedExport, VerifyError, verify};
use tenure_core::Position;
use tenure_files::new_directory::NewDirectory;
use tenure_log::{
    AppendOutcome, EncodedCommit, EventLog, LogError, OpenError, SegmentEvents, SledLog, codec::adopt,
};

/// Commits made durable together.
const BATCH: usize = 1_000;

/// Why an export was not imported. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The export is not true.
    #[error(transparent)]
    Untrue(#[from] VerifyError),
    /// It was cut before its commits could make a log, or begins behind the first event.
    #[error("the export begins at position {0}; only a history from position 1 on makes a log")]
    NotWhole(u64),
    /// It ends before its signed head does: in the new directory nothing would vouch for it.
    #[error("the export ends at position {to} of {size}; only a whole history makes a data directory")]
    NotToItsEnd {
        /// The last position in it.
        to: u64,
        /// How many events its head covers.
        size: u64,
    },
    /// The path of the new directory is already in use.
    #[error("it is there already, and not empty: an import makes a new data directory")]
    NotEmpty,
    /// The new log cannot be made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The new log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The new directory cannot be made, or removed after a failure.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Makes a data directory with the history of this export and returns the verdict on it. Reports the first position
/// of each commit on the way.
///
/// # Errors
/// See [`ImportError`]. What was made of the directory is removed again.
pub fn import(
    input: impl BufRead,
    trust: TrustAnchors<'_>,
    data: &Path,
    told: &mut dyn FnMut(Position),
) -> Result<VerifiedExport, ImportError> {
    let claimed = NewDirectory::claim(data).map_err(|error| {
        if error.kind() == io::ErrorKind::DirectoryNotEmpty { ImportError::NotEmpty } else { error.into() }
    })?;
    let imported = fill(input, trust, data, told);
    if imported.is_ok() { claimed.finish() } else { claimed.clear() }?;
    imported
}

fn fill(
    input: impl BufRead,
    trust: TrustAnchors<'_>,
    data: &Path,
    told: &mut dyn FnMut(Position),
) -> Result<VerifiedExport, ImportError> {
    // The authority that serves it will cut it, by its own setting.
    let log = tenure_log::open_cut(data, SegmentEvents::Uncut, &mut |_| Ok(()))?;
    let mut filling = Importer { log: &log, batch: Vec::new(), failed: None };
    let verdict = verify(input, trust, &mut |stored, bytes| {
        told(stored.first);
        if stored.first > filling.next() {
            filling.failed = Some(ImportError::NotWhole(stored.first.0));
            return ControlFlow::Break(());
        }
        filling.take(bytes)
    })?;
    filling.flush();
    if let Some(error) = filling.failed {
        return Err(error);
    }
    let verdict = verdict.ok_or(ImportError::NotWhole(0))?;
    if verdict.from != 1 {
        return Err(ImportError::NotWhole(verdict.from));
    }
    if verdict.to != verdict.size {
        return Err(ImportError::NotToItsEnd { to: verdict.to, size: verdict.size });
    }
    log.close()?;
    crate::transparency::head_store::adopt(data, &verdict)?;
    Ok(verdict)
}

struct Importer<'l> {
    log: &'l SledLog,
    batch: Vec<EncodedCommit>,
    failed: Option<ImportError>,
}

impl Importer<'_> {
    /// The position that the next commit will get.
    fn next(&self) -> Position {
        let waiting = self.batch.iter().map(EncodedCommit::count).sum();
        self.log.head().position.next().plus(waiting)
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        match adopt(bytes.to_vec()) {
            Ok(commit) => self.batch.push(commit),
            Err(error) => unreachable!("it was decoded a moment ago: {error}"),
        }
        if self.batch.len() >= BATCH {
            self.flush();
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        match self.log.append(self.log.head().position, batch) {
            Ok(AppendOutcome::Appended) => {}
            Ok(AppendOutcome::Unknown) => {
                self.failed = Some(LogError::Stopped { why: self.log.stopped().unwrap_or_default() }.into());
            }
            Err(error) => self.failed = Some(error.into()),
        }
    }
}
