//! The authority in process: what it derives can be derived again, and what it cannot write it does not grant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod batches;
mod bulk;
mod checkpoints;
mod cold_past;
mod event_feed;
mod faults;
mod keys;
mod live_check;
mod long_stories;
mod nearly_full;
mod rebuild;
mod repeats;
mod set_back;
mod uses;
mod world;
