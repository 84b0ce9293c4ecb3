//! What a test needs that a machine may lack: a tool, a file system, the right to mount one.
//!
//! Where it is missing the test says so, past the harness, which keeps the output of passing tests to itself; and on a
//! machine that must leave nothing out (`CI`) the test fails.

use std::{env, io::Write as _};

/// Says that a test proved nothing, and why. A machine that must leave nothing out fails here.
#[track_caller]
pub fn not_run(test: &str, why: &str) {
    say(&format!("\n*** NOT RUN: {test}: {why}\n"));
    assert!(!is_ci(), "{test} could not run, and CI leaves nothing out: {why}");
}

/// Whether this is a machine that must leave nothing out.
fn is_ci() -> bool {
    variable("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the environment")]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Says something even where the harness keeps the output of passing tests to itself.
pub fn say(line: &str) {
    // With nobody to read it there is nothing to do about it.
    drop(writeln!(std::io::stderr(), "{line}"));
}
