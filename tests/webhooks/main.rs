//! Webhooks as their receivers meet them: the real binary, real sockets, and receivers that fail in every way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod creation;
mod delivery;
mod limits;
mod management;
mod receiver;
mod safety;
mod secrets;
#[path = "../http/server.rs"]
#[allow(dead_code, reason = "another test target needs the rest of it")]
mod server;
mod store_loss;
