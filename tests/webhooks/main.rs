//! Webhooks as their receivers meet them: the real binary, real sockets, and receivers that fail in every way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod creation;
mod delivery;
mod health;
mod limits;
mod management;
mod receiver;
mod safety;
mod secrets;
mod store_loss;

use tenure_testing::server;
