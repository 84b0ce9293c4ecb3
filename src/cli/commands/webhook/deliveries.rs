//! `tenure webhook deliveries`

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::cli::{
    connection::{
        client::ApiRequest,
        pages::{self, PagingArgs},
    },
    context::CommandContext,
    failure::CommandError,
    output::Column,
};

/// Arguments of `tenure webhook deliveries`.
#[derive(Debug, Args)]
pub(crate) struct DeliveriesArgs {
    /// The webhook, by id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,

    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: PagingArgs,
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
        let request = ApiRequest::get(&path).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, COLUMNS, "deliveries of this webhook")
    }
}
