//! `tenure webhook show`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::WITH_HEALTH;
use crate::cli::{connection::client::Request, context::Context, failure::Failure};

/// Arguments of `tenure webhook show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The webhook, by id or unique beginning
    #[arg(value_name = "WEBHOOK", value_parser = NonEmptyStringValueParser::new())]
    webhook: String,
}

impl Show {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let id = super::find(cli, &self.webhook)?;
        cli.show(&Request::get(&["v1", "webhooks", &id]), WITH_HEALTH)
    }
}
