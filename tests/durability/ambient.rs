//! What these tests ask of their surroundings: how many rounds, and which chances.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::surroundings::variable;
pub(crate) use crate::surroundings::{not_run, say};

/// The value of an environment variable of ours, or what applies without it.
pub(crate) fn setting<T: FromStr>(name: &str, otherwise: T) -> T {
    match variable(name) {
        None => otherwise,
        Some(text) => text.parse().ok().unwrap_or_else(|| panic!("{name}={text} is not a number")),
    }
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
