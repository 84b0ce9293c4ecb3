//! `/v1/forward-auth`: a reverse proxy asks, before each request that it passes on, whose request it is.
//!
//! The proxy proves itself by a key in `X-Tenure-Key` or by its address; `Authorization` and `Cookie` belong to the end
//! user. The proxy passes the answer on: whose session it is in headers, or 401 with one of four bodies. This is the
//! only route that reads a cookie, and the only one that refreshes a sliding session.

pub(super) mod presented;

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::Response,
};

use utoipa::openapi::path::Operation;

use crate::authority::{AuthenticatedSession, CommandError, GrantedSession, InactiveToken, RequestContext};
use crate::traces::{TracedRequest, stage};
use tenure_core::{
    Timestamp,
    event::Role,
    session::{Session, TokenFault},
};
use tenure_protocol::clock::stopwatch;

use self::presented::PresentedCredentials;
use super::{
    api::ApiContext,
    only_leader::ask_the_leader,
    operations::metrics::CounterTarget,
    reply::{
        challenge, position_header,
        problem::{Problem, ProblemCode},
        problem_response,
    },
    request::{
        access::Caller,
        admission,
        peer::PeerAddress,
        refusal_log::RefusalKey,
        request_id::RequestId,
        serve::{keep_uses, wrong_credential},
    },
};

/// Where it is; every path below is the same.
pub(super) const PATH: &str = "/v1/forward-auth";
/// The key of a proxy.
const KEY: &str = "x-tenure-key";
/// Who may ask.
pub(super) const ROLES: &[Role] = &[Role::Admin, Role::Verifier];

/// Check the token of an end user, for a reverse proxy.
///
/// Any method, and any path below. The proxy proves itself by `X-Tenure-Key`, with the key of a verifier or admin, or
/// by an address in `forward_auth.trusted`. The token is the bearer of `Authorization` that begins `tnr_sess_`, or
/// else the cookie named by `forward_auth.cookie_name`; of several such cookies the good one. A sliding
/// session is refreshed when half of its idle time, or of its ttl if shorter, has passed since the last
/// refresh; the reply then sets the cookie, with a token that the current key seals.
#[utoipa::path(get, path = "/v1/forward-auth", tag = "forward-auth", operation_id = "forwardAuth",
    params(("X-Tenure-Key" = Option<String>, Header, description = "The proxy's API key."),
        ("__Host-tenure_session" = Option<String>, Cookie,
            description = "The end user's token; the name is `forward_auth.cookie_name`.")),
    responses((status = 200, description = "The token is good; the body is empty.", headers(
            ("X-Tenure-Subject" = String, description = "Who holds the session."),
            ("X-Tenure-Session" = String, description = "The session."),
            ("X-Tenure-Scopes" = String, description = "What it may be used for, with blanks between; may be empty."),
            ("Set-Cookie" = Option<String>, description = "The cookie, when the session was refreshed."))),
        (status = 401, description = "It is not. Cookies are cleared if all that were sent are of ended sessions.")))]
#[expect(dead_code, reason = "it documents what `serve` does for every method")]
fn documented() {}

/// Its part of the OpenAPI document.
pub(super) fn operation() -> Operation {
    <__path_documented as utoipa::Path>::operation()
}

/// The answer to a proxy.
enum ProxyVerdict {
    /// The token is good; with the cookie to set, if the session was refreshed.
    Yes(AuthenticatedSession, Option<RefreshedSession>),
    No {
        why: InactiveToken,
        /// Whether the cookies that were sent are of no use any more.
        clears: bool,
    },
}

impl ProxyVerdict {
    const INVALID: Self = Self::No { why: InactiveToken::Invalid, clears: false };
}

/// What a refresh gave, and when.
struct RefreshedSession {
    granted: GrantedSession,
    at: Timestamp,
    sets_cookie: bool,
}

/// Serves a request with any method, on the path or below it. The body and the query are not read.
pub(super) async fn serve(api: Arc<ApiContext>, request: Request<Body>) -> Response {
    let begun = stopwatch();
    let traced = TracedRequest::begin(api.settings.traces.as_ref(), &request, PATH);
    let response = match traced.current() {
        None => answer(&api, request).await,
        Some(current) => Box::pin(current.around(answer(&api, request))).await,
    };
    traced.end(&response);
    api.metrics.answered(CounterTarget::ForwardAuth, response.status(), begun.elapsed());
    response
}

