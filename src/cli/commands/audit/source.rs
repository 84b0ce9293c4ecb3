//! Where a history is read from: a running server, the data directory of a stopped one, an export.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    data_directory::StoppedLog,
    progress,
    trust::TrustedHeads,
    verification::{KeyOrigin, ReadEnding, ReadFailure, Verification},
};
use crate::cli::{
    arguments::moments::TypedMoment, connection::client::ApiRequest, context::GlobalArgs, environment,
    failure::CommandError, output::event_text::KeyNames,
};
use tenure_audit::verify::{VerifyError, verify, verify_through_epochs};
use tenure_core::Timestamp;
use tenure_log::StoredCommit;

/// Bytes per read of a file.
const READ_BYTES: usize = 1 << 20;

/// Which history.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which history (without these: that of the server at --url)")]
pub(super) struct SourceArgs {
    /// An export
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,

    /// The data directory of a stopped server; it is copied to a temporary directory and stays as it is
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Takes a commit, and says whether it wants more.
pub(super) type CommitVisitor<'e> = dyn FnMut(StoredCommit) -> ControlFlow<()> + 'e;

impl SourceArgs {
    /// The data directory, when it is one.
    pub(super) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// An export.
    pub(super) fn of_file(path: &Path) -> Self {
        Self { file: Some(path.to_owned()), data: None }
    }

    /// The export, when it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether it is a running server.
    pub(super) const fn is_server(&self) -> bool {
        self.file.is_none() && self.data.is_none()
    }

    /// What people call API keys: a server knows it, an export and the log have ids alone.
    pub(super) fn key_names(&self, global: &GlobalArgs) -> Result<KeyNames, CommandError> {
        if self.is_server() { KeyNames::read(&global.context()?) } else { Ok(KeyNames::default()) }
    }

    /// A moment that was typed: by the server's clock, which may be a test's, or by this host's. What a server will
    /// record by a coming moment is not known; a history that ended is as it is at any later one.
    pub(super) fn past(&self, global: &GlobalArgs, moment: TypedMoment) -> Result<Timestamp, CommandError> {
        if !self.is_server() {
            return Ok(moment.past(environment::now()));
        }
        let cli = global.context()?;
        let now = cli.now_there()?;
        let past = moment.past(now);
        if past > now {
            return Err(CommandError::Usage(format!("{past} lies in the future: at the server it is {now}")));
        }
        Ok(past)
    }

    /// Who says which key has signed the history.
    pub(super) const fn whose(&self, trusted: &TrustedHeads) -> KeyOrigin {
        match (&trusted.key, &self.file, &self.data) {
            (Some(_), _, _) => KeyOrigin::Reader,
            (None, Some(_), _) => KeyOrigin::File,
            (None, None, Some(_)) => KeyOrigin::Directory,
            (None, None, None) => KeyOrigin::Server,
        }
    }

    /// The export as it is read: from the file, or from the server.
    fn export(&self, global: &GlobalArgs) -> Result<Box<dyn BufRead>, CommandError> {
        if let Some(path) = &self.file {
            return open(path);
        }
        let cli = global.context()?;
        let reply = cli.client.export(&ApiRequest::get(&["v1", "audit", "export"]))?;
        Ok(Box::new(BufReader::with_capacity(READ_BYTES, reply)))
    }

    /// How many events there are, as the history itself says: for a bar, and for nothing else.
    fn claimed(&self, global: &GlobalArgs) -> Option<u64> {
        match (&self.file, &self.data) {
            (Some(file), _) => progress::end_of_export(file),
            (None, Some(data)) => progress::size_of_head(data),
            (None, None) => progress::size_of_server(global),
        }
    }

    /// Reads the history and hands over each commit once it was checked.
    ///
    /// An export or a log is read to its end even when enough of it was seen: only there is what vouches for it. A
    /// server is dropped, unless the reader brought a key to check it with.
    pub(super) fn read(
        &self,
        global: &GlobalArgs,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<ReadEnding, ReadFailure> {
        let needs_end = !self.is_server() || trusted.key.is_some();
        self.read_to(needs_end, false, global, trusted, each)
    }

    /// As [`SourceArgs::read`], but always to the end, and also by a key of an earlier epoch.
    pub(super) fn read_whole(
        &self,
        global: &GlobalArgs,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<ReadEnding, ReadFailure> {
        self.read_to(true, true, global, trusted, each)
    }

    fn read_to(
        &self,
        needs_end: bool,
        may_fork: bool,
        global: &GlobalArgs,
        trusted: &TrustedHeads,
        each: &mut CommitVisitor<'_>,
    ) -> Result<ReadEnding, ReadFailure> {
        let bar = progress::HistoryProgress::new(global.output(), || self.claimed(global));
        let mut wants_more = true;
        let mut take = |stored: StoredCommit| {
            bar.at(stored.last());
            wants_more = wants_more && each(stored).is_continue();
            if wants_more || needs_end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        if let Some(data) = &self.data {
            return StoppedLog::open(data)?
                .read(trusted, &mut take)
                .map(|found| ReadEnding::Whole(Box::new(found)));
        }
        let export = self.export(global)?;
        let mut take = |stored, _: &[u8]| take(stored);
        let read = if may_fork {
            verify_through_epochs(export, trusted.as_trust(), &mut take)
        } else {
            verify(export, trusted.as_trust(), &mut take)
                .map(|verdict| verdict.map(|verdict| (verdict, None)))
        };
        match read {
            Ok(Some((verdict, fork))) => {
                let found = Verification::of_export(verdict, trusted, self.whose(trusted)).forked(fork);
                Ok(ReadEnding::Whole(Box::new(found)))
            }
            Ok(None) => Ok(ReadEnding::Enough),
            Err(fault @ VerifyError::Cut { .. }) if self.file.is_some() && trusted.key.is_none() => {
                Ok(ReadEnding::Unsigned(fault))
            }
            Err(fault) => Err(ReadFailure::Untrue(fault)),
        }
    }
}

/// A file, to be read as a stream.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, CommandError> {
    let file = File::open(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, file)) as Box<dyn BufRead>)
}
