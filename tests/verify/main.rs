//! The verifier and the layer as a service meets them: an authority that does what a test tells it, and the real one.
//!
//! Measured latencies are printed: `cargo test --locked --test verify measured -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod claims;
mod ends;
mod example;
mod fake;
mod following;
mod introspection;
mod layer;
mod pushed;
mod real;
mod rotation;
mod tokens;

use tenure_testing::server;
