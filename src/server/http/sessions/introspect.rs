//! `POST /v1/introspect`: is this token good now? One look into memory, nothing is appended.

use serde_json::value::RawValue;

use tenure_core::{OwnerId, SessionId};
use tenure_protocol::wire::{DeadToken, IntrospectReply, IntrospectRequest, LiveToken, TokenStatus};

use crate::http::reply::text::TextOpener;
use crate::http::{
    api::ApiContext,
    nodes::freshness::asked_now,
    reply::{
        HttpReply,
        object::ObjectWriter,
        problem::{Problem, code_of},
    },
    request::{call::ApiCall, fields::RequestFields, limits, serve::keep_uses},
};

/// Room for one judgement.
const USUAL_BYTES: usize = 512;

enum IntrospectQuery {
    One { token: String, with_metadata: bool },
    Many(Vec<String>),
}

impl IntrospectQuery {
    fn tokens(&self) -> &[String] {
        match self {
            Self::One { token, .. } => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }
}

/// The tokens, and whether only the newest state will do.
fn parse(mut fields: RequestFields) -> Result<(IntrospectQuery, bool), Problem> {
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
    let asked = if is_batch {
        IntrospectQuery::Many(tokens)
    } else {
        IntrospectQuery::One { token, with_metadata: !include.is_empty() }
    };
    Ok((asked, consistency.is_some()))
}

/// The tokens of a request that says nothing else and is written as nearly all are, `{"token":"…"}` or
/// `{"tokens":["…","…"]}`. `None` if it is written in any other way, right or wrong: that is read with care.
fn plainly_asked(call: &ApiCall) -> Option<IntrospectQuery> {
    let body = call.has_body_alone().then(|| plain_text(call.body()))??;
    plain_token(body).or_else(|| plain_tokens(body))
}

/// Text in which every character stands for itself, within quotation marks too.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without branches the processor looks at many bytes at once"
)]
fn plain_text(body: &[u8]) -> Option<&str> {
    let is_plain = |plain, byte: &u8| plain & (*byte >= b' ') & (*byte < 0x7f) & (*byte != b'\\');
    str::from_utf8(body).ok().filter(|_| body.iter().fold(true, is_plain))
}

fn plain_token(body: &str) -> Option<IntrospectQuery> {
    let value = body.strip_prefix(r#"{"token":"#)?;
    let token = value.strip_prefix(' ').unwrap_or(value).strip_prefix('"')?.strip_suffix("\"}")?;
    let token = Some(token.to_owned()).filter(|token| !token.contains('"'))?;
    Some(IntrospectQuery::One { token, with_metadata: false })
}

fn plain_tokens(body: &str) -> Option<IntrospectQuery> {
    let list = body.strip_prefix(r#"{"tokens":"#)?;
    let list = list.strip_prefix(' ').unwrap_or(list).strip_prefix("[\"")?.strip_suffix("\"]}")?;
    let mut parts = list.split('"');
    let mut tokens = vec![parts.next()?.to_owned()];
    while let Some(between) = parts.next() {
        let token = parts.next().filter(|_| [",", ", "].contains(&between))?;
        tokens.push(token.to_owned());
    }
    limits::TOKENS.contains(&tokens.len()).then_some(IntrospectQuery::Many(tokens))
}

/// Introspect a token, or a batch of tokens.
///
/// Every acknowledged revocation and renewal is visible to every introspection that starts after it.
#[utoipa::path(post, path = "/v1/introspect", tag = "sessions", operation_id = "introspect",
    request_body = IntrospectRequest,
    responses((status = 200, description = "The judgement, or `results` for a batch.", body = IntrospectReply)))]
pub(crate) async fn introspect(call: ApiCall) -> Result<HttpReply, Problem> {
    let begun = asked_now();
    let (asked, is_strict) = match plainly_asked(&call) {
        Some(asked) => (asked, false),
        None => parse(call.fields()?)?,
    };
    for token in asked.tokens() {
        call.api.wait_for_token(token).await?;
    }
    if is_strict {
        call.api.confirm(begun).await?;
    }
    let (document, used) = judge_all(&call.api, &asked);
    // What was certain before may have ended meanwhile, if this process stood still.
    if is_strict {
        call.api.confirm(begun).await?;
    }
    keep_uses(&call.api, &used).await;
    Ok(HttpReply::written(document))
}

