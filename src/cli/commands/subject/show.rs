//! `tenure subject show`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    arguments::find,
    connection::client::Request,
    context::{AsOf, Context},
    failure::Failure,
};

/// Arguments of `tenure subject show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    #[command(flatten)]
    as_of: AsOf,
}

impl Show {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let id = find::subject(cli, &self.subject)?;
        let request = Request::get(&["v1", "subjects", &id]);
        cli.show(&self.as_of.apply(cli, request)?, DETAILS)
    }
}
