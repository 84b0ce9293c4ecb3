//! What the authority holds in memory: the published state that every check reads, and what the log does not say yet.

pub(super) mod activity;
pub(super) mod contested;
pub(super) mod idempotency;
pub(super) mod key_uses;
pub(super) mod presented_tokens;
pub(super) mod published;
pub(super) mod registrations;
pub(super) mod suspended;
