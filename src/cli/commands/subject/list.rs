//! `tenure subject list`

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
use tenure_core::OwnerId;

/// Arguments of `tenure subject list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only subjects of this owner
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: Paging,
}

impl List {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let of =
            self.owner.as_ref().map_or("subjects".to_owned(), |owner| format!("subjects of owner {owner}"));
        let request =
            Request::get(&["v1", "subjects"]).query("ownerId", self.owner).query("cursor", self.cursor);
        pages::show(cli, request, &self.paging, pages::by_cursor, COLUMNS, &of)
    }
}
