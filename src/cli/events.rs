//! `tenure events`

use clap::Args;
use serde_json::Value;

use super::{
    client::Request,
    context::Context,
    failure::Failure,
    find,
    follow::{Begin, follow},
    output::Column,
    pages::{self, Paging},
};

/// Arguments of `tenure events`.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only these kinds, such as SessionCreated,SessionRevoked
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,

    /// Only events about this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Only events about this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    #[command(flatten)]
    begin: Begin,

    /// Go on with each event as it happens
    #[arg(short, long, conflicts_with_all = ["limit", "all"])]
    follow: bool,

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
            .query("kinds", kinds)
            .query("subjectId", find::subject_filter(cli, self.subject.as_ref())?)
            .query("sessionId", find::session_filter(cli, self.session.as_ref())?);
        let request = self.begin.apply(cli, request)?;
        if self.follow {
            return follow(cli, request, |event| in_words(event).into());
        }
        pages::show(cli, request, &self.paging, pages::by_position, COLUMNS, "such events")
    }
}

/// Position, when, what, about whom and by whom, in one line.
fn in_words(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!(
        "{:>8}  {}  {:<18}  {}  {}  by {}",
        event["position"],
        text(&event["recordedAt"]),
        text(&event["kind"]),
        text(&event["subjectId"]),
        text(&event["sessionId"]),
        text(&event["actor"]["kind"]),
    )
}
