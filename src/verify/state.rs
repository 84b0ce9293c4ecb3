//! What a verifier knows, and how it judges by it. Pure: no I/O, and time is an argument.
//!
//! Time here is that of the machine since it was started, which cannot be set and goes on while the machine
//! sleeps. What time it is at the authority follows from its last complete answer; the wall clock of this machine is
//! never asked, so that it may be wrong.

use std::{sync::Arc, time::Duration};

use super::{
    AccessClaims, Rejection, VerifierConfig,
    key_set::{KeySet, VerificationKey},
    paseto::{PublicKey, UnverifiedToken},
    revoked::{RevocationEntry, RevocationSet},
};
use tenure_protocol::Timestamp;

/// How far the authority's clock may run ahead of the verifier's between two complete answers.
const TOLERANCE: Duration = Duration::from_millis(500);

/// What a verifier knows.
#[derive(Debug)]
pub(super) struct VerifierState {
    config: VerifierConfig,
    ring: KeySet,
    revoked: RevocationSet,
    /// None before the first complete answer.
    heard: Option<SyncPoint>,
}

/// The last complete answer of the authority: its keys, and its revocations up to the end of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SyncPoint {
    /// When it was asked for. What was recorded before is known.
    pub(super) asked: Duration,
    /// When its last page was asked for.
    pub(super) last_asked: Duration,
    /// What time it was at the authority when it gave that page.
    pub(super) authority_time: Timestamp,
}

/// How a verifier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifierStatus {
    /// How long ago the last complete answer was asked for; `None` before the first.
    pub age: Option<Duration>,
    /// Whether tokens are judged, and not all refused.
    pub is_fresh: bool,
    /// How many keys the authority shows.
    pub keys: usize,
    /// How many revocations are remembered.
    pub revocations: usize,
}

/// A token whose signature was verified: what it says, and the key that signed it.
#[derive(Clone, Debug)]
pub(super) struct VerifiedToken {
    pub(super) claims: Arc<AccessClaims>,
    pub(super) key_id: Arc<str>,
}

impl VerifierState {
    /// It knows nothing yet and refuses everything.
    pub(super) fn new(config: VerifierConfig) -> Self {
        let revoked = RevocationSet::new(config.remembered_revocations);
        Self { config, ring: KeySet::default(), revoked, heard: None }
    }

    /// The key that a token says it was signed with, when the token may be judged at all and the key is a good one.
    pub(super) fn key_of(&self, token: &UnverifiedToken, now: Duration) -> Result<PublicKey, Rejection> {
        let time = self.authority_time(now)?;
        let id = token.key_id().ok_or(Rejection::Malformed)?;
        self.ring.key(id, time).cloned().ok_or(Rejection::UnknownKey)
    }

    /// Judges what a genuine token says, now.
    pub(super) fn judge(&self, token: &VerifiedToken, now: Duration) -> Result<(), Rejection> {
        let time = self.authority_time(now)?;
        if self.ring.key(&token.key_id, time).is_none() {
            return Err(Rejection::UnknownKey);
        }
        self.judge_claims(&token.claims, time)?;
        if self.revoked.covers(&token.claims) { Err(Rejection::Revoked) } else { Ok(()) }
    }

    /// Whether tokens may be judged, and what time it is at the authority.
    ///
    /// That time is rather too late than too early: the way of its answer to us is counted in.
    pub(super) fn authority_time(&self, now: Duration) -> Result<Timestamp, Rejection> {
        let heard = self.heard.ok_or(Rejection::NotReady)?;
        let age = now.saturating_sub(heard.asked);
        if age >= self.config.staleness_bound {
            return Err(Rejection::Stale { age });
        }
        let since = now.saturating_sub(heard.last_asked).as_millis();
        Ok(heard.authority_time.plus_millis(i64::try_from(since).unwrap_or(i64::MAX)))
    }

    /// How it stands.
    pub(super) fn status(&self, now: Duration) -> VerifierStatus {
        VerifierStatus {
            age: self.heard.map(|heard| now.saturating_sub(heard.asked)),
            is_fresh: self.authority_time(now).is_ok(),
            keys: self.ring.len(),
            revocations: self.revoked.len(),
        }
    }

    /// Takes in all keys of the authority: all others stop counting.
    pub(super) fn learn_keys(&mut self, keys: impl IntoIterator<Item = VerificationKey>) {
        self.ring = KeySet::of(keys);
    }

