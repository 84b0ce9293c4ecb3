//! A file with a live session, or with anything but an ended one, is not overwritten without `--force`: a session whose
//! token is lost lives on, and cannot be used or ended by that token.

use std::{fs, path::Path};

use serde_json::json;

use super::{secret_file, session_file};
use crate::cli::{
    connection::client::ApiRequest,
    context::{CommandContext, NamedServer},
    failure::{CommandError, ExitStatus},
};
use tenure_core::token::SESSION_TOKEN_PREFIX;

/// Codes of tokens whose session is over, or that this authority did not issue.
const OVER: [&str; 4] = ["SESSION_REVOKED", "TOKEN_EXPIRED", "SESSION_IDLE", "INVALID_TOKEN"];

/// Refuses to replace the session in this file unless it is over. Its own authority is asked, by its own token.
pub(crate) fn check_session_file(named: NamedServer<'_>, path: &Path) -> Result<(), CommandError> {
    if !holds_something(path) {
        return Ok(());
    }
    let own = NamedServer { url: None, ..named };
    let held =
        session_file::open_session(own, path).map_err(|failure| conflict(path, &failure.to_string()))?;
    let request = ApiRequest::get(&["v1", "sessions", &held.session]);
    match held.client.send_as(&held.token, &request) {
        Ok(reply) => Err(live(path, reply.body["subjectId"].as_str())),
        Err(CommandError::Problem(problem)) if OVER.contains(&problem.code.as_str()) => Ok(()),
        Err(CommandError::Problem(problem)) if problem.status < 500 => Err(live(path, None)),
        Err(failure) => Err(conflict(path, &format!("whether its session is over is not known: {failure}"))),
    }
}

/// Refuses to replace the token in this file unless its session is over.
pub(crate) fn check_token_file(cli: &CommandContext, path: &Path) -> Result<(), CommandError> {
    if !holds_something(path) {
        return Ok(());
    }
    let token = secret_file::read(path).map_err(|failure| conflict(path, &failure.to_string()))?;
    if !token.expose().starts_with(SESSION_TOKEN_PREFIX) {
        return Err(conflict(path, "it holds something else than a session's token"));
    }
    let request = ApiRequest::post(&["v1", "introspect"], json!({ "token": token.expose() }));
    let unknown = |why: &str| conflict(path, &format!("whether its session is over is not known: {why}"));
    let judged = cli.client.send(&request).map_err(|failure| unknown(&failure.to_string()))?.body;
    match judged["code"].as_str() {
        Some(code) if OVER.contains(&code) => Ok(()),
        Some(_) | None => Err(live(path, judged["subjectId"].as_str())),
    }
}

fn holds_something(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > 0)
}

fn live(path: &Path, subject: Option<&str>) -> CommandError {
    let whose = subject.map(|subject| format!(" of {subject}")).unwrap_or_default();
    conflict(path, &format!("it holds a live session{whose}: renew it, or revoke it first"))
}

fn conflict(path: &Path, why: &str) -> CommandError {
    let why = format!("{} is not overwritten: {why}; --force overwrites it", path.display());
    CommandError::Unhealthy { exit: ExitStatus::Conflict, why }
}
