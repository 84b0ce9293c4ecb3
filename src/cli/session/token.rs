//! `tenure session token`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::{context::Context, failure::Failure};
use tenure_client::SessionFile;

/// Asks no server. Ask anew for each use: a renewal makes the token void.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Session file, as `tenure run` hands it to its command
    #[arg(long, value_name = "FILE", env = "TENURE_SESSION_FILE")]
    session_file: PathBuf,
}

impl Token {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let grant = SessionFile::at(&self.session_file).read()?;
        let token = grant.token.expose().to_owned();
        cli.output.told(&json!({ "token": token }), &[token])
    }
}
