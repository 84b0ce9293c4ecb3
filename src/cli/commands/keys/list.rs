//! `tenure keys list`

use super::COLUMNS;
use crate::cli::{connection::client::Request, context::Context, failure::Failure};

/// They are public, so no key is needed.
pub(super) fn run(cli: &Context) -> Result<(), Failure> {
    let keys = cli.client.send(&Request::get(&["v1", "keys"]))?.body;
    cli.output.items_or(&keys, "keys", COLUMNS, cli.now(), "No keys of access tokens.")
}
