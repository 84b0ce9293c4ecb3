//! `tenure webhook show`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::WITH_HEALTH;
use crate::cli::{connection::client::ApiRequest, context::CommandContext, failure::CommandError};

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The webhook, by name, id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,
}

impl ShowArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = super::find(cli, &self.webhook)?;
        cli.show(&ApiRequest::get(&["v1", "webhooks", &id]), WITH_HEALTH)
    }
}
