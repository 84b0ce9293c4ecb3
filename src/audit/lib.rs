//! Evidence: what convinces a reader who trusts neither this program nor its operator.
//!
//! One structure carries all of it, the tree over the records ([`log::tree`](tenure_log::tree)). [`transparency`] is
//! what the tree can be held to: *signed heads*, each its size and root as a note that transparency tools read, and the
//! proofs of a record's place under a head, and of one head's place under another. [`live_check`] replays the log beside
//! the running authority and compares.
//!
//! An [`export`](mod@export) is a history in a file that proves itself; [`verify`](mod@verify) reads one and believes
//! nothing that it has not checked, and [`import`](mod@import) makes a data directory of one. What was read is folded
//! ([`replay`]), decided under other limits ([`what_if`]) and explained ([`story`]).
//!
//! Nothing here is asked before a decision, and nothing here can make one.

pub mod export;
pub mod import;
pub mod live_check;
pub mod replay;
pub mod story;
pub mod transparency;
pub mod verify;
pub mod what_if;

pub use live_check::LiveCheck;
pub use transparency::{
    head_signer::HeadSigner,
    head_store::{HeadStoreError, further_head_file},
    heads::{HeadComparison, HeadError, HeadPublication, LogLineage, SignedHeads},
    key::{HeadKey, VerifierKey},
    merkle_index::{MerkleIndex, ProofFailure},
    note::NoteError,
    signed_head::SignedHead,
};

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
