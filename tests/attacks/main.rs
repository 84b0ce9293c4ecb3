//! Callers who want the service for themselves, and those who must not notice: the real binary, real sockets, attackers
//! that call from loopback addresses of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod callers;
mod client;
mod connections;
mod fleet;
mod framing;
mod overload;
mod requests;
mod siege;
mod slow;
