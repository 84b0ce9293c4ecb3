//! A verifier as a program holds it: what it knows, shared by all who ask.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    AccessClaims, InvalidConfig, Rejection, VerifierConfig, VerifierStatus,
    paseto::{LONGEST, UnverifiedToken},
    state::{VerifiedToken, VerifierState, verify},
};
use tenure_protocol::clock::{Clock, SystemClock};
use tenure_protocol::entropy::{Entropy, OsEntropy};
use tenure_protocol::token_cache::TokenCache;

/// The longest wait for a fresh answer if a token of an unknown key is presented.
const FRESH_ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Checks access tokens offline. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct Verifier(Arc<VerifierInner>);

struct VerifierInner {
    config: VerifierConfig,
    state: RwLock<VerifierState>,
    token_cache: TokenCache<VerifiedToken>,
    clock: Arc<dyn Clock>,
    /// A fresh answer is wanted sooner than it would come.
    wanted: Notify,
    /// When it last was.
    wanted_at: Mutex<Option<Duration>>,
    /// When the last round that has ended, well or not, was begun.
    rounds: watch::Sender<Option<Duration>>,
}

impl Verifier {
    /// One that knows nothing yet, and refuses every token until [`Verifier::follow`] has fetched everything.
    ///
    /// # Errors
    /// Rules that cannot be followed.
    pub fn new(config: VerifierConfig) -> Result<Self, InvalidConfig> {
        Self::with(config, Arc::new(SystemClock::new()), &OsEntropy)
    }

    /// The same with a clock of one's own, of which only [`Clock::since_boot`] is asked, and chance.
    ///
    /// # Errors
    /// Rules that cannot be followed.
    pub fn with(
        config: VerifierConfig,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self(Arc::new(VerifierInner {
            state: RwLock::new(VerifierState::new(config.clone())),
            token_cache: TokenCache::new(config.remembered_tokens, entropy),
            config,
            clock,
            wanted: Notify::new(),
            wanted_at: Mutex::default(),
            rounds: watch::Sender::new(None),
        })))
    }

    /// Waits until tokens are judged: until the authority has sent everything, and recently.
    pub async fn ready(&self) {
        let mut rounds = self.0.rounds.subscribe();
        while !self.status().is_fresh {
            if rounds.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether this token counts now, by what is known; and what it says.
    ///
    /// # Errors
    /// Why it is not taken. Those that [are temporary](Rejection::is_temporary) say nothing about the token.
    pub fn check(&self, token: &str) -> Result<Arc<AccessClaims>, Rejection> {
        let now = self.elapsed();
        self.0.state.read().authority_time(now)?;
        if token.len() > LONGEST {
            return Err(Rejection::Malformed);
        }
        let digest = self.0.token_cache.digest(token);
        if let Some(known) = self.0.token_cache.recall(digest) {
            self.0.state.read().judge(&known, now)?;
            return Ok(known.claims);
        }
        let untrusted = UnverifiedToken::parse(token).ok_or(Rejection::Malformed)?;
        // No lock is held while the signature is verified.
        let key = self.0.state.read().key_of(&untrusted, now)?;
        let verified = verify(&untrusted, &key)?;
        self.0.token_cache.remember(digest, verified.clone());
        self.0.state.read().judge(&verified, now)?;
        Ok(verified.claims)
    }

    /// Like [`Verifier::check`], but if only newer keys or revocations could let the token in, the authority is asked for
    /// them first. This happens at most once per poll, no matter which tokens are shown.
    ///
    /// # Errors
    /// As [`Verifier::check`].
    pub async fn check_with_update(&self, token: &str) -> Result<Arc<AccessClaims>, Rejection> {
        let judged = self.check(token);
        if !matches!(&judged, Err(rejection) if rejection.needs_fresh_answer()) {
            return judged;
        }
        let Some(wanted_at) = self.request_round() else { return judged };
        // When no answer comes the token is judged by what is known.
        drop(timeout(FRESH_ANSWER_TIMEOUT, self.round_begun_at(wanted_at)).await);
        self.check(token)
    }

    /// How fresh its data is and how much of it there is, for health checks.
    pub fn status(&self) -> VerifierStatus {
        self.0.state.read().status(self.elapsed())
    }

    /// Its configuration.
    pub fn config(&self) -> &VerifierConfig {
        &self.0.config
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.0.clock.since_boot()
    }

    pub(super) fn learn(&self, lesson: impl FnOnce(&mut VerifierState)) {
        lesson(&mut self.0.state.write());
    }

    pub(super) fn round_ended(&self, begun: Duration) {
        self.0.rounds.send_replace(Some(begun));
    }

    pub(super) async fn round_requested(&self) {
        self.0.wanted.notified().await;
    }

    /// Makes the authority be asked now, and returns since when an answer is wanted. `None` if one came a moment ago,
    /// so that the next will not come at once.
    fn request_round(&self) -> Option<Duration> {
        let now = self.elapsed();
        let mut wanted_at = self.0.wanted_at.lock();
        if let Some(at) = wanted_at.filter(|at| now.saturating_sub(*at) < self.0.config.poll) {
            let is_under_way = self.0.rounds.borrow().is_none_or(|begun| begun < at);
            return is_under_way.then_some(at);
        }
        *wanted_at = Some(now);
        self.0.wanted.notify_one();
        Some(now)
    }

    /// Waits for the end of a round that was not begun before.
    async fn round_begun_at(&self, at: Duration) {
        let mut rounds = self.0.rounds.subscribe();
        // The sender lives as long as `self`, so it ends well.
        drop(rounds.wait_for(|begun| begun.is_some_and(|begun| begun >= at)).await);
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("config", &self.0.config).field("status", &self.status()).finish()
    }
}
