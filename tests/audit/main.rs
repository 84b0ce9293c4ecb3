//! The evidence: what an export proves, and what `tenure audit` tells of it.
//!
//! Everything here works on `fixtures/exports/incident.export`, the history of one night, which is never edited: what
//! was once exported is read, proved and folded to the same state for ever.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ask;
mod bulk;
mod commands;
mod incident;
mod leftover_files;
mod live;
mod named;
mod server;
mod state;
mod stopped;
mod stranger;
mod tamper;
mod tampered;
mod trust;
mod walk;

use tenure_testing::surroundings;
