//! `tenure webhook list`

use clap::Args;

use super::WITH_HEALTH;
use crate::cli::{
    connection::{
        client::Request,
        pages::{self, Paging},
    },
    context::Context,
    failure::Failure,
};

/// Arguments of `tenure webhook list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: Paging,
}

impl List {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let request = Request::get(&["v1", "webhooks"]).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, WITH_HEALTH, "webhooks")
    }
}
