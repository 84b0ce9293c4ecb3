//! What the tests of several targets and crates need: a running server, a long history, a broker, a network of several
//! machines, and what a machine may lack.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::return_self_not_must_use, reason = "tests chain them and send what comes of it")]
#![expect(clippy::should_implement_trait, reason = "a stream of events has no end for a `for` to come to")]

pub mod broker;
pub mod collector;
pub mod command;
pub mod history;
pub mod lossy_link;
pub mod network;
mod request;
pub mod server;
pub mod surroundings;
