//! The console's side of the authority: sign-ins, which are sessions, and the links in notices.

use crate::notify::{Notice, notice::NoticeDetails};
use crate::tokens::VetoClaims;
use tenure_core::{
    Actor, CredentialId, Digest16, Generation, OwnerId, Policy, Seconds, SessionId, SessionMode, SubjectId,
    command::{RequestedTerms, Revoker, SuspensionActor, VetoLink},
    commit::ActorKind,
    event::{Role, SessionPurpose, SubjectKind},
    policy::OnLimit,
    system::Credential,
};

use crate::authority::{
    Authority, GrantedSession, NewProfile, NewSession, RevocationRequest, SessionEnd,
    SubjectRevocationRequest,
    pipeline::request::{CommandError, RequestContext},
};

/// What the ids of the subjects of sign-ins begin with.
const SUBJECT_PREFIX: &str = "console:";
/// Maximum sign-ins of a key at once; one more ends the oldest.
const MOST_SIGN_INS: u32 = 10;
const TTL: Seconds = Seconds(43_200);
const ABSOLUTE_LIFETIME: Seconds = Seconds(86_400);
const IDLE_TIMEOUT: Seconds = Seconds(1_800);

/// Whether a subject's id is kept for sign-ins to the console.
pub fn is_console_subject(id: &SubjectId) -> bool {
    id.as_str().starts_with(SUBJECT_PREFIX)
}

/// The subject of the sign-ins with an API key.
pub fn console_subject(credential: &Credential) -> SubjectId {
    format!("{SUBJECT_PREFIX}{}", credential.id).parse().expect("a prefix and a UUID are a subject's id")
}

/// The terms of a sign-in, within what the settings grant to any session.
fn terms(policy: &Policy) -> RequestedTerms {
    let ttl = Seconds(TTL.0.min(policy.ttl_max.0));
    RequestedTerms {
        ttl: Some(ttl),
        absolute_lifetime: Some(Seconds(ABSOLUTE_LIFETIME.0.min(policy.absolute_lifetime.0))),
        idle_timeout: Some(IDLE_TIMEOUT),
        mode: SessionMode::Sliding,
        purpose: Some(SessionPurpose::Console),
        ..RequestedTerms::default()
    }
}

impl Authority {
    /// Signs the holder of an API key in to the console.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub async fn sign_in(
        &self,
        context: RequestContext,
        credential: &Credential,
    ) -> Result<GrantedSession, CommandError> {
        let id = console_subject(credential);
        let profile = NewProfile {
            kind: Some(SubjectKind::User),
            max_sessions: Some(MOST_SIGN_INS),
            on_limit: Some(OnLimit::EvictOldest),
            ..NewProfile::default()
        };
        self.register_subject(context.clone(), id.clone(), profile, true).await?;
        let terms = terms(self.live.system().system.policy_in_force());
        self.create_session(context, NewSession { terms, ..NewSession::of(id) }).await
    }

    /// Records that the sign-ins with a withdrawn API key have ended. They are all invalid already, so a failure to
    /// record them now does not make the withdrawal fail.
    pub(super) async fn end_sign_ins(&self, context: RequestContext, credential: CredentialId) {
        let Ok(subject_id) = format!("{SUBJECT_PREFIX}{credential}").parse::<SubjectId>() else { return };
        let now = self.now();
        if self.live.subject(&subject_id).is_none_or(|subject| subject.active_count(now) == 0) {
            return;
        }
        let asked =
            SubjectRevocationRequest { subject_id, device: None, except: None, owner: None, reason: None };
        if let Err(failure) = self.revoke_many(context, asked).await {
            tracing::warn!(%failure, %credential, "the sign-ins with a withdrawn key could not be recorded as ended");
        }
    }

    /// The API key with which a sign-in was made, if it is good still.
    pub fn credential_of_sign_in(&self, subject: &SubjectId) -> Option<std::sync::Arc<Credential>> {
        let id = subject.as_str().strip_prefix(SUBJECT_PREFIX)?.parse().ok()?;
        let system = self.live.system();
        let known = system.system.credentials.get(&id).filter(|known| known.is_good(self.now()))?;
        Some(std::sync::Arc::new(known.clone()))
    }

    /// The mark of the forms on the pages of a sign-in.
    pub fn form_mark(&self, session: SessionId) -> Digest16 {
        self.secrets.digests.form(session)
    }

    /// Where an owner sees a session, after a sign-in.
    pub(crate) fn console_url(&self, session: SessionId) -> Option<String> {
        let base = self.issuing.links.console.as_ref()?;
        Some(format!("{base}/console/sessions/{session}"))
    }

    /// The link that vetoes the renewal in a notice.
    pub(crate) fn veto_link(&self, notice: &Notice) -> Option<String> {
        let base = self.issuing.links.console.as_ref().filter(|_| self.issuing.links.veto)?;
        let NoticeDetails::Renewed(renewed) = &notice.details else { return None };
        let claims = VetoClaims {
            session: notice.session_id?,
            generation: Generation(Generation::FIRST.0 + renewed.renewal_count),
            notice: notice.notice_id.to_string(),
            owner: notice.owner_id.clone()?,
        };
        let token = self.secrets.tokens.seal_veto(&claims);
        Some(format!("{base}/console/veto/{}", token.expose()))
    }

    /// What a link is good for; `None` for a text other than our links, and for one whose subject has another owner
    /// now. Whether its renewal can still be vetoed is another question.
    pub fn open_veto_link(&self, token: &str) -> Option<VetoClaims> {
        let claims = self.secrets.tokens.open_veto(token, || self.now())?;
        let session = self.live.session(claims.session)?;
        (self.owner_of(&session.subject).as_ref() == Some(&claims.owner)).then_some(claims)
    }

    fn owner_of(&self, subject: &SubjectId) -> Option<OwnerId> {
        self.live.subject(subject)?.profile()?.owner_id.clone()
    }

    /// Vetoes the renewal that a link is for, and suspends the subject in the same step if asked.
    ///
    /// # Errors
    /// [`Refusal::VetoLinkOver`](tenure_core::refusal::Refusal), `SessionRevoked`, `SessionNotFound` for another owner;
    /// or why it could not be recorded.
    pub async fn veto_by_link(
        &self,
        correlation_id: Option<String>,
        claims: VetoClaims,
        suspends: bool,
    ) -> Result<SessionEnd, CommandError> {
        let VetoClaims { session, generation, notice, owner } = claims;
        let actor = Actor { kind: ActorKind::Link, id: Some(notice) };
        let context = RequestContext { actor: actor.clone(), correlation_id, idempotency: None };
        let by = Revoker::Link(VetoLink { owner: owner.clone(), generation });
        let asked = RevocationRequest { session_id: session, by, reject_renewal: Some(true), reason: None };
        if !suspends {
            return self.revoke(context, asked).await;
        }
        let suspender = SuspensionActor { role: Role::Owner, owner: Some(owner), actor };
        self.revoke_and_suspend(context, asked, suspender).await
    }
}
