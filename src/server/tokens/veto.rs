//! The link in the notice of a renewal: it says which renewal may be vetoed, and as whom.
//!
//! `tnr_veto_` + PASETO v4.local under a key derived from a session key for this purpose alone, so that no
//! other route could open it even by mistake. It lives and dies with that session key: after a rotation with `now` no
//! link works. Whether the renewal can still be vetoed, the state decides.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{TokenSealer, paseto};
use tenure_core::{Generation, OwnerId, SessionId, Timestamp};

/// The longest link: an owner's id has 128 characters at most.
const LONGEST_LINK: usize = 700;

/// What a genuine link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VetoClaims {
    /// The session that was renewed.
    pub session: SessionId,
    /// The generation that began with the renewal.
    pub generation: Generation,
    /// The notice that carries the link.
    pub notice: String,
    /// The notified owner.
    pub owner: OwnerId,
}

/// The payload as it is written; unknown fields are refused, as in session tokens.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VetoPayload {
    sid: String,
    #[serde(rename = "gen")]
    generation: u32,
    nid: String,
    own: String,
}

impl VetoClaims {
    fn to_payload(&self) -> String {
        let payload = VetoPayload {
            sid: self.session.to_string(),
            generation: self.generation.0,
            nid: self.notice.clone(),
            own: self.owner.to_string(),
        };
        serde_json::to_string(&payload).expect("our own documents are always JSON")
    }

    fn from_payload(payload: &str) -> Option<Self> {
        let VetoPayload { sid, generation, nid, own } = serde_json::from_str(payload).ok()?;
        let (session, owner) = (sid.parse().ok()?, own.parse().ok()?);
        Some(Self { session, generation: Generation(generation), notice: nid, owner })
    }
}

/// A sealed link, as the owner gets it in a notice.
pub struct VetoToken(Zeroizing<String>);

impl VetoToken {
    /// What every one starts with.
    pub const PREFIX: &str = "tnr_veto_";

    /// The token itself: for the notice that carries it and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for VetoToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VetoToken(…)")
    }
}

impl TokenSealer {
    /// A link for this renewal, sealed with the active key.
    ///
    /// # Panics
    /// When the operating system gives no randomness: no process can go on safely then.
    pub fn seal_veto(&self, claims: &VetoClaims) -> VetoToken {
        let sealed = paseto::seal_veto(&self.keyring.session.ring().active.key, &claims.to_payload());
        VetoToken(Zeroizing::new([VetoToken::PREFIX, &sealed].concat()))
    }

    /// What a genuine link claims; `None` for any other text, and for a link whose key has retired.
    pub fn open_veto(&self, text: &str, now: impl Fn() -> Timestamp) -> Option<VetoClaims> {
        let sealed = text.strip_prefix(VetoToken::PREFIX).filter(|_| text.len() <= LONGEST_LINK)?;
        let untrusted = paseto::UnverifiedToken::parse(sealed)?;
        let ring = self.keyring.session.ring();
        let placed = ring.key(untrusted.key_id(), now)?;
        VetoClaims::from_payload(&untrusted.open_veto(&placed.key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::TokenKeyring;
    use tenure_core::keys::KeyHistory;
    use tenure_protocol::entropy::SeededEntropy;

    fn tokens(seed: u64) -> TokenSealer {
        let dir = tempfile::tempdir().unwrap();
        let entropy = SeededEntropy::new(seed);
        let keyring =
            TokenKeyring::open(&dir.path().join("keys"), &KeyHistory::default(), Timestamp::ZERO, &entropy)
                .unwrap();
        TokenSealer::new(keyring, 1_000, &entropy)
    }

    fn claims() -> VetoClaims {
        VetoClaims {
            session: SessionId::from_bytes([0xff; 16]),
            generation: Generation(u32::MAX),
            notice: format!("{}.{}", u64::MAX, u32::MAX),
            owner: "o".repeat(128).parse().unwrap(),
        }
    }

    #[test]
    fn the_longest_link_opens_for_the_authority_that_sealed_it_alone() {
        let link = tokens(1).seal_veto(&claims());
        assert_eq!(tokens(1).open_veto(link.expose(), || Timestamp::ZERO), Some(claims()));
        assert_eq!(tokens(2).open_veto(link.expose(), || Timestamp::ZERO), None);
    }

    #[test]
    fn a_link_is_no_session_token_and_a_session_token_is_no_link() {
        let tokens = tokens(1);
        let link = tokens.seal_veto(&claims());
        let as_session = link.expose().replacen("tnr_veto_", "tnr_sess_", 1);
        assert_eq!(tokens.open(&as_session, || Timestamp::ZERO), None);
        let token = tokens.seal(claims().session, claims().generation);
        let as_link = token.expose().replacen("tnr_sess_", "tnr_veto_", 1);
        assert_eq!(tokens.open_veto(&as_link, || Timestamp::ZERO), None);
    }

    #[test]
    fn a_link_with_any_character_changed_is_none() {
        let tokens = tokens(1);
        let link = tokens.seal_veto(&claims());
        for place in 0..link.expose().len() {
            let mut bytes = link.expose().as_bytes().to_vec();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.open_veto(&forged, || Timestamp::ZERO), None, "character {place}");
        }
    }
}
