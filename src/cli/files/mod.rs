//! Files that hold keys, tokens and sessions: read whole, written for their owner only, never overwritten by accident.

pub(super) mod overwrite;
pub(super) mod secret;
pub(super) mod secret_file;
pub(super) mod session_file;
