//! `tenure webhook …`

mod add;
mod deliveries;
mod list;
mod redeliver;
mod remove;
mod show;
mod test;

use clap::Subcommand;

use crate::cli::{
    arguments::find as found,
    connection::{client::ApiRequest, pages},
    context::CommandContext,
    failure::CommandError,
    output::Column,
};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// Create a webhook; its URL and secret are shown only once
    #[command(alias = "create")]
    Add(add::AddArgs),
    /// List webhooks, without their URLs and secrets
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Show a webhook and the health of its deliveries
    Show(show::ShowArgs),
    /// Delete a webhook
    #[command(aliases = ["rm", "delete"])]
    Remove(remove::RemoveArgs),
    /// Show the delivery of each notice
    Deliveries(deliveries::DeliveriesArgs),
    /// Deliver all notices again from a position on
    Redeliver(redeliver::RedeliverArgs),
    /// Send a test message
    Test(test::Test),
}

impl WebhookCommand {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        match self {
            Self::Add(add) => add.run(cli),
            Self::List(list) => list.run(cli),
            Self::Show(show) => show.run(cli),
            Self::Remove(remove) => remove.run(cli),
            Self::Deliveries(deliveries) => deliveries.run(cli),
            Self::Redeliver(redeliver) => redeliver.run(cli),
            Self::Test(test) => test.run(cli),
        }
    }
}

/// What a webhook shows first.
const COLUMNS: &[Column] = &[
    Column::id("WEBHOOK", "webhookId"),
    Column::name("NAME", "name"),
    Column::plain("URL", "url"),
    Column::plain("FORMAT", "format"),
    Column::plain("KINDS", "kinds"),
    Column::plain("OWNER", "ownerId"),
    Column::moment("CREATED", "createdAt"),
];

/// The same, and how its receiver takes what it is sent.
const WITH_HEALTH: &[Column] = &[
    Column::id("WEBHOOK", "webhookId"),
    Column::name("NAME", "name"),
    Column::plain("URL", "url"),
    Column::plain("FORMAT", "format").first_to_go(),
    Column::moment("FAILING SINCE", "health.failingSince"),
    Column::attempts("LAST FAILURE", "health.lastFailure"),
    Column::plain("PENDING", "health.pending"),
    Column::plain("KINDS", "kinds").only_wide(),
    Column::plain("OWNER", "ownerId").only_wide(),
    Column::moment("CREATED", "createdAt").only_wide(),
    Column::moment("LAST SUCCESS", "health.lastSuccessAt").only_wide(),
    Column::moment("LAST TRY FAILED", "health.lastFailure.at").only_wide(),
    Column::plain("FAILURES", "health.consecutiveFailures").only_wide(),
    Column::plain("PARKED", "health.parked").only_wide(),
    Column::plain("OLDEST", "health.oldestPending.noticeId").only_wide(),
    Column::moment("WAITING SINCE", "health.oldestPending.since").only_wide(),
    Column::moment("NEXT TRY", "health.nextAttemptAt").only_wide(),
];

/// The id of a webhook that was named by its id, its name or the beginning of its id.
fn find(cli: &CommandContext, typed: &str) -> Result<String, CommandError> {
    if found::is_whole(typed) {
        return Ok(typed.to_owned());
    }
    found::among(
        &pages::whole(cli, ApiRequest::get(&["v1", "webhooks"]), pages::by_cursor)?,
        "webhookId",
        "webhook",
        typed,
    )
}