async fn answer(api: &ApiContext, request: Request<Body>) -> Response {
    let request_id = RequestId::of(api, request.headers());
    let headers = request.headers();
    let peer = request.extensions().get::<PeerAddress>();
    let address = peer.map(|peer| peer.address);
    let authenticating = stage("authenticate");
    if let Err(problem) = wait_for_proxy_key(api, headers, address).await {
        return refused(api, problem, address, &request_id);
    }
    let proxy = match proxy(api, headers, address) {
        Ok(proxy) => proxy,
        Err(problem) => return refused(api, problem, address, &request_id),
    };
    drop(authenticating);
    admission::prove(api, peer, &proxy);
    let _in_flight = match admission::begin_check(api, &proxy, address) {
        Ok(in_flight) => in_flight,
        Err(problem) => return refused(api, problem, address, &request_id),
    };
    let correlation_id = Some(request_id.recorded.to_string());
    let asking = RequestContext { actor: proxy.actor(), correlation_id, idempotency: None };
    let presented = PresentedCredentials::of(headers, &api.settings.forward_auth_cookie);
    let is_anything = presented != PresentedCredentials::Nothing;
    for token in presented.tokens() {
        if let Err(problem) = api.wait_for_token(token).await {
            return refused(api, problem, address, &request_id);
        }
    }
    let judging = stage("judge");
    let verdict = judge(api, presented, asking).await;
    if let ProxyVerdict::No { why: InactiveToken::Fault(TokenFault::Expired | TokenFault::Idle, _), .. } =
        &verdict
    {
        // It may have been used or refreshed at another node a moment ago.
        ask_the_leader();
    }
    drop(judging);
    let mut response = match verdict {
        ProxyVerdict::Yes(holder, refreshed) => {
            api.metrics.granted();
            yes(api, &holder.session, refreshed)
        }
        ProxyVerdict::No { why, clears } => {
            api.metrics.refused(super::reply::problem::code_of(why).name());
            no(api, why, is_anything, clears)
        }
    };
    request_id.stamp(api).complete(&mut response);
    response
}

fn refused(api: &ApiContext, problem: Problem, address: Option<IpAddr>, request_id: &RequestId) -> Response {
    let code = problem.code.name();
    api.metrics.refused(code);
    api.refusals.note(RefusalKey { address, code, route: PATH, credential: problem.credential });
    problem_response(&problem.timed(api.authority.now()), request_id.stamp(api))
}

