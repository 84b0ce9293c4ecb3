//! A stand-in: the server is not part of this build yet. The command line is written against these names.

use std::path::Path;

use crate::cli::serve::ServeArgs;

/// Why the server did not start or stopped, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerError(pub String);

/// Runs the authority until it is told to stop.
#[expect(clippy::needless_pass_by_value, reason = "the server will keep them")]
pub fn run(args: ServeArgs) -> Result<(), ServerError> {
    Err(ServerError(format!("this build cannot serve ({args:?})")))
}

/// Makes an API key in the data directory of a stopped server; gives its id and the key.
pub fn create_credential_offline(
    data: &Path,
    _role: &str,
    _owner: Option<&str>,
    _name: Option<&str>,
) -> Result<(String, String), ServerError> {
    Err(ServerError(format!("this build cannot make keys in {}", data.display())))
}