    /// Takes in revocations. They count at once, whether the rest is known or not.
    pub(super) fn learn_revocations(&mut self, revocations: impl IntoIterator<Item = RevocationEntry>) {
        revocations.into_iter().for_each(|revocation| self.revoked.learn(revocation));
    }

    /// From now on no token signed before this time passes, for any holder.
    pub(super) fn refuse_signed_before(&mut self, time: Timestamp) {
        self.revoked.refuse_signed_before(time);
    }

    /// The authority has sent everything that it had when it was asked.
    pub(super) fn synchronized(&mut self, heard: SyncPoint) {
        self.heard = Some(heard);
        self.revoked.forget_before(heard.authority_time);
    }

    /// Learns from a stream that the authority has sent everything up to this time of its own. What is known is then
    /// newer than the last complete answer by the time that has passed there since, because the authority's clock goes
    /// as ours does. A stream held up on its way makes nothing fresher.
    ///
    /// Returns whether its clock has gone as ours has; if not, only another complete answer shows its time.
    pub(super) fn heard_until(&mut self, time: Timestamp, now: Duration) -> bool {
        let Some(heard) = &mut self.heard else { return false };
        let Ok(since) = u64::try_from(time.millis_since(heard.authority_time)) else { return true };
        let told = heard.last_asked + Duration::from_millis(since);
        heard.asked = heard.asked.max(told.min(now));
        told <= now + TOLERANCE
    }

    fn judge_claims(&self, claims: &AccessClaims, time: Timestamp) -> Result<(), Rejection> {
        if claims.issuer != self.config.issuer {
            return Err(Rejection::WrongIssuer);
        }
        if claims.audience != self.config.audience {
            return Err(Rejection::WrongAudience);
        }
        if time >= claims.expires_at {
            return Err(Rejection::Expired);
        }
        let latest = time.plus(self.config.clock_skew);
        if claims.not_before > latest || claims.issued_at > latest {
            return Err(Rejection::NotYetValid);
        }
        Ok(())
    }
}

