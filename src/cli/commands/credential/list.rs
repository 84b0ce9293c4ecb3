//! `tenure credential list`

use clap::Args;

use super::COLUMNS;
use crate::cli::{
    connection::{
        client::Request,
        pages::{self, Paging},
    },
    context::Context,
    failure::Failure,
};

/// Arguments of `tenure credential list`.
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
        let request = Request::get(&["v1", "credentials"]).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, COLUMNS, "API keys")
    }
}
