//! Where a history is read from: a running server, the data directory of a stopped one, an export.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    known::Trusted,
    stopped::{Stopped, damaged},
};
use crate::{
    audit::verify::{Fault, Verdict, verify},
    cli::{client::Request, context::Global, failure::Failure, output::Output},
    log::StoredCommit,
};

/// So much of a file is read at a time.
const READ_BYTES: usize = 1 << 20;
/// So often a bar is moved.
const BAR_EVERY: u64 = 4_096;

/// Which history.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which history (without these: that of the server at --url)")]
pub(super) struct Source {
    /// An export
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,

    /// The data directory of a stopped server; it is copied to a temporary directory and stays as it is
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What a history was found to be.
#[derive(Debug)]
pub(super) enum Ending {
    /// An export, proved to its end.
    Proved(Box<Verdict>),
    /// Nothing more was wanted of it; what is behind was not looked at.
    Enough,
    /// The log of a stopped server, read to its end and compared with its own records of itself.
    Log,
    /// A file that ends without a signed head, as of a history that is still being written.
    Unsigned,
}

/// Takes a commit, and says whether it wants more.
pub(super) type Each<'e> = dyn FnMut(StoredCommit) -> ControlFlow<()> + 'e;

impl Source {
    /// The data directory, when it is one.
    pub(super) fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Whether it is a running server.
    pub(super) const fn is_server(&self) -> bool {
        self.file.is_none() && self.data.is_none()
    }

    /// The export as it is read: from the file, or from the server.
    pub(super) fn export(&self, global: &Global) -> Result<Box<dyn BufRead>, Failure> {
        if let Some(path) = &self.file {
            return open(path);
        }
        let cli = global.context()?;
        let reply = cli.client.stream(&Request::get(&["v1", "audit", "export"]))?;
        Ok(Box::new(BufReader::with_capacity(READ_BYTES, reply)))
    }

    /// Reads the history and hands over each commit once it was checked.
    ///
    /// An export is read to its end even when enough of it was seen: only there is what vouches for it. A server is
    /// let go, unless somebody brought a key to check it with.
    pub(super) fn read(
        &self,
        global: &Global,
        trusted: &Trusted,
        each: &mut Each<'_>,
    ) -> Result<Ending, Failure> {
        if let Some(data) = &self.data {
            return Stopped::open(data)?.each(each).map(|()| Ending::Log);
        }
        let input = self.export(global)?;
        let bar = global.output().bar(None, "commits");
        let (mut count, mut wants_more) = (0, true);
        let needs_end = self.file.is_some() || trusted.key.is_some();
        let read = verify(input, trusted.as_trust(), &mut |stored, _| {
            count += 1;
            if count % BAR_EVERY == 0 {
                bar.set_position(count);
            }
            wants_more = wants_more && each(stored).is_continue();
            if wants_more || needs_end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        bar.finish_and_clear();
        match read {
            Ok(Some(verdict)) => Ok(Ending::Proved(Box::new(verdict))),
            Ok(None) => Ok(Ending::Enough),
            Err(Fault::Cut { .. }) if self.file.is_some() && trusted.key.is_none() => Ok(Ending::Unsigned),
            Err(fault) => Err(untrue(&fault)),
        }
    }
}

impl Ending {
    /// Says how far the answer is proved.
    pub(super) fn warn(&self, output: Output) {
        match self {
            Self::Unsigned => output.talk(
                "The file ends without a signed head: each record is as it was written, and nothing proves that they \
                 are all, or the authority's.",
            ),
            Self::Proved(verdict) => output.hint(&format!(
                "Proved: positions {} to {}, by the head of size {} that {} has signed.",
                verdict.from,
                verdict.to,
                verdict.size,
                verdict.verifier_key.split('+').next().unwrap_or_default()
            )),
            Self::Enough | Self::Log => {}
        }
    }
}

/// A file, to be read as a stream.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let file = File::open(path).map_err(|source| Failure::File { path: path.to_owned(), source })?;
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, file)) as Box<dyn BufRead>)
}

/// A fault as this program exits with it.
pub(super) fn untrue(fault: &Fault) -> Failure {
    match fault {
        Fault::Untrue { .. } | Fault::Cut { .. } => damaged(fault.to_string()),
        Fault::Unreadable(_) => Failure::Server(fault.to_string()),
    }
}
