//! `tenure webhook deliveries`

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::cli::{
    connection::{client::ApiRequest, pages::CursorArgs},
    context::CommandContext,
    failure::CommandError,
    output::Column,
};

#[derive(Debug, Args)]
pub(crate) struct DeliveriesArgs {
    /// The webhook, by name, id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,

    #[command(flatten)]
    page: CursorArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("NOTICE", "noticeId"),
    Column::state("STATUS", "status"),
    Column::moment("NEXT ATTEMPT", "nextAttemptAt"),
    Column::attempts("ATTEMPTS", "attempts"),
];

impl DeliveriesArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = super::find(cli, &self.webhook)?;
        let path = ["v1", "webhooks", &id, "deliveries"];
        self.page.show(cli, ApiRequest::get(&path), COLUMNS, "deliveries of this webhook")
    }
}
