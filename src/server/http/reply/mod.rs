//! How an answer is written: status, head and body of a reply, the problem document of an error, and text about people
//! opened for those who may read it.

pub(super) mod actor_view;
mod head;
pub(super) mod object;
pub(super) mod problem;
pub(super) mod text;
pub(super) mod unavailable;

use std::{borrow::Cow, cell::RefCell};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use tenure_core::{Epochs, Position, SessionId, Timestamp, epoch};

pub(crate) use self::head::{write_header, write_number};
use self::{
    head::{HeadBytes, ReplyHead},
    problem::Problem,
};

/// The header that names a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POSITION: HeaderName = HeaderName::from_static("x-tenure-position");
/// The authority's time, from which clients count. Not on a reply that may be kept: it would be an old time.
const TIME: HeaderName = HeaderName::from_static("x-tenure-time");

/// How a reply names its request.
#[derive(Clone, Debug)]
pub(super) enum ShownId {
    /// As its caller did.
    Given(HeaderValue),
    /// By an id of our own.
    Own(SessionId),
}

impl ShownId {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Given(given) => given.to_str().unwrap_or_default().into(),
            Self::Own(id) => id.to_string().into(),
        }
    }

    fn put(self, head: &mut impl ReplyHead) {
        match self {
            Self::Given(given) => head.put(REQUEST_ID, given),
            Self::Own(id) => head.put_text(REQUEST_ID, &id.written()),
        }
    }
}

/// What every reply to a request says, whatever the answer.
#[derive(Clone, Debug)]
pub(super) struct ReplyStamp {
    pub(super) request_id: ShownId,
    /// The authority's time.
    pub(super) now: Timestamp,
    /// The epochs in which positions are given out.
    pub(super) epochs: Epochs,
}

impl ReplyStamp {
    fn write(self, head: &mut impl ReplyHead, caching: CachePolicy) {
        self.request_id.put(head);
        // What is data must not be taken for a page or a script, whatever it looks like.
        head.put(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        head.put(header::CACHE_CONTROL, HeaderValue::from_static(caching.directives()));
        match caching {
            CachePolicy::NoStore => head.put(TIME, shown(self.now)),
            CachePolicy::Revalidated(tag) => head.put(header::ETAG, tag),
            CachePolicy::OneMinute => {}
        }
    }

    /// Completes a reply made elsewhere. It must not be stored.
    pub(super) fn complete(self, response: &mut Response) {
        self.write(response.headers_mut(), CachePolicy::NoStore);
    }
}

/// A moment as a header. A busy thread answers dozens of requests in one millisecond, and writes it once for all.
fn shown(now: Timestamp) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(Timestamp, HeaderValue)>> = const { RefCell::new(None) };
    }
    let last = LAST.with_borrow(Clone::clone);
    if let Some((_, value)) = last.filter(|(moment, _)| *moment == now) {
        return value;
    }
    let value = HeaderValue::try_from(now.to_string()).expect("a time is made of visible characters");
    LAST.set(Some((now, value.clone())));
    value
}

/// Who may keep a reply, and for how long.
#[derive(Clone, Debug)]
enum CachePolicy {
    NoStore,
    /// Anyone, if they ask each time whether it is still this one.
    Revalidated(HeaderValue),
    /// Anyone, for a minute.
    OneMinute,
}

impl CachePolicy {
    const fn directives(&self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::Revalidated(_) => "public, no-cache",
            Self::OneMinute => "public, max-age=60",
        }
    }
}

/// A granted request's answer.
pub(super) struct HttpReply {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: ReplyBody,
    position: Option<Position>,
    caching: CachePolicy,
    is_stream: bool,
}

/// What is sent behind a head.
enum ReplyBody {
    /// All of it is there.
    Whole(Vec<u8>),
    /// The same, and other replies have it too.
    Shared(Bytes),
    /// It is made while it is sent.
    Streamed(Body),
}

