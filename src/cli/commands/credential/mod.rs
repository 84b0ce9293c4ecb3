//! `tenure credential …`

mod confirm;
mod create;
mod list;
mod revoke;

use clap::Subcommand;

use crate::cli::{context::GlobalArgs, failure::CommandError, output::Column};

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Create an API key; it is shown once
    #[command(alias = "add")]
    Create(create::CreateArgs),
    /// List API keys, without the keys themselves
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Revoke an API key
    Revoke(revoke::RevokeArgs),
    /// Confirm API keys held since a restore
    Confirm(confirm::ConfirmArgs),
}

impl CredentialCommand {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        match self {
            Self::Create(create) => create.run(global),
            Self::List(list) => list.run(&global.context()?),
            Self::Revoke(revoke) => revoke.run(&global.context()?),
            Self::Confirm(confirm) => confirm.run(&global.context()?),
        }
    }
}

/// What an API key shows first.
const COLUMNS: &[Column] = &[
    Column::id("CREDENTIAL", "credentialId"),
    Column::plain("ROLE", "role"),
    Column::plain("OWNER", "ownerId"),
    Column::name("NAME", "name"),
    Column::moment("CREATED", "createdAt").first_to_go(),
    Column::moment("EXPIRES", "expiresAt"),
    Column::moment("LAST USED", "lastUsedAt"),
    Column::plain("HELD", "held").only_wide(),
    Column::moment("REVOKED", "revokedAt"),
];
