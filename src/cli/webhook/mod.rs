//! `tenure webhook …`

mod add;
mod deliveries;
mod list;
mod redeliver;
mod remove;
mod test;

use clap::Subcommand;

use super::{context::Context, failure::Failure, output::Column};

/// The commands about webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum Webhook {
    /// Let news be told by HTTP requests; URL and secret are shown once
    Add(add::Add),
    /// List webhooks, without their URLs and secrets
    List(list::List),
    /// Let a webhook tell nothing more
    Remove(remove::Remove),
    /// Show what became of each notice
    Deliveries(deliveries::Deliveries),
    /// Tell everything from a position on again
    Redeliver(redeliver::Redeliver),
    /// Send a message that says that it is a test
    Test(test::Test),
}

impl Webhook {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(cli),
            Self::List(list) => list.run(cli),
            Self::Remove(remove) => remove.run(cli),
            Self::Deliveries(deliveries) => deliveries.run(cli),
            Self::Redeliver(redeliver) => redeliver.run(cli),
            Self::Test(test) => test.run(cli),
        }
    }
}

/// What a webhook shows first.
const COLUMNS: &[Column] = &[
    Column::plain("WEBHOOK", "webhookId"),
    Column::plain("URL", "url"),
    Column::plain("FORMAT", "format"),
    Column::plain("KINDS", "kinds"),
    Column::plain("OWNER", "ownerId"),
    Column::moment("CREATED", "createdAt"),
];
