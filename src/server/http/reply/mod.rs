//! What goes back to a caller.

pub(super) mod actor_view;
pub(super) mod object;
pub(super) mod problem;
pub(super) mod text;
pub(super) mod unavailable;

use std::cell::RefCell;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use tenure_core::{Epochs, Position, Timestamp, epoch};

use self::problem::Problem;

/// The header that names a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POSITION: HeaderName = HeaderName::from_static("x-tenure-position");
/// The authority's time, from which clients count. Not on a reply that may be kept: it would be an old time.
const TIME: HeaderName = HeaderName::from_static("x-tenure-time");

/// What every reply to a request says, whatever the answer.
#[derive(Clone, Debug)]
pub(super) struct ReplyStamp {
    pub(super) request_id: HeaderValue,
    /// The authority's time.
    pub(super) now: Timestamp,
    /// The epochs in which positions are given out.
    pub(super) epochs: Epochs,
}

impl ReplyStamp {
    fn write(self, headers: &mut HeaderMap, caching: CachePolicy) {
        headers.insert(REQUEST_ID, self.request_id);
        // What is data must not be taken for a page or a script, whatever it looks like.
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching.directives()));
        match caching {
            CachePolicy::NoStore => _ = headers.insert(TIME, shown(self.now)),
            CachePolicy::Revalidated(tag) => _ = headers.insert(header::ETAG, tag),
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
    body: Body,
    position: Option<Position>,
    caching: CachePolicy,
    is_stream: bool,
}

impl HttpReply {
    fn of(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Self {
        Self {
            status,
            content_type: Some(content_type),
            body: body.into(),
            position: None,
            caching: CachePolicy::NoStore,
            is_stream: false,
        }
    }

    /// A JSON document.
    pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Self {
        let body = serde_json::to_vec(document).expect("our own documents are always JSON");
        Self::of(status, "application/json", body)
    }

    /// A JSON document, with status 200.
    pub(super) fn ok(document: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, document)
    }

    /// A serialized JSON document, with status 200.
    pub(super) fn written(document: Vec<u8>) -> Self {
        Self::of(StatusCode::OK, "application/json", document)
    }

    /// Text of some type.
    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        Self::of(StatusCode::OK, content_type, text)
    }

    /// What is made while it is sent. No proxy may hold it up to gather more.
    pub(super) fn stream(content_type: &'static str, body: Body) -> Self {
        Self { is_stream: true, ..Self::of(StatusCode::OK, content_type, body) }
    }

    /// A public JSON document. Any cache may keep it if it asks each time whether it has changed. A caller that has
    /// it (`If-None-Match`) gets no body.
    pub(super) fn revalidated(document: &impl Serialize, if_none_match: Option<&str>) -> Self {
        let body = serde_json::to_vec(document).expect("our own documents are always JSON");
        let tag = format!("\"{}\"", &blake3::hash(&body).to_hex()[..32]);
        let is_known = if_none_match.is_some_and(|known| names(known, &tag));
        let tag = HeaderValue::try_from(tag).expect("hexadecimal digits are visible characters");
        let mut reply = Self::of(StatusCode::OK, "application/json", body);
        if is_known {
            reply.status = StatusCode::NOT_MODIFIED;
            (reply.content_type, reply.body) = (None, Body::empty());
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

    /// As HTTP.
    pub(super) fn into_response(self, stamp: ReplyStamp) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if let Some(content_type) = self.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if self.is_stream {
            headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        }
        if let Some(position) = self.position {
            headers.insert(POSITION, position_header(&stamp.epochs, position));
        }
        stamp.write(headers, self.caching);
        response
    }
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

/// A problem as HTTP.
pub(super) fn problem_response(problem: &Problem, stamp: ReplyStamp) -> Response {
    let body = problem.body(stamp.request_id.to_str().unwrap_or_default()).to_string();
    let status = problem.code.status();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, challenge(!problem.lacks_credential));
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(position) = problem.recorded {
        headers.insert(POSITION, position_header(&stamp.epochs, position));
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
        headers.insert(header::ALLOW, allow);
    }
    stamp.complete(&mut response);
    response
}
