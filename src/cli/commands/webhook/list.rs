//! `tenure webhook list`

use clap::Args;

use super::WITH_HEALTH;
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
        self.page.show(cli, ApiRequest::get(&["v1", "webhooks"]), WITH_HEALTH, "webhooks")
    }
}
