//! `POST /v1/introspect`: is this token good now? One look into memory, nothing is appended.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use tenure_core::{OwnerId, Position, SessionId, SubjectId, Timestamp};

use super::{
    Api,
    call::{Call, keep_uses},
    fields::Fields,
    limits,
    problem::{Problem, code_of},
    reply::Reply,
    session_view::Texts,
};

/// The tokens to judge: one, or a batch.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `introspect` reads")]
pub(super) struct IntrospectBody {
    /// One token.
    token: Option<String>,
    /// Or 1 to 100 tokens.
    tokens: Option<Vec<String>>,
    /// `["metadata"]` adds the session's metadata; only with `token`.
    include: Option<Vec<String>>,
}

/// What a token is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Judgement {
    /// It is good now.
    Live(Box<LiveToken>),
    /// It is not; nothing more is told.
    Dead(DeadToken),
}

/// A token that is good now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct LiveToken {
    /// Always true.
    active: bool,
    session_id: SessionId,
    subject_id: SubjectId,
    owner_id: Option<OwnerId>,
    device: Option<String>,
    scopes: Vec<String>,
    expires_at: Timestamp,
    absolute_expires_at: Timestamp,
    renewal_count: u32,
    renew_at: Option<Timestamp>,
    /// Whether `renewAt` has come.
    should_renew: bool,
    as_of_position: Position,
    /// Whether it ends when nobody uses it; not told.
    #[serde(skip)]
    can_idle: bool,
    /// Only when it was asked for; null when the session has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    metadata: Option<Box<RawValue>>,
}

/// A token that is not good now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadToken {
    /// Always false.
    active: bool,
    /// `INVALID_TOKEN`, `SESSION_REVOKED`, `TOKEN_SUPERSEDED`, `TOKEN_EXPIRED` or `SESSION_IDLE`.
    code: &'static str,
}

/// The judgement of one token, or those of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum IntrospectReply {
    /// Of `token`.
    One(Judgement),
    /// Of `tokens`.
    Many(Judgements),
}

/// The judgements of a batch, in its order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Judgements {
    results: Vec<Judgement>,
}

enum Asked {
    One { token: String, with_metadata: bool },
    Many(Vec<String>),
}

fn asked(mut fields: Fields) -> Result<Asked, Problem> {
    let is_batch = fields.has("tokens");
    if is_batch == fields.has("token") {
        fields.fault("token", "exactly one of token and tokens must be given");
    }
    if is_batch && fields.has("include") {
        fields.fault("include", "is only for a single token");
    }
    let token = fields.raw_text("token").unwrap_or_default();
    let tokens = fields.texts("tokens", limits::TOKENS).unwrap_or_default();
    let include = fields.texts("include", 0..=1).unwrap_or_default();
    if include.iter().any(|what| what != "metadata") {
        fields.fault("include", "must be a list of: metadata");
    }
    fields.finish()?;
    Ok(if is_batch { Asked::Many(tokens) } else { Asked::One { token, with_metadata: !include.is_empty() } })
}

/// Judge a token, or a batch of them.
///
/// Every acknowledged revocation and renewal is visible to every introspection that starts after it.
#[utoipa::path(post, path = "/v1/introspect", tag = "sessions", operation_id = "introspect",
    request_body = IntrospectBody,
    responses((status = 200, description = "The judgement, or `results` for a batch.", body = IntrospectReply)))]
pub(super) async fn introspect(call: Call) -> Result<Reply, Problem> {
    let reply = match asked(call.fields()?)? {
        Asked::One { token, with_metadata } => IntrospectReply::One(judge(&call.api, &token, with_metadata)),
        Asked::Many(tokens) => {
            let results = tokens.iter().map(|token| judge(&call.api, token, false)).collect();
            IntrospectReply::Many(Judgements { results })
        }
    };
    keep_uses(&call.api, &reply.used()).await;
    Ok(Reply::ok(&reply))
}

impl IntrospectReply {
    /// The sessions that were used by this.
    fn used(&self) -> Vec<SessionId> {
        let judgements = match self {
            Self::One(judgement) => std::slice::from_ref(judgement),
            Self::Many(judgements) => &judgements.results,
        };
        judgements.iter().filter_map(Judgement::used).collect()
    }
}

impl Judgement {
    fn used(&self) -> Option<SessionId> {
        match self {
            Self::Live(live) if live.can_idle => Some(live.session_id),
            Self::Live(_) | Self::Dead(_) => None,
        }
    }
}

fn judge(api: &Api, token: &str, with_metadata: bool) -> Judgement {
    let authority = &api.authority;
    let session = match authority.introspect(token) {
        Ok(session) => session,
        Err(fault) => return Judgement::Dead(DeadToken { active: false, code: code_of(fault).name() }),
    };
    api.metrics.token_live();
    let texts = Texts::of(authority, &session.subject);
    let subject = authority.live().recorded_subject(&session.subject);
    let profile = subject.as_ref().and_then(|subject| subject.profile());
    Judgement::Live(Box::new(LiveToken {
        active: true,
        session_id: session.id,
        subject_id: session.subject.clone(),
        owner_id: profile.and_then(|profile| profile.owner_id.clone()),
        device: texts.device(&session),
        scopes: session.scopes().to_vec(),
        expires_at: session.expires_at,
        absolute_expires_at: session.absolute_expires_at(),
        renewal_count: session.renewal_count(),
        renew_at: session.renew_at(),
        should_renew: session.renew_at().is_some_and(|renew_at| authority.now() >= renew_at),
        as_of_position: authority.live().position(),
        can_idle: session.terms.idle_timeout.is_some(),
        metadata: with_metadata
            .then(|| texts.metadata(&session).unwrap_or_else(|| RawValue::NULL.to_owned())),
    }))
}
