//! `tenure session create`

use std::path::{Path, PathBuf};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Map, Value, value::RawValue};

use super::{DETAILS, token_in, without_token};
use crate::cli::{
    arguments::find,
    connection::client::ApiRequest,
    context::{CommandContext, NamedServer, fields, span},
    environment,
    failure::CommandError,
    files::{overwrite, session_file},
};
use tenure_client::TokenFile;
use tenure_core::{Seconds, SubjectId, Timestamp};

#[derive(Debug, Args)]
#[command(after_help = "Durations are seconds, or such as 90m, 24h, 7d.")]
pub(crate) struct CreateArgs {
    /// Whose session it is: a subject, by id or name
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    #[command(flatten)]
    terms: TermsArgs,

    /// Write the token to this file, for its owner only (0600), instead of showing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Write a session file, for programs that keep the session renewed: see `tenure run`
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    session_file: Option<PathBuf>,

    /// Overwrite the file although it holds a live session, or something else
    #[arg(long)]
    force: bool,

    /// Name of this request: a repeat under it gets the same session [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// What a session is asked to be.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "terms", multiple = true)]
pub(crate) struct TermsArgs {
    /// How long a period lasts, 300 s to 7d [default: the server's session.ttl, 24h]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    ttl: Option<Seconds>,

    /// Maximum number of renewals, 0 to 100 [default: session.max_renewals, 30]
    #[arg(long, value_name = "N")]
    max_renewals: Option<u32>,

    /// Its hard end, counted from now [default: session.absolute_lifetime, 30d]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    absolute_lifetime: Option<Seconds>,

    /// How long after a renewal its end counts as a veto [default: 1h]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    renewal_reject_window: Option<Seconds>,

    /// End it after this time without use, 60s to 24h [default: session.idle_timeout; 30m when sliding]
    #[arg(long, value_name = "DURATION", value_parser = span)]
    idle_timeout: Option<Seconds>,

    /// How it is kept alive: by renewals, or by use behind a proxy [default: fixed]
    #[arg(long, value_parser = ["fixed", "sliding"])]
    mode: Option<String>,

    /// When a replaced token comes back: refuse it, or also end the session once the newer one is used [default:
    /// renewal.on_reuse; revoke with `tenure run`]
    #[arg(long, value_parser = ["reject", "revoke"])]
    on_reuse: Option<String>,

    /// Device of the session, 1 to 128 characters
    #[arg(long)]
    device: Option<String>,

    /// Scope of the session; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,

    /// Data to keep with it: a JSON object of at most 4 KiB
    #[arg(long, value_name = "JSON", value_parser = written_object)]
    metadata: Option<Box<RawValue>>,

    /// Limits on its use: a JSON object such as {"maxTransactions": 10}, or the name of a file with one
    #[arg(long, value_name = "JSON|FILE", value_parser = object_or_file)]
    constraints: Option<Value>,
}

impl CreateArgs {
    pub(crate) fn run(self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        if !self.force {
            self.check_files(cli, named)?;
        }
        let key = self.idempotency_key.unwrap_or_else(environment::unique);
        let idles = self.terms.idles();
        let subject = subject(cli, &self.subject)?;
        let wanted = WantedSession { cli, terms: self.terms, subject, key };
        match (self.token_file, self.session_file) {
            (Some(path), _) => to_file(&wanted, &path),
            (None, Some(path)) => to_session_file(&wanted, &path),
            (None, None) => show(cli, &wanted.ask()?),
        }?;
        if idles {
            cli.output.info("Without use it ends before expiresAt, after its idle timeout.");
        }
        Ok(())
    }

    fn check_files(&self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        self.token_file.as_ref().map_or(Ok(()), |path| overwrite::check_token_file(cli, path))?;
        self.session_file.as_ref().map_or(Ok(()), |path| overwrite::check_session_file(named, path))
    }
}

impl TermsArgs {
    /// The device that the session is to belong to.
    pub(crate) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Whether it is kept alive by use behind a proxy, and cannot be renewed.
    pub(crate) fn is_sliding(&self) -> bool {
        self.mode.as_deref() == Some("sliding")
    }

    /// The same, ending when two holders have shown themselves, unless it was asked for otherwise.
    pub(crate) fn noticing_theft(mut self) -> Self {
        self.on_reuse.get_or_insert_with(|| "revoke".to_owned());
        self
    }

