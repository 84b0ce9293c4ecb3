//! The data directory of a stopped server, read without changing a byte of it.
//!
//! The store rewrites its files when it is opened, so a copy of them is opened. The copy is made under the lock that a
//! server would take: a running one is left alone, and recognised as running.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    source::CommitVisitor,
    trust::TrustedHeads,
    verification::{KeyOrigin, ReadFailure, Verification},
};
use crate::cli::{environment, failure::CommandError};
use tenure_audit::{
    HeadKey, SignedHead, VerifierKey,
    transparency::trusted_heads::heads_in,
    verify::{ExportLocation, LogCheck, UnprovedRange, VerifyError},
};
use tenure_core::Position;
use tenure_log::{CheckedSegment, EventLog, OpenError, SledLog, StoredCommit};
use tenure_server::checkpoint::{CheckedCheckpoint, check_checkpoints};

/// The log of a stopped server, in a copy.
#[derive(Debug)]
pub(super) struct StoppedLog {
    copy: TempCopy,
    /// The key of its heads, as far as the directory has one that this user may read.
    pub(super) key: Option<VerifierKey>,
    /// The note of the last head that was signed, if there is one.
    note: Option<String>,
    /// Notes of heads that were signed before it.
    trail: String,
}

/// The signed heads of a directory, each signed by one key.
#[derive(Debug, Default)]
pub(super) struct DirectoryHeads {
    /// The key.
    pub(super) key: Option<VerifierKey>,
    /// The last one.
    pub(super) last: Option<SignedHead>,
    /// Those before it, ascending.
    pub(super) trail: Vec<SignedHead>,
}

impl StoppedLog {
    /// Copies the log.
    pub(super) fn open(data: &Path) -> Result<Self, CommandError> {
        expect_data(data)?;
        let copy = TempCopy::of(data)?;
        let key = key_of(data).ok().flatten();
        let note = text_of(&data.join("head.note"))?;
        let trail = text_of(&data.join("heads.notes"))?.unwrap_or_default();
        Ok(Self { copy, key, note, trail })
    }

    /// The heads that the directory has, by the reader's key, or else by its own.
    pub(super) fn heads(&self, trusted: &TrustedHeads) -> Result<DirectoryHeads, VerifyError> {
        let Some(key) = trusted.key.as_ref().or(self.key.as_ref()) else {
            return Ok(DirectoryHeads::default());
        };
        let trail = heads_in(&self.trail, key);
        let last = self.note.as_ref().map(|note| SignedHead::open(note, key).map_err(|why| (note, why)));
        let last = last.transpose().map_err(|(note, why)| {
            let size = note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default();
            let since = UnprovedRange { behind: Position::ZERO, last: Position(size) };
            VerifyError::Untrue {
                place: ExportLocation::Head(Position(size)),
                why: format!("head.note: {why}"),
                since,
            }
        })?;
        Ok(DirectoryHeads { key: Some(key.clone()), last: last.or_else(|| trail.last().cloned()), trail })
    }

