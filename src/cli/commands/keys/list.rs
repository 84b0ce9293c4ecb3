//! `tenure keys list`

use super::COLUMNS;
use crate::cli::{connection::client::ApiRequest, context::CommandContext, failure::CommandError};

/// They are public, so no key is needed.
pub(super) fn run(cli: &CommandContext) -> Result<(), CommandError> {
    let keys = cli.client.send(&ApiRequest::get(&["v1", "keys"]))?.body;
    cli.output.items_or(&keys, "keys", COLUMNS, cli.now_there()?, "No keys of access tokens.")
}
