//! `POST /v1/introspect`: is this token good now? One look into memory, nothing is appended.

use serde_json::value::RawValue;

use tenure_core::{OwnerId, Position, SessionId, SubjectId, Timestamp};
use tenure_protocol::{
    Secret,
    wire::{IntrospectReply, IntrospectRequest},
};

use crate::http::reply::text::TextOpener;
use crate::http::{
    api::ApiContext,
    nodes::freshness::asked_now,
    reply::{
        HttpReply,
        object::ObjectWriter,
        problem::{Problem, code_of},
    },
    request::{body::RequestBody, call::ApiCall, fields::RequestFields, limits, serve::keep_uses},
};

/// Room for one judgement.
const USUAL_BYTES: usize = 512;
/// About as long as a token in a list.
const USUAL_TOKEN: usize = 250;

/// What is asked, in the caller's words.
enum IntrospectQuery<'b> {
    One { token: &'b str, with_metadata: bool },
    Many(Vec<&'b str>),
}

impl<'b> IntrospectQuery<'b> {
    fn of(body: &'b IntrospectRequest) -> Self {
        match (&body.tokens, &body.token) {
            (Some(tokens), _) => Self::Many(tokens.iter().map(Secret::expose).collect()),
            (None, token) => Self::One {
                token: token.as_ref().map_or("", Secret::expose),
                with_metadata: body.include.as_ref().is_some_and(|include| !include.is_empty()),
            },
        }
    }

    fn tokens(&self) -> &[&'b str] {
        match self {
            Self::One { token, .. } => std::slice::from_ref(token),
            Self::Many(tokens) => tokens,
        }
    }
}

impl RequestBody for IntrospectRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let is_batch = fields.has("tokens");
        if is_batch == fields.has("token") {
            fields.fault("token", "exactly one of token and tokens must be given");
        }
        if is_batch && fields.has("include") {
            fields.fault("include", "is only for a single token");
        }
        let token = fields.raw_text("token").map(secret);
        let tokens = fields.texts("tokens", limits::TOKENS);
        let include = fields.texts("include", 0..=1);
        if include.iter().flatten().any(|what| what != "metadata") {
            fields.fault("include", "must be a list of: metadata");
        }
        let consistency = fields.raw_text("consistency");
        if consistency.as_deref().is_some_and(|word| word != "strict") {
            fields.fault("consistency", "must be strict");
        }
        let tokens = tokens.map(|tokens| tokens.into_iter().map(secret).collect());
        Some(Self { token, tokens, include, consistency })
    }
}

fn secret(text: String) -> Secret {
    Secret::as_written(text.into())
}

/// The tokens of a request that says nothing else and is written as nearly all are, `{"token":"…"}` or
/// `{"tokens":["…","…"]}`. `None` if it is written in any other way, right or wrong: that is read with care.
fn plainly_asked(call: &ApiCall) -> Option<IntrospectQuery<'_>> {
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

fn plain_token(body: &str) -> Option<IntrospectQuery<'_>> {
    let value = body.strip_prefix(r#"{"token":"#)?;
    let token = value.strip_prefix(' ').unwrap_or(value).strip_prefix('"')?.strip_suffix("\"}")?;
    let token = Some(token).filter(|token| !token.contains('"'))?;
    Some(IntrospectQuery::One { token, with_metadata: false })
}