    /// Reads the log to its end, with every check that a start makes, and compares it with each head: those of the
    /// directory, and those that the reader brought.
    ///
    /// A key of an earlier epoch proves the history up to where that epoch ended.
    pub(super) fn read(
        &self,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<Verification, ReadFailure> {
        let other = trusted.key.as_ref().filter(|key| self.key.as_ref().is_some_and(|own| own != *key));
        let Some(former) = other else { return self.read_by_heads(trusted, each) };
        match self.read_by_former(former, trusted, each)? {
            Some(found) => Ok(found),
            // It is not the key of an earlier epoch, as the heads of the directory show.
            None => self.read_by_heads(trusted, &mut |_| ControlFlow::Continue(())),
        }
    }

    /// `None` if this key signed no earlier epoch of the history.
    fn read_by_former(
        &self,
        former: &VerifierKey,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<Option<Verification>, ReadFailure> {
        let mut check = LogCheck::by_former(&trusted.heads, former);
        let mut untrue = None;
        let own = TrustedHeads { key: None, heads: Vec::new() };
        let found = self.read_by_heads(&own, &mut |stored| {
            untrue = untrue.take().or_else(|| check.add(&stored).err());
            each(stored)
        })?;
        let Some(fork) = check.fork() else { return Ok(None) };
        if let Some(fault) = untrue.or_else(|| check.end().err()) {
            return Err(ReadFailure::Untrue(fault));
        }
        let proved = Verification { whose: KeyOrigin::Reader, known_heads: trusted.heads.len(), ..found };
        Ok(Some(proved.forked(Some(fork))))
    }

    fn read_by_heads(
        &self,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<Verification, ReadFailure> {
        let heads = self.heads(trusted).map_err(ReadFailure::Untrue)?;
        let known = heads.and(&trusted.heads);
        let mut check = LogCheck::new(&known);
        let mut untrue = None;
        self.each(&mut |stored| {
            untrue = check.add(&stored).err();
            if untrue.is_some() {
                return ControlFlow::Break(());
            }
            // The rest is checked even when the caller wants no more of it.
            let _ = each(stored);
            ControlFlow::Continue(())
        })?;
        if let Some(fault) = untrue.or_else(|| check.end().err()) {
            return Err(ReadFailure::Untrue(fault));
        }
        let found = found(&check, &known, heads, trusted);
        if found.is_proved() && found.to > 0 && found.vouched_to == 0 {
            return Err(ReadFailure::Untrue(nothing_vouches(found.to)));
        }
        Ok(found)
    }

    /// Opens the copy, with every check that a start makes, and hands over each commit.
    pub(super) fn log(&self, each: &mut CommitVisitor<'_>) -> Result<SledLog, CommandError> {
        let mut wants_more = true;
        let mut take = |stored: StoredCommit| {
            wants_more = wants_more && each(stored) == ControlFlow::Continue(());
            Ok(())
        };
        tenure_log::open(&self.copy.0, &mut take).map_err(|error| self.refused(&error))
    }

    /// Hands over each commit.
    pub(super) fn each(&self, each: &mut CommitVisitor<'_>) -> Result<(), CommandError> {
        self.log(each).map(drop)
    }

    /// In the words of the directory itself, not of its copy.
    fn refused(&self, error: &OpenError) -> CommandError {
        let copy = format!("{}/", self.copy.0.display());
        let told = error.to_string().replace(&copy, "");
        match error {
            OpenError::Damaged { .. } => CommandError::damaged(told),
            OpenError::ForeignFormat { .. } | OpenError::CutOtherwise { .. } => CommandError::Usage(told),
            OpenError::InUse { .. }
            | OpenError::NotOurs { .. }
            | OpenError::OpenToOthers { .. }
            | OpenError::Broker { .. }
            | OpenError::Io { .. } => CommandError::Server(told),
        }
    }
}

impl DirectoryHeads {
    /// All of them, and those known from elsewhere, ascending.
    fn and(&self, others: &[SignedHead]) -> Vec<SignedHead> {
        let mut all: Vec<_> = self.trail.iter().chain(&self.last).chain(others).cloned().collect();
        all.sort_by_key(|head| head.size);
        all.dedup();
        all
    }
}

fn found(
    check: &LogCheck<'_>,
    known: &[SignedHead],
    heads: DirectoryHeads,
    trusted: &TrustedHeads,
) -> Verification {
    let (to, root) = check.head();
    let (commits, recorded_at) = check.commits();
    let last = known.last();
    Verification {
        from: 1,
        to,
        vouched_to: check.vouched_to().0,
        size: last.map(|head| head.size),
        root_hash: last.map_or(root, |head| head.root),
        commits,
        heads: known.len() as u64,
        known_heads: trusted.heads.len(),
        recorded_at,
        signed_head: last.map(|head| head.note().to_owned()),
        verifier_key: heads.key.map(|key| key.to_string()),
        whose: if trusted.key.is_some() { KeyOrigin::Reader } else { KeyOrigin::Directory },
        fork: None,
    }
}

/// A key that signed nothing of it proves nothing of it.
fn nothing_vouches(to: u64) -> VerifyError {
    let since = UnprovedRange { behind: Position::ZERO, last: Position(to) };
    let why =
        "nothing vouches for them: the directory has no head that this key has signed of them, and none was \
               brought"
            .to_owned();
    VerifyError::Untrue { place: ExportLocation::Positions(Position(1), Position(to)), why, since }
}

/// What each segment of the log of a stopped server is found to be.
pub(in crate::cli) fn check_segments(data: &Path) -> Result<Vec<CheckedSegment>, CommandError> {
    expect_data(data)?;
    let _lock = locked(&data.join("log.head"))?;
    tenure_log::check_segments(data).map_err(at(data))
}

/// Reads the log of a stopped server with every check that a start makes; gives its last position, and what is found of
/// each checkpoint.
pub(in crate::cli) fn check_log(data: &Path) -> Result<(Position, Vec<CheckedCheckpoint>), CommandError> {
    let stopped = StoppedLog::open(data)?;
    let log = stopped.log(&mut |_| ControlFlow::Continue(()))?;
    let checkpoints = check_checkpoints(data, &log, &stopped.copy.0).map_err(at(data))?;
    Ok((log.head().position, checkpoints))
}

/// The key of the heads of a data directory: its secret one, or the public one that an import kept.
pub(super) fn key_of(data: &Path) -> Result<Option<VerifierKey>, CommandError> {
    let own = HeadKey::read(&data.join("keys")).map_err(|error| CommandError::Server(error.to_string()))?;
    if let Some(key) = own {
        return Ok(Some(key.verifier().clone()));
    }
    let kept = fs::read_to_string(data.join("head.vkey")).ok();
    Ok(kept.and_then(|text| text.trim().parse().ok()))
}

/// That a directory is one of Tenure's.
pub(in crate::cli) fn expect_data(data: &Path) -> Result<(), CommandError> {
    if data.join("FORMAT").is_file() && data.join("log").is_dir() {
        return Ok(());
    }
    let format = fs::read_to_string(data.join("FORMAT")).unwrap_or_default();
    let why = if format.starts_with("tenure-data cluster") {
        "is the directory of a node of several, which has no log of its own: ask the running cluster (--url)"
    } else {
        "is no data directory of Tenure: it has no FORMAT or no log"
    };
    Err(CommandError::Missing(format!("{}: {why}", data.display())))
}

/// The content of a file of any kind; `None` if there is no such file.
fn text_of(path: &Path) -> Result<Option<String>, CommandError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// A directory of this user's own, removed when dropped.
#[derive(Debug)]
struct TempCopy(PathBuf);

impl TempCopy {
    fn of(data: &Path) -> Result<Self, CommandError> {
        let copy = Self(std::env::temp_dir().join(format!("tenure-audit-{}", environment::unique())));
        copy.fill(data)?;
        Ok(copy)
    }

    fn fill(&self, data: &Path) -> Result<(), CommandError> {
        let _lock = locked(&data.join("log.head"))?;
        make_dir(&self.0)?;
        for name in ["FORMAT", "log.head"] {
            copy(&data.join(name), &self.0.join(name))?;
        }
        for directory in ["log", "log.moving", "segments"] {
            if data.join(directory).is_dir() {
                copy_all(&data.join(directory), &self.0.join(directory))?;
            }
        }
        Ok(())
    }
}

impl Drop for TempCopy {
    fn drop(&mut self) {
        // A drop cannot report a failure, and the litter is in a temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The lock of the directory, shared with other auditors and with no server.
fn locked(path: &Path) -> Result<File, CommandError> {
    let file = File::open(path).map_err(at(path))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CommandError::Server(format!(
            "{}: a running server has this data directory open: ask it with --url, or stop it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

/// It holds names of subjects, which other users must not read.
fn make_dir(path: &Path) -> Result<(), CommandError> {
    DirBuilder::new().mode(0o700).create(path).map_err(at(path))
}

/// The files of a directory and of those in it.
fn copy_all(from: &Path, to: &Path) -> Result<(), CommandError> {
    make_dir(to)?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (kind, to) = (entry.file_type().map_err(at(&entry.path()))?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else if kind.is_file() {
            copy(&entry.path(), &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), CommandError> {
    fs::copy(from, to).map(drop).map_err(at(from))
}

fn at(path: &Path) -> impl Fn(io::Error) -> CommandError + use<> {
    let path = path.to_owned();
    move |source| CommandError::File { path: path.clone(), source }
}
