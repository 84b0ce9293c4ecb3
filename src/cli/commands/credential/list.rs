//! `tenure credential list`

use clap::Args;

use super::COLUMNS;
use crate::cli::{
    connection::{
        client::ApiRequest,
        pages::{self, PagingArgs},
    },
    context::CommandContext,
    failure::CommandError,
};

/// Arguments of `tenure credential list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: PagingArgs,
}

impl ListArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let request = ApiRequest::get(&["v1", "credentials"]).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, COLUMNS, "API keys")
    }
}
