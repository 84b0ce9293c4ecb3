//! `tenure session renew`
//!
//! A renewal always carries an idempotency key: whoever lost the reply gets a working token by asking again
//! with the old token and the same key. With `--token-file` the key outlives this process (see
//! [`Memo`](super::super::renewal_memo::Memo)); so a cron job that simply runs the command again is safe.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use super::{DETAILS, token_in, without_token};
use crate::cli::{
    ambient,
    client::Request,
    context::{Context, Named},
    failure::Failure,
    renewal_memo::Memo,
    secret::Secret,
    secret_file::{self, TokenReplacement},
    session_file,
};
use tenure_client::{self as client, Grant, SessionFile};
use tenure_core::{Timestamp, token::SESSION_TOKEN_PREFIX};
use tenure_protocol::clock::pause;

/// The authority's `renewal.reuse_grace` is no longer.
const LONGEST_GRACE: Duration = Duration::from_mins(2);

/// Arguments of `tenure session renew`.
#[derive(Debug, Args)]
pub(crate) struct Renew {
    /// The session's id [default: remembered beside the token file, or asked by introspection with the key]
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,

    /// File with the session's token; the new token takes its place. Wins over TENURE_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Session file; the new token takes the old one's place in it. It names the session and the server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["session", "token_file"])]
    session_file: Option<PathBuf>,

    /// The session's token; a process list shows it too, so prefer --token-file
    #[arg(long, value_name = "TOKEN", env = "TENURE_TOKEN", hide_env_values = true)]
    token: Option<Secret>,

    /// Name of this renewal: a repeat under it, with the same token, gets a working token [default: a fresh one]
    #[arg(long, value_name = "KEY", conflicts_with_all = ["token_file", "session_file"])]
    idempotency_key: Option<String>,
}

impl Renew {
    pub(crate) fn run(self, cli: &Context, named: Named<'_>) -> Result<(), Failure> {
        if let Some(path) = &self.session_file {
            return renew_session_file(cli, named, path);
        }
        match (self.token_file, self.token.filter(|token| !token.is_empty())) {
            (Some(path), _) => renew_file(cli, self.session, &path),
            (None, Some(token)) => renew_token(cli, self.session, &token, self.idempotency_key),
            (None, None) => {
                Err(Failure::Usage("give --session-file, --token-file, --token or TENURE_TOKEN".to_owned()))
            }
        }
    }
}

/// A token that was replaced a moment ago is asked with once more, if the file still has it by then.
fn renew_file(cli: &Context, session: Option<String>, path: &Path) -> Result<(), Failure> {
    // Before a memo is made beside what holds no token. After it the token is read again: another renewal may have had
    // the memo.
    check_token(path)?;
    let seen = secret_file::read(path)?;
    let refused = match renew_file_once(cli, session.clone(), path) {
        Err(Failure::Problem(problem)) => problem,
        done => return done,
    };
    let Some(at) = refused.asks_once_more_at() else { return Err(Failure::Problem(refused)) };
    cli.output.talk("Another renewal replaced this token a moment ago; looking once more.");
    let left = u64::try_from(at.millis_since(cli.now())).unwrap_or(0);
    pause(Duration::from_millis(left).min(LONGEST_GRACE));
    if secret_file::read(path)?.expose() != seen.expose() {
        cli.output.talk(&format!("A newer token is in {} now.", path.display()));
        return Ok(());
    }
    renew_file_once(cli, session, path)
}

/// The steps are ordered so that a crash between any two of them loses no session.
fn renew_file_once(cli: &Context, session: Option<String>, path: &Path) -> Result<(), Failure> {
    let mut memo = Memo::open(path)?;
    let old = secret_file::read(path)?;
    let id = match session.or_else(|| memo.session_id().map(str::to_owned)) {
        Some(id) => id,
        None => session_of(cli, &old)?,
    };
    let file = TokenReplacement::prepare(path)?;
    let key = memo.key_for(&old, &id)?;
    let reply = ask(cli, &id, &old, key).inspect_err(|failure| {
        if failure.leaves_it_open() {
            cli.output.hint("Nothing is lost: run the same command again.");
        }
    })?;
    let (new, _) = token_in(&cli.client, &reply)?;
    file.commit(&new)?;
    show(cli, &without_token(reply))?;
    cli.output.talk(&format!("The new token is in {}.", path.display()));
    Ok(())
}

fn check_token(path: &Path) -> Result<(), Failure> {
    let is_token = secret_file::read(path)?.expose().starts_with(SESSION_TOKEN_PREFIX);
    let why = || Failure::Usage(format!("{} holds no session's token", path.display()));
    if is_token { Ok(()) } else { Err(why()) }
}

