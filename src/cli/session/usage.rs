//! `tenure session usage`
//!
//! A use always carries an idempotency key: whoever lost the reply asks again under it, and it counts once.

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use crate::{
    cli::{
        ambient,
        client::{Reply, Request},
        context::{Context, fields},
        failure::Failure,
        output::Column,
        secret::Secret,
        secret_file,
    },
    domain::Amount,
};

/// Arguments of `tenure session usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// The session's id
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    session: String,

    /// What is done, 1 to 128 characters
    #[arg(long)]
    operation: String,

    /// What it costs, such as 12.50; required by a session with a limit on amounts
    #[arg(long)]
    amount: Option<Amount>,

    /// Whom or what it is done to, 1 to 256 characters; required by a session with a list of destinations
    #[arg(long)]
    destination: Option<String>,

    /// File with the session's token, to ask by it instead of the API key
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,

    /// Name of this use: a repeat under it counts once [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column::plain("TRANSACTIONS", "transactions"),
    Column::plain("TOTAL", "totalAmount"),
    Column::moment("LAST", "lastAt"),
];

impl Usage {
    pub(crate) fn run(mut self, cli: &Context) -> Result<(), Failure> {
        let key = self.idempotency_key.take().unwrap_or_else(ambient::unique);
        let token = self.token_file.take().map(|path| secret_file::read(&path)).transpose()?;
        let request = self.request(&key);
        let reply = send(cli, token.as_ref(), &request).inspect_err(|failure| {
            if failure.leaves_it_open() {
                cli.output.hint(&format!("To repeat without a second use: --idempotency-key {key}"));
            }
        })?;
        let usage = &reply.body["usage"];
        cli.output.record(usage, COLUMNS, cli.time_of(usage))
    }

    fn request(self, key: &str) -> Request {
        let amount = self.amount.map(|amount| json!(amount));
        let body = fields([
            ("operation", Some(self.operation.into())),
            ("amount", amount),
            ("destination", self.destination.map(Value::from)),
        ]);
        let path = ["v1", "sessions", &self.session, "usage"];
        Request::post(&path, body.into()).idempotency_key(key.to_owned())
    }
}

fn send(cli: &Context, token: Option<&Secret>, request: &Request) -> Result<Reply, Failure> {
    match token {
        Some(token) => cli.client.send_as(token, request),
        None => cli.client.send(request),
    }
}
