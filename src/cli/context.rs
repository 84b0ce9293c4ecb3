//! What every client command has: a server to ask, a place to print, the time, and the options shared by some.

use std::path::PathBuf;

use clap::{Args, builder::FalseyValueParser};
use serde_json::{Map, Value};

use super::{
    ambient,
    client::{Client, Request, checked_url},
    failure::Failure,
    output::{Column, Format, Output},
    secret::Secret,
    secret_file, words,
};
use crate::domain::{Seconds, Timestamp};

/// Where `tenure serve` listens when nothing else is said.
const DEFAULT_URL: &str = "http://127.0.0.1:7300";

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the server [default: http://127.0.0.1:7300, or what a session file names]
    #[arg(long, global = true, value_name = "URL", env = "TENURE_URL", value_parser = checked_url)]
    url: Option<String>,

    /// API key to show to the server; a process list shows it too, so prefer --key-file
    #[arg(long, global = true, value_name = "KEY", env = "TENURE_KEY", hide_env_values = true)]
    key: Option<Secret>,

    /// File that holds the API key, such as DATA/admin.key; wins over TENURE_KEY
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Form of the data on stdout
    #[arg(short, long, global = true, value_name = "FORM", value_enum, default_value_t)]
    output: Format,

    /// Use no colours, even on a terminal
    #[arg(long, global = true, hide = true, env = "NO_COLOR", value_parser = FalseyValueParser::new())]
    no_color: bool,
}

impl Global {
    /// Where to print.
    pub(crate) const fn output(&self) -> Output {
        Output::new(self.output, !self.no_color)
    }

    /// The server and the rest; reads the key file.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let client = Client::new(self.url(), self.key()?)?;
        Ok(Context { client, output: self.output(), now: ambient::now() })
    }

    /// Host and port of the server, and the key: for a benchmark, which has a client of its own.
    pub(crate) fn server(&self) -> Result<(String, Secret), Failure> {
        let host =
            self.url().strip_prefix("http://").filter(|host| host.contains(':') && !host.contains('/'));
        let host = host.ok_or_else(|| Failure::Usage("--url: must be http://HOST:PORT here".into()))?;
        let key =
            self.key()?.ok_or_else(|| Failure::Usage("an admin's key is needed: see --key-file".into()))?;
        Ok((host.to_owned(), key))
    }

    /// The address that was named; none when the default applies.
    pub(crate) fn named_url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    fn url(&self) -> &str {
        self.named_url().unwrap_or(DEFAULT_URL)
    }

    fn key(&self) -> Result<Option<Secret>, Failure> {
        match &self.key_file {
            Some(path) => secret_file::read(path).map(Some),
            None => Ok(self.key.clone().filter(|key| !key.is_empty())),
        }
    }
}

/// What a client command works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The server.
    pub client: Client,
    /// Where to print.
    pub output: Output,
    /// The local time when the command began; for words only.
    pub now: Timestamp,
}

impl Context {
    /// Asks, and shows the reply as one thing.
    pub(crate) fn show(&self, request: &Request, columns: &[Column]) -> Result<(), Failure> {
        let record = self.client.send(request)?.body;
        self.output.record(&record, columns, self.time_of(&record))
    }

    /// The time that a reply speaks of: its own if it says one (a look into the past, a test clock), else now.
    pub(crate) fn time_of(&self, reply: &Value) -> Timestamp {
        reply["asOfTime"].as_str().and_then(Timestamp::parse).unwrap_or(self.now)
    }
}

/// How a destructive command is held back.
#[derive(Debug, Args)]
pub(crate) struct Caution {
    /// Show what would end, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

impl Caution {
    /// Asks, unless told not to.
    pub(crate) fn ask(&self, output: Output, question: &str) -> Result<(), Failure> {
        if self.yes || output.confirm(question) { Ok(()) } else { Err(Failure::Declined) }
    }
}

/// A look into the past.
#[derive(Debug, Args)]
#[command(next_help_heading = "Time travel")]
pub(crate) struct AsOf {
    /// Answer as of this moment (RFC 3339, such as 2026-11-21T01:35:00Z)
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "as_of_position")]
    as_of: Option<Timestamp>,

    /// Answer as of the event at this position; 0 is the empty log
    #[arg(long, value_name = "N")]
    as_of_position: Option<u64>,
}

impl AsOf {
    /// The request, asked of the past.
    pub(crate) fn apply(&self, request: Request) -> Request {
        request.query("asOf", self.as_of).query("asOfPosition", self.as_of_position)
    }
}

/// For clap: a moment.
pub(crate) fn moment(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("must be an RFC 3339 time with an offset, such as 2026-11-21T01:35:00Z")
}

/// For clap: a length of time.
pub(crate) fn span(text: &str) -> Result<Seconds, words::InvalidDuration> {
    words::parse_duration(text)
}

/// A JSON object of those fields that have a value.
pub(crate) fn fields<const N: usize>(all: [(&str, Option<Value>); N]) -> Map<String, Value> {
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
