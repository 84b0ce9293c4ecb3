//! The keys of tokens: rotate, retire; and the access tokens signed with them.

use crate::tokens::{AccessClaims, AccessToken, NewKey};
use tenure_core::{
    Event, KeyId, KeyUse, Position, Seconds, SystemEvent, Timestamp,
    command::{RotateKey, SystemCommand},
    event::KeyRotated,
    keys::RetireMode,
};
use tenure_log::StoredCommit;
use tenure_protocol::entropy;

use crate::authority::{
    AuthenticatedSession, Authority, InactiveToken,
    pipeline::request::{CommandError, CommandRequest, RequestContext},
};

/// What the authority's tokens obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuance {
    /// The `iss` of access tokens: `server.public_url`, or `tenure`.
    pub issuer: String,
    /// `keys.overlap`; `None`: until the longest-lived token of the old key has ended.
    pub overlap: Option<Seconds>,
    /// `access.clock_skew`: how long before their issue access tokens begin to be good.
    pub clock_skew: Seconds,
    /// Where notices lead.
    pub links: NoticeLinks,
}

/// Where notices lead: to the console, if there is one that an owner can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticeLinks {
    /// The console's address, without a slash at its end; `None` without `server.public_url` or a console.
    pub console: Option<String>,
    /// `notices.veto_links`: whether the notice of a renewal has a link that vetoes without a sign-in.
    pub veto: bool,
}

impl Default for TokenIssuance {
    fn default() -> Self {
        Self {
            issuer: "tenure".to_owned(),
            overlap: None,
            clock_skew: Seconds(5),
            links: NoticeLinks::default(),
        }
    }
}

/// An access token, and when it ends.
#[derive(Debug)]
pub struct MintedToken {
    /// The token, shown to its holder only.
    pub token: AccessToken,
    /// It is good while `now` is before that.
    pub expires_at: Timestamp,
}

/// A key with which access tokens are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// Its id, PASERK `k4.pid`.
    pub id: KeyId,
    /// The key, PASERK `k4.public`.
    pub paserk: String,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// When its tokens stop working; `None` as long as it signs.
    pub retire_at: Option<Timestamp>,
}

/// A key that seals now, and what became of the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotatedKey {
    /// What was recorded.
    pub event: KeyRotated,
    /// When.
    pub at: Timestamp,
    /// The event that says so.
    pub position: Position,
}

impl RotatedKey {
    /// The rotation that a commit recorded; `None` if it recorded something else.
    pub fn of_commit(stored: &StoredCommit) -> Option<Self> {
        let Some(Event::System(SystemEvent::KeyRotated(event))) = stored.commit.events.last() else {
            return None;
        };
        Some(Self { event: event.clone(), at: stored.commit.recorded_at, position: stored.last() })
    }
}

impl Authority {
    /// An access token of a live session. Appends nothing.
    ///
    /// # Errors
    /// Why the session's token is not good now.
    pub fn mint(
        &self,
        holder: &AuthenticatedSession,
        ttl: Seconds,
        audience: Option<String>,
    ) -> Result<MintedToken, InactiveToken> {
        // The token was judged before the body arrived, and a revocation may have come since: what is signed after it
        // must not bear a later time than verifiers refuse.
        let holder = self.holder_again(holder);
        let now = self.now();
        holder.judge(now)?;
        let session = &holder.session;
        // The idle end as it is known now: a holder that goes on using the session mints another token.
        let idle_end = session.terms.idle_timeout.map(|timeout| now.plus(timeout));
        let ends = [Some(session.expires_at()), idle_end];
        let expires_at = ends.into_iter().flatten().fold(now.plus(ttl), Timestamp::min);
        let token = self.secrets.tokens.sign(&AccessClaims {
            iss: self.issuing.issuer.clone(),
            sub: session.subject.clone(),
            sid: session.id,
            aud: audience,
            scopes: session.scopes().to_vec(),
            iat: now,
            nbf: now.plus_millis(-i64::from(self.issuing.clock_skew.0) * 1_000),
            exp: expires_at,
            jti: entropy::token_id(&*self.entropy, now),
        });
        Ok(MintedToken { token, expires_at })
    }

    /// The keys with which access tokens are judged now: the one that signs last.
    pub fn access_keys(&self) -> Vec<AccessKey> {
        let (now, view) = (self.now(), self.live.system());
        let known = view.system.keys.of(KeyUse::Access).iter();
        let public = |id: &KeyId| self.secrets.tokens.keyring().public(id, now);
        known
            .filter_map(|key| {
                Some(AccessKey {
                    id: key.id.clone(),
                    paserk: public(&key.id)?,
                    created_at: key.created_at,
                    retire_at: key.retire_at,
                })
            })
            .collect()
    }

    /// Lets a new key seal from now on: whatever is sealed after the answer is sealed with it.
    ///
    /// # Errors
    /// [`Refusal::RotationTooRecent`](tenure_core::refusal::Refusal), or why the key could not be kept or recorded.
    pub async fn rotate_key(
        &self,
        context: RequestContext,
        which: KeyUse,
        retire: RetireMode,
    ) -> Result<RotatedKey, CommandError> {
        let key = NewKey::draw(which, &*self.entropy);
        let command = RotateKey { which, key_id: key.id().clone(), retire, overlap: self.issuing.overlap };
        let done = self.submit(CommandRequest::Rotate(command, key), context).await?;
        let rotated = done.commit.as_deref().and_then(RotatedKey::of_commit);
        Ok(rotated.expect("a granted rotation is recorded"))
    }

    /// Removes the keys whose time is over. Nothing depends on it but the files.
    pub fn remove_retired_keys(&self) {
        self.secrets.tokens.keyring().remove_over(self.now());
    }

    /// Records which keys seal, if not recorded yet: at the first start, and at the first start after
    /// keys came to be recorded.
    pub(crate) fn admit_keys(&self) -> Result<(), CommandError> {
        let keyring = self.secrets.tokens.keyring();
        let keys = KeyUse::ALL.map(|(_, which)| (which, keyring.active(which))).to_vec();
        let ask = CommandRequest::System(SystemCommand::AdmitKeys(keys));
        self.submit_blocking(ask, RequestContext::of(tenure_core::Actor::AUTHORITY)).map(drop)
    }
}