impl HttpReply {
    fn of(status: StatusCode, content_type: &'static str, body: ReplyBody) -> Self {
        Self {
            status,
            content_type: Some(content_type),
            body,
            position: None,
            caching: CachePolicy::NoStore,
            is_stream: false,
        }
    }

    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        let body = serde_json::to_vec(document).expect("our own documents are always JSON");
        Self::of(status, "application/json", ReplyBody::Whole(body))
    }

    /// A JSON document, with status 200.
    pub(super) fn ok(document: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, document)
    }

    /// A serialized JSON document, with status 200.
    pub(super) fn written(document: Vec<u8>) -> Self {
        Self::of(StatusCode::OK, "application/json", ReplyBody::Whole(document))
    }

    /// Text of some type.
    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self::of(StatusCode::OK, content_type, ReplyBody::Whole(text.into_bytes()))
    }

    /// What other replies say as well, of some type.
    pub(super) fn shared(content_type: &'static str, document: Bytes) -> Self {
        Self::of(StatusCode::OK, content_type, ReplyBody::Shared(document))
    }

    /// What is made while it is sent. No proxy may hold it up to gather more.
    pub(super) fn stream(content_type: &'static str, body: Body) -> Self {
        Self { is_stream: true, ..Self::of(StatusCode::OK, content_type, ReplyBody::Streamed(body)) }
    }

    /// A public JSON document. Any cache may keep it if it asks each time whether it has changed. A caller that has
    /// it (`If-None-Match`) gets no body.
    pub(super) fn revalidated(document: &impl Serialize, if_none_match: Option<&str>) -> Self {
        let body = serde_json::to_vec(document).expect("our own documents are always JSON");
        let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
        let is_known = if_none_match.is_some_and(|known| names(known, &tag));
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits are visible characters");
        let mut reply = Self::of(StatusCode::OK, "application/json", ReplyBody::Whole(body));
        if is_known {
            reply.status = StatusCode::NOT_MODIFIED;
            (reply.content_type, reply.body) = (None, ReplyBody::Whole(Vec::new()));
        }
        reply.caching = CachePolicy::Revalidated(tag);
        reply
    }

    /// It is public and may be kept for a minute.
    pub(super) fn for_one_minute(mut self) -> Self {
        self.caching = CachePolicy::OneMinute;
        self
    }

    /// Names the last event that the request appended.
    pub(super) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// As which status it is sent.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// As HTTP.
    pub(super) fn into_response(self, stamp: ReplyStamp) -> Response {
        let mut headers = HeaderMap::new();
        let status = self.status;
        let body = match self.put_head(stamp, &mut headers) {
            ReplyBody::Whole(bytes) => bytes.into(),
            ReplyBody::Shared(bytes) => bytes.into(),
            ReplyBody::Streamed(body) => body,
        };
        assembled(status, headers, body)
    }

    /// Writes its head, but for what the connection says of itself, and gives its body. No stream is answered so.
    pub(super) fn write_head(self, stamp: ReplyStamp, out: &mut Vec<u8>) -> Vec<u8> {
        let mut head = HeadBytes::begin(out, self.status);
        match self.put_head(stamp, &mut head) {
            ReplyBody::Whole(bytes) => bytes,
            ReplyBody::Shared(bytes) => bytes.into(),
            ReplyBody::Streamed(_) => unreachable!("the routes whose answers are written so stream nothing"),
        }
    }

    fn put_head(self, stamp: ReplyStamp, head: &mut impl ReplyHead) -> ReplyBody {
        if let Some(content_type) = self.content_type {
            head.put(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self.is_stream {
            head.put(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        }
        if let Some(position) = self.position {
            put_position(&stamp.epochs, position, head);
        }
        stamp.write(head, self.caching);
        self.body
    }
}

fn assembled(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// Whether a list of entity tags has this one, or is any (RFC 9110, section 13.1.2: a weak comparison).
fn names(list: &str, tag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// The challenge of a 401 (RFC 6750, section 3): an error code only if a credential was sent.
pub(super) const fn challenge(has_credential: bool) -> HeaderValue {
    HeaderValue::from_static(if has_credential {
        r#"Bearer realm="tenure", error="invalid_token""#
    } else {
        r#"Bearer realm="tenure""#
    })
}

/// A position as a header.
pub(super) fn position_header(epochs: &Epochs, position: Position) -> HeaderValue {
    let named = epochs.named(position);
    if named.epoch == epoch::FIRST {
        return position.0.into();
    }
    HeaderValue::try_from(named.to_string()).expect("digits and a colon are visible characters")
}

fn put_position(epochs: &Epochs, position: Position, head: &mut impl ReplyHead) {
    if epochs.named(position).epoch == epoch::FIRST {
        head.put_number(POSITION, position.0);
    } else {
        head.put(POSITION, position_header(epochs, position));
    }
}

/// A problem as HTTP.
pub(super) fn problem_response(problem: &Problem, stamp: ReplyStamp) -> Response {
    let mut headers = HeaderMap::new();
    let body = put_problem(problem, stamp, &mut headers);
    assembled(problem.code.status(), headers, body.into())
}

/// As [`HttpReply::write_head`].
pub(super) fn write_problem_head(problem: &Problem, stamp: ReplyStamp, out: &mut Vec<u8>) -> Vec<u8> {
    put_problem(problem, stamp, &mut HeadBytes::begin(out, problem.code.status())).into_bytes()
}

fn put_problem(problem: &Problem, stamp: ReplyStamp, head: &mut impl ReplyHead) -> String {
    let body = problem.body(&stamp.request_id.text()).to_string();
    head.put(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.code.status() == StatusCode::UNAUTHORIZED {
        head.put(header::WWW_AUTHENTICATE, challenge(!problem.lacks_credential));
    }
    if let Some(seconds) = problem.retry_after {
        head.put(header::RETRY_AFTER, seconds.into());
    }
    if let Some(position) = problem.recorded {
        put_position(&stamp.epochs, position, head);
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        head.put(header::ALLOW, allow);
    }
    stamp.write(head, CachePolicy::NoStore);
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{problem::ProblemCode, *};

    fn stamps() -> [ReplyStamp; 2] {
        let ids = [
            ShownId::Own(SessionId::from_bytes([0xa7; 16])),
            ShownId::Given(HeaderValue::from_static("a caller's own")),
        ];
        let now = Timestamp::from_millis(1_795_311_300_001);
        ids.map(|request_id| ReplyStamp { request_id, now, epochs: Epochs::default() })
    }

    /// The head and the body of an answer, as a connection without hyper would be written.
    fn in_bytes(response: Response) -> (String, Vec<u8>) {
        let (parts, body) = response.into_parts();
        let reason = parts.status.canonical_reason().unwrap();
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16());
        for (name, value) in &parts.headers {
            head.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
        }
        let body = pollster::block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        (head, body.to_vec())
    }

    #[test]
    fn an_answer_in_bytes_says_what_the_same_one_says_as_a_value() {
        let replies: [fn() -> HttpReply; 6] = [
            || HttpReply::ok(&json!({"a": 1})),
            || HttpReply::written(b"{}".to_vec()).at(Some(Position(1_234_567_890_123))),
            || HttpReply::json(StatusCode::CREATED, &json!([])).at(Some(Position(0))),
            || HttpReply::text("text/plain", "text".into()).for_one_minute(),
            || HttpReply::revalidated(&json!({}), None),
            || HttpReply::revalidated(&json!({}), Some("*")),
        ];
        for (reply, stamp) in replies.iter().flat_map(|reply| stamps().map(|stamp| (reply, stamp))) {
            let mut head = Vec::new();
            let body = reply().write_head(stamp.clone(), &mut head);
            let (expected, of_value) = in_bytes(reply().into_response(stamp));
            assert_eq!((String::from_utf8(head).unwrap(), body), (expected, of_value));
        }
    }

    #[test]
    fn a_problem_in_bytes_says_what_the_same_one_says_as_a_value() {
        let mut late = Problem::from(ProblemCode::RateLimited);
        (late.retry_after, late.recorded) = (Some(7), Some(Position(42)));
        let unknown = Problem::from(ProblemCode::InvalidToken);
        for (problem, stamp) in [late, unknown].iter().flat_map(|one| stamps().map(|stamp| (one, stamp))) {
            let mut head = Vec::new();
            let body = write_problem_head(problem, stamp.clone(), &mut head);
            let (expected, of_value) = in_bytes(problem_response(problem, stamp));
            assert_eq!((String::from_utf8(head).unwrap(), body), (expected, of_value));
        }
    }
}
