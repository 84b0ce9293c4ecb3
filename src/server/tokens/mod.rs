//! Proofs: session tokens and access tokens, and the keys behind them.
//!
//! A session token says *which session and which generation*, sealed so that no one else can make or
//! read one; whether that session lives, the state decides. A token carries no expiry.
//!
//! `tnr_sess_` + PASETO v4.local, payload `{"sid":"<uuid>","gen":<n>}` and, after a renewal, `"by":<n>`, the number
//! of the renewal that granted the generation; the sealing key's PASERK id in the footer, `paseto::ASSERTION` as
//! implicit assertion. A token is sealed with a fresh nonce: two of the same session and generation differ, and both
//! work.
//!
//! An access token is minted with a session token and judged by every holder of the public key; see [`AccessClaims`].

mod access;
mod claims;
mod digests;
mod key_store;
mod keyring;
mod paseto;
mod secret;
mod veto;

pub use access::{AccessClaims, AccessToken};
pub use claims::TokenClaims;
pub use digests::KeyedDigests;
pub use keyring::{NewKey, TokenKeyring};
pub use secret::{ApiKey, SessionToken};
pub use veto::{VetoClaims, VetoToken};

use key_store::WorkingKeys;

use tenure_core::{Generation, SessionId, Timestamp};
use tenure_protocol::entropy::Entropy;
use tenure_protocol::token_cache::TokenCache;

/// A genuine token as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VerifiedToken {
    /// What it claims.
    claims: TokenClaims,
    /// The place of the key that sealed it: whether that key still works is asked every time too.
    key: u32,
}

/// Seals and opens session tokens, and signs access tokens. Shared by all threads.
#[derive(Debug)]
pub struct TokenSealer {
    keyring: TokenKeyring,
    memo: TokenCache<VerifiedToken>,
}

impl TokenSealer {
    /// Of these keys, remembering at most about `memo_capacity` tokens that were seen to be genuine. 0
    /// remembers none.
    pub fn new(keyring: TokenKeyring, memo_capacity: usize, entropy: &dyn Entropy) -> Self {
        Self { keyring, memo: TokenCache::new(memo_capacity, entropy) }
    }

    /// A new token of this session and generation, no matter which event granted it, sealed with the active key.
    ///
    /// # Panics
    /// As [`TokenSealer::seal_claims`].
    pub fn seal(&self, session: SessionId, generation: Generation) -> SessionToken {
        self.seal_claims(TokenClaims { session, generation, grant: None })
    }

    /// A new token that claims this, sealed with the active key.
    ///
    /// # Panics
    /// When the operating system gives no randomness: no process can go on safely then.
    pub fn seal_claims(&self, claims: TokenClaims) -> SessionToken {
        let ring = self.keyring.session.ring();
        let token = SessionToken::of(&paseto::seal(&ring.active.key, &claims.to_payload()));
        self.memo
            .remember(self.memo.digest(token.expose()), VerifiedToken { claims, key: ring.active.place });
        token
    }

    /// What a genuine token claims; `None` for any other text, and for a token whose key has retired. Constant
    /// work for a token seen before, and no work at all for a text that cannot be a token. What time it is, is asked
    /// only where the token's key is about to retire.
    pub fn open(&self, text: &str, now: impl Fn() -> Timestamp) -> Option<TokenClaims> {
        let sealed = SessionToken::sealed_part(text)?;
        let ring = self.keyring.session.ring();
        let digest = self.memo.digest(text);
        if let Some(seen) = self.memo.recall(digest) {
            return ring.opens(seen.key, now).then_some(seen.claims);
        }
        let seen = open_cold(&ring, sealed, now)?;
        self.memo.remember(digest, seen);
        Some(seen.claims)
    }

    /// Whether a text may be a token of a missing key.
    pub(crate) fn is_of_unknown_key(&self, text: &str) -> bool {
        let untrusted = SessionToken::sealed_part(text).and_then(paseto::UnverifiedToken::parse);
        let Some(untrusted) = untrusted else { return false };
        let ring = self.keyring.session.ring();
        !ring.has(untrusted.key_id())
    }

    /// The keys.
    pub const fn keyring(&self) -> &TokenKeyring {
        &self.keyring
    }
}

