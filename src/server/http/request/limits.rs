//! How long, how many, how large the parts of a request may be. The checks and the OpenAPI document both read these,
//! so that the document cannot promise what a check refuses.

use std::ops::RangeInclusive;

/// Characters of a name for people.
pub(crate) const NAME: RangeInclusive<usize> = 1..=128;
/// Seconds until the end of an API key that has one.
pub(crate) const EXPIRES_IN: RangeInclusive<u32> = 60..=31_536_000;
/// Characters of the name of a device.
pub(crate) const DEVICE: RangeInclusive<usize> = 1..=128;
/// Characters of a reason.
pub(crate) const REASON: RangeInclusive<usize> = 1..=500;
/// Characters of an access token's audience.
pub(crate) const AUDIENCE: RangeInclusive<usize> = 1..=256;
/// Characters of an operation.
pub(crate) const OPERATION: RangeInclusive<usize> = 1..=128;
/// Characters of a destination.
pub(crate) const DESTINATION: RangeInclusive<usize> = 1..=256;
/// Operations or destinations in a list, if they find room.
pub(crate) const ALLOWED: RangeInclusive<usize> = 0..=1024;
/// Scopes of a session.
pub(crate) const SCOPES: RangeInclusive<usize> = 0..=64;
/// Bytes of all scopes of a session, joined by blanks: they fit the buffers in which proxies read a head.
pub(crate) const SCOPES_BYTES: usize = 2_048;
/// Characters of a scope.
pub(crate) const SCOPE: RangeInclusive<usize> = 1..=128;
/// Bytes of metadata, written compactly.
pub(crate) const METADATA_BYTES: usize = 4_096;
/// Bytes of constraints, written compactly.
pub(crate) const CONSTRAINTS_BYTES: usize = 8_192;
/// Tokens of an introspected batch.
pub(crate) const TOKENS: RangeInclusive<usize> = 1..=100;
/// Active sessions of a subject, or of one device of it.
pub(crate) const MAX_SESSIONS: RangeInclusive<u32> = 1..=10_000;
/// Uses of a session, up to the largest whole number that every reader of JSON reads exactly.
pub(crate) const TRANSACTIONS: RangeInclusive<u64> = 0..=(1 << 53) - 1;
/// Items on a page.
pub(crate) const PAGE: RangeInclusive<u64> = 1..=200;
/// Items on a page of the feed of revocations.
pub(crate) const FEED_PAGE: RangeInclusive<u64> = 1..=1_000;
/// Characters of an idempotency key, its quotes not counted.
pub(crate) const IDEMPOTENCY_KEY: RangeInclusive<usize> = 1..=128;
/// Bytes of the caller's own id for a request.
pub(crate) const REQUEST_ID: RangeInclusive<usize> = 1..=128;
