//! `tenure watch`

mod notice_text;

use clap::{Args, builder::PossibleValuesParser};

use crate::cli::{
    arguments::find,
    connection::{
        client::ApiRequest,
        follow::{BeginArgs, follow},
    },
    context::CommandContext,
    failure::CommandError,
    output::{OutputFormat, event_text::KeyNames},
};
use tenure_core::webhook::NoticeKind;

#[derive(Debug, Args)]
#[command(after_help = "\
    One line for each, by the local clock on a terminal and in UTC elsewhere.\n\n\
    Example: tenure watch --subject night-bot --since 1h")]
pub(crate) struct WatchArgs {
    /// Only these kinds, separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(NoticeKind::ALL.map(NoticeKind::name)))]
    kinds: Vec<String>,

    /// Only notices about this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Only notices about this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    #[command(flatten)]
    begin: BeginArgs,
}

impl WatchArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let subject = find::subject_filter(cli, self.subject.as_ref())?;
        let session = find::session_filter(cli, self.session.as_ref())?;
        let of = subject.as_ref().or(session.as_ref()).map(|id| format!(" of {id}")).unwrap_or_default();
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.join(","));
        let request = ApiRequest::get(&["v1", "notices"])
            .query("kinds", kinds)
            .query("subjectId", subject)
            .query("sessionId", session);
        let request = if self.begin.is_said() {
            self.begin.apply(cli, request)?
        } else {
            request.query("after", Some("latest"))
        };
        let is_for_people = cli.output.is_for_people();
        let is_table = cli.output.format() == OutputFormat::Table;
        if is_for_people && is_table {
            cli.output.info(&format!("Watching notices{of} at {} \u{b7} Ctrl-C ends", cli.client.url()));
        }
        let names = if is_table { KeyNames::read(cli)? } else { KeyNames::default() };
        follow(cli, request, |notice| {
            if is_for_people {
                notice_text::for_people(notice, &names, cli.now())
            } else {
                notice_text::in_words(notice, &names).into()
            }
        })
    }
}
