//! Servers with a long history: what is costly to read.

use std::path::Path;

use tenure_testing::history::{append_crowd, append_fleet};

use super::length;
use crate::client::Server;

const CROWD: u64 = 4_000;

/// How many sessions the history has.
pub(super) fn sessions() -> u64 {
    if length().is_some() { 100_000 } else { 20_000 }
}

/// A server with as many subjects of an owner `fleet`, each with a session.
pub(super) fn long(settings: &[&str]) -> Server {
    with(settings, |data| append_fleet(data, sessions()))
}

/// A server with one subject, `crowded`, that has thousands of sessions.
pub(super) fn crowded(settings: &[&str]) -> Server {
    with(settings, |data| append_crowd(data, "crowded", CROWD))
}

fn with(settings: &[&str], fill: impl FnOnce(&Path)) -> Server {
    let settings = [&["security.limit_loopback=true"], settings].concat();
    Server::after(1_024, &settings, fill)
}
