//! What these tests ask of their surroundings: how many rounds, which chances, and where to say that
//! something was not done.

use std::{
    env,
    io::Write as _,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

/// The value of an environment variable of ours, or what applies without it.
pub(crate) fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match variable(name) {
        None => otherwise,
        Some(text) => text.parse().ok().unwrap_or_else(|| panic!("{name}={text} is not a number")),
    }
}

/// Whether this is a machine that must leave nothing out.
pub(crate) fn is_ci() -> bool {
    variable("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

#[expect(clippy::disallowed_methods, reason = "the one place where these tests read the environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Says something even where the harness keeps the output of passing tests to itself.
pub(crate) fn say(line: &str) {
    // With nobody to read it there is nothing to do about it.
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Says that a test proved nothing, and why.
pub(crate) fn not_run(test: &str, why: &str) {
    say(&format!("\n*** NOT RUN: {test}: {why}\n"));
}

/// Numbers without order, the same for the same seed (`splitmix64`).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// From `TENURE_DURABILITY_SEED`, or a new one; it is said aloud, so that a failure can be looked at
    /// again. Schedules of threads and disks differ all the same.
    pub(crate) fn of_this_run(test: &str) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let fresh = u64::from(std::process::id()) << 16 | RUNS.fetch_add(1, Ordering::Relaxed);
        let seed = setting("TENURE_DURABILITY_SEED", fresh);
        say(&format!("{test}: TENURE_DURABILITY_SEED={seed}"));
        Self(seed)
    }

    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Another source, which goes its own way.
    pub(crate) const fn branch(&mut self) -> Self {
        Self(self.next())
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
