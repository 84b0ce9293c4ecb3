//! `tenure session lock`

use std::{io, path::PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::{failure::CommandError, output::Output};
use tenure_client::SessionFile;

#[derive(Debug, Args)]
#[command(after_help = "\
    For programs that write session files and have no `flock` of their own: start it with a pipe on its \
    stdin, wait for its line, read and write the file, and close the pipe. Asks no server.\n\n\
    Example: tenure session lock agent-7.session")]
pub(crate) struct LockArgs {
    /// The session file; it need not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl LockArgs {
    pub(crate) fn run(&self, output: Output) -> Result<(), CommandError> {
        let file = SessionFile::at(&self.file);
        let locked = file.lock()?;
        output
            .line(&json!({ "locked": file.path() }), || format!("locked {}", file.path().display()).into())?;
        // What is written to it means nothing; its end does.
        let closed = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(locked);
        closed.map(drop).map_err(|error| CommandError::Usage(format!("stdin: {error}")))
    }
}
