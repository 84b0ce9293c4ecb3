//! Proofs. A session token says *which session and which generation*, sealed so that nobody else can make or
//! read one; whether that session lives, the state decides. A token carries no expiry.
//!
//! `tnr_sess_` + PASETO v4.local, payload `{"sid":"<uuid>","gen":<n>}`, the sealing key's PASERK id in the
//! footer, `paseto::ASSERTION` as implicit assertion. A token is sealed with a fresh nonce: two of the
//! same session and generation differ, and both work.

mod claims;
mod digests;
mod keyring;
mod memo;
mod paseto;
mod secret;

pub use claims::Claims;
pub use digests::Digests;
pub use keyring::Keyring;
pub use secret::{ApiKey, SessionToken};

use memo::Memo;

use crate::{
    domain::{Generation, SessionId},
    entropy::Entropy,
};

/// Seals and opens session tokens. Shared by all threads.
#[derive(Debug)]
pub struct Tokens {
    keyring: Keyring,
    memo: Memo,
}

impl Tokens {
    /// Of these keys, remembering at most about `memo_capacity` tokens that were seen to be genuine. 0
    /// remembers none.
    ///
    /// When a key leaves the ring, make a new `Tokens`: the memo would go on knowing the key's tokens.
    pub fn new(keyring: Keyring, memo_capacity: usize, entropy: &dyn Entropy) -> Self {
        Self { keyring, memo: Memo::new(memo_capacity, entropy) }
    }

    /// A new token of this session and generation, sealed with the active key.
    ///
    /// # Panics
    /// When the operating system gives no randomness: no process can go on safely then.
    pub fn seal(&self, session: SessionId, generation: Generation) -> SessionToken {
        let claims = Claims { session, generation };
        let sealed = paseto::seal(self.keyring.active(), &claims.to_payload());
        let token = SessionToken::of(&sealed.expect("the operating system gives randomness"));
        self.memo.remember(self.memo.digest(token.expose()), claims);
        token
    }

    /// What a genuine token claims; none for any other text. Constant work for a token seen before, and no
    /// work at all for a text that cannot be a token.
    pub fn open(&self, text: &str) -> Option<Claims> {
        let sealed = SessionToken::sealed_part(text)?;
        let digest = self.memo.digest(text);
        if let Some(claims) = self.memo.recall(digest) {
            return Some(claims);
        }
        let claims = self.open_cold(sealed)?;
        self.memo.remember(digest, claims);
        Some(claims)
    }

    /// The id of the key that seals new tokens (PASERK `k4.lid`).
    pub fn active_key_id(&self) -> &str {
        self.keyring.active().id()
    }

    fn open_cold(&self, sealed: &str) -> Option<Claims> {
        let untrusted = paseto::Untrusted::parse(sealed)?;
        let key = self.keyring.key(untrusted.key_id()?)?;
        Claims::from_payload(&untrusted.open(key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{OsEntropy, SeededEntropy, session_id};

    fn tokens(seed: u64) -> Tokens {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(seed);
        let keyring = Keyring::open(&dir.path().join("keys"), &entropy).unwrap();
        Tokens::new(keyring, 1_000, &entropy)
    }

    fn a_session() -> SessionId {
        session_id(&OsEntropy, crate::domain::Timestamp::ZERO)
    }

    /// The same keys, nothing remembered.
    fn cold(tokens: &Tokens) -> Tokens {
        Tokens::new(tokens.keyring.clone(), 1_000, &OsEntropy)
    }

    #[test]
    fn a_sealed_token_opens_warm_and_cold() {
        let tokens = tokens(1);
        let claims = Claims { session: a_session(), generation: Generation(7) };
        let token = tokens.seal(claims.session, claims.generation);
        assert!(token.expose().starts_with("tnr_sess_v4.local."), "a whole PASETO follows the prefix");
        assert_eq!(tokens.open(token.expose()), Some(claims));
        let cold = cold(&tokens);
        assert_eq!(cold.open(token.expose()), Some(claims));
        assert_eq!(cold.open(token.expose()), Some(claims));
    }

    #[test]
    fn the_largest_claims_fit_the_longest_token() {
        let tokens = tokens(1);
        let session = SessionId::from_bytes([0xff; 16]);
        let token = tokens.seal(session, Generation(u32::MAX));
        assert!(cold(&tokens).open(token.expose()).is_some());
    }

    #[test]
    fn two_tokens_of_one_generation_differ_and_both_work() {
        let tokens = tokens(1);
        let session = a_session();
        let (one, two) = (tokens.seal(session, Generation::FIRST), tokens.seal(session, Generation::FIRST));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(cold(&tokens).open(one.expose()), cold(&tokens).open(two.expose()));
    }

    #[test]
    fn a_token_with_any_character_changed_is_none() {
        let tokens = tokens(1);
        let token = tokens.seal(a_session(), Generation::FIRST);
        for place in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.open(&forged), None, "character {place}");
        }
    }

    #[test]
    fn a_token_cut_or_lengthened_is_none() {
        let tokens = tokens(1);
        let token = tokens.seal(a_session(), Generation::FIRST);
        for length in 0..token.expose().len() {
            assert_eq!(tokens.open(&token.expose()[..length]), None, "{length} characters");
        }
        for more in ["A", " ", "\n", "=", ".", ".A"] {
            assert_eq!(tokens.open(&format!("{}{more}", token.expose())), None, "{more:?}");
        }
        assert_eq!(tokens.open(&format!(" {}", token.expose())), None);
    }

    #[test]
    fn another_authoritys_token_is_none() {
        let token = tokens(2).seal(a_session(), Generation::FIRST);
        assert_eq!(tokens(1).open(token.expose()), None);
    }

    #[test]
    fn a_footer_that_names_our_key_does_not_make_a_foreign_token_ours() {
        let (ours, theirs) = (tokens(1), tokens(2));
        let mine = ours.seal(a_session(), Generation::FIRST);
        let foreign = theirs.seal(a_session(), Generation::FIRST);
        let footer = mine.expose().rsplit('.').next().unwrap();
        let body = foreign.expose().rsplit_once('.').unwrap().0;
        assert_eq!(ours.open(&format!("{body}.{footer}")), None);
    }

    #[test]
    fn nothing_that_is_no_token_opens() {
        let tokens = tokens(1);
        let long = format!("tnr_sess_v4.local.{}", "A".repeat(100_000));
        for text in
            ["", "tnr_sess_", "tnr_sess_v4.local.", "tnr_sess_v4.local.AAAA.AAAA", "tnr_key_AAAA", &long]
        {
            assert_eq!(tokens.open(text), None, "{} characters", text.len());
        }
        let token = tokens.seal(a_session(), Generation::FIRST);
        assert_eq!(tokens.open(token.expose().trim_start_matches("tnr_sess_")), None, "without its prefix");
    }
}
