//! What the client library runs on.

use tokio::runtime::{Builder, Runtime};

use crate::cli::failure::CommandError;

/// A runtime with one thread beside the caller's.
pub(crate) fn runtime() -> Result<Runtime, CommandError> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| CommandError::Server(format!("no thread can be started: {error}")))
}
