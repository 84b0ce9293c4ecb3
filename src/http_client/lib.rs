//! HTTP requests that Tenure makes: which certificates they trust, which hosts are this machine, how long an answer may
//! be, when to try again.
//!
//! `connection` and `sse` are for an authority; `outbound` is also what webhooks are sent with.

pub mod backoff;
pub mod connection;
pub mod outbound;
pub mod sse;
