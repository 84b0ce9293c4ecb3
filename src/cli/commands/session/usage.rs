//! `tenure session usage`
//!
//! A use always carries an idempotency key: after a lost reply, a repeat under it counts once.

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::cli::{
    connection::client::ApiRequest,
    context::{CommandContext, NamedServer},
    environment,
    failure::CommandError,
    files::{secret_file, session_file},
    output::{Column, OutputFormat},
};
use tenure_core::{Amount, Timestamp};
use tenure_protocol::wire::NewUse;

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// The session's id
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new(),
        conflicts_with = "session_file")]
    session: Option<String>,

    /// What is done, 1 to 128 characters
    #[arg(long)]
    operation: String,

    /// What it costs, such as 12.50; required by a session with a limit on amounts
    #[arg(long)]
    amount: Option<Amount>,

    /// Its destination, 1 to 256 characters; required by a session with a list of destinations
    #[arg(long)]
    destination: Option<String>,

    /// File with the session's token, to ask by it instead of the API key
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Session file, or TENURE_SESSION_FILE, to ask by its token. It names the session and the server
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    session_file: Option<PathBuf>,

    /// Name of this use: a repeat under it counts once [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::plain("TRANSACTIONS", "transactions"),
    Column::plain("TOTAL", "totalAmount"),
    Column::moment("LAST", "lastAt"),
];

impl UsageArgs {
    pub(crate) fn run(mut self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        let key = self.idempotency_key.take().unwrap_or_else(environment::unique);
        let token = self.token_file.take().map(|path| secret_file::read(&path)).transpose()?;
        let (session, held) = if let Some(session) = self.session.take() {
            (session, None)
        } else {
            let named_file = self.session_file.take();
            let path = named_file.map_or_else(|| session_file::of_this_run("give ID, --session-file"), Ok)?;
            let held = session_file::open_session(named, &path)?;
            (held.session.clone(), Some(held))
        };
        let request = self.request(&session, &key);
        let send = |request: &ApiRequest| match (&held, &token) {
            (Some(held), _) => held.client.send_as(&held.token, request),
            (None, Some(token)) => cli.client.send_as(token, request),
            (None, None) => cli.client.send(request),
        };
        // For people: what is left is what they decide by.
        let tell_budget = || {
            if cli.output.format() == OutputFormat::Table
                && let Ok(reply) = send(&ApiRequest::get(&["v1", "sessions", &session]))
                && let Some(budget) = super::budget(&reply.body)
            {
                cli.output.info(&format!("{budget}."));
            }
        };
        let reply = send(&request).inspect_err(|failure| {
            if failure.problem().is_some_and(|problem| problem.code == "CONSTRAINT_VIOLATED") {
                tell_budget();
            }
            if failure.leaves_it_open() {
                cli.output.hint(&format!("To repeat without a second use: --idempotency-key {key}"));
            }
        })?;
        let usage = &reply.body["usage"];
        // Nothing is newer than the use itself: the words count from there, on any clock.
        let then = usage["lastAt"].as_str().and_then(Timestamp::parse).unwrap_or_else(|| cli.now());
        cli.output.record(usage, COLUMNS, then)?;
        tell_budget();
        Ok(())
    }

    fn request(self, session: &str, key: &str) -> ApiRequest {
        let body = NewUse { operation: self.operation, amount: self.amount, destination: self.destination };
        let path = ["v1", "sessions", session, "usage"];
        ApiRequest::post(&path, body).idempotency_key(key.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::cli::{
        connection::{client::ApiClient, fake_server},
        files::secret::Secret,
        output::{Output, OutputArg},
    };
    use tenure_http_client::outbound::PlaintextPolicy;

    #[derive(Parser)]
    struct TestLine {
        #[command(flatten)]
        usage: UsageArgs,
    }

    fn run(url: &str, words: &[&str]) -> Result<(), CommandError> {
        let context = CommandContext {
            client: ApiClient::new(url, Some(Secret::new("tnr_key_1")), PlaintextPolicy::Refused).unwrap(),
            output: Output::of(OutputArg::Jsonl, false),
        };
        let words = ["usage", "s1", "--operation", "pay"].iter().chain(words);
        TestLine::try_parse_from(words)
            .unwrap()
            .usage
            .run(&context, NamedServer { url: None, plaintext: PlaintextPolicy::Refused })
    }

    #[test]
    fn a_use_is_asked_for_by_the_key_or_by_the_token_in_a_file_and_always_under_a_name() {
        let used = r#"{"usage":{"transactions":1,"totalAmount":"12.5","lastAt":null}}"#;
        let (url, asked) = fake_server::answering(vec![Some(("200 OK", used)), Some(("200 OK", used))]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        fs::write(&file, "tnr_sess_1\n").unwrap();
        run(&url, &["--amount", "12.50", "--idempotency-key", "order-7"]).unwrap();
        run(&url, &["--token-file", file.to_str().unwrap()]).unwrap();
        let asked = asked.join().unwrap();
        assert!(asked.iter().all(|request| request.starts_with("post /v1/sessions/s1/usage ")), "{asked:?}");
        assert!(
            asked[0].contains("bearer tnr_key_1\r\n") && asked[0].contains("idempotency-key: order-7\r\n")
        );
        assert!(asked[1].contains("bearer tnr_sess_1\r\n") && asked[1].contains("idempotency-key: "));
    }

    #[test]
    fn an_amount_is_a_decimal_number() {
        for wrong in ["-1", "1e3", "1,5", ""] {
            let words = ["usage", "s1", "--operation", "pay", "--amount", wrong];
            assert!(TestLine::try_parse_from(words).is_err(), "{wrong}");
        }
    }
}
