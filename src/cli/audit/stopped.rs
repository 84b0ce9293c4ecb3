//! The data directory of a stopped server, read without changing a byte of it.
//!
//! The store rewrites its files when it is opened, so a copy of them is opened. The copy is made under the lock that a
//! server would take: a running one is left alone, and told from a stopped one.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::source::Each;
use crate::{
    audit::{HeadKey, SignedHead, VerifierKey, known::heads_in},
    cli::{
        ambient,
        failure::{Exit, Failure},
    },
    log::{OpenError, SledLog, StoredCommit},
};

/// The log of a stopped server, in a copy.
#[derive(Debug)]
pub(super) struct Stopped {
    copy: Copy,
    /// The key of its heads, where this user may read it.
    pub(super) key: Option<VerifierKey>,
    /// The note of the last head that was signed, if there is one.
    note: Option<String>,
    /// Notes of heads that were signed before it.
    trail: String,
}

impl Stopped {
    /// Copies the log.
    pub(super) fn open(data: &Path) -> Result<Self, Failure> {
        if !data.join("FORMAT").is_file() || !data.join("log").is_dir() {
            let why =
                format!("{}: is no data directory of Tenure: it has no FORMAT or no log", data.display());
            return Err(Failure::Missing(why));
        }
        let copy = Copy::of(data)?;
        let key = HeadKey::read(&data.join("keys")).ok().flatten().map(|key| key.verifier().clone());
        let note = fs::read_to_string(data.join("head.note")).ok();
        let trail = fs::read(data.join("heads.notes")).unwrap_or_default();
        Ok(Self { copy, key, note, trail: String::from_utf8_lossy(&trail).into_owned() })
    }

    /// The last head that was signed.
    pub(super) fn head(&self, key: Option<&VerifierKey>) -> Result<Option<SignedHead>, Failure> {
        let (Some(note), Some(key)) = (&self.note, key.or(self.key.as_ref())) else { return Ok(None) };
        let head = SignedHead::open(note, key).map_err(|error| damaged(format!("head.note: {error}")))?;
        Ok(Some(head))
    }

    /// Heads that were signed before it, ascending.
    pub(super) fn trail(&self, key: Option<&VerifierKey>) -> Vec<SignedHead> {
        key.or(self.key.as_ref()).map_or_else(Vec::new, |key| heads_in(&self.trail, key))
    }

    /// Opens the copy, with every check that a start makes, and hands over each commit.
    pub(super) fn log(&self, each: &mut Each<'_>) -> Result<SledLog, Failure> {
        let mut wants_more = true;
        let mut take = |stored: StoredCommit| {
            wants_more = wants_more && each(stored) == ControlFlow::Continue(());
            Ok(())
        };
        SledLog::open(&self.copy.0, &mut take).map_err(|error| self.refused(&error))
    }

    /// Hands over each commit.
    pub(super) fn each(&self, each: &mut Each<'_>) -> Result<(), Failure> {
        self.log(each).map(drop)
    }

    /// In the words of the directory itself, not of its copy.
    fn refused(&self, error: &OpenError) -> Failure {
        let copy = format!("{}/", self.copy.0.display());
        let told = error.to_string().replace(&copy, "");
        match error {
            OpenError::Damaged { .. } => damaged(told),
            OpenError::ForeignFormat { .. } => Failure::Usage(told),
            OpenError::InUse { .. }
            | OpenError::NotOurs { .. }
            | OpenError::OpenToOthers { .. }
            | OpenError::Io { .. } => Failure::Server(told),
        }
    }
}

/// A directory of this user's own that is removed in the end.
#[derive(Debug)]
struct Copy(PathBuf);

impl Copy {
    fn of(data: &Path) -> Result<Self, Failure> {
        let copy = Self(std::env::temp_dir().join(format!("tenure-audit-{}", ambient::unique())));
        copy.fill(data)?;
        Ok(copy)
    }

    fn fill(&self, data: &Path) -> Result<(), Failure> {
        let _lock = locked(&data.join("log.head"))?;
        // Names of subjects are in there: nobody else's business.
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path).map_err(at(path));
        make(&self.0)?;
        for name in ["FORMAT", "log.head"] {
            copy(&data.join(name), &self.0.join(name))?;
        }
        for directory in ["log", "log/blobs"] {
            let from = data.join(directory);
            if from.is_dir() {
                make(&self.0.join(directory))?;
                copy_files(&from, &self.0.join(directory))?;
            }
        }
        Ok(())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // There is nobody to tell, and what is left is in a temporary directory.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What is not as it was written.
pub(super) const fn damaged(why: String) -> Failure {
    Failure::Unhealthy { exit: Exit::VerificationFailed, why }
}

/// The lock of the directory, shared with other auditors and with no server.
fn locked(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(at(path))?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Server(format!(
            "{}: a running server has this data directory open: ask it with --url, or stop it",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        if entry.file_type().map_err(at(&entry.path()))?.is_file() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).map_err(at(from))
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> Failure + use<> {
    let path = path.to_owned();
    move |source| Failure::File { path: path.clone(), source }
}
