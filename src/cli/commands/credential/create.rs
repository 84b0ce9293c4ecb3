//! `tenure credential create`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::COLUMNS;
use crate::cli::{
    arguments::words::one_of,
    connection::client::ApiRequest,
    context::{CommandContext, GlobalArgs, span},
    environment,
    failure::{CommandError, ExitStatus},
    files::{secret::Secret, secret_file::TokenReplacement},
    output::Output,
};
use tenure_core::{OwnerId, Seconds, event::Role, text::fault_of_text};
use tenure_protocol::wire::{CredentialView, IssuedCredential, NewCredential};
use tenure_server::node;

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What the key may do
    #[arg(long, value_parser = one_of(Role::ALL))]
    role: Role,

    /// The owner that a key of role owner is bound to
    #[arg(long, value_name = "ID", required_if_eq("role", "owner"))]
    owner: Option<OwnerId>,

    /// Name for people
    #[arg(long)]
    name: Option<String>,

    /// When it ends, 60s to 365d from now [default: never]; for an admin key only beside one without an end
    #[arg(long, value_name = "DURATION", value_parser = span)]
    expires_in: Option<Seconds>,

    /// Write the key to this file, for its owner only (0600), instead of showing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Create it in this data directory of a stopped server; needs no key
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl CreateArgs {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        let file = self.out.as_deref().map(KeyFile::prepare).transpose()?;
        if let Some(data) = &self.data {
            let made = without_saved_key(self.offline(data)?, file, global.output())?;
            return global.output().record_with_secret(&made, "key", COLUMNS, environment::now());
        }
        let cli: CommandContext = global.context()?;
        let request = ApiRequest::post(&["v1", "credentials"], self.asked());
        let made = without_saved_key(cli.client.send(&request)?.body, file, cli.output)?;
        cli.output.record_with_secret(&made, "key", COLUMNS, cli.now())
    }

    fn asked(&self) -> NewCredential {
        let (owner_id, name) = (self.owner.clone(), self.name.clone());
        NewCredential { role: self.role, owner_id, name, expires_in: self.expires_in }
    }

    fn offline(&self, data: &Path) -> Result<Value, CommandError> {
        // No server judges it here.
        if let Some(fault) = self.name.as_deref().and_then(|name| fault_of_text(name, 1..=128)) {
            return Err(CommandError::Usage(format!("--name {fault}")));
        }
        let new = self.asked();
        let issued = node::issue_credential(data, new.clone())
            .map_err(|error| CommandError::Server(error.to_string()))?;
        let credential = CredentialView {
            credential_id: issued.id,
            role: new.role.name().into(),
            owner_id: new.owner_id,
            name: new.name,
            created_at: issued.created_at,
            expires_at: new.expires_in.map(|end| issued.created_at.plus(end)),
            last_used_at: None,
            revoked_at: None,
            held: false,
        };
        let key = Some(tenure_protocol::Secret::new(issued.key.expose()));
        Ok(json!(IssuedCredential { credential, key }))
    }
}

/// A file for the key, which is found to be writable before the key is made. It replaces nothing: the key that it holds
/// may be good.
struct KeyFile<'p> {
    path: &'p Path,
    replacement: TokenReplacement,
}

impl<'p> KeyFile<'p> {
    fn prepare(path: &'p Path) -> Result<Self, CommandError> {
        if fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            let why = format!("--out: {} is there already; a key file is not overwritten", path.display());
            return Err(CommandError::Unhealthy { exit: ExitStatus::Conflict, why });
        }
        Ok(Self { path, replacement: TokenReplacement::prepare(path)? })
    }
}

/// The credential, without its key if a file has it now.
fn without_saved_key(
    mut made: Value,
    file: Option<KeyFile<'_>>,
    output: Output,
) -> Result<Value, CommandError> {
    let Some(file) = file else { return Ok(made) };
    file.replacement.commit(&Secret::new(made["key"].as_str().unwrap_or_default()))?;
    made["key"] = Value::Null;
    output.info(&format!("The key is in {}.", file.path.display()));
    Ok(made)
}
