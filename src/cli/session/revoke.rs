//! `tenure session revoke`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{Caution, Context},
    failure::Failure,
    output::Column,
};

/// Arguments of `tenure session revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The session's id
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    session: String,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Whether this vetoes the latest renewal; when left out it does within the session's reject window
    #[arg(long, value_name = "BOOL")]
    reject_renewal: Option<bool>,

    #[command(flatten)]
    caution: Caution,
}

const COLUMNS: &[Column] = &[
    Column::plain("SESSION", "sessionId"),
    Column::state("STATUS", "status"),
    Column::moment("REVOKED", "revokedAt"),
    Column::plain("TRIGGER", "trigger"),
];

impl Revoke {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let path = ["v1", "sessions", &self.session];
        if self.caution.dry_run {
            cli.output.talk("This session would end:");
            return cli.show(&Request::get(&path), DETAILS);
        }
        self.caution.ask(cli.output, &format!("End session {}?", self.session))?;
        let request =
            Request::delete(&path).query("reason", self.reason).query("rejectRenewal", self.reject_renewal);
        cli.show(&request, COLUMNS)
    }
}
