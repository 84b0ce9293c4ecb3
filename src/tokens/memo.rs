//! Remembers tokens that were seen to be genuine, so that judging one again costs a hash and no cryptography.
//!
//! What is remembered is what a token *claims*, which never changes. Whether it still works is asked of the
//! state every time. Only genuine tokens are remembered: forgeries cannot push them out. A token is known by
//! a digest under a key that this process alone has, so a memory dump holds no token.

use std::fmt;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use super::Claims;
use crate::entropy::{self, Entropy};

/// What a token is known by.
pub(super) type TokenDigest = [u8; 16];

/// A genuine token as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What it claims.
    pub(super) claims: Claims,
    /// The place of the key that sealed it: whether that key still works is asked every time too.
    pub(super) key: u32,
}

/// A bounded memory of genuine tokens, sharded: lookups on different threads rarely meet.
pub(super) struct Memo {
    key: Zeroizing<[u8; 32]>,
    seen: Cache<TokenDigest, Seen>,
}

impl Memo {
    pub(super) fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        Self { key: Zeroizing::new(entropy::bytes(entropy)), seen: Cache::new(capacity) }
    }

    /// 128 bits of a keyed hash: who does not have the key cannot look for two texts that meet.
    pub(super) fn digest(&self, text: &str) -> TokenDigest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::keyed_hash(&self.key, text.as_bytes()).as_bytes()[..16]);
        digest
    }

    pub(super) fn recall(&self, digest: TokenDigest) -> Option<Seen> {
        self.seen.get(&digest)
    }

    pub(super) fn remember(&self, digest: TokenDigest, seen: Seen) {
        self.seen.insert(digest, seen);
    }
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memo({} of {})", self.seen.len(), self.seen.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Generation, SessionId},
        entropy::SeededEntropy,
    };

    const SEEN: Seen = Seen {
        claims: Claims { session: SessionId::from_bytes([1; 16]), generation: Generation(1) },
        key: 0,
    };

    #[test]
    fn a_memo_is_bounded() {
        let memo = Memo::new(100, &SeededEntropy::new(1));
        for n in 0..10_000 {
            memo.remember(memo.digest(&n.to_string()), SEEN);
        }
        assert!(memo.seen.len() <= 200, "{memo:?}");
    }

    #[test]
    fn a_memo_of_no_capacity_remembers_nothing() {
        let memo = Memo::new(0, &SeededEntropy::new(1));
        memo.remember(memo.digest("a"), SEEN);
        assert_eq!(memo.recall(memo.digest("a")), None);
    }

    #[test]
    fn two_processes_know_a_token_by_different_digests() {
        let (one, two) = (Memo::new(1, &SeededEntropy::new(1)), Memo::new(1, &SeededEntropy::new(2)));
        assert_ne!(one.digest("a"), two.digest("a"));
    }
}
