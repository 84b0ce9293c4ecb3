//! `tenure subject erase`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::{DETAILS, erasure};
use crate::cli::{
    arguments::find,
    connection::client::ApiRequest,
    context::{CautionArgs, CommandContext},
    failure::CommandError,
};
use tenure_protocol::wire::EraseRequest;

#[derive(Debug, Args)]
#[command(after_help = "\
    Its name, and the devices, metadata and reasons of its sessions can never be read again. Its \
    sessions go on, and what happened and when stays on record. In a cluster, the nodes that have done \
    it are named, and those that have not.")]
pub(crate) struct EraseArgs {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    /// Why, for the record; it stays readable, so write nothing about people
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    caution: CautionArgs,
}

impl EraseArgs {
    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        self.subject = find::subject_to_change(cli, &self.subject, !self.caution.yes)?;
        let path = ["v1", "subjects", self.subject.as_str()];
        if self.caution.dry_run {
            cli.output.info("All text about this subject and its sessions would become unreadable:");
            return cli.show(&ApiRequest::get(&path), DETAILS);
        }
        self.caution.ask(cli.output, || Ok(self.question()))?;
        let path = ["v1", "subjects", self.subject.as_str(), "erase"];
        let erased =
            cli.client.send(&ApiRequest::post(&path, EraseRequest { reason: self.reason.clone() }))?.body;
        erasure::show(cli, &erasure::settled(cli, &self.subject, erased))
    }

    fn question(&self) -> String {
        format!("Make all text about {} unreadable? Nothing brings it back.", self.subject)
    }
}
