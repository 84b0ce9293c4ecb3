//! `tenure session renew`
//!
//! A renewal always carries an idempotency key: after a lost reply, the old token and the same key get a working token.
//! With a file, token and key outlive this process (see the client library), so that a cron job may simply run the
//! command again.

use std::path::{Path, PathBuf};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use super::{DETAILS, without_token};
use crate::cli::{
    connection::{client::ApiRequest, runtime},
    context::{CommandContext, NamedServer},
    environment,
    failure::CommandError,
    files::{secret::Secret, session_file},
};
use tenure_client::{self as client, SessionFile, SessionGrant, TokenFile, TokenRenewal};
use tenure_core::{SessionId, Timestamp};
use tenure_protocol::wire::IntrospectRequest;

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// The session's id [default: remembered beside the token file, or asked by introspection with the key]
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,

    /// File with the session's token; the new token takes its place. Wins over TENURE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Session file, or TENURE_SESSION_FILE; the new token takes the old one's place in it. It names the session and the server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["session", "token_file"])]
    session_file: Option<PathBuf>,

    /// The session's token; a process list shows it too, so prefer --token-file
    #[arg(long, value_name = "TOKEN", env = "TENURE_TOKEN", hide_env_values = true)]
    token: Option<Secret>,

    /// Name of this renewal: a repeat under it, with the same token, gets a working token [default: a fresh one]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["token_file", "session_file"])]
    idempotency_key: Option<String>,
}

impl RenewArgs {
    pub(crate) fn run(self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        if let Some(path) = &self.session_file {
            return renew_session_file(cli, named, path);
        }
        match (self.token_file, self.token.filter(|token| !token.is_empty())) {
            (Some(path), _) => renew_token_file(cli, named, self.session.as_deref(), &path),
            (None, Some(token)) => renew_token(cli, self.session, &token, self.idempotency_key),
            (None, None) => {
                let ways = "give --session-file, --token-file, --token, TENURE_TOKEN";
                renew_session_file(cli, named, &session_file::of_this_run(ways)?)
            }
        }
    }
}

/// The library does it; with this command's key it asks whose token an unknown one is.
fn renew_token_file(
    cli: &CommandContext,
    named: NamedServer<'_>,
    session: Option<&str>,
    path: &Path,
) -> Result<(), CommandError> {
    let by = session_file::client_of(cli.client.url(), named.plaintext)?;
    let by = match cli.client.key() {
        Some(key) => by.with_credential(Secret::new(key.expose())),
        None => by,
    };
    let session = session.map(id_of).transpose()?;
    let file = TokenFile::at(path);
    let renewal = client::renew_token_file(&by, &file, session);
    match runtime::runtime()?.block_on(renewal).map_err(|error| open_or_over(cli, error))? {
        TokenRenewal::Renewed(renewed) => {
            let reply =
                serde_json::to_value(renewed).map_err(|error| CommandError::Server(error.to_string()))?;
            cli.output.record_with_secret(&without_token(reply), "token", DETAILS, by.now())?;
            cli.output.info(&format!("The new token is in {}.", path.display()));
        }
        TokenRenewal::RenewedMeanwhile => cli.output.info(&format!(
            "Another process renewed this session a moment ago; its new token is in {}.",
            path.display()
        )),
    }
    Ok(())
}

fn id_of(typed: &str) -> Result<SessionId, CommandError> {
    let why = || {
        format!("\"{typed}\" is not a session's ID; that is a UUID, as tenure session list -o wide prints it")
    };
    typed.parse().map_err(|_| CommandError::Usage(why()))
}

fn open_or_over(cli: &CommandContext, error: client::HoldError) -> CommandError {
    let failure = CommandError::from(error);
    if failure.leaves_it_open() {
        cli.output.hint("Nothing is lost: run the same command again.");
    }
    failure
}

fn renew_session_file(cli: &CommandContext, named: NamedServer<'_>, path: &Path) -> Result<(), CommandError> {
    let file = SessionFile::at(path);
    session_file::read(&file)?;
    let by = session_file::client(named, &file)?;
    let renewed = runtime::runtime()?.block_on(client::renew_file(&by, &file));
    let grant = renewed.map_err(|error| open_or_over(cli, error))?;
    cli.output.record(&session_file::shown(&grant), DETAILS, begun(&grant))?;
    cli.output.info(&format!("The new token is in {}.", path.display()));
    Ok(())
}

/// When the period began, by the server's clock: what is left is counted from there.
fn begun(grant: &SessionGrant) -> Timestamp {
    if grant.expires_at == grant.absolute_expires_at {
        return environment::now();
    }
    grant.expires_at.plus_millis(-1_000 * i64::from(grant.ttl.0))
}

