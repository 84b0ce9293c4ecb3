//! `tenure subject suspend`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use super::DETAILS;
use crate::cli::{
    arguments::{
        find,
        moments::{Moment, moment},
    },
    connection::client::Request,
    context::{Caution, Context, fields, span},
    failure::Failure,
};
use tenure_core::Seconds;

/// It gets no session, and no token of its sessions works, until it is resumed or the suspension ends. Its sessions are
/// not ended: `tenure subject logout` does that.
#[derive(Debug, Args)]
pub(crate) struct Suspend {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// When the suspension ends by itself, such as 'tomorrow 8:00' or 12h [default: it does not]
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "for_")]
    until: Option<Moment>,

    /// How long it lasts, from now on
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    for_: Option<Seconds>,

    #[command(flatten)]
    caution: Caution,
}

impl Suspend {
    pub(crate) fn run(mut self, cli: &Context) -> Result<(), Failure> {
        self.subject = find::subject_to_change(cli, &self.subject, !self.caution.yes)?;
        let path = ["v1", "subjects", self.subject.as_str()];
        let subject = cli.client.send(&Request::get(&path))?.body;
        let now = cli.time_of(&subject);
        if self.caution.dry_run {
            cli.output.talk("This subject would be suspended:");
            return cli.output.record(&subject, DETAILS, now);
        }
        self.caution.ask(cli.output, || Ok(self.question(&subject)))?;
        // The authority's clock counts.
        let until =
            self.until.map(|until| until.coming(now)).or_else(|| self.for_.map(|length| now.plus(length)));
        let body =
            fields([("reason", self.reason.map(Value::from)), ("until", until.map(|until| json!(until)))]);
        let path = ["v1", "subjects", self.subject.as_str(), "suspend"];
        cli.show(&Request::post(&path, body.into()), DETAILS)
    }

    fn question(&self, subject: &Value) -> String {
        let owner = subject["ownerId"].as_str().map(|owner| format!(", owner {owner}")).unwrap_or_default();
        let active = &subject["activeSessions"];
        format!("Suspend {} ({active} active{owner})? None of its sessions works meanwhile.", self.subject)
    }
}
