//! What makes one node of a cluster believe another: a code over the words, by the secret that only
//! the nodes have.

use std::fmt;

use zeroize::Zeroizing;

const CONTEXT: &str = "tenure 2026 words between the nodes of a cluster";

/// The key of the nodes.
pub(crate) struct NodeMac(Zeroizing<[u8; 32]>);

impl NodeMac {
    /// Of this secret.
    pub(super) fn of(secret: &str) -> Self {
        Self(Zeroizing::new(blake3::derive_key(CONTEXT, secret.as_bytes())))
    }

    /// The code of these words, in hex.
    pub(crate) fn code(&self, words: &[&str]) -> String {
        self.hash(words).to_hex().to_string()
    }

    /// Whether the words were said by a node.
    pub(crate) fn is_right(&self, words: &[&str], code: &str) -> bool {
        // The comparison of hashes takes the same time for all.
        blake3::Hash::from_hex(code).is_ok_and(|code| code == self.hash(words))
    }

    fn hash(&self, words: &[&str]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for word in words {
            hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
        }
        hasher.finalize()
    }
}

impl fmt::Debug for NodeMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_secret_is_believed_and_only_word_for_word() {
        let (mac, other) = (NodeMac::of("a secret"), NodeMac::of("another"));
        let code = mac.code(&["7", "10.0.0.1"]);
        assert!(mac.is_right(&["7", "10.0.0.1"], &code));
        assert!(!mac.is_right(&["71", "0.0.0.1"], &code) && !mac.is_right(&["7", "10.0.0.2"], &code));
        assert!(!other.is_right(&["7", "10.0.0.1"], &code) && !mac.is_right(&["7", "10.0.0.1"], ""));
    }
}