fn plain_tokens(body: &str) -> Option<IntrospectQuery<'_>> {
    let list = body.strip_prefix(r#"{"tokens":"#)?;
    let list = list.strip_prefix(' ').unwrap_or(list).strip_prefix("[\"")?.strip_suffix("\"]}")?;
    let mut parts = list.split('"');
    let mut tokens = Vec::with_capacity(list.len() / USUAL_TOKEN + 1);
    tokens.push(parts.next()?);
    while let Some(between) = parts.next() {
        let token = parts.next().filter(|_| [",", ", "].contains(&between))?;
        tokens.push(token);
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
    let mut body = None;
    let (asked, is_strict) = if let Some(asked) = plainly_asked(&call) {
        (asked, false)
    } else {
        let body = body.insert(call.read()?);
        (IntrospectQuery::of(body), body.consistency.is_some())
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
/// idle end. All tokens are judged at one moment.
fn judge_all(api: &ApiContext, asked: &IntrospectQuery<'_>) -> (Vec<u8>, Vec<SessionId>) {
    let (mut used, now) = (Vec::new(), api.authority.now());
    let mut judge = |out, token: &str, with_metadata| {
        let (out, session) = judge(api, out, token, with_metadata, now);
        used.extend(session);
        out
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

/// What [`LiveToken`](tenure_protocol::wire::LiveToken) says of a token, wherever it stands.
struct LiveView<'a> {
    session_id: SessionId,
    subject_id: &'a SubjectId,
    owner_id: Option<&'a OwnerId>,
    device: Option<&'a str>,
    scopes: &'a [String],
    expires_at: Timestamp,
    absolute_expires_at: Timestamp,
    renewal_count: u32,
    renew_at: Option<Timestamp>,
    should_renew: bool,
    as_of_position: Position,
    metadata: Option<&'a RawValue>,
}

/// Writes that a token is not active, and why, as JSON behind what was written, like `DeadToken` is serialized.
fn write_dead(out: Vec<u8>, code: &str) -> Vec<u8> {
    ObjectWriter::behind(out).flag("active", false).text("code", code).end()
}

/// Writes what an active token is, like `LiveToken` is serialized.
fn write_live(out: Vec<u8>, live: &LiveView<'_>) -> Vec<u8> {
    let object = ObjectWriter::behind(out)
        .flag("active", true)
        .session("sessionId", live.session_id)
        .text("subjectId", live.subject_id.as_str())
        .optional_text("ownerId", live.owner_id.map(OwnerId::as_str))
        .optional_text("device", live.device)
        .texts("scopes", live.scopes)
        .moment("expiresAt", live.expires_at)
        .moment("absoluteExpiresAt", live.absolute_expires_at)
        .number("renewalCount", live.renewal_count)
        .optional_moment("renewAt", live.renew_at)
        .flag("shouldRenew", live.should_renew)
        .number("asOfPosition", live.as_of_position.0);
    match live.metadata {
        Some(metadata) => object.literal("metadata", metadata.get()),
        None => object,
    }
    .end()
}

/// Writes what a token is, and gives its session if this is a use that keeps it from its idle end.
fn judge(
    api: &ApiContext,
    out: Vec<u8>,
    token: &str,
    with_metadata: bool,
    now: Timestamp,
) -> (Vec<u8>, Option<SessionId>) {
    let authority = &api.authority;
    let session = match authority.introspect_at(token, now) {
        Ok(session) => session,
        Err(fault) => return (write_dead(out, code_of(fault).name()), None),
    };
    api.metrics.token_live();
    let has_texts = with_metadata || session.device_name().is_some();
    let texts = has_texts.then(|| TextOpener::of(authority, &session.subject));
    let device = texts.as_ref().and_then(|texts| texts.device(&session));
    let metadata = texts.filter(|_| with_metadata).map(|texts| texts.metadata(&session));
    let metadata = metadata.map(|metadata| metadata.unwrap_or_else(|| RawValue::NULL.to_owned()));
    let subject = authority.live().recorded_subject(&session.subject);
    let profile = subject.as_ref().and_then(|subject| subject.profile());
    let live = LiveView {
        session_id: session.id,
        subject_id: &session.subject,
        owner_id: profile.and_then(|profile| profile.owner_id.as_ref()),
        device: device.as_deref(),
        scopes: session.scopes(),
        expires_at: session.expires_at(),
        absolute_expires_at: session.absolute_expires_at(),
        renewal_count: session.renewal_count(),
        renew_at: session.renew_at(),
        should_renew: session.renew_at().is_some_and(|renew_at| now >= renew_at),
        as_of_position: authority.live().position(),
        metadata: metadata.as_deref(),
    };
    (write_live(out, &live), session.terms.idle_timeout.map(|_| session.id))
}

#[cfg(test)]
mod tests {
    use tenure_protocol::wire::{DeadToken, LiveToken, TokenStatus};

    use super::*;

    fn view(live: &LiveToken) -> LiveView<'_> {
        LiveView {
            session_id: live.session_id,
            subject_id: &live.subject_id,
            owner_id: live.owner_id.as_ref(),
            device: live.device.as_deref(),
            scopes: &live.scopes,
            expires_at: live.expires_at,
            absolute_expires_at: live.absolute_expires_at,
            renewal_count: live.renewal_count,
            renew_at: live.renew_at,
            should_renew: live.should_renew,
            as_of_position: live.as_of_position,
            metadata: live.metadata.as_deref(),
        }
    }

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

    fn plainly(body: &str) -> Option<IntrospectQuery<'_>> {
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
            let mut fields = RequestFields::of_body(text.as_bytes()).unwrap();
            let body = IntrospectRequest::read(&mut fields).unwrap();
            fields.finish().unwrap();
            let (read, careful) = (plainly(text).unwrap(), IntrospectQuery::of(&body));
            assert_eq!((read.tokens(), &body.consistency), (careful.tokens(), &None), "{text}");
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
            let written = match &judgement {
                TokenStatus::Dead(dead) => write_dead(vec![], &dead.code),
                TokenStatus::Live(live) => write_live(vec![], &view(live)),
            };
            assert_eq!(written, serde_json::to_vec(&judgement).unwrap());
        }
    }
}
