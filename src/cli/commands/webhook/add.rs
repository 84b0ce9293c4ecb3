//! `tenure webhook add`

use clap::{Args, builder::PossibleValuesParser};
use serde_json::json;

use super::COLUMNS;
use crate::cli::{
    connection::client::ApiRequest,
    context::{CommandContext, fields},
    failure::CommandError,
};
use tenure_core::{
    OwnerId,
    webhook::{NoticeKind, WebhookFormat},
};

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Destination of the requests, a secret; or TENURE_WEBHOOK_URL, which no process list shows
    #[arg(value_name = "URL", env = "TENURE_WEBHOOK_URL", hide_env_values = true)]
    receiver: String,

    /// Name for people, by which commands find it
    #[arg(long)]
    name: Option<String>,

    /// Only notices of these kinds, separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(NoticeKind::ALL.map(NoticeKind::name)))]
    kinds: Vec<String>,

    /// Only notices about this owner's subjects
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Format of the requests
    #[arg(long, default_value = "standard",
        value_parser = PossibleValuesParser::new(WebhookFormat::ALL.map(|(name, _)| name)))]
    format: String,
}

impl AddArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let body = fields([
            ("url", Some(self.receiver.into())),
            ("name", self.name.map(Into::into)),
            ("kinds", (!self.kinds.is_empty()).then(|| json!(self.kinds))),
            ("ownerId", self.owner.map(|owner| owner.as_str().into())),
            ("format", Some(self.format.into())),
        ]);
        let made = cli.client.send(&ApiRequest::post(&["v1", "webhooks"], body))?.body;
        cli.output.record_with_secret(&made, "secret", COLUMNS, cli.time_of(&made))
    }
}
