//! The client library and `tenure run` against the real binary: through a network that loses replies, killed where it
//! hurts, shared by many processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod administration;
mod agent;
mod calls;
mod commands;
mod crash;
mod crowd;
mod end;
mod example;
mod files;
mod idle;
mod manual_clock;
mod pending_renewal;
mod proxy;
mod pushed;
mod recipes;
mod run;
mod run_proxy;
mod theft;
mod veto;
mod week;
mod words;

use tenure_testing::server;
