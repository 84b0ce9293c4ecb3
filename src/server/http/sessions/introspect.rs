//! `POST /v1/introspect`: is this token good now? One look into memory, nothing is appended.

use serde_json::value::RawValue;

use tenure_core::SessionId;
use tenure_protocol::wire::{
    DeadToken, IntrospectReply, IntrospectRequest, Judgement, Judgements, LiveToken,
};

use crate::http::reply::text::TextOpener;
use crate::http::{
    api::Api,
    nodes::settle::asked_now,
    reply::{
        Reply,
        problem::{Problem, code_of},
    },
    request::{call::Call, fields::Fields, limits, serve::keep_uses},
};

enum Asked {
    One { token: String, with_metadata: bool },
    Many(Vec<String>),
}

impl Asked {
    fn tokens(&self) -> &[String] {
        match self {
            Self::One { token, .. } => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }
}

/// The tokens, and whether only the newest state will do.
fn asked(mut fields: Fields) -> Result<(Asked, bool), Problem> {
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
    let consistency = fields.raw_text("consistency");
    if consistency.as_deref().is_some_and(|word| word != "strict") {
        fields.fault("consistency", "must be strict");
    }
    fields.finish()?;
    let asked =
        if is_batch { Asked::Many(tokens) } else { Asked::One { token, with_metadata: !include.is_empty() } };
    Ok((asked, consistency.is_some()))
}

/// Judge a token, or a batch of them.
///
/// Every acknowledged revocation and renewal is visible to every introspection that starts after it.
#[utoipa::path(post, path = "/v1/introspect", tag = "sessions", operation_id = "introspect",
    request_body = IntrospectRequest,
    responses((status = 200, description = "The judgement, or `results` for a batch.", body = IntrospectReply)))]
pub(crate) async fn introspect(call: Call) -> Result<Reply, Problem> {
    let begun = asked_now();
    let (asked, is_strict) = asked(call.fields()?)?;
    for token in asked.tokens() {
        call.api.settle_token(token).await?;
    }
    if is_strict {
        call.api.confirm(begun).await?;
    }
    let (reply, used) = judge_all(&call.api, &asked);
    // What was certain before may have ended meanwhile, if this process stood still.
    if is_strict {
        call.api.confirm(begun).await?;
    }
    keep_uses(&call.api, &used).await;
    Ok(Reply::ok(&reply))
}

fn judge_all(api: &Api, asked: &Asked) -> (IntrospectReply, Vec<SessionId>) {
    let mut used = Vec::new();
    let mut judge = |token: &str, with_metadata| {
        let (judgement, session) = judge(api, token, with_metadata);
        used.extend(session);
        judgement
    };
    let reply = match asked {
        Asked::One { token, with_metadata } => IntrospectReply::One(judge(token, *with_metadata)),
        Asked::Many(tokens) => {
            let results = tokens.iter().map(|token| judge(token, false)).collect();
            IntrospectReply::Many(Judgements { results })
        }
    };
    (reply, used)
}

/// What a token is, and its session if this is a use that keeps it from its idle end.
fn judge(api: &Api, token: &str, with_metadata: bool) -> (Judgement, Option<SessionId>) {
    let authority = &api.authority;
    let session = match authority.introspect(token) {
        Ok(session) => session,
        Err(fault) => {
            let code = code_of(fault).name().into();
            return (Judgement::Dead(DeadToken { active: false, code }), None);
        }
    };
    api.metrics.token_live();
    let texts = TextOpener::of(authority, &session.subject);
    let subject = authority.live().recorded_subject(&session.subject);
    let profile = subject.as_ref().and_then(|subject| subject.profile());
    let live = LiveToken {
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
        metadata: with_metadata
            .then(|| texts.metadata(&session).unwrap_or_else(|| RawValue::NULL.to_owned())),
    };
    (Judgement::Live(Box::new(live)), session.terms.idle_timeout.map(|_| session.id))
}
