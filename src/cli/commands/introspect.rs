//! `tenure introspect`

use std::{io, path::PathBuf};

use clap::{ArgGroup, Args};
use serde_json::json;

use crate::cli::{
    connection::client::ApiRequest,
    context::CommandContext,
    failure::CommandError,
    files::{secret::Secret, secret_file, session_file},
    output::Column,
};
use tenure_client::SessionFile;
use tenure_protocol::wire::IntrospectRequest;

/// The most tokens that one request may carry.
const MOST: usize = 100;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["tokens", "token_file", "session_file"]))]
#[command(after_help = "\"Not active\" is an answer, not an error: the exit code is 0.")]
pub(crate) struct IntrospectArgs {
    /// The tokens; `-` reads them from stdin, one per line, so that no process list shows them
    #[arg(value_name = "TOKEN")]
    tokens: Vec<Secret>,

    /// File with the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Session file with the token; the server and the API key are still those of --url and --key-file
    #[arg(long, value_name = "FILE")]
    session_file: Option<PathBuf>,

    /// Show the session's metadata too; for a single token
    #[arg(long)]
    metadata: bool,
}

const COLUMNS: &[Column] = &[
    Column::state("ACTIVE", "active"),
    Column::plain("CODE", "code"),
    Column::plain("SESSION", "sessionId"),
    Column::plain("SUBJECT", "subjectId"),
    Column::end("EXPIRES", "expiresAt"),
    Column::state("RENEW", "shouldRenew"),
];

const DETAILS: &[Column] = &[
    Column::state("", "active"),
    Column::plain("", "code"),
    Column::plain("", "sessionId"),
    Column::plain("", "subjectId"),
    Column::plain("", "ownerId"),
    Column::plain("", "device"),
    Column::plain("", "scopes"),
    Column::end("", "expiresAt"),
    Column::end("", "absoluteExpiresAt"),
    Column::moment("", "renewAt"),
    Column::plain("", "shouldRenew"),
    Column::plain("", "renewalCount"),
];

impl IntrospectArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let metadata = self.metadata;
        match self.tokens()?.as_slice() {
            [] => Err(CommandError::Usage("there is no token on stdin".to_owned())),
            [token] => one(cli, token, metadata),
            _ if metadata => Err(CommandError::Usage("--metadata is for a single token".to_owned())),
            tokens => several(cli, tokens),
        }
    }

    fn tokens(self) -> Result<Vec<Secret>, CommandError> {
        if let Some(path) = self.session_file {
            let grant = session_file::read(&SessionFile::at(path))?;
            return Ok(vec![Secret::new(grant.token.expose())]);
        }
        match (self.token_file, self.tokens.as_slice()) {
            (Some(path), _) => Ok(vec![secret_file::read(&path)?]),
            (None, [dash]) if dash.expose() == "-" => from_stdin(),
            (None, _) => Ok(self.tokens),
        }
    }
}

fn from_stdin() -> Result<Vec<Secret>, CommandError> {
    let failed = |source| CommandError::File { path: "stdin".into(), source };
    let lines: Result<Vec<_>, _> =
        io::stdin().lines().map(|line| line.map(|line| Secret::new(&line))).collect();
    Ok(lines.map_err(failed)?.into_iter().filter(|token| !token.is_empty()).collect())
}

fn one(cli: &CommandContext, token: &Secret, metadata: bool) -> Result<(), CommandError> {
    let include = metadata.then(|| vec!["metadata".to_owned()]);
    let body = IntrospectRequest { include, ..IntrospectRequest::of(token.clone()) };
    cli.show(&ApiRequest::post(&["v1", "introspect"], body), DETAILS)
}

/// In the order of the tokens; with `-o json` one document `{"results": […]}` as the API gives it.
fn several(cli: &CommandContext, tokens: &[Secret]) -> Result<(), CommandError> {
    let mut results = Vec::with_capacity(tokens.len());
    for batch in tokens.chunks(MOST) {
        let body = IntrospectRequest::of_all(batch.to_vec());
        let reply = cli.client.send(&ApiRequest::post(&["v1", "introspect"], body))?;
        match reply.body["results"].as_array() {
            Some(judged) if judged.len() == batch.len() => results.extend_from_slice(judged),
            Some(_) | None => return Err(cli.client.strange(200, "the reply is no list of results")),
        }
    }
    let judged = json!({"results": results});
    cli.output.items_or(&judged, "results", COLUMNS, cli.now(), "No tokens.")
}
