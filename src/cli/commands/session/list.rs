//! `tenure session list`

use clap::Args;

use super::COLUMNS;
use crate::cli::{
    arguments::find,
    connection::{
        client::ApiRequest,
        pages::{self, PagingArgs},
    },
    context::{AsOf, CommandContext},
    failure::CommandError,
};
use tenure_core::OwnerId;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only sessions of this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Only sessions of this owner's subjects
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Only sessions on this device
    #[arg(long)]
    device: Option<String>,

    /// Only sessions of this status [default: active]
    #[arg(long, value_parser = ["active", "expired", "revoked", "all"])]
    status: Option<String>,

    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: PagingArgs,

    #[command(flatten)]
    as_of: AsOf,
}

impl ListArgs {
    /// Of what an empty list is empty.
    fn described(&self) -> String {
        let status = match self.status.as_deref().unwrap_or("active") {
            "all" => String::new(),
            status => format!("{status} "),
        };
        let of = |name: &str, id: Option<String>| id.map_or_else(String::new, |id| format!(" {name} {id}"));
        let subject = of("of subject", self.subject.clone());
        let owner = of("of owner", self.owner.as_ref().map(ToString::to_string));
        let device = of("on device", self.device.clone());
        format!("{status}sessions{subject}{owner}{device}")
    }

    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        self.subject = find::subject_filter(cli, self.subject.as_ref())?;
        let of = self.described();
        let only_active = self.status.as_deref().is_none_or(|status| status == "active");
        let request = ApiRequest::get(&["v1", "sessions"])
            .query("subjectId", self.subject)
            .query("ownerId", self.owner)
            .query("device", self.device)
            .query("status", self.status)
            .query("cursor", self.cursor);
        let request = self.as_of.apply(cli, request)?;
        let empty = || if only_active { with_others(cli, &request, &of) } else { of.clone() };
        pages::show_with(cli, request.clone(), &self.paging, pages::by_cursor, COLUMNS, &empty, &|_| ())
    }
}

/// Of what a list without active sessions is empty, and how many others there are.
fn with_others(cli: &CommandContext, request: &ApiRequest, of: &str) -> String {
    let all = request.clone().without("cursor").query("status", Some("all")).query("limit", Some(200));
    let page = cli.client.send(&all).map(|reply| reply.body).unwrap_or_default();
    match page["items"].as_array().map_or(0, Vec::len) {
        0 => of.to_owned(),
        others => {
            let more = if page["nextCursor"].is_null() { "" } else { "+" };
            format!("{of} ({others}{more} ended: --status all)")
        }
    }
}
