//! The time at the audited server, by which its live state is judged.

use serde_json::Value;

use crate::cli::{connection::client::ApiRequest, context::GlobalArgs, failure::CommandError};
use tenure_core::Timestamp;

/// The moment at which the server judges sessions server_time; `None` if it has none to judge.
pub(super) fn of_server(global: &GlobalArgs) -> Result<Option<Timestamp>, CommandError> {
    let request = ApiRequest::get(&["v1", "sessions"]).query("status", Some("all")).query("limit", Some(1));
    let page = global.context()?.client.send(&request)?.body;
    Ok(of(&page["items"][0]))
}

/// A session as the server shows it server_time; `None` if it shows none with this id.
pub(super) fn session(global: &GlobalArgs, id: &str) -> Result<Option<Value>, CommandError> {
    match global.context()?.client.send(&ApiRequest::get(&["v1", "sessions", id])) {
        Ok(reply) => Ok(Some(reply.body)),
        // What the export has of it, or says of the key, decides.
        Err(CommandError::Problem(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The moment at which it was judged.
pub(super) fn of(session: &Value) -> Option<Timestamp> {
    session["asOfTime"].as_str().and_then(Timestamp::parse)
}
