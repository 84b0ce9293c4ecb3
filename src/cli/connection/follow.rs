//! Follows a stream of the server (server-sent events): a line for each item, until interrupted.
//!
//! A lost connection is opened again after the last item received, so nothing is missed and nothing comes
//! twice. A permanent refusal by the server ends the command.

use std::{
    io::{BufRead, BufReader},
    time::Duration,
};

use clap::Args;
use serde_json::Value;

use super::client::ApiRequest;
use crate::cli::{
    arguments::moments::{TypedMoment, moment},
    context::CommandContext,
    failure::CommandError,
    output::{OutputFormat, PaintedLine, exact_json},
};
use tenure_http_client::backoff::Backoff;
use tenure_protocol::clock::pause;

/// How long to wait before an attempt to connect again.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// Where a stream begins.
#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    /// Only what was recorded at this moment or later, such as 10m, 03:12 or 'yesterday 3am'
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "after")]
    since: Option<TypedMoment>,

    /// Only what comes after this position or id, or after `latest`: new ones only
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
}

impl BeginArgs {
    /// Whether it was said.
    pub(crate) const fn is_said(&self) -> bool {
        self.since.is_some() || self.after.is_some()
    }

    /// The request, from there on.
    pub(crate) fn apply(
        &self,
        cli: &CommandContext,
        request: ApiRequest,
    ) -> Result<ApiRequest, CommandError> {
        let since = self.since.map(|moment| cli.past(moment)).transpose()?;
        Ok(request.query("since", since).query("after", self.after.as_ref()))
    }
}

/// Shows each item of a stream: as JSON lines, or each in words.
pub(crate) fn follow(
    cli: &CommandContext,
    request: ApiRequest,
    in_words: impl Fn(&Value) -> PaintedLine,
) -> Result<(), CommandError> {
    if cli.output.format() == OutputFormat::Json {
        return Err(CommandError::Usage("a stream has no end: use -o jsonl".to_owned()));
    }
    let mut stream = FollowedStream { request, last: None, failures: 0, was_lost: false };
    loop {
        let lost = stream.listen(cli, |item| cli.output.line(item, || in_words(item)))?;
        stream.failures += 1;
        let wait = BACKOFF.step(stream.failures);
        cli.output.info(&format!("{lost}; trying again in {} s", wait.as_secs()));
        pause(wait);
        stream.was_lost = true;
    }
}

struct FollowedStream {
    request: ApiRequest,
    /// The id that was heard last.
    last: Option<String>,
    /// In a row.
    failures: u32,
    was_lost: bool,
}

impl FollowedStream {
    /// Hands over items until the connection is lost; says how.
    fn listen(
        &mut self,
        cli: &CommandContext,
        mut take: impl FnMut(&Value) -> Result<(), CommandError>,
    ) -> Result<String, CommandError> {
        let mut request = self.request.clone().header("accept", "text/event-stream");
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last.as_str());
        }
        let body = match cli.client.stream(&request) {
            Ok(body) => body,
            Err(failure) if failure.is_passing() => return Ok(failure.to_string()),
            Err(failure) => return Err(failure),
        };
        if std::mem::take(&mut self.was_lost) {
            cli.output.info("Connected again; nothing was missed.");
        }
        let mut id = None;
        for line in BufReader::new(body).lines() {
            let Ok(line) = line else { break };
            self.failures = 0;
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(heard) = line.strip_prefix(": ") {
                self.last = Some(heard.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                let item = exact_json::read(data)
                    .ok_or_else(|| cli.client.strange(200, "an item of the stream is not JSON"))?;
                take(&item)?;
                self.last = id.take();
            }
        }
        Ok("the stream ended".to_owned())
    }
}
