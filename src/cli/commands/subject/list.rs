//! `tenure subject list`

use clap::Args;

use super::COLUMNS;
use crate::cli::{
    connection::{client::ApiRequest, pages::CursorArgs},
    context::CommandContext,
    failure::CommandError,
};
use tenure_core::OwnerId;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only subjects of this owner
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    #[command(flatten)]
    page: CursorArgs,
}

impl ListArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let of =
            self.owner.as_ref().map_or("subjects".to_owned(), |owner| format!("subjects of owner {owner}"));
        let request = ApiRequest::get(&["v1", "subjects"]).query("ownerId", self.owner);
        self.page.show(cli, request, COLUMNS, &of)
    }
}
