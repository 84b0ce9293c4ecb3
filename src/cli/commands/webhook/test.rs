//! `tenure webhook test`

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::cli::{
    connection::client::ApiRequest, context::CommandContext, failure::CommandError, output::Column,
};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The webhook, by name, id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,
}

const COLUMNS: &[Column] = &[Column::plain("OUTCOME", "outcome"), Column::plain("STATUS", "httpStatus")];

impl Test {
    /// A receiver that does not take the message is a failure, whatever it was that failed.
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = super::find(cli, &self.webhook)?;
        let request = ApiRequest::post_without_body(&["v1", "webhooks", &id, "test"]);
        let outcome = cli.client.send(&request)?.body;
        cli.output.record(&outcome, COLUMNS, cli.now())?;
        match outcome["outcome"].as_str() {
            Some("delivered") => Ok(()),
            // What an owner reads, who may not learn how.
            Some("failed") => Err(CommandError::Server(
                "the receiver did not take the test; an admin can see why".to_owned(),
            )),
            Some(other) => Err(CommandError::Server(format!("the receiver did not take the test: {other}"))),
            None => Err(cli.client.strange(200, "the reply names no outcome")),
        }
    }
}
