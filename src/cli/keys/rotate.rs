//! `tenure keys rotate`

use clap::Args;
use serde_json::json;

use crate::cli::{
    client::Request,
    context::{Caution, Context},
    failure::Failure,
    output::Column,
};

/// Arguments of `tenure keys rotate`.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Which key: the one that seals session tokens, or the one that signs access tokens
    #[arg(long, value_name = "KEY", value_parser = ["session", "access"])]
    which: String,

    /// What becomes of the old key: with overlap its tokens work until they end, with now no more
    #[arg(long, value_name = "HOW", value_parser = ["overlap", "now"], default_value = "overlap")]
    retire: String,

    #[command(flatten)]
    caution: Caution,
}

const COLUMNS: &[Column] = &[
    Column::plain("WHICH", "which"),
    Column::plain("KEY", "keyId"),
    Column::plain("REPLACED", "previousKeyId"),
    Column::moment("ROTATED", "rotatedAt"),
    Column::moment("RETIRES", "retireAt"),
];

impl Rotate {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let consequence = self.consequence();
        if self.caution.dry_run {
            cli.output.talk(&format!("A new key would be made. {consequence}"));
            // What there is of session keys is shown to nobody.
            return if self.which == "access" { super::list::run(cli) } else { Ok(()) };
        }
        self.caution.ask(cli.output, &format!("{consequence} Replace the key of {} tokens?", self.which))?;
        let body = json!({ "which": self.which, "retire": self.retire });
        let reply = cli.client.send(&Request::post(&["v1", "keys", "rotate"], body))?.body;
        cli.output.record(&reply, COLUMNS, cli.now)
    }

    fn consequence(&self) -> String {
        match (self.which.as_str(), self.retire.as_str()) {
            ("session", "now") => {
                "EVERY session token works no more: each holder needs a new session.".to_owned()
            }
            (which, "now") => {
                format!("Every {which} token works no more, once verifiers read the keys again.")
            }
            (which, _) => {
                format!("The {which} tokens that there are work until they end, or keys.overlap is over.")
            }
        }
    }
}
