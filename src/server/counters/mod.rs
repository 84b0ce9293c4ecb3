//! What hot paths count: numbers that many threads raise and a scrape adds up.
//!
//! Each thread writes to one of some shards, each on cache lines of its own, so that threads do not wait for each other.
//! A count costs one atomic addition, a duration two.

mod histogram;
mod sharded;

pub(crate) use self::{histogram::Histogram, sharded::ShardedCounters};
