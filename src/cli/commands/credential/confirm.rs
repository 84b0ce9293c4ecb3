//! `tenure credential confirm`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use super::COLUMNS;
use crate::cli::{
    arguments::find,
    connection::{client::ApiRequest, pages},
    context::{CautionArgs, CommandContext},
    failure::CommandError,
};

#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// The API key, by id, name or unique beginning of its id
    #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new(), required_unless_present = "all",
        conflicts_with = "all")]
    credential: Option<String>,
    /// Confirm every held API key
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    caution: CautionArgs,
}

impl ConfirmArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let held = self.unconfirmed(cli)?;
        if held.is_empty() {
            let none = json!({"items": [], "nextCursor": null});
            return cli.output.list_or(&none, COLUMNS, cli.now(), "No API key is held.");
        }
        if self.caution.dry_run {
            cli.output.info("These API keys would be confirmed:");
            return cli.output.list(&json!({"items": held, "nextCursor": null}), COLUMNS, cli.now());
        }
        self.caution.ask(cli.output, || Ok(question(&held)))?;
        let mut confirmed = Vec::with_capacity(held.len());
        for item in &held {
            let id = item["credentialId"].as_str().unwrap_or_default();
            confirmed.push(
                cli.client.send(&ApiRequest::post_without_body(&["v1", "credentials", id, "confirm"]))?.body,
            );
        }
        match (&self.credential, confirmed.as_slice()) {
            (Some(_), [one]) => cli.output.record(one, COLUMNS, cli.now()),
            (Some(_) | None, all) => {
                cli.output.list(&json!({"items": all, "nextCursor": null}), COLUMNS, cli.now())
            }
        }
    }

    /// The named one, held or not; or all held ones in force.
    fn unconfirmed(&self, cli: &CommandContext) -> Result<Vec<Value>, CommandError> {
        let page = pages::whole(cli, ApiRequest::get(&["v1", "credentials"]), pages::by_cursor)?;
        let items = page["items"].as_array().cloned().unwrap_or_default().into_iter();
        let Some(typed) = &self.credential else {
            return Ok(items.filter(|item| item["held"] == true && item["revokedAt"].is_null()).collect());
        };
        let id = find::among(&page, "credentialId", "API key", typed)?;
        let found: Vec<_> = items.filter(|item| item["credentialId"] == *id).collect();
        if found.is_empty() {
            return Err(CommandError::Missing(format!("there is no API key {id}")));
        }
        Ok(found)
    }
}

/// The history that was lost may have withdrawn some of them.
fn question(held: &[Value]) -> String {
    let names = held.iter().map(|item| {
        let told =
            ["credentialId", "name", "role", "ownerId"].map(|field| item[field].as_str().unwrap_or_default());
        told.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    });
    let names: Vec<_> = names.collect();
    format!(
        "Confirm {} API keys ({})? One that was revoked after the backup opens again.",
        held.len(),
        names.join(", ")
    )
}
