//! The path of every request: who calls, whether there is room, what it asks, and how far its answer must be.

pub(super) mod access;
pub(super) mod admission;
pub(super) mod as_of;
pub(super) mod body;
pub(super) mod call;
pub(super) mod costly_reads;
pub(super) mod epoch_stamp;
pub(super) mod fields;
mod fold_cache;
pub(super) mod host;
pub(super) mod json;
pub(super) mod limits;
pub(super) mod page;
pub(super) mod peer;
pub(super) mod refusal_log;
pub(super) mod request_id;
pub(super) mod route;
pub(super) mod serve;
pub(super) mod throttle;
