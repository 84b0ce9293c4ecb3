//! Asking the server: one client, lists page by page, streams, and waiting when the server is busy.

pub(super) mod client;
#[cfg(test)]
pub(super) mod fake_server;
pub(super) mod follow;
pub(super) mod pages;
pub(super) mod retry;
pub(super) mod runtime;
