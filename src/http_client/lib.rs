//! Requests to an authority: whom they trust, which hosts are this one, how long an answer may be, when to try again.

pub mod backoff;
pub mod connection;
pub mod outbound;
pub mod sse;
