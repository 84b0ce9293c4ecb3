//! What every client command has: a server to ask, a place to print, the time, and the options shared by some.

use std::path::{Path, PathBuf};

use clap::{Args, builder::FalseyValueParser};
use serde_json::{Map, Value};
use url::Url;

use super::{
    arguments::{
        flags::{AddressSource, TypedWords},
        moments::{TypedMoment, moment},
    },
    connection::client::{ApiClient, ApiRequest, checked_url},
    contexts::{self, SavedContext},
    environment,
    failure::CommandError,
    files::{secret::Secret, secret_file},
    output::{Column, Output, OutputArg, humanize},
};
use tenure_core::{Seconds, Timestamp, time::InvalidDuration};
use tenure_http_client::outbound::{PlaintextPolicy, UnencryptedUrl};

/// Where `tenure serve` listens by default.
const DEFAULT_URL: &str = "http://127.0.0.1:7300";

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Server, or TENURE_URL [default: http://127.0.0.1:7300]
    #[arg(long, global = true, hide = true, value_name = "URL", env = "TENURE_URL", value_parser = given_url)]
    url: Option<String>,

    /// API key, or TENURE_KEY; process lists show it
    #[arg(long, global = true, hide = true, value_name = "KEY", env = "TENURE_KEY", hide_env_values = true)]
    key: Option<Secret>,

    /// File with the API key; wins over TENURE_KEY
    #[arg(long, global = true, hide = true, value_name = "FILE")]
    key_file: Option<PathBuf>,

    /// Context, or TENURE_CONTEXT: a server and its key file
    #[arg(long, global = true, hide = true, value_name = "NAME", env = "TENURE_CONTEXT")]
    context: Option<String>,

    /// Send keys and tokens unencrypted to http:// hosts
    #[arg(long, global = true, hide = true, env = "TENURE_ALLOW_PLAINTEXT", value_parser = FalseyValueParser::new())]
    allow_plaintext: bool,

    /// Form of the data on stdout
    #[arg(short, long, global = true, hide = true, value_name = "FORM", value_enum, default_value_t)]
    output: OutputArg,

    /// Use no colours; NO_COLOR and TERM=dumb do the same
    #[arg(long, global = true, hide = true)]
    no_color: bool,

    /// Show and read times in UTC, also on a terminal
    #[arg(long, global = true, hide = true)]
    utc: bool,
}

/// For clap: an address. A variable that is there and empty names none.
fn given_url(text: &str) -> Result<String, String> {
    match environment::url().filter(|url| url == text) {
        Some(url) if url.is_empty() => Ok(url),
        Some(_) => checked_url(text).map_err(|error| format!("{error}; it is of TENURE_URL")),
        None => checked_url(text).map_err(|error| error.to_string()),
    }
}

impl GlobalArgs {
    /// Where to print.
    pub(crate) fn output(&self) -> Output {
        Output::of(self.output, !self.no_color && environment::wants_colors())
    }

    /// Puts the time zone in force; before anything is read or shown.
    pub(crate) fn apply_time_zone(&self) {
        if self.utc {
            environment::use_utc();
        }
    }

    /// The server and the rest; reads the key file.
    pub(crate) fn context(&self) -> Result<CommandContext, CommandError> {
        let place = self.place()?;
        let client = ApiClient::new(&place.url, self.key(&place)?, self.plaintext())?;
        Ok(CommandContext { client, output: self.output() })
    }

    /// A client of the node at this address, which is one of the authority that the key is for.
    pub(crate) fn client_of(&self, url: &str) -> Result<ApiClient, CommandError> {
        let key = self.key(&self.place()?)?;
        ApiClient::new(url, key, self.plaintext())
    }

    /// The name of the context in use; `None` if the server was named.
    pub(crate) fn context_name(&self) -> Result<Option<String>, CommandError> {
        Ok(self.saved_context()?.map(|(name, _)| name))
    }

