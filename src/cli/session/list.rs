//! `tenure session list`

use clap::Args;

use super::COLUMNS;
use crate::{
    cli::{
        client::Request,
        context::{AsOf, Context},
        failure::Failure,
        pages::{self, Paging},
    },
    domain::{OwnerId, SubjectId},
};

/// Arguments of `tenure session list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only sessions of this subject
    #[arg(long, value_name = "ID")]
    subject: Option<SubjectId>,

    /// Only sessions of this owner's subjects
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Only sessions on this device
    #[arg(long)]
    device: Option<String>,

    /// Only sessions of this status [default: active]
    #[arg(long, value_parser = ["active", "expired", "revoked", "all"])]
    status: Option<String>,

    /// Go on after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: Paging,

    #[command(flatten)]
    as_of: AsOf,
}

impl List {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let request = Request::get(&["v1", "sessions"])
            .query("subjectId", self.subject)
            .query("ownerId", self.owner)
            .query("device", self.device)
            .query("status", self.status)
            .query("cursor", self.cursor);
        pages::show(cli, self.as_of.apply(request), &self.paging, pages::by_cursor, COLUMNS)
    }
}
