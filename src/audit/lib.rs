//! Evidence: what convinces somebody who trusts neither this program nor whoever runs it.
//!
//! One structure carries all of it, the tree over the records ([`log::tree`](tenure_log::tree)). A *head* is its size
//! and root, signed as a note that transparency tools read ([`checkpoint`], [`note`], [`key`]). [`proof`] says what a
//! record's place under a head is proved by, and one head's place under another; [`nodes`] keeps what that takes.
//! [`heads`] signs, [`keeper`] sees to it that it happens in time.
//! [`live_check`] replays the log beside the running authority and compares.
//!
//! An [`export`](mod@export) is a history in a file that proves itself; [`verify`](mod@verify) reads one and believes
//! nothing that it has not checked. What was read is folded anew ([`replay`], [`diff`], [`what_if`]) and told
//! ([`story`]).
//!
//! Nothing here is asked before a decision, and nothing here can make one.

pub mod checkpoint;
pub mod compact_range;
pub mod diff;
pub mod export;
pub mod head_signer;
mod head_store;
pub mod heads;
pub mod import;
pub mod key;
pub mod live_check;
pub mod merkle_index;
pub mod note;
pub mod proof;
pub mod replay;
pub mod story;
pub mod trusted_heads;
pub mod verify;
pub mod view;
pub mod what_if;

pub use checkpoint::SignedHead;
pub use head_signer::HeadSigner;
pub use head_store::KeptError;
pub use heads::{HeadError, Heads, Lineage};
pub use key::{HeadKey, VerifierKey};
pub use live_check::LiveCheck;
pub use merkle_index::Nodes;
pub use note::NoteError;

/// What a running authority does to be believed.
pub struct Evidence {
    /// Signs heads.
    pub keeper: HeadSigner,
    /// Compares what is answered with what is recorded.
    pub check: LiveCheck,
}

impl Evidence {
    /// What must be looked into by people; nothing while all is well.
    pub fn alarms(&self) -> Vec<&str> {
        let heads = self.keeper.heads();
        let of_heads = heads.stopped().into_iter().chain(heads.unkept()).chain(self.keeper.alarm());
        of_heads.chain(self.check.alarm()).collect()
    }
}
