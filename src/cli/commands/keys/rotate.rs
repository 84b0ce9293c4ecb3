//! `tenure keys rotate`

use clap::Args;
use serde_json::Value;

use crate::cli::{
    arguments::words::one_of,
    connection::{client::ApiRequest, pages},
    context::{CautionArgs, CommandContext},
    failure::{CommandError, ExitStatus},
    output::Column,
};
use tenure_core::{Timestamp, keys::ROTATION_PAUSE};
use tenure_protocol::{
    key_use::{KeyUse, RetireMode},
    wire::keys::RotationRequest,
};

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Which key: the one that seals session tokens, or the one that signs access tokens
    #[arg(long, value_name = "KEY", value_parser = one_of(KeyUse::ALL))]
    which: KeyUse,

    /// What becomes of the old key: with overlap its tokens work until they end, with now they stop working
    #[arg(long, value_name = "HOW", value_parser = one_of(RetireMode::ALL), default_value = "overlap")]
    retire: RetireMode,

    #[command(flatten)]
    caution: CautionArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("WHICH", "which"),
    Column::plain("KEY", "keyId"),
    Column::plain("REPLACED", "previousKeyId"),
    Column::moment("ROTATED", "rotatedAt"),
    Column::moment("RETIRES", "retireAt"),
];

impl RotateArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let consequence = self.consequence();
        if self.caution.dry_run {
            self.check_pause(cli)?;
            cli.output.info(&format!("A new key would be made. {consequence}"));
            // Session keys are never shown.
            return if self.which == KeyUse::Access { super::list::run(cli) } else { Ok(()) };
        }
        let question = format!("{consequence} Replace the key of {} tokens?", self.which.name());
        self.caution.ask(cli.output, || Ok(question))?;
        let body = RotationRequest { which: self.which, retire: Some(self.retire) };
        let reply = cli.client.send(&ApiRequest::post(&["v1", "keys", "rotate"], body))?.body;
        cli.output.record(&reply, COLUMNS, cli.now())
    }

    /// Fails as the rotation would, when the last one with an overlap was a moment ago.
    fn check_pause(&self, cli: &CommandContext) -> Result<(), CommandError> {
        if self.retire != RetireMode::Overlap {
            return Ok(());
        }
        // Time is the authority's: the feed of revocations says it.
        let feed =
            cli.client.send(&ApiRequest::get(&["v1", "revocations", "feed"]).query("limit", Some(1)))?;
        let now = feed.body["now"].as_str().and_then(Timestamp::parse);
        let now = now.ok_or_else(|| cli.client.strange(200, "the feed of revocations says no time"))?;
        let pause = i64::from(ROTATION_PAUSE.0) * 1_000;
        let rotations = ApiRequest::get(&["v1", "events"]).query("kinds", Some("KeyRotated"));
        let rotations = rotations.query("since", Some(now.plus_millis(-pause)));
        let rotations = pages::whole(cli, rotations, pages::by_cursor)?;
        let overlaps = |event: &&Value| {
            event["data"]["which"] == self.which.name() && event["data"]["retire"] == "overlap"
        };
        let last = rotations["items"].as_array().into_iter().flatten().rev().find(overlaps);
        let last = last.and_then(|event| Timestamp::parse(event["recordedAt"].as_str()?));
        match last.map(|last| last.plus(ROTATION_PAUSE)).filter(|retry_at| now < *retry_at) {
            None => Ok(()),
            Some(retry_at) => Err(CommandError::Unhealthy {
                exit: ExitStatus::Refused,
                why: format!("the key was rotated less than 300 seconds ago; it may be again at {retry_at}"),
            }),
        }
    }

    fn consequence(&self) -> String {
        match (self.which.name(), self.retire.name()) {
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
