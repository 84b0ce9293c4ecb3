//! What is acknowledged stays: the real program, killed, cut off from its power, out of space, damaged, and
//! stopped in good order.
//!
//! `docs/durability.md` says what each file here proves, and how to run it for longer.

#![expect(clippy::unwrap_used, reason = "these tests say what went wrong by panicking, in their helpers too")]

mod ambient;
mod authority;
mod backlog;
mod backup_kill;
mod barrier;
mod bound;
mod caller;
mod checkpoints;
mod damage;
mod descriptors;
mod disk_full;
mod eviction;
mod finding;
mod flips;
mod from_checkpoint;
mod full_keys;
mod history;
mod indexes;
mod kill;
mod load;
mod modes;
mod mounted_disk;
mod power_cut;
mod reserve;
mod sealing;
mod stop;

use tenure_testing::surroundings;
