//! Remembers tokens whose seal or signature was found to be genuine, so that judging one again costs a hash.
//!
//! What is remembered is what a token *says*, which never changes. Whether it still counts is judged every time. Only
//! genuine tokens are remembered: forgeries cannot push them out. A token is known by a digest under a key that this
//! process alone has, so a memory dump holds no token.

use std::{
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
};

use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};
use siphasher::sip128::SipHasher24;
use zeroize::Zeroizing;

use crate::entropy::{self, Entropy};

/// What a token is known by: 128 bits of SipHash-2-4. Who does not have the key cannot look for two texts that meet,
/// nor is shown what a text is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDigest([u64; 2]);

impl Hash for TokenDigest {
    /// Half of a digest, which is as good a hash as any.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The hash of a digest: what it gives.
#[derive(Default)]
struct GivenHash(u64);

impl Hasher for GivenHash {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a digest gives one number");
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A bounded memory of genuine tokens, sharded: lookups on different threads rarely meet.
pub struct TokenCache<T> {
    key: Zeroizing<[u8; 16]>,
    seen: Cache<TokenDigest, T, UnitWeighter, BuildHasherDefault<GivenHash>>,
}

impl<T: Clone> TokenCache<T> {
    /// Remembers about `capacity` tokens; with 0, none.
    pub fn new(capacity: usize, entropy: &dyn Entropy) -> Self {
        let weight = u64::try_from(capacity).unwrap_or(u64::MAX);
        let seen = Cache::with(
            capacity,
            weight,
            UnitWeighter,
            BuildHasherDefault::default(),
            DefaultLifecycle::default(),
        );
        Self { key: Zeroizing::new(entropy::bytes(entropy)), seen }
    }

    /// What this process knows a text by.
    pub fn digest(&self, text: &str) -> TokenDigest {
        let digest = SipHasher24::new_with_key(&self.key).hash(text.as_bytes());
        TokenDigest([digest.h1, digest.h2])
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
