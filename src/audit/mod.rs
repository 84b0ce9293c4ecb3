//! Evidence: what convinces somebody who trusts neither this program nor whoever runs it.
//!
//! One structure carries all of it, the tree over the records ([`log::tree`](crate::log::tree)). A *head* is its size
//! and root, signed as a note that transparency tools read ([`checkpoint`], [`note`], [`key`]).
//! Nothing here is asked before a decision, and nothing here can make one.

pub mod checkpoint;
pub mod key;
pub mod note;

pub use checkpoint::SignedHead;
pub use key::{HeadKey, VerifierKey};
pub use note::NoteError;
