//! `tenure subject suspend`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use super::{DETAILS, known_of};
use crate::cli::{
    arguments::{
        find,
        moments::{TypedMoment, moment},
    },
    connection::client::ApiRequest,
    context::{CautionArgs, CommandContext, span},
    failure::CommandError,
};
use tenure_core::Seconds;
use tenure_protocol::wire::SuspendRequest;

#[derive(Debug, Args)]
#[command(after_help = "\
    It gets no session, and no token of its sessions works, until it is resumed or the suspension ends. \
    Its sessions are not ended: `tenure subject logout` does that.")]
pub(crate) struct SuspendArgs {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// When the suspension ends by itself, such as 'tomorrow 8:00' or 12h [default: it does not]
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "for_")]
    until: Option<TypedMoment>,

    /// How long it lasts, from now on
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    for_: Option<Seconds>,

    #[command(flatten)]
    caution: CautionArgs,
}

impl SuspendArgs {
    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        self.subject = find::subject_to_change(cli, &self.subject, !self.caution.yes)?;
        let path = ["v1", "subjects", self.subject.as_str()];
        let subject = cli.client.send(&ApiRequest::get(&path))?.body;
        let now = cli.time_of(&subject);
        if self.caution.dry_run {
            cli.output.info("This subject would be suspended:");
            return cli.output.record(&subject, DETAILS, now);
        }
        self.caution.ask(cli.output, || Ok(self.question(&subject)))?;
        // The authority's clock counts.
        let until =
            self.until.map(|until| until.coming(now)).or_else(|| self.for_.map(|length| now.plus(length)));
        let path = ["v1", "subjects", self.subject.as_str(), "suspend"];
        cli.show(&ApiRequest::post(&path, SuspendRequest { reason: self.reason, until }), DETAILS)
    }

    fn question(&self, subject: &Value) -> String {
        format!("Suspend {}{}? None of its sessions works meanwhile.", self.subject, known_of(subject))
    }
}
