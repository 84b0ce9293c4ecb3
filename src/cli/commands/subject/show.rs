//! `tenure subject show`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    arguments::find,
    connection::client::ApiRequest,
    context::{AsOf, CommandContext},
    failure::CommandError,
};

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    #[command(flatten)]
    as_of: AsOf,
}

impl ShowArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = find::subject(cli, &self.subject)?;
        let request = ApiRequest::get(&["v1", "subjects", &id]);
        cli.show(&self.as_of.apply(cli, request)?, DETAILS)
    }
}
