//! Remembers tokens whose signature was verified, so that judging one again costs a hash.
//!
//! What is remembered is what a token *says*, which never changes. Whether it still counts is judged every time. Only
//! genuine tokens are remembered: forgeries cannot push them out. A token is known by a digest under a key that this
//! process alone has, so a memory dump holds no token.

use std::fmt;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::state::Verified;
use crate::entropy::{self, Entropy};

/// What a token is known by.
pub(super) type TokenDigest = [u8; 16];

/// A bounded memory of genuine tokens.
pub(super) struct Memo {
    key: Zeroizing<[u8; 32]>,
    seen: Cache<TokenDigest, Verified>,
}

impl Memo {
    pub(super) fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        Self { key: Zeroizing::new(entropy::bytes(entropy)), seen: Cache::new(capacity) }
    }

    /// 128 bits of a keyed BLAKE3 hash: who does not have the key cannot look for two texts that meet.
    pub(super) fn digest(&self, token: &str) -> TokenDigest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::keyed_hash(&self.key, token.as_bytes()).as_bytes()[..16]);
        digest
    }

    pub(super) fn recall(&self, digest: &TokenDigest) -> Option<Verified> {
        self.seen.get(digest)
    }

    pub(super) fn remember(&self, digest: TokenDigest, token: Verified) {
        self.seen.insert(digest, token);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memo({} of {})", self.seen.len(), self.seen.capacity())
    }
}
