//! `tenure session access-token`

use std::path::PathBuf;

use clap::Args;

use crate::cli::{
    connection::client::ApiRequest,
    context::{CommandContext, NamedServer, span},
    failure::CommandError,
    files::{secret::Secret, secret_file, session_file},
    output::Column,
};
use tenure_core::Seconds;
use tenure_protocol::wire::NewAccessToken;

#[derive(Debug, Args)]
pub(crate) struct AccessToken {
    /// How long it lasts, 1m to 30m [default: 10m]; never longer than the session
    #[arg(long, value_name = "DURATION", value_parser = span)]
    ttl: Option<Seconds>,

    /// Audience, the service that it is for, 1 to 256 characters
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,

    /// File with the session's token. Wins over TENURE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Session file, or TENURE_SESSION_FILE, to ask by its token. It names the server too
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    session_file: Option<PathBuf>,

    /// The session's token; a process list shows it too, so prefer --token-file
    #[arg(long, value_name = "TOKEN", env = "TENURE_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
}

const COLUMNS: &[Column] = &[Column::end("", "expiresAt")];

impl AccessToken {
    pub(crate) fn run(mut self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        let body = NewAccessToken { ttl: self.ttl, audience: self.audience.take() };
        let request = ApiRequest::post(&["v1", "access-tokens"], body);
        let minted = if let Some(token) = self.token()? {
            cli.client.send_as(&token, &request)?.body
        } else {
            let ways = "give --session-file, --token-file, --token, TENURE_TOKEN";
            let path = self.session_file.map_or_else(|| session_file::of_this_run(ways), Ok)?;
            let held = session_file::open_session(named, &path)?;
            held.client.send_as(&held.token, &request)?.body
        };
        cli.output.record_with_secret(&minted, "accessToken", COLUMNS, cli.now())
    }

    /// The token that was given without a session file.
    fn token(&mut self) -> Result<Option<Secret>, CommandError> {
        match (&self.session_file, &self.token_file) {
            (Some(_), _) => Ok(None),
            (None, Some(path)) => secret_file::read(path).map(Some),
            (None, None) => Ok(self.token.take().filter(|token| !token.is_empty())),
        }
    }
}
