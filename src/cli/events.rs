//! `tenure events`

use clap::Args;

use super::{
    client::Request,
    context::Context,
    failure::Failure,
    output::Column,
    pages::{self, Paging},
};
use crate::domain::SubjectId;

/// Arguments of `tenure events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only events after this position [default: 0, from the first on]
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,

    /// Only these kinds, such as SessionCreated,SessionRevoked
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,

    /// Only events about this subject
    #[arg(long, value_name = "ID")]
    subject: Option<SubjectId>,

    /// Only events about this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    #[command(flatten)]
    paging: Paging,
}

const COLUMNS: &[Column] = &[
    Column::plain("POSITION", "position"),
    Column::moment("RECORDED", "recordedAt"),
    Column::plain("KIND", "kind"),
    Column::plain("SUBJECT", "subjectId"),
    Column::plain("SESSION", "sessionId"),
    Column::plain("ACTOR", "actor.id"),
];

impl Events {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.join(","));
        let request = Request::get(&["v1", "events"])
            .query("after", self.after)
            .query("kinds", kinds)
            .query("subjectId", self.subject)
            .query("sessionId", self.session);
        pages::show(cli, request, &self.paging, pages::by_position, COLUMNS)
    }
}
