//! The evidence: what the log proves, and what it tells.
//!
//! An [`export`](mod@export) is a history in a file that proves itself. [`verify`](mod@verify) reads one, or any
//! other sequence of commits, and believes nothing that it has not checked.

pub mod export;
pub mod range;
pub mod verify;
