//! Several nodes on one log: the real program beside a real broker.

#![expect(clippy::unwrap_used, reason = "these tests say what went wrong by panicking, in their helpers too")]

#[path = "../../src/log/jetstream/tests/broker.rs"]
#[expect(dead_code, reason = "shared with the tests of the log, which need all of it")]
mod broker;
mod node;
mod standby;
#[path = "../surroundings/mod.rs"]
mod surroundings;