fn renew_token(
    cli: &CommandContext,
    session: Option<String>,
    old: &Secret,
    key: Option<String>,
) -> Result<(), CommandError> {
    let id = match session {
        Some(id) => id,
        None => session_of(cli, old)?,
    };
    let key = key.unwrap_or_else(environment::unique);
    let reply = ask(cli, &id, old, key.clone()).inspect_err(|failure| {
        if failure.leaves_it_open() {
            let again = format!("Keep the old token, and repeat with {id} --idempotency-key {key}");
            cli.output.hint(&again);
        }
    })?;
    show(cli, &reply)
}

fn ask(cli: &CommandContext, id: &str, old: &Secret, key: String) -> Result<Value, CommandError> {
    let request = ApiRequest::put_without_body(&["v1", "sessions", id, "renew"]).idempotency_key(key);
    Ok(cli.client.send_as(old, &request)?.body)
}

/// A token is sealed: only the server can read whose it is, for a key that may introspect.
fn session_of(cli: &CommandContext, token: &Secret) -> Result<String, CommandError> {
    if !cli.client.has_key() {
        return Err(CommandError::Usage(
            "give the session's ID: only the server can read it from the token".to_owned(),
        ));
    }
    let request = ApiRequest::post(&["v1", "introspect"], IntrospectRequest::of(token.clone()));
    let judged = cli.client.send(&request)?.body;
    match judged["sessionId"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => {
            Err(CommandError::Usage("the token is not live; give the session's ID to learn why".to_owned()))
        }
    }
}

fn show(cli: &CommandContext, reply: &Value) -> Result<(), CommandError> {
    cli.output.record_with_secret(reply, "token", DETAILS, cli.time_of(reply))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::{
        connection::{client::ApiClient, fake_server},
        failure::ExitStatus,
        output::{Output, OutputArg},
    };
    use tenure_http_client::outbound::PlaintextPolicy;

    fn context(url: &str) -> CommandContext {
        CommandContext {
            client: ApiClient::new(url, None, PlaintextPolicy::Refused).unwrap(),
            output: Output::of(OutputArg::Jsonl, false),
        }
    }

    fn key_of(request: &str) -> &str {
        request.split("idempotency-key: ").nth(1).unwrap().lines().next().unwrap()
    }

    #[test]
    fn a_lost_reply_is_asked_for_again_with_the_same_key_and_a_renewed_token_with_another() {
        const SECOND: &str = r#"{"sessionId":"019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77","token":"tnr_sess_2","expiresAt":"2026-11-21T02:00:00.000Z","renewAt":null,"renewalCount":1,"maxRenewals":30,"absoluteExpiresAt":"2026-11-28T01:00:00.000Z","clampedBy":null}"#;
        const THIRD: &str = r#"{"sessionId":"019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77","token":"tnr_sess_3","expiresAt":"2026-11-21T03:00:00.000Z","renewAt":null,"renewalCount":2,"maxRenewals":30,"absoluteExpiresAt":"2026-11-28T01:00:00.000Z","clampedBy":null}"#;
        let renewed = |body| Some(("200 OK\r\ncontent-type: application/json", body));
        let (url, asked) = fake_server::answering(vec![None, renewed(SECOND), renewed(THIRD)]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "tnr_sess_1\n").unwrap();
        let named = NamedServer { url: None, plaintext: PlaintextPolicy::Refused };
        let renew = |id| renew_token_file(&context(&url), named, id, &file);

        let lost = renew(Some("019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77")).unwrap_err();
        assert_eq!(lost.exit(), ExitStatus::Server);
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_1\n", "the old token stays");
        renew(None).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_2\n");
        renew(None).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_3\n");

        let asked = asked.join().unwrap();
        let path = "put /v1/sessions/019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77/renew ";
        assert!(asked.iter().all(|request| request.starts_with(path)), "{asked:?}");
        assert!(asked[1].contains("bearer tnr_sess_1\r\n") && asked[2].contains("bearer tnr_sess_2\r\n"));
        assert_eq!(key_of(&asked[0]), key_of(&asked[1]));
        assert_ne!(key_of(&asked[1]), key_of(&asked[2]));
    }

    #[test]
    fn without_a_key_nobody_can_tell_whose_token_it_is() {
        let failure = session_of(&context("http://127.0.0.1:9"), &Secret::new("tnr_sess_1")).unwrap_err();
        assert_eq!(failure.exit(), ExitStatus::Usage);
    }
}