/// The reply, as [`IntrospectReply`] describes it, and the sessions of which this is a use that keeps them from their
/// idle end.
fn judge_all(api: &ApiContext, asked: &IntrospectQuery) -> (Vec<u8>, Vec<SessionId>) {
    let mut used = Vec::new();
    let mut judge = |out, token: &str, with_metadata| {
        let (judgement, session) = judge(api, token, with_metadata);
        used.extend(session);
        write(out, &judgement)
    };
    let document = match asked {
        IntrospectQuery::One { token, with_metadata } => {
            judge(Vec::with_capacity(USUAL_BYTES), token, *with_metadata)
        }
        IntrospectQuery::Many(tokens) => {
            let mut document = Vec::with_capacity(USUAL_BYTES * tokens.len());
            document.extend_from_slice(br#"{"results":["#);
            for (index, token) in tokens.iter().enumerate() {
                if index > 0 {
                    document.push(b',');
                }
                document = judge(document, token, false);
            }
            document.extend_from_slice(b"]}");
            document
        }
    };
    (document, used)
}

/// Writes a judgement as JSON behind what was written, like its `Serialize` does.
fn write(out: Vec<u8>, judgement: &TokenStatus) -> Vec<u8> {
    let object = ObjectWriter::behind(out);
    match judgement {
        TokenStatus::Dead(DeadToken { active, code }) => {
            object.flag("active", *active).text("code", code).end()
        }
        TokenStatus::Live(live) => write_live(object, live),
    }
}

fn write_live(object: ObjectWriter, live: &LiveToken) -> Vec<u8> {
    let LiveToken {
        active,
        session_id,
        subject_id,
        owner_id,
        device,
        scopes,
        expires_at,
        absolute_expires_at,
        renewal_count,
        renew_at,
        should_renew,
        as_of_position,
        metadata,
    } = live;
    let object = object
        .flag("active", *active)
        .session("sessionId", *session_id)
        .text("subjectId", subject_id.as_str())
        .optional_text("ownerId", owner_id.as_ref().map(OwnerId::as_str))
        .optional_text("device", device.as_deref())
        .texts("scopes", scopes)
        .moment("expiresAt", *expires_at)
        .moment("absoluteExpiresAt", *absolute_expires_at)
        .number("renewalCount", *renewal_count)
        .optional_moment("renewAt", *renew_at)
        .flag("shouldRenew", *should_renew)
        .number("asOfPosition", as_of_position.0);
    match metadata {
        Some(metadata) => object.literal("metadata", metadata.get()),
        None => object,
    }
    .end()
}

/// What a token is, and its session if this is a use that keeps it from its idle end.
fn judge(api: &ApiContext, token: &str, with_metadata: bool) -> (TokenStatus, Option<SessionId>) {
    let authority = &api.authority;
    let session = match authority.introspect(token) {
        Ok(session) => session,
        Err(fault) => {
            let code = code_of(fault).name().into();
            return (TokenStatus::Dead(DeadToken { active: false, code }), None);
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
    (TokenStatus::Live(Box::new(live)), session.terms.idle_timeout.map(|_| session.id))
}

#[cfg(test)]
mod tests {
    use tenure_core::{Position, Timestamp};

    use super::*;

    fn live(owner_id: Option<&str>, scopes: &[&str], metadata: Option<&str>) -> TokenStatus {
        TokenStatus::Live(Box::new(LiveToken {
            active: true,
            session_id: SessionId::from_bytes([9; 16]),
            subject_id: "agent-1".parse().unwrap(),
            owner_id: owner_id.map(|id| id.parse().unwrap()),
            device: owner_id.map(|_| "the \"old\" one\n".to_owned()),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            expires_at: Timestamp::from_millis(1_795_311_300_001),
            absolute_expires_at: Timestamp::MAX,
            renewal_count: 12,
            renew_at: owner_id.map(|_| Timestamp::ZERO),
            should_renew: metadata.is_some(),
            as_of_position: Position(u64::MAX),
            metadata: metadata.map(|text| RawValue::from_string(text.to_owned()).unwrap()),
        }))
    }

    fn plainly(body: &str) -> Option<IntrospectQuery> {
        let body = plain_text(body.as_bytes())?;
        plain_token(body).or_else(|| plain_tokens(body))
    }

    #[test]
    fn what_is_written_plainly_is_read_as_with_care_and_nothing_else_is() {
        for text in [
            r#"{"token":"tnr_sess_v4.local.a_-9"}"#,
            r#"{"token": "x y"}"#,
            r#"{"token":""}"#,
            r#"{"tokens":["a"]}"#,
            r#"{"tokens": ["a", "", "b, c","d"]}"#,
        ] {
            let (careful, is_strict) = parse(RequestFields::of_body(text.as_bytes()).unwrap()).unwrap();
            let read = plainly(text).unwrap();
            assert_eq!((read.tokens(), is_strict), (careful.tokens(), false), "{text}");
            assert_eq!(
                matches!(read, IntrospectQuery::Many(_)),
                matches!(careful, IntrospectQuery::Many(_)),
                "{text}"
            );
        }
        let too_many = format!(r#"{{"tokens":["{}"]}}"#, ["a"; 101].join(r#"",""#));
        for text in [
            r#"{"token":"a","include":["metadata"]}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"\u0061"}"#,
            r#"{"token":"a""}"#,
            r#"{"token":"ä"}"#,
            "{\"token\":\"a\nb\"}",
            r#"{"token":null}"#,
            r#"{"token":"}"#,
            r#"{"tokens":[]}"#,
            r#"{"tokens":["a" "b"]}"#,
            r#"{"tokens":["a",,"b"]}"#,
            r#"{"tokens":["a","b"],"c":["d"]}"#,
            r#"{"tokens":["a",1,"b"]}"#,
            r#"{"tokens":["a\"b"]}"#,
            r#" {"token":"a"}"#,
            too_many.as_str(),
            "",
        ] {
            assert!(plainly(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_judgement_is_written_as_its_type_says() {
        for judgement in [
            live(None, &[], None),
            live(Some("alice"), &["read", "write:all"], Some(r#"{"order":1.10}"#)),
            live(Some("alice"), &["read"], Some("null")),
            TokenStatus::Dead(DeadToken { active: false, code: "INVALID_TOKEN".into() }),
        ] {
            assert_eq!(write(vec![], &judgement), serde_json::to_vec(&judgement).unwrap());
        }
    }
}