    /// Whether it was asked to end without use: then its period says too little.
    fn idles(&self) -> bool {
        self.idle_timeout.is_some() || self.is_sliding()
    }

    /// The request for such a session.
    pub(crate) fn request(mut self, subject: &SubjectId) -> ApiRequest {
        let metadata = self.metadata.take();
        ApiRequest::post(&["v1", "sessions"], self.body(subject)).member("metadata", metadata)
    }

    fn body(self, subject: &SubjectId) -> Map<String, Value> {
        let seconds = |span: Option<Seconds>| span.map(|span| Value::from(span.0));
        fields([
            ("subjectId", Some(subject.as_str().into())),
            ("ttl", seconds(self.ttl)),
            ("maxRenewals", self.max_renewals.map(Value::from)),
            ("absoluteLifetime", seconds(self.absolute_lifetime)),
            ("renewalRejectWindow", seconds(self.renewal_reject_window)),
            ("idleTimeout", seconds(self.idle_timeout)),
            ("mode", self.mode.map(Value::from)),
            ("onReuse", self.on_reuse.map(Value::from)),
            ("device", self.device.map(Value::from)),
            ("scopes", (!self.scopes.is_empty()).then(|| self.scopes.into())),
            ("constraints", self.constraints),
        ])
    }
}

/// The file is made ready before the request leaves, so that no token arrives that cannot be kept.
fn to_file(wanted: &WantedSession<'_>, path: &Path) -> Result<(), CommandError> {
    let cli = wanted.cli;
    let locked = TokenFile::at(path).lock()?;
    locked.prepare()?;
    let reply = wanted.ask()?;
    let (token, id) = token_in(&cli.client, &reply)?;
    locked.write(&token, id)?;
    show(cli, &without_token(reply))?;
    cli.output.info(&format!("The token is in {}.", path.display()));
    Ok(())
}

fn to_session_file(wanted: &WantedSession<'_>, path: &Path) -> Result<(), CommandError> {
    let cli = wanted.cli;
    let locked = session_file::locked(path)?;
    let reply = wanted.ask()?;
    session_file::keep(cli, &locked, &reply)?;
    show(cli, &without_token(reply))?;
    cli.output.info(&format!("The session is in {}.", path.display()));
    Ok(())
}

/// The subject that was typed. What can be an id is sent as one first.
fn subject(cli: &CommandContext, typed: &str) -> Result<SubjectId, CommandError> {
    if let Ok(id) = typed.parse() {
        return Ok(id);
    }
    let missing = || CommandError::Missing(format!("no subject \"{typed}\"; tenure subject list shows them"));
    find::subject_of_name(cli, typed)?.ok_or_else(missing)
}

/// A session that is asked for.
struct WantedSession<'a> {
    cli: &'a CommandContext,
    terms: TermsArgs,
    subject: SubjectId,
    key: String,
}

impl WantedSession<'_> {
    /// A name can look like an id: where no subject has it as its id, one may have it as its name.
    fn ask(&self) -> Result<Value, CommandError> {
        let refused = match self.send(&self.subject) {
            Err(failure) => failure,
            created => return created,
        };
        match refused.problem().map(|problem| problem.code.as_str()) {
            Some("SUBJECT_NOT_FOUND") => match find::subject_of_name(self.cli, self.subject.as_str())? {
                Some(id) => self.send(&id),
                None => Err(refused),
            },
            Some("SUBJECT_SUSPENDED") => Err(self.with_suspension(refused)),
            Some(_) | None => Err(refused),
        }
    }

    fn send(&self, subject: &SubjectId) -> Result<Value, CommandError> {
        let request = self.terms.clone().request(subject).idempotency_key(self.key.clone());
        self.cli.client.send(&request).map(|reply| reply.body).inspect_err(|failure| {
            if failure.leaves_it_open() {
                let hint = format!("To repeat without a second session: --idempotency-key {}", self.key);
                self.cli.output.hint(&hint);
            }
        })
    }

    /// The same refusal with whom it is about, until when, and why.
    fn with_suspension(&self, refused: CommandError) -> CommandError {
        let path = ["v1", "subjects", self.subject.as_str()];
        let found =
            self.cli.client.send(&ApiRequest::get(&path)).map(|reply| reply.body["suspension"].clone());
        let suspension = found.unwrap_or_default();
        let until = suspension["until"].as_str().map_or_else(|| "it is resumed".to_owned(), str::to_owned);
        let reason =
            suspension["reason"].as_str().map(|reason| format!(": \"{reason}\"")).unwrap_or_default();
        refused.about(format!("subject {} is suspended until {until}{reason}", self.subject))
    }
}

