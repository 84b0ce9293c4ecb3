//! `tenure session token`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::{failure::CommandError, files::session_file, output::Output};
use tenure_client::SessionFile;

#[derive(Debug, Args)]
#[command(after_help = "\
    Asks no server. Run it for each use: a renewal makes the token void. With -o json it prints token, \
    expiresAt and headers, which credential helpers take as they are.\n\n\
    Example: curl -H \"Authorization: Bearer $(tenure session token)\" https://api.example")]
pub(crate) struct TokenArgs {
    /// Session file, as `tenure run` hands it to its command
    #[arg(long, value_name = "FILE", env = "TENURE_SESSION_FILE")]
    session_file: PathBuf,
}

impl TokenArgs {
    pub(crate) fn run(self, output: Output) -> Result<(), CommandError> {
        let grant = session_file::read(&SessionFile::at(&self.session_file))?;
        let token = grant.token.expose().to_owned();
        let document = json!({
            "token": token,
            "expiresAt": grant.expires_at,
            "headers": { "Authorization": format!("Bearer {token}") },
        });
        output.narrative(&document, &[token])
    }
}