    /// The key file that was named.
    pub(crate) fn typed_key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }

    /// The context that applies. A server that was named needs none, and a key is for its own server only.
    fn saved_context(&self) -> Result<Option<(String, SavedContext)>, CommandError> {
        let name = self.context.as_deref().filter(|name| !name.is_empty());
        if self.url().is_some() && name.is_none() { Ok(None) } else { contexts::find(name) }
    }

    /// Where the address came from of a server that gave no answer; `None` if these options did not name it.
    pub(crate) fn source_of(&self, url: &str, typed: &TypedWords) -> Option<AddressSource> {
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        if bare(&self.place().ok()?.url) != bare(url) {
            return typed.has("--session-file").then_some(AddressSource::Named("the session file"));
        }
        Some(match self.url() {
            Some(_) if typed.has("--url") => AddressSource::Named("--url"),
            Some(_) => AddressSource::Named("TENURE_URL"),
            None => self.context_name().ok()?.map_or(AddressSource::Default, AddressSource::Context),
        })
    }

    fn place(&self) -> Result<SavedContext, CommandError> {
        let kept = self.saved_context()?.map(|(_, place)| place);
        Ok(match (self.url(), kept) {
            (Some(url), Some(place)) if url == place.url => place,
            (Some(url), _) => SavedContext { url: url.to_owned(), key_file: None },
            (None, Some(place)) => place,
            (None, None) => SavedContext { url: DEFAULT_URL.to_owned(), key_file: None },
        })
    }

    /// Host and port of the server, and the key: for a benchmark, which has a client of its own.
    pub(crate) fn server(&self) -> Result<(String, Secret), CommandError> {
        let place = self.place()?;
        let host = place.url.strip_prefix("http://").filter(|host| host.contains(':') && !host.contains('/'));
        let host = host.ok_or_else(|| CommandError::Usage("--url: must be http://HOST:PORT here".into()))?;
        let permitted = Url::parse(&place.url).is_ok_and(|url| self.plaintext().permits(&url).is_ok());
        if !permitted {
            return Err(CommandError::Usage(format!("--url: {UnencryptedUrl}; or give --allow-plaintext")));
        }
        let key = self
            .key(&place)?
            .ok_or_else(|| CommandError::Usage("an admin's key is needed: see --key-file".into()))?;
        Ok((host.to_owned(), key))
    }

    /// The server that was named.
    pub(crate) fn named(&self) -> NamedServer<'_> {
        NamedServer { url: self.url(), plaintext: self.plaintext() }
    }

    fn url(&self) -> Option<&str> {
        self.url.as_deref().filter(|url| !url.is_empty())
    }

    fn plaintext(&self) -> PlaintextPolicy {
        if self.allow_plaintext { PlaintextPolicy::Allowed } else { PlaintextPolicy::Refused }
    }

    fn key(&self, place: &SavedContext) -> Result<Option<Secret>, CommandError> {
        let given = self.key.clone().filter(|key| !key.is_empty());
        let read = |path: &Path, named: &str| match secret_file::read(path) {
            Err(CommandError::File { path, source }) => {
                Err(CommandError::Usage(format!("{named} {}: {source}", path.display())))
            }
            read => read.map(Some),
        };
        match (&self.key_file, given, &place.key_file) {
            (Some(path), _, _) => read(path, "--key-file"),
            (None, None, Some(path)) => read(path, "the context's key file"),
            (None, given, _) => Ok(given),
        }
    }
}

/// The server that was named, for commands that a session file names one otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedServer<'a> {
    /// Its address; `None` if the default applies.
    pub url: Option<&'a str>,
    /// Whether keys and tokens may be sent to it unencrypted.
    pub plaintext: PlaintextPolicy,
}

/// What a client command works with.
#[derive(Debug)]
pub(crate) struct CommandContext {
    /// The server.
    pub client: ApiClient,
    /// Where to print.
    pub output: Output,
}

impl CommandContext {
    /// Asks, and shows the reply as one thing.
    pub(crate) fn show(&self, request: &ApiRequest, columns: &[Column]) -> Result<(), CommandError> {
        let record = self.client.send(request)?.body;
        self.output.record(&record, columns, self.time_of(&record))
    }

