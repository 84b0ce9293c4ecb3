//! `tenure webhook redeliver`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::json;

use crate::cli::{connection::client::ApiRequest, context::CommandContext, failure::CommandError};

#[derive(Debug, Args)]
pub(crate) struct RedeliverArgs {
    /// The webhook, by name, id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,

    /// The first position to deliver again, parked and delivered notices alike
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
}

impl RedeliverArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = super::find(cli, &self.webhook)?;
        let path = ["v1", "webhooks", &id, "redeliver"];
        cli.show(&ApiRequest::post(&path, json!({ "from": self.from })), &[])
    }
}
