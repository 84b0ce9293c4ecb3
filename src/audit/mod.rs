//! Evidence: what convinces somebody who trusts neither this program nor whoever runs it.
//!
//! One structure carries all of it, the tree over the records ([`log::tree`](crate::log::tree)). A *head* is its size
//! and root, signed as a note that transparency tools read ([`checkpoint`], [`note`], [`key`]). An
//! [`export`](mod@export) is a history in a file that proves itself; [`verify`](mod@verify) reads one and believes
//! nothing that it has not checked. What was read is folded anew ([`replay`], [`diff`]) and told ([`story`]).
//! Nothing here is asked before a decision, and nothing here can make one.

pub mod checkpoint;
pub mod diff;
pub mod export;
pub mod import;
pub mod key;
pub mod known;
pub mod note;
pub mod range;
pub mod replay;
pub mod story;
pub mod verify;
pub mod view;
pub mod what_if;

pub use checkpoint::SignedHead;
pub use key::{HeadKey, VerifierKey};
pub use note::NoteError;