    /// The same for an end, whose reason may not have been kept.
    pub(crate) fn show_end(&self, request: &ApiRequest, columns: &[Column]) -> Result<(), CommandError> {
        let record = self.client.send(request)?.body;
        if record["reasonRecorded"] == false {
            self.output
                .info("It has ended, but no reason could be recorded with it: the server's log says why.");
        }
        self.output.record(&record, columns, self.time_of(&record))
    }

    /// The time that a reply speaks of: its own if it says one (a look into the past), else now.
    pub(crate) fn time_of(&self, reply: &Value) -> Timestamp {
        reply["asOfTime"].as_str().and_then(Timestamp::parse).unwrap_or_else(|| self.now())
    }

    /// The same, asked for when no reply has said it yet: the server's clock may be a test's.
    pub(crate) fn now_there(&self) -> Result<Timestamp, CommandError> {
        if self.client.server_time().is_none() {
            self.client.send(&ApiRequest::get(&["healthz"]))?;
        }
        Ok(self.now())
    }

    /// A moment that looks back, by the server's clock.
    pub(crate) fn past(&self, moment: TypedMoment) -> Result<Timestamp, CommandError> {
        let now = if moment.is_relative() { self.now_there()? } else { self.now() };
        Ok(moment.past(now))
    }

    /// A moment that looks ahead, by the server's clock.
    pub(crate) fn coming(&self, moment: TypedMoment) -> Result<Timestamp, CommandError> {
        let now = if moment.is_relative() { self.now_there()? } else { self.now() };
        Ok(moment.coming(now))
    }

    /// What time it is by the server's last reply, and by this host before there is one; for words only.
    pub(crate) fn now(&self) -> Timestamp {
        self.client.server_time().unwrap_or_else(environment::now)
    }
}

/// How a destructive command is held back.
#[derive(Debug, Args)]
pub(crate) struct CautionArgs {
    /// Show the effect, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

impl CautionArgs {
    /// Asks, unless `--yes` was given. Without a terminal to ask on, nothing is done.
    pub(crate) fn ask(
        &self,
        output: Output,
        question: impl FnOnce() -> Result<String, CommandError>,
    ) -> Result<(), CommandError> {
        if self.yes {
            return Ok(());
        }
        let question = question()?;
        match output.confirm(&question) {
            Some(true) => Ok(()),
            Some(false) => Err(CommandError::Declined),
            None => {
                Err(CommandError::Usage(format!("{question} There is no terminal to ask on: give --yes")))
            }
        }
    }
}

/// A look into the past.
#[derive(Debug, Args)]
#[command(next_help_heading = "Time travel")]
pub(crate) struct AsOf {
    /// Answer as of this moment, such as 03:12, 'yesterday 3am', '30m ago' or 2026-11-21T01:35:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "as_of_position")]
    as_of: Option<TypedMoment>,

    /// Answer as of the event at this position; 0 is the empty log
    #[arg(long, value_name = "N")]
    as_of_position: Option<u64>,
}

impl AsOf {
    /// Whether a moment or a position was given.
    pub(crate) const fn is_said(&self) -> bool {
        self.as_of.is_some() || self.as_of_position.is_some()
    }

    /// The request, asked of the past.
    pub(crate) fn apply(
        &self,
        cli: &CommandContext,
        request: ApiRequest,
    ) -> Result<ApiRequest, CommandError> {
        let as_of = self.as_of.map(|moment| cli.past(moment)).transpose()?;
        Ok(request.query("asOf", as_of).query("asOfPosition", self.as_of_position))
    }
}

/// For clap: a length of time.
pub(crate) fn span(text: &str) -> Result<Seconds, InvalidDuration> {
    humanize::parse_duration(text)
}

/// A JSON object of those fields that have a value.
pub(crate) fn fields<const N: usize>(all: [(&str, Option<Value>); N]) -> Map<String, Value> {
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