/// Verifies a token's signature with the key that was chosen for it.
pub(super) fn verify(token: &UnverifiedToken, key: &PublicKey) -> Result<VerifiedToken, Rejection> {
    let payload = token.open(key).ok_or(Rejection::BadSignature)?;
    let claims = Arc::new(AccessClaims::from_payload(&payload)?);
    Ok(VerifiedToken { claims, key_id: Arc::clone(key.id()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revoked::RevocationTarget;
    use tenure_protocol::{SessionId, Timestamp};

    const KEY: &str = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";
    /// How long the machine had run when the authority was heard.
    const HEARD: Duration = Duration::from_secs(1_000);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000)
    }

    /// A moment this long after the authority was heard.
    fn later(millis: u64) -> Duration {
        HEARD + Duration::from_millis(millis)
    }

    fn token() -> VerifiedToken {
        let claims = AccessClaims {
            issuer: "tenure".to_owned(),
            subject: "agent-7".parse().unwrap(),
            session: SessionId::from_bytes([1; 16]),
            audience: None,
            scopes: [].into(),
            issued_at: at(0),
            not_before: at(0),
            expires_at: at(600),
            token_id: "x".to_owned(),
        };
        let key = PublicKey::from_paserk(KEY).unwrap();
        VerifiedToken { claims: Arc::new(claims), key_id: Arc::clone(key.id()) }
    }

    fn with(change: impl FnOnce(&mut AccessClaims)) -> VerifiedToken {
        let mut token = token();
        change(Arc::make_mut(&mut token.claims));
        token
    }

    /// It was heard at this time of the authority.
    fn state(config: VerifierConfig, time: Timestamp, retire_at: Option<Timestamp>) -> VerifierState {
        let mut state = VerifierState::new(config);
        state.learn_keys([VerificationKey { key: PublicKey::from_paserk(KEY).unwrap(), retire_at }]);
        state.synchronized(SyncPoint { asked: HEARD, last_asked: HEARD, authority_time: time });
        state
    }

    fn usual(time: Timestamp) -> VerifierState {
        state(VerifierConfig::of("tenure"), time, None)
    }

    #[test]
    fn nothing_passes_before_all_was_heard_once() {
        let mut state = VerifierState::new(VerifierConfig::of("tenure"));
        state.learn_keys([VerificationKey { key: PublicKey::from_paserk(KEY).unwrap(), retire_at: None }]);
        assert_eq!(state.judge(&token(), HEARD), Err(Rejection::NotReady));
        assert_eq!(state.status(HEARD).age, None);
    }

    #[test]
    fn nothing_passes_at_the_bound_and_everything_again_after_news() {
        let mut state = usual(at(0));
        assert_eq!(state.judge(&token(), later(9_999)), Ok(()));
        let age = Duration::from_secs(10);
        assert_eq!(state.judge(&token(), later(10_000)), Err(Rejection::Stale { age }));
        assert!(!state.status(later(10_000)).is_fresh);
        state.synchronized(SyncPoint {
            asked: later(60_000),
            last_asked: later(60_000),
            authority_time: at(60),
        });
        assert_eq!(state.judge(&token(), later(60_000)), Ok(()));
    }

    /// A delayed stream is as old as what it says, whenever it arrives.
    #[test]
    fn a_head_is_as_old_as_the_time_that_it_tells() {
        let mut state = usual(at(0));
        assert!(state.heard_until(at(8), later(9_000)));
        assert_eq!(state.status(later(9_000)).age, Some(Duration::from_secs(1)));
        assert!(state.heard_until(at(7), later(60_000)), "one that came late");
        assert_eq!(state.status(later(60_000)).age, Some(Duration::from_secs(52)));
        assert!(!state.status(later(60_000)).is_fresh);
        assert!(!state.heard_until(at(70), later(61_000)), "its clock was moved");
        assert_eq!(state.status(later(61_000)).age, Some(Duration::ZERO));
        assert!(!VerifierState::new(VerifierConfig::of("tenure")).heard_until(at(0), HEARD));
    }

    #[test]
    fn a_token_ends_at_its_very_millisecond_by_the_authoritys_clock() {
        let state = usual(at(595));
        assert_eq!(state.judge(&token(), later(4_999)), Ok(()));
        assert_eq!(state.judge(&token(), later(5_000)), Err(Rejection::Expired));
    }

    #[test]
    fn a_token_from_the_future_passes_within_the_skew() {
        for time in [at(5), at(6)] {
            let expected = if time == at(5) { Ok(()) } else { Err(Rejection::NotYetValid) };
            let not_before = with(|claims| claims.not_before = time);
            let issued_at = with(|claims| claims.issued_at = time);
            assert_eq!(usual(at(0)).judge(&not_before, HEARD), expected);
            assert_eq!(usual(at(0)).judge(&issued_at, HEARD), expected);
        }
    }

    #[test]
    fn issuer_and_audience_are_those_of_the_rules_exactly() {
        let judge = |audience: Option<&str>, token: &VerifiedToken| {
            let config =
                VerifierConfig { audience: audience.map(str::to_owned), ..VerifierConfig::of("tenure") };
            state(config, at(0), None).judge(token, HEARD)
        };
        let for_orders = with(|claims| claims.audience = Some("orders".to_owned()));
        assert_eq!(judge(Some("orders"), &for_orders), Ok(()));
        for (audience, token) in
            [(Some("order"), &for_orders), (None, &for_orders), (Some("orders"), &token())]
        {
            assert_eq!(judge(audience, token), Err(Rejection::WrongAudience));
        }
        for issuer in ["tenure ", "Tenure", ""] {
            let other = with(|claims| claims.issuer = issuer.to_owned());
            assert_eq!(judge(None, &other), Err(Rejection::WrongIssuer));
        }
    }

    #[test]
    fn a_key_counts_until_it_retires_or_is_shown_no_more() {
        let mut state = state(VerifierConfig::of("tenure"), at(5), Some(at(6)));
        assert_eq!(state.judge(&token(), later(999)), Ok(()));
        assert_eq!(state.judge(&token(), later(1_000)), Err(Rejection::UnknownKey));
        state.learn_keys([]);
        assert_eq!(state.judge(&token(), HEARD), Err(Rejection::UnknownKey));
    }

    #[test]
    fn a_revocation_counts_as_soon_as_it_is_known_and_is_forgotten_by_the_authoritys_clock() {
        let mut state = usual(at(0));
        state.learn_revocations([RevocationEntry { at: at(0), whom: RevocationTarget::Everyone }]);
        assert_eq!(state.judge(&token(), HEARD), Err(Rejection::Revoked));
        let whom = RevocationTarget::Session(SessionId::from_bytes([2; 16]));
        state.learn_revocations([RevocationEntry { at: at(0), whom }]);
        assert_eq!(state.status(HEARD).revocations, 1);
        state.synchronized(SyncPoint { asked: HEARD, last_asked: HEARD, authority_time: at(1_810) });
        assert_eq!(state.status(HEARD).revocations, 0);
        let ancient = with(|claims| claims.expires_at = at(9_999));
        assert_eq!(state.judge(&ancient, HEARD), Ok(()));
    }
}