/// What a renewal needs to survive a crash is in the file; see `client`.
fn renew_session_file(cli: &Context, named: Named<'_>, path: &Path) -> Result<(), Failure> {
    let file = SessionFile::at(path);
    let by = session_file::client(named, &file)?;
    let grant = session_file::runtime()?.block_on(client::renew_file(&by, &file)).map_err(|error| {
        let failure = Failure::from(error);
        if failure.leaves_it_open() {
            cli.output.hint("Nothing is lost: run the same command again.");
        }
        failure
    })?;
    cli.output.record(&session_file::shown(&grant), DETAILS, begun(&grant))?;
    cli.output.talk(&format!("The new token is in {}.", path.display()));
    Ok(())
}

/// When the period began, by the server's clock: what is left is counted from there.
fn begun(grant: &Grant) -> Timestamp {
    if grant.expires_at == grant.absolute_expires_at {
        return ambient::now();
    }
    grant.expires_at.plus_millis(-1_000 * i64::from(grant.ttl.0))
}

fn renew_token(
    cli: &Context,
    session: Option<String>,
    old: &Secret,
    key: Option<String>,
) -> Result<(), Failure> {
    let id = match session {
        Some(id) => id,
        None => session_of(cli, old)?,
    };
    let key = key.unwrap_or_else(ambient::unique);
    let reply = ask(cli, &id, old, key.clone()).inspect_err(|failure| {
        if failure.leaves_it_open() {
            let again = format!("Keep the old token, and repeat with {id} --idempotency-key {key}");
            cli.output.hint(&again);
        }
    })?;
    show(cli, &reply)
}

fn ask(cli: &Context, id: &str, old: &Secret, key: String) -> Result<Value, Failure> {
    let request = Request::put(&["v1", "sessions", id, "renew"], None).idempotency_key(key);
    Ok(cli.client.send_as(old, &request)?.body)
}

/// A token is sealed: only the server can tell whose it is, and only to whoever may introspect.
fn session_of(cli: &Context, token: &Secret) -> Result<String, Failure> {
    if !cli.client.has_key() {
        return Err(Failure::Usage(
            "give the session's ID: only the server can read it from the token".to_owned(),
        ));
    }
    let request = Request::post(&["v1", "introspect"], json!({"token": token.expose()}));
    let judged = cli.client.send(&request)?.body;
    match judged["sessionId"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(Failure::Usage("the token is not live; give the session's ID to learn why".to_owned())),
    }
}

fn show(cli: &Context, reply: &Value) -> Result<(), Failure> {
    cli.output.record_with_secret(reply, "token", DETAILS, cli.time_of(reply))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::{
        client::Client,
        failure::Exit,
        fake_server,
        output::{Form, Output},
    };
    use tenure_http_client::outbound::Plaintext;

    fn context(url: &str) -> Context {
        Context {
            client: Client::new(url, None, Plaintext::Refused).unwrap(),
            output: Output::of(Form::Jsonl, false),
        }
    }

    fn key_of(request: &str) -> &str {
        request.split("idempotency-key: ").nth(1).unwrap().lines().next().unwrap()
    }

    #[test]
    fn a_lost_reply_is_asked_for_again_with_the_same_key_and_a_renewed_token_with_another() {
        let renewed = |body| Some(("200 OK", body));
        let (url, asked) = fake_server::answering(vec![
            None,
            renewed(r#"{"sessionId":"s1","token":"tnr_sess_2"}"#),
            renewed(r#"{"sessionId":"s1","token":"tnr_sess_3"}"#),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "tnr_sess_1\n").unwrap();

        let lost = renew_file(&context(&url), Some("s1".to_owned()), &file).unwrap_err();
        assert_eq!(lost.exit(), Exit::Server);
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_1\n", "the old token stays");
        renew_file(&context(&url), None, &file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_2\n");
        renew_file(&context(&url), None, &file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "tnr_sess_3\n");

        let asked = asked.join().unwrap();
        assert!(asked.iter().all(|request| request.starts_with("put /v1/sessions/s1/renew ")), "{asked:?}");
        assert!(asked[1].contains("bearer tnr_sess_1\r\n") && asked[2].contains("bearer tnr_sess_2\r\n"));
        assert_eq!(key_of(&asked[0]), key_of(&asked[1]));
        assert_ne!(key_of(&asked[1]), key_of(&asked[2]));
    }

    #[test]
    fn without_a_key_nobody_can_tell_whose_token_it_is() {
        let failure = session_of(&context("http://127.0.0.1:9"), &Secret::new("tnr_sess_1")).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
    }
}
