//! The pages that tell a story are gone through with the real binary: what they say to do is done, and what they show
//! is what is said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod hold;
mod options;
mod page;
mod policies;
mod veto;
