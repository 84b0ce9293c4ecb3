//! Requests to an authority: whom they trust, which hosts are this one, how long an answer may be.

pub mod outbound;
