//! `tenure session show`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{AsOf, Context},
    failure::Failure,
};

/// Arguments of `tenure session show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The session's id
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    session: String,

    #[command(flatten)]
    as_of: AsOf,
}

impl Show {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let request = Request::get(&["v1", "sessions", &self.session]);
        cli.show(&self.as_of.apply(request), DETAILS)
    }
}
