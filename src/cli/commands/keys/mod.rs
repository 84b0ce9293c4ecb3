//! `tenure keys …`

mod list;
mod rotate;

use clap::Subcommand;

use crate::cli::{context::CommandContext, failure::CommandError, output::Column};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the public keys that verify access tokens
    List,
    /// Rotate the key that seals session tokens, or the one that signs access tokens
    Rotate(rotate::RotateArgs),
}

impl KeysCommand {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        match self {
            Self::List => list::run(cli),
            Self::Rotate(rotate) => rotate.run(cli),
        }
    }
}

/// What a public key shows first.
const COLUMNS: &[Column] = &[
    Column::plain("KEY", "keyId"),
    Column::plain("STATE", "state"),
    Column::moment("CREATED", "createdAt"),
    Column::moment("RETIRES", "retireAt"),
];
