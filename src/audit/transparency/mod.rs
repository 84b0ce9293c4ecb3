//! What a log can be held to: its tree, the signed heads over it, the proofs under them.

pub mod compact_range;
pub mod head_signer;
pub(crate) mod head_store;
pub mod heads;
pub mod key;
pub mod merkle_index;
pub mod note;
pub mod proof;
pub mod signed_head;
pub mod trusted_heads;
