//! `tenure subject resume`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    arguments::find, connection::client::ApiRequest, context::CommandContext, failure::CommandError,
};
use tenure_protocol::wire::ResumeRequest;

#[derive(Debug, Args)]
#[command(after_help = "Those of its sessions that have not ended meanwhile work again.")]
pub(crate) struct ResumeArgs {
    /// The subject, by id or name
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ResumeArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let subject = find::subject_to_change(cli, &self.subject, false)?;
        let path = ["v1", "subjects", &subject, "resume"];
        cli.show(&ApiRequest::post(&path, ResumeRequest { reason: self.reason }), DETAILS)
    }
}
