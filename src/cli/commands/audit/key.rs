//! `tenure audit key`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::data_directory::{expect_data, key_of};
use crate::cli::{connection::client::ApiRequest, context::GlobalArgs, failure::CommandError};
use tenure_audit::VerifierKey;

#[derive(Debug, Args)]
pub(crate) struct KeyCommandArgs {
    /// A data directory, of a running or a stopped server; without it the server at --url is asked
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl KeyCommandArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let key = match &self.data {
            Some(data) => of_directory(data)?,
            None => of_server(global)?,
        };
        let document = json!({ "verifierKey": key.to_string(), "name": key.name() });
        global.output().narrative(&document, &[key.to_string()])?;
        global.output().hint(
            "Keep it elsewhere, for --verifier-key: a proof counts only against a key that you did not get from the \
             server that it judges.",
        );
        Ok(())
    }
}

fn of_directory(data: &Path) -> Result<VerifierKey, CommandError> {
    expect_data(data)?;
    key_of(data)?.ok_or_else(|| {
        let key = data.join("keys/head.key");
        CommandError::Missing(format!("{}: there is no key of heads", key.display()))
    })
}

fn of_server(global: &GlobalArgs) -> Result<VerifierKey, CommandError> {
    let cli = global.context()?;
    let head: Value = cli.client.send(&ApiRequest::get(&["v1", "audit", "head"]))?.body;
    let key = head["verifierKey"].as_str().and_then(|key| key.parse().ok());
    key.ok_or_else(|| cli.client.strange(200, "the head has no verifier key"))
}
