//! `tenure whoami`

use serde_json::json;

use crate::cli::{
    connection::client::ApiRequest,
    context::{CommandContext, GlobalArgs},
    failure::CommandError,
    output::Column,
};

const COLUMNS: &[Column] = &[
    Column::plain("", "server"),
    Column::plain("", "context"),
    Column::plain("", "role"),
    Column::plain("", "name"),
    Column::plain("", "ownerId"),
    Column::plain("", "credentialId"),
    Column::moment("", "createdAt"),
    Column::end("", "expiresAt"),
    Column::moment("", "lastUsedAt"),
];

/// Which server is asked, and what its key may do.
pub(crate) fn run(global: &GlobalArgs) -> Result<(), CommandError> {
    let cli: CommandContext = global.context()?;
    if !cli.client.has_key() {
        let server = cli.client.url();
        return Err(CommandError::Usage(format!(
            "no key is given for {server}: see --key-file, TENURE_KEY and `tenure context`"
        )));
    }
    let mut own = cli.client.send(&ApiRequest::get(&["v1", "credentials", "self"]))?.body;
    own["server"] = json!(cli.client.url());
    own["context"] = json!(global.context_name()?);
    cli.output.record(&own, COLUMNS, cli.now())
}