fn open_cold(
    ring: &WorkingKeys<paseto::SealingKey>,
    sealed: &str,
    now: impl Fn() -> Timestamp,
) -> Option<VerifiedToken> {
    let untrusted = paseto::UnverifiedToken::parse(sealed)?;
    let placed = ring.key(untrusted.key_id(), now)?;
    let claims = TokenClaims::from_payload(&untrusted.open(&placed.key)?)?;
    Some(VerifiedToken { claims, key: placed.place })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::keys::KeyHistory;
    use tenure_protocol::entropy::{OsEntropy, SeededEntropy, session_id};

    impl TokenSealer {
        fn opened(&self, text: &str) -> Option<TokenClaims> {
            self.open(text, || Timestamp::ZERO)
        }
    }

    fn tokens(seed: u64) -> TokenSealer {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(seed);
        let keys = dir.path().join("keys");
        let keyring = TokenKeyring::open(&keys, &KeyHistory::default(), Timestamp::ZERO, &entropy).unwrap();
        TokenSealer::new(keyring, 1_000, &entropy)
    }

    fn a_session() -> SessionId {
        session_id(&OsEntropy, Timestamp::ZERO)
    }

    /// The same keys, nothing remembered.
    fn cold(tokens: &TokenSealer) -> TokenSealer {
        TokenSealer::new(tokens.keyring.clone(), 1_000, &OsEntropy)
    }

    #[test]
    fn a_sealed_token_opens_warm_and_cold() {
        let tokens = tokens(1);
        let claims = TokenClaims { session: a_session(), generation: Generation(7), grant: None };
        let token = tokens.seal(claims.session, claims.generation);
        assert!(token.expose().starts_with("tnr_sess_v4.local."), "a whole PASETO follows the prefix");
        assert_eq!(tokens.opened(token.expose()), Some(claims));
        let cold = cold(&tokens);
        assert_eq!(cold.opened(token.expose()), Some(claims));
        assert_eq!(cold.opened(token.expose()), Some(claims));
    }

    #[test]
    fn the_largest_claims_fit_the_longest_token() {
        let tokens = tokens(1);
        let session = SessionId::from_bytes([0xff; 16]);
        let claims = TokenClaims { session, generation: Generation(u32::MAX), grant: Some(u32::MAX) };
        let token = tokens.seal_claims(claims);
        assert!(cold(&tokens).opened(token.expose()).is_some());
    }

    #[test]
    fn two_tokens_of_one_generation_differ_and_both_work() {
        let tokens = tokens(1);
        let session = a_session();
        let (one, two) = (tokens.seal(session, Generation::FIRST), tokens.seal(session, Generation::FIRST));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(cold(&tokens).opened(one.expose()), cold(&tokens).opened(two.expose()));
    }

    #[test]
    fn a_token_with_any_character_changed_is_none() {
        let tokens = tokens(1);
        let token = tokens.seal(a_session(), Generation::FIRST);
        for place in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.opened(&forged), None, "character {place}");
        }
    }

    #[test]
    fn a_token_cut_or_lengthened_is_none() {
        let tokens = tokens(1);
        let token = tokens.seal(a_session(), Generation::FIRST);
        for length in 0..token.expose().len() {
            assert_eq!(tokens.opened(&token.expose()[..length]), None, "{length} characters");
        }
        for more in ["A", " ", "\n", "=", ".", ".A"] {
            assert_eq!(tokens.opened(&format!("{}{more}", token.expose())), None, "{more:?}");
        }
        assert_eq!(tokens.opened(&format!(" {}", token.expose())), None);
    }

    #[test]
    fn another_authoritys_token_is_none() {
        let token = tokens(2).seal(a_session(), Generation::FIRST);
        assert_eq!(tokens(1).opened(token.expose()), None);
    }

    #[test]
    fn a_footer_that_names_our_key_does_not_make_a_foreign_token_ours() {
        let (ours, theirs) = (tokens(1), tokens(2));
        let mine = ours.seal(a_session(), Generation::FIRST);
        let foreign = theirs.seal(a_session(), Generation::FIRST);
        let footer = mine.expose().rsplit('.').next().unwrap();
        let body = foreign.expose().rsplit_once('.').unwrap().0;
        assert_eq!(ours.opened(&format!("{body}.{footer}")), None);
    }

    #[test]
    fn nothing_that_is_no_token_opens() {
        let tokens = tokens(1);
        let long = format!("tnr_sess_v4.local.{}", "A".repeat(100_000));
        for text in
            ["", "tnr_sess_", "tnr_sess_v4.local.", "tnr_sess_v4.local.AAAA.AAAA", "tnr_key_AAAA", &long]
        {
            assert_eq!(tokens.opened(text), None, "{} characters", text.len());
        }
        let token = tokens.seal(a_session(), Generation::FIRST);
        assert_eq!(tokens.opened(token.expose().trim_start_matches("tnr_sess_")), None, "without its prefix");
    }
}
