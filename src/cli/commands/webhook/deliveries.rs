//! `tenure webhook deliveries`

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::cli::{
    connection::{
        client::Request,
        pages::{self, Paging},
    },
    context::Context,
    failure::Failure,
    output::Column,
};

/// Arguments of `tenure webhook deliveries`.
#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// The webhook, by id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,

    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: Paging,
}

const COLUMNS: &[Column] = &[
    Column::plain("NOTICE", "noticeId"),
    Column::state("STATUS", "status"),
    Column::moment("NEXT ATTEMPT", "nextAttemptAt"),
    Column::attempts("ATTEMPTS", "attempts"),
];

impl Deliveries {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let id = super::find(cli, &self.webhook)?;
        let path = ["v1", "webhooks", &id, "deliveries"];
        let request = Request::get(&path).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, COLUMNS, "deliveries of this webhook")
    }
}
