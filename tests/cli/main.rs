//! The command line as people and scripts meet it: the real binary, on a server of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod contexts;
mod dev;
mod fixture;
mod help;
mod mistakes;
mod moments;
mod names;
mod owner;
mod session_file;
mod steps;
mod story;
mod terminal;
mod veto;

use tenure_testing::server;
