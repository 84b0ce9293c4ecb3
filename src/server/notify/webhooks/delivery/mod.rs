//! When each notice goes out: the queue of an endpoint, its attempts and their outcomes.

pub(super) mod backoff;
pub(super) mod catch_up;
pub(super) mod endpoint;
pub(super) mod outcome;
pub(super) mod queue;
