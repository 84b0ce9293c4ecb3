//! `tenure credential revoke`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use super::COLUMNS;
use crate::cli::{
    arguments::find,
    connection::{client::ApiRequest, pages},
    context::{CautionArgs, CommandContext},
    failure::{CommandError, ExitStatus},
};

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The API key, by id, name or unique beginning of its id
    #[arg(value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    credential: String,

    #[command(flatten)]
    caution: CautionArgs,
}

impl RevokeArgs {
    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        if !find::is_whole(&self.credential) {
            let keys = pages::whole(cli, ApiRequest::get(&["v1", "credentials"]), pages::by_cursor)?;
            self.credential = find::among(&keys, "credentialId", "API key", &self.credential)?;
        }
        if self.caution.dry_run {
            return self.preview(cli);
        }
        self.caution.ask(cli.output, || self.question(cli))?;
        let reply = cli.client.send(&ApiRequest::delete(&["v1", "credentials", &self.credential]))?;
        let record = if reply.body.is_object() {
            reply.body
        } else {
            json!({"credentialId": self.credential, "status": "REVOKED"})
        };
        cli.output.record(&record, COLUMNS, cli.now())
    }

    fn question(&self, cli: &CommandContext) -> Result<String, CommandError> {
        let page = pages::whole(cli, ApiRequest::get(&["v1", "credentials"]), pages::by_cursor)?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = items.iter().find(|item| item["credentialId"] == *self.credential);
        let found =
            found.ok_or_else(|| CommandError::Missing(format!("there is no API key {}", self.credential)))?;
        let told = ["name", "role", "ownerId"].map(|field| found[field].as_str().unwrap_or_default());
        let whose: Vec<_> = told.into_iter().filter(|text| !text.is_empty()).collect();
        Ok(format!("Revoke API key {} ({})?", self.credential, whose.join(", ")))
    }

    /// There is no route for a single one: the list has it, or it does not exist.
    fn preview(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let page = pages::whole(cli, ApiRequest::get(&["v1", "credentials"]), pages::by_cursor)?;
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_lasting_admin = |item: &&Value| {
            item["role"] == "admin" && item["revokedAt"].is_null() && item["expiresAt"].is_null()
        };
        match items.iter().find(|item| item["credentialId"] == *self.credential) {
            Some(found) if !found["revokedAt"].is_null() => {
                cli.output.info("This API key was revoked before, and nothing would change:");
                cli.output.record(found, COLUMNS, cli.now())
            }
            Some(found) if is_lasting_admin(&found) && items.iter().filter(is_lasting_admin).count() == 1 => {
                let why = "the last admin key that has no end cannot be revoked: issue another one first"
                    .to_owned();
                Err(CommandError::Unhealthy { exit: ExitStatus::Conflict, why })
            }
            Some(found) => {
                cli.output.info("This API key would be revoked:");
                cli.output.record(found, COLUMNS, cli.now())
            }
            None => Err(CommandError::Missing(format!("there is no API key {}", self.credential))),
        }
    }
}
