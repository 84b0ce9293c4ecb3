//! `tenure credential list`

use clap::Args;

use super::COLUMNS;
use crate::cli::{
    connection::{client::ApiRequest, pages::CursorArgs},
    context::CommandContext,
    failure::CommandError,
};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    page: CursorArgs,
}

impl ListArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        self.page.show(cli, ApiRequest::get(&["v1", "credentials"]), COLUMNS, "API keys")
    }
}