/// Waits until it is certain what the proxy's key is, on a node that may merely not know it yet.
async fn wait_for_proxy_key(
    api: &ApiContext,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<(), Problem> {
    let key = headers.get(KEY).and_then(|key| key.to_str().ok());
    match key.filter(|_| !is_trusted(api, peer)) {
        Some(key) => api.wait_for_token(key.trim()).await,
        None => Ok(()),
    }
}

/// Who asks. The address is that of the connection: an end user may have set the addresses in headers.
fn proxy(api: &ApiContext, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller, Problem> {
    if let Some(key) = headers.get(KEY) {
        let known = key.to_str().ok().and_then(|key| api.authority.credential(key.trim()));
        match known {
            Some(known) if ROLES.contains(&known.role) => return Ok(Caller::Key(known)),
            None if !is_trusted(api, peer) => {
                let problem = wrong_credential(api, peer);
                return Err(if problem.code == ProblemCode::RateLimited { problem } else { unproven() });
            }
            Some(_) | None => {}
        }
    }
    if is_trusted(api, peer) { Ok(Caller::Anyone) } else { Err(unproven()) }
}

fn is_trusted(api: &ApiContext, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|peer| api.settings.forward_auth_trusted.contains(peer))
}

fn unproven() -> Problem {
    Problem::from(ProblemCode::Forbidden)
        .saying("a proxy must send X-Tenure-Key with a verifier's key, or be in forward_auth.trusted")
}

async fn judge(
    api: &ApiContext,
    presented: PresentedCredentials<'_>,
    asking: RequestContext,
) -> ProxyVerdict {
    match presented {
        PresentedCredentials::Bearer { token, may_set_cookie } => match judged(api, token) {
            Ok(holder) => used(api, holder, asking, may_set_cookie).await,
            Err(why) => ProxyVerdict::No { why, clears: false },
        },
        PresentedCredentials::Cookies(cookies) => judge_cookies(api, &cookies, asking).await,
        PresentedCredentials::TooMany | PresentedCredentials::Nothing => ProxyVerdict::INVALID,
    }
}

/// Of several cookies the good one counts, wherever it stands. Good ones of two sessions are none: one of them
/// was planted, and nothing says which.
async fn judge_cookies(api: &ApiContext, cookies: &[&str], asking: RequestContext) -> ProxyVerdict {
    let mut good: Option<AuthenticatedSession> = None;
    let (mut last, mut are_over) = (InactiveToken::Invalid, true);
    for cookie in cookies {
        match judged(api, cookie) {
            Ok(holder) if good.as_ref().is_some_and(|first| first.session.id != holder.session.id) => {
                return ProxyVerdict::INVALID;
            }
            Ok(holder) => good = Some(holder),
            Err(why) => (last, are_over) = (why, are_over && is_over(why)),
        }
    }
    let verdict = match good {
        Some(holder) => used(api, holder, asking, true).await,
        None => ProxyVerdict::No { why: last, clears: true },
    };
    match verdict {
        ProxyVerdict::No { why, .. } => ProxyVerdict::No { why, clears: are_over && is_over(why) },
        yes @ ProxyVerdict::Yes(..) => yes,
    }
}

/// Whether nothing can bring the session back. A cookie that clears hits what the browser has when it arrives, which
/// after a renewal is a newer token.
const fn is_over(why: InactiveToken) -> bool {
    match why {
        InactiveToken::Fault(TokenFault::Revoked(_) | TokenFault::Expired | TokenFault::Idle, _) => true,
        InactiveToken::Invalid
        | InactiveToken::Fault(TokenFault::Suspended { .. } | TokenFault::Superseded, _) => false,
    }
}

fn judged(api: &ApiContext, token: &str) -> Result<AuthenticatedSession, InactiveToken> {
    let holder = api.authority.holder(token).ok_or(InactiveToken::Invalid)?;
    holder.judge(api.authority.now())?;
    Ok(holder)
}

/// Notes the use of a good token, and refreshes its session if due.
async fn used(
    api: &ApiContext,
    mut holder: AuthenticatedSession,
    asking: RequestContext,
    sets_cookie: bool,
) -> ProxyVerdict {
    holder.session = api.authority.used(&holder.session);
    match refreshed(api, &holder, asking).await {
        Ok(Some((granted, at))) => {
            ProxyVerdict::Yes(holder, Some(RefreshedSession { granted, at, sets_cookie }))
        }
        Ok(None) => {
            keep_uses(api, &[holder.session.id]).await;
            ProxyVerdict::Yes(holder, None)
        }
        Err(why) => ProxyVerdict::No { why, clears: false },
    }
}

/// Refreshes the session if due. One that was ended meanwhile is not good; one that cannot be refreshed at
/// present is, and the next request tries again.
async fn refreshed(
    api: &ApiContext,
    holder: &AuthenticatedSession,
    asking: RequestContext,
) -> Result<Option<(GrantedSession, Timestamp)>, InactiveToken> {
    let authority = &api.authority;
    let is_enabled = authority.live().system().system.policy_in_force().sliding_enabled;
    let is_due = holder.session.refresh_at().is_some_and(|due| authority.now() >= due);
    if !is_enabled || !is_due {
        return Ok(None);
    }
    match authority.refresh(asking, holder).await {
        Ok(refreshed) => Ok(refreshed.map(|granted| (granted, authority.now()))),
        Err(CommandError::Refused { .. }) => {
            let now = authority.holder_again(holder);
            now.judge(authority.now()).map(|()| None)
        }
        Err(CommandError::NotLeading) => {
            ask_the_leader();
            Ok(None)
        }
        Err(
            CommandError::Overloaded
            | CommandError::TooManyKeys { .. }
            | CommandError::StorageUnavailable { .. }
            | CommandError::AnswerUnread { .. }
            | CommandError::OutcomeUnknown,
        ) => Ok(None),
    }
}

fn yes(api: &ApiContext, session: &Session, refreshed: Option<RefreshedSession>) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let told = [
        ("x-tenure-subject", session.subject.to_string()),
        ("x-tenure-session", session.id.to_string()),
        ("x-tenure-scopes", session.scopes().join(" ")),
    ];
    for (name, value) in told {
        let value = HeaderValue::try_from(value).expect("ids and scopes are made of visible characters");
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some(RefreshedSession { granted, at, sets_cookie }) = refreshed {
        if sets_cookie {
            let left = granted.session.expires_at().seconds_since(at);
            headers.insert(header::SET_COOKIE, set_cookie(api, granted.token.expose(), left));
        }
        if let Some(position) = granted.position {
            let epochs = &api.authority.live().system().system.epochs;
            headers.insert(HeaderName::from_static("x-tenure-position"), position_header(epochs, position));
        }
    }
    response
}

fn no(api: &ApiContext, why: InactiveToken, was_anything_sent: bool, clears: bool) -> Response {
    let body = match why {
        InactiveToken::Fault(TokenFault::Expired | TokenFault::Idle, _) => {
            r#"{"ok":false,"error":"session_expired","code":"SESSION_EXPIRED"}"#
        }
        InactiveToken::Fault(TokenFault::Revoked(_), _) => {
            r#"{"ok":false,"error":"session_revoked","code":"SESSION_REVOKED"}"#
        }
        InactiveToken::Fault(TokenFault::Suspended { .. }, _) => {
            r#"{"ok":false,"error":"subject_suspended","code":"SUBJECT_SUSPENDED"}"#
        }
        InactiveToken::Invalid | InactiveToken::Fault(TokenFault::Superseded, _) => {
            r#"{"ok":false,"error":"invalid_token","code":"INVALID_TOKEN"}"#
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::WWW_AUTHENTICATE, challenge(was_anything_sent));
    if clears {
        headers.insert(header::SET_COOKIE, set_cookie(api, "", 0));
    }
    response
}

fn set_cookie(api: &ApiContext, token: &str, seconds: u64) -> HeaderValue {
    let name = &api.settings.forward_auth_cookie;
    secret(&format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax"))
}

fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("tokens are made of visible characters");
    value.set_sensitive(true);
    value
}
