//! Remembers tokens whose seal or signature was found to be genuine, so that judging one again costs a hash.
//!
//! What is remembered is what a token *says*, which never changes. Whether it still counts is judged every time. Only
//! genuine tokens are remembered: forgeries cannot push them out. A token is known by a digest under a key that this
//! process alone has, so a memory dump holds no token.

use std::fmt;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};

/// What a token is known by: 128 bits of a keyed BLAKE3 hash. Who does not have the key cannot look for two texts that
/// meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 16]);

/// A bounded memory of genuine tokens, sharded: lookups on different threads rarely meet.
pub struct TokenCache<T> {
    key: Zeroizing<[u8; 32]>,
    seen: Cache<TokenDigest, T>,
}

impl<T: Clone> TokenCache<T> {
    /// Remembers about `capacity` tokens; with 0, none.
    pub fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        Self { key: Zeroizing::new(entropy::bytes(entropy)), seen: Cache::new(capacity) }
    }

    /// What this process knows a text by.
    pub fn digest(&self, text: &str) -> TokenDigest {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::keyed_hash(&self.key, text.as_bytes()).as_bytes()[..16]);
        TokenDigest(digest)
    }

    /// What a token says that was seen before.
    pub fn recall(&self, digest: TokenDigest) -> Option<T> {
        self.seen.get(&digest)
    }

    /// Of a genuine token.
    pub fn remember(&self, digest: TokenDigest, said: T) {
        self.seen.insert(digest, said);
    }
}

impl<T: Clone> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memo({} of {})", self.seen.len(), self.seen.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_memo_is_bounded() {
        let memo = TokenCache::new(100, &SeededEntropy::new(1));
        for n in 0..10_000 {
            memo.remember(memo.digest(&n.to_string()), n);
        }
        assert!(memo.seen.len() <= 200, "{memo:?}");
    }

    #[test]
    fn a_memo_of_no_capacity_remembers_nothing() {
        let memo = TokenCache::new(0, &SeededEntropy::new(1));
        memo.remember(memo.digest("a"), 1);
        assert_eq!(memo.recall(memo.digest("a")), None);
    }

    #[test]
    fn two_processes_know_a_token_by_different_digests() {
        let [one, two] = [1, 2].map(|seed| TokenCache::<u8>::new(1, &SeededEntropy::new(seed)));
        assert_ne!(one.digest("a"), two.digest("a"));
    }
}
