//! `tenure webhook remove`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use super::COLUMNS;
use crate::cli::{
    connection::client::ApiRequest,
    context::{CautionArgs, CommandContext},
    failure::CommandError,
};

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The webhook, by name, id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,

    #[command(flatten)]
    caution: CautionArgs,
}

impl RemoveArgs {
    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        self.webhook = super::find(cli, &self.webhook)?;
        if self.caution.dry_run {
            return self.preview(cli);
        }
        self.caution.ask(cli.output, || self.question(cli))?;
        cli.show(&ApiRequest::delete(&["v1", "webhooks", &self.webhook]), COLUMNS)
    }

    fn preview(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let found = self.found(cli)?;
        cli.output.info("This webhook would be removed:");
        cli.output.record(&found, COLUMNS, cli.now())
    }

    fn question(&self, cli: &CommandContext) -> Result<String, CommandError> {
        let found = self.found(cli)?;
        let owner = found["ownerId"].as_str().map(|owner| format!(" of owner {owner}")).unwrap_or_default();
        let name = found["name"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
        let url = found["url"].as_str().unwrap_or_default();
        Ok(format!("Remove webhook {}{name}{owner} to {url}?", self.webhook))
    }

    fn found(&self, cli: &CommandContext) -> Result<Value, CommandError> {
        Ok(cli.client.send(&ApiRequest::get(&["v1", "webhooks", &self.webhook]))?.body)
    }
}
