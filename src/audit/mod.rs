//! Evidence: what convinces somebody who trusts neither this program nor whoever runs it.
//!
//! One structure carries all of it, the tree over the records ([`log::tree`](crate::log::tree)). A *head* is its size
//! and root, signed as a note that transparency tools read ([`checkpoint`], [`note`], [`key`]). [`proof`] says what a
//! record's place under a head is proved by, and one head's place under another; [`nodes`] keeps what that takes.
//! [`heads`] signs, [`keeper`] sees to it that it happens in time.
//! Nothing here is asked before a decision, and nothing here can make one.

pub mod checkpoint;
pub mod heads;
pub mod keeper;
mod kept;
pub mod key;
pub mod nodes;
pub mod note;
pub mod proof;

pub use checkpoint::SignedHead;
pub use heads::{HeadError, Heads};
pub use keeper::Keeper;
pub use kept::KeptError;
pub use key::{HeadKey, VerifierKey};
pub use nodes::Nodes;
pub use note::NoteError;