fn show(cli: &CommandContext, reply: &Value) -> Result<(), CommandError> {
    // Nothing is newer than the session itself: the words count from there, on any clock.
    let born = reply["createdAt"].as_str().and_then(Timestamp::parse).unwrap_or_else(|| cli.now());
    cli.output.record_with_secret(reply, "token", DETAILS, born)
}

/// For clap: a JSON object.
fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err("must be a JSON object, such as {\"job\": 7}".to_owned()),
        Err(error) => Err(format!("is not JSON: {error}")),
    }
}

/// For clap: a JSON object, as it was written.
fn written_object(text: &str) -> Result<Box<RawValue>, String> {
    object(text)?;
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}

/// For clap: a JSON object, or the name of a file that holds one. No file's name begins with a brace here.
fn object_or_file(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return object(text);
    }
    let read = std::fs::read_to_string(text);
    object(&read.map_err(|error| format!("is neither a JSON object nor a file that can be read: {error}"))?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct TestLine {
        #[command(flatten)]
        create: CreateArgs,
    }

    fn body(words: &[&str]) -> Value {
        let create = TestLine::try_parse_from(words).unwrap().create;
        let text = create.terms.request(&create.subject.parse().unwrap()).body_text().unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_session_asks_for_nothing_but_what_was_typed() {
        assert_eq!(body(&["create", "agent-7"]), json!({"subjectId": "agent-7"}));
    }

    #[test]
    fn durations_become_seconds_and_scopes_a_list() {
        let words = "create a --ttl 90m --absolute-lifetime 7d --max-renewals 0 --scope read --scope write";
        assert_eq!(
            body(&words.split(' ').collect::<Vec<_>>()),
            json!({"subjectId": "a", "ttl": 5400, "absoluteLifetime": 604_800, "maxRenewals": 0,
                   "scopes": ["read", "write"]})
        );
    }

    #[test]
    fn a_sliding_session_says_so_and_when_it_is_idle() {
        assert_eq!(
            body(&["create", "a", "--mode", "sliding", "--idle-timeout", "20m"]),
            json!({"subjectId": "a", "mode": "sliding", "idleTimeout": 1200})
        );
        assert!(TestLine::try_parse_from(["create", "a", "--mode", "rolling"]).is_err());
    }

    #[test]
    fn constraints_are_an_object_or_the_file_of_one() {
        let constraints = json!({"maxTotalAmount": "12.50", "allowedOperations": ["pay"]});
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("limits.json");
        std::fs::write(&file, constraints.to_string()).unwrap();
        for given in [&constraints.to_string(), file.to_str().unwrap()] {
            assert_eq!(body(&["create", "a", "--constraints", given])["constraints"], constraints);
        }
        std::fs::write(&file, "[1]").unwrap();
        for wrong in [file.to_str().unwrap(), "[1]", "{", "/nowhere/limits.json"] {
            assert!(TestLine::try_parse_from(["create", "a", "--constraints", wrong]).is_err(), "{wrong}");
        }
    }

    /// An account number went out as a float that named another account.
    #[test]
    fn the_numbers_of_metadata_go_out_with_their_digits() {
        let metadata = r#"{"account":12345678901234567890123,"rate":1.10}"#;
        let create = TestLine::try_parse_from(["create", "a", "--metadata", metadata]).unwrap().create;
        let text = create.terms.request(&create.subject.parse().unwrap()).body_text().unwrap();
        assert_eq!(text, format!(r#"{{"subjectId":"a","metadata":{metadata}}}"#));
    }

    #[test]
    fn metadata_is_an_object() {
        assert_eq!(body(&["create", "a", "--metadata", "{\"k\": [1]}"])["metadata"], json!({"k": [1]}));
        for wrong in ["[1]", "k=v", "null"] {
            assert!(TestLine::try_parse_from(["create", "a", "--metadata", wrong]).is_err(), "{wrong}");
        }
    }
}
