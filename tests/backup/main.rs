//! Backup and restore, through the real binary: what a backup holds, what a restore proves, and what passes in a new
//! epoch.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "a backup is killed, and taken, in the middle of something")]

mod damage;
mod epoch;
mod fixture;
mod increments;
mod restore;
mod segments;
