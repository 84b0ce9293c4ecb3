//! One signed request to a receiver: the name looked up, the address judged, the connection made.

pub(super) mod client;
pub(super) mod owner_shares;
pub(super) mod resolver;
pub(super) mod ssrf_guard;
